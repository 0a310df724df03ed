#!/usr/bin/env perl

# The gate: while the app is paused, requests are held and nothing reaches the origin; when it is
# resumed, each of them goes through exactly once, whole, and gets its own answer.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new;
my $origin = $t->origin;
$t->start(default_server(<<'EOF'));
    client_max_body_size 10m;
    location /ungated { intermission off; proxy_pass http://%%ORIGIN%%; }
EOF

is $t->get('/open')->body, "/open\n", 'an open app is answered as ever';
is $t->status->{state}, 'open', 'the app is open at first';
$origin->forget;

$t->enable;
is $t->status->{state}, 'paused', 'enable pauses the app';

my %body = (small => 'a=1&b=2', large => join(',', 1 .. 300_000));
my %client = (
    get => $t->hold(GET => '/get?x=1'),
    head => $t->hold(HEAD => '/head'),
    small => $t->hold(POST => '/small', body => $body{small}),
    large => $t->client,
);
$client{large}->send($client{large}->head(POST => '/large', body => $body{large}));
$t->wait_held(4);
my $sent = $client{large}->send_some($body{large});

is $t->status->{held}, 4, 'status counts what is held';
ok $client{$_}->silent, "no answer to $_ yet" for sort keys %client;
is_deeply [ $origin->uris ], [], 'nothing reaches the origin';
is $t->get('/ungated')->status, 200, 'a location without the gate goes on';
is_deeply [ $origin->uris ], ['/ungated'], 'and nothing else with it';
$origin->forget;

$t->disable;
$client{large}->send(substr $body{large}, $sent);

for my $name (qw(get head small large)) {
    is $client{$name}->response->status, 200, "$name is answered after its release";
}
my %seen = map { ($_->{uri} =~ /(\w+)/)[0] => $_ } $origin->requests;
is_deeply [ sort map {"$_->{method} $_->{uri}"} $origin->requests ],
    [ 'GET /get?x=1', 'HEAD /head', 'POST /large', 'POST /small' ], 'each reaches the origin once';
is $seen{$_}{sha}, sha256_hex($body{$_}), "$_: the whole body, unchanged" for qw(small large);

my $status = $t->status;
is $status->{state}, 'open', 'the app is open again';
is $status->{held}, 0, 'nothing is held any more';
is $status->{totals}{held}, 4, 'the total of held requests';
is $status->{totals}{released}, 4, 'the total of released requests';

is $client{get}->get('/again')->response->body, "/again\n", 'a kept-alive connection goes on';
$t->enable;
$t->hold(GET => '/held-again', client => $client{get});
$t->disable;
is $client{get}->response->body, "/held-again\n", 'and can be held a second time';

# Requests that are sent without waiting for the answers before.
$t->enable;
$client{get}->send(join '', map { $client{get}->head(GET => "/pipelined-$_") } 1 .. 3);
$t->wait_held(1);
$t->disable;
is $client{get}->response->body, "/pipelined-$_\n", "request $_ of a pipeline" for 1 .. 3;

$t->finish;
