#!/usr/bin/env perl

# What is answered before the gate is not held: `return`, redirects, and what nginx refuses. What
# nginx makes itself behind the gate is: static files, indexes, try_files, WebDAV, other handlers.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new;
my $origin = $t->origin;
$t->write_file('files/page.txt', "a page\n");
$t->write_file('files/index.html', "an index\n");
chmod 0777, $t->folder . '/files';
$t->start(default_server(<<'EOF'));
    root %%FOLDER%%/files;
    client_max_body_size 1k;

    location = /return { return 200 "at once"; }
    location = /redirect { return 302 /elsewhere; }
    location = /rewrite { rewrite ^ /elsewhere permanent; }
    location = /if { if ($arg_x) { return 204; } proxy_pass http://%%ORIGIN%%; }
    location = /limited { client_max_body_size 1k; proxy_pass http://%%ORIGIN%%; }
    location /put/ { dav_methods PUT; alias %%FOLDER%%/files/; }
    location = /tried { try_files /nothing /page.txt =404; }
    location = /fallback { try_files /nothing @proxy; }
    location @proxy { proxy_pass http://%%ORIGIN%%; }
    location = /missing-with-page { error_page 404 /page.txt; try_files /nothing =404; }
    location = /state { stub_status; }
    location / { }
EOF

# Answered without meeting the gate.
$t->enable;
my %at_once = (
    '/return' => 200,
    '/redirect' => 302,
    '/rewrite' => 301,
    '/if?x=1' => 204,
);
is $t->get($_)->status, $at_once{$_}, "$_ is answered while paused" for sort keys %at_once;
is $t->request(POST => '/limited', body => 'x' x 2000)->status, 413, 'so is a body that is too large';
is $t->get('/intermission/x')->status, 404, 'and the control location';
is $t->status->{totals}{held}, 0, 'nothing was held';

# Held, although no backend is asked.
my %held = (
    '/page.txt' => [ 200, "a page\n" ],
    '/' => [ 200, "an index\n" ],
    '/tried' => [ 200, "a page\n" ],
    '/fallback' => [ 200, "/fallback\n" ],
    '/missing-with-page' => [ 404, "a page\n" ],
    '/nothing' => [ 404, undef ],
    '/state' => [ 200, undef ],
    '/if' => [ 200, "/if\n" ],
);
my %client = map { $_ => $t->hold(GET => $_) } sort keys %held;
my $put = $t->hold(PUT => '/put/new.txt', body => 'new');
ok !-e $t->folder . '/files/new.txt', 'a file is not written while its PUT is held';
is_deeply [ $origin->uris ], [], 'nothing reaches the origin';
$t->disable;
for my $uri (sort keys %held) {
    my ($status, $body) = @{ $held{$uri} };
    my $response = $client{$uri}->response;
    is $response->status, $status, "$uri is held and answered";
    is $response->body, $body, 'with its content' if defined $body;
}
is $put->response->status, 201, 'PUT is held and answered';
is slurp($t->folder . '/files/new.txt'), 'new', 'with its content';
is $t->status->{totals}{held}, 9, 'each was held once';

$t->finish;
