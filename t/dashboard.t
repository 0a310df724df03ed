#!/usr/bin/env perl

# The dashboard: a page at the control location itself, by the rules of all calls, which takes
# nothing from elsewhere and lets nobody else show it.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new;
$t->start(<<'EOF');
    charset koi8-r;
    gzip on;
    server {
        listen 127.0.0.1:%%PORT_80%%;
        location / { return 204; }
        location /intermission/ { intermission_control; }
        location /_intermission { intermission_control; }
        location "/ops/a pause:100%?" { intermission_control; }
        location /status/ { intermission_control; }
        location /enable { intermission_control; }
        location = /exactly { intermission_control; }
        location ~ ^/regex/\w+/ { intermission_control; }
        location /refused/ { intermission_control any; deny all; }
    }
EOF

# The page.
my $page = $t->get('/intermission/');
is $page->status, 200, 'it is there';
is $page->header('Content-Type'), 'text/html; charset=utf-8', 'as HTML';
is $page->header('Cache-Control'), 'no-store', 'not for caches';
is $page->header('X-Content-Type-Options'), 'nosniff', 'nothing else can be taken for it';
is $page->header('Referrer-Policy'), 'same-origin', 'its address is told to nobody';
like $page->body, qr/^<!doctype html>.*<\/html>\n\z/s, 'it is whole';

my $head = $t->request('HEAD', '/intermission/');
is $head->status, 200, 'HEAD';
is $head->header('Content-Length'), length $page->body, 'has the same length';

# What it may do.
sub policy_of {
    my ($response) = @_;
    return map { /^(\S+) (.+)$/ ? ($1 => $2) : () } split /; */,
        $response->header('Content-Security-Policy');
}

my %policy = policy_of($page);
is $policy{$_}, "'none'", "$_: nothing" for qw(default-src base-uri form-action frame-ancestors);
is $policy{'connect-src'}, "'self'", 'it talks to its own server';
my ($nonce) = ($policy{'script-src'} // '') =~ /^'nonce-([0-9a-f]{32})'$/;
ok $nonce, 'its own script runs, and no other';
is $policy{'style-src'}, "'nonce-$nonce'", 'the same for its style';
is join(' ', sort $page->body =~ /<(script|style) nonce="$nonce">/g), 'script style',
    'both carry the nonce';
is scalar(() = $page->body =~ /<(?:script|style)\b/g), 2, 'there are no others';
my %again = policy_of($t->get('/intermission/'));
isnt $again{'script-src'}, $policy{'script-src'}, 'each response has a nonce of its own';

unlike $page->body, qr{(?:src|href|action)\s*=\s*["']?(?:[a-z]+:)?//}i, 'it names no other host';
unlike $page->body, qr{(?:src|href|action)\s*=\s*["']?/}i, 'its addresses are relative';
unlike $page->body, qr/\bon\w+\s*=\s*["']|\bstyle\s*=\s*["']/i, 'nothing is inline but the two';
unlike $page->body, qr/innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b/,
    'what comes from outside cannot become HTML';

# Where it is.
for my $uri ('/_intermission/', '/intermission/?app=shop', '/status/', '/enable/', '/regex/x/') {
    like $t->get($uri)->body, qr/<title>intermission/, "GET $uri";
}
for my $method (qw(GET HEAD)) {
    my $response = $t->request($method, '/_intermission');
    is $response->status, 301, "$method without the slash";
    is $response->header('Location'), './_intermission/', 'leads to the slash';
}
is $t->get('/ops/a%20pause:100%25%3F')->header('Location'), './a%20pause%3A100%25%3F/',
    'whatever the name';
is $t->get('/_intermission', headers => ['Host: elsewhere'])->header('Location'),
    './_intermission/', 'under whatever address the client knows it';
is $t->get('/intermission')->status, 204, 'where the location has the slash, this is not its own';
is $t->get('/enable')->header('Location'), undef, 'a call is a call';
for my $uri ('/exactly', '/_intermissions', '/_intermission/x', '/intermission/status/') {
    is $t->get($uri)->status, 404, "GET $uri: nothing";
}

# The rules of all calls.
for my $method (qw(POST PUT DELETE)) {
    my $response = $t->request($method, '/intermission/');
    is $response->status, 405, "$method is refused";
    is $response->header('Allow'), 'GET, HEAD', 'with what is allowed';
    is $t->request($method, '/_intermission')->status, 404, 'and leads nowhere';
}
for my $headers (
    ['Sec-Fetch-Site: cross-site'],
    ['Origin: http://evil.example'],
    ['X-Forwarded-For: 127.0.0.1'],
    )
{
    for my $uri (qw(/intermission/ /_intermission)) {
        my $response = $t->get($uri, headers => $headers);
        is $response->status, 403, "$uri: @$headers";
        unlike $response->body, qr/</, 'no page';
    }
}
is $t->get('/intermission/', headers => ['Sec-Fetch-Site: none'])->status, 200, 'typed by hand';
is $t->get('/refused/')->status, 403, 'the rules of nginx';
is $t->get('/intermission/?bogus=1')->status, 400, 'an unknown argument';

$t->finish;
