#!/usr/bin/env perl

# What the calls answer: text whose first line a script can match, or JSON where it is asked for,
# and never from a cache.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new;
$t->origin;
$t->start(<<'EOF');
    server {
        listen 127.0.0.1:%%PORT_80%%;
        intermission on;
        location / { proxy_pass http://%%ORIGIN%%; }
        location /intermission/ { intermission_control; }
    }
EOF

sub call { return $t->get('/intermission/' . shift, headers => [@_]) }

my $time = qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/;

# Text.
my @first_lines = (
    [ enable => 'Pause enabled.' ],
    [ enable => 'Pause already enabled.' ],
    [ disable => 'Pause disabled.' ],
    [ disable => 'Pause already disabled.' ],
);
for my $case (@first_lines) {
    my ($call, $expected) = @$case;
    my $response = call($call);
    my ($first, @rest) = split /\n/, $response->body;
    is $first, $expected, "$call: the first line";
    is_deeply [ grep { !/^\w+: \S/ } @rest ], [], 'the others are "name: value"';
    like $response->header('Content-Type'), qr{^text/plain\b}, 'plain text';
    is $response->header('Cache-Control'), 'no-store', 'not for caches';
}

my $text = call('status')->body;
like $text, qr/^app: default$/m, 'status: the app';
like $text, qr/^state: open$/m, 'the state';
like $text, qr/^held: 0$/m, 'what is held';
like $text, qr/^$_: 0$/m, $_ for qw(in_flight upgraded);
like $text, qr/\n\z/, 'the last line has an end';

# JSON.
for my $ask ([ 'status', 'Accept: application/json' ], ['status?format=json']) {
    my $response = call(@$ask);
    like $response->header('Content-Type'), qr{^application/json\b}, "@$ask: JSON";
    is $response->header('Cache-Control'), 'no-store', 'not for caches';
    is $response->json->{state}, 'open', 'with the state';
}
my $asked_both = call('status?format=text', 'Accept: application/json');
like $asked_both->header('Content-Type'), qr{^text/plain}, 'format= goes before Accept';
for my $accept ('text/html, application/json;q=0.9', 'application/json, text/plain, */*') {
    like call('status', "Accept: $accept")->header('Content-Type'), qr{json}, "Accept: $accept";
}
for my $accept ('*/*', 'text/html', 'application/json-patch+json') {
    like call('status', "Accept: $accept")->header('Content-Type'), qr{text}, "Accept: $accept";
}
for my $call (qw(enable enable disable disable)) {
    my $response = call("$call?format=json");
    is ref $response->json, 'HASH', "$call answers an object";
    is $response->header('Cache-Control'), 'no-store', 'not for caches';
}

# All that status says.
$t->enable;
my $held = $t->hold(GET => '/');
my $status = $t->status;
is_deeply [ sort keys %$status ],
    [
        qw(app held in_flight last_abandoned_ms oldest_wait_ms resumes_at since state totals
            uncounted_processes upgraded)
    ],
    'the fields';
is_deeply [ sort keys %{ $status->{totals} } ],
    [qw(abandoned aborted bypassed held rejected released timed_out)], 'the totals';
is "$status->{app} $status->{state} $status->{held}", 'default paused 1', 'what is going on';
like $status->{since}, $time, 'since when';
is $status->{resumes_at}, undef, 'no end is set';
wait_for { $t->status->{oldest_wait_ms} > $status->{oldest_wait_ms} } 'the oldest wait to grow';
pass 'the oldest wait grows';
$t->disable;
$held->response;
ok !$t->status->{oldest_wait_ms}, 'nobody waits any more';

# Errors are not for caches either.
for my $call (qw(none status?bogus=1)) {
    is call($call)->header('Cache-Control'), 'no-store', "$call: not for caches";
}

$t->finish;
