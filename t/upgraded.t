#!/usr/bin/env perl

# A connection that was upgraded by 101 (WebSocket) is not in flight any more but counts as
# upgraded, until it ends. Its request is held like any other before that.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new;
my $origin = $t->origin(
    '/socket' => { upgrade => 1 },
    '/slow-socket' => { upgrade => 1, wait => 1 },
);
$t->start(default_server(<<'EOF'));
    proxy_http_version 1.1;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection upgrade;
EOF

my @upgrade = (headers => [ 'Upgrade: echo', 'Connection: upgrade' ]);

sub counts_become {
    my ($counts, $what) = @_;
    return becomes {
        my $status = $t->status;
        "$status->{in_flight} in flight, $status->{upgraded} upgraded";
    } $counts, $what;
}

sub echoes {
    my ($client, $text) = @_;
    $client->send($text);
    return is $client->read_bytes(length $text), $text, "the connection carries '$text'";
}

counts_become('0 in flight, 0 upgraded', 'nothing at first');

my $slow = $t->client->get('/slow-socket', @upgrade);
$origin->wait_requests(1);
counts_become('1 in flight, 0 upgraded', 'before the answer it is in flight');
$origin->answer;
is $slow->response->status, 101, 'the upgrade';
echoes($slow, 'hello');
counts_become('0 in flight, 1 upgraded', 'then it is upgraded');

# A pause leaves it alone, and holds new ones.
$t->enable;
counts_become('0 in flight, 1 upgraded', 'while paused as well');
echoes($slow, 'still here');
my $held = $t->hold(GET => '/socket', @upgrade);
my $gone = $t->hold(GET => '/socket', @upgrade);
ok $held->silent, 'a new one is held';
$gone->close;
$t->wait_held(1);

$t->disable;
is $held->response->status, 101, 'and upgraded after its release';
echoes($held, 'hello again');
counts_become('0 in flight, 2 upgraded', 'two of them');

$slow->close;
counts_become('0 in flight, 1 upgraded', 'one that closes is not counted any more');
$held->reset;
counts_become('0 in flight, 0 upgraded', 'nor is one that breaks');

# An upgrade that the origin does not make is an ordinary request.
is $t->get('/plain', @upgrade)->status, 200, 'an upgrade that is declined';
counts_become('0 in flight, 0 upgraded', 'is over when it is answered');
is scalar($origin->uris), 3, 'the origin saw each one once';

$t->finish;
