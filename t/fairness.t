#!/usr/bin/env perl

# A large release goes out in batches, and the other clients of the worker get their turn in
# between: those who ask meanwhile see the queue shrink, instead of waiting until all are out.
#
# They have asked while the worker stood still, before the release begins. It takes up one connection
# in a turn of its event loop, so how quick the machine or this test is does not matter.

use strict;
use warnings;

use FindBin qw($Bin);
use List::Util qw(uniq);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

use constant { COUNT => 3000, OTHERS => 100 };

my $t = Intermission::Test->new(connections => 3 * COUNT);
my $origin = $t->origin;
$t->start(default_server(<<'EOF'));
    listen 127.0.0.1:%%PORT_80%% backlog=4096;
    keepalive_requests 100000;
EOF

$t->enable;
my @clients = map { $t->client->get('/') } 1 .. COUNT;
$t->wait_held(COUNT);

my $operator = $t->client;
is $operator->get('/up')->response->status, 200, 'a connection that the worker has accepted';
my ($worker) = $t->server->workers;
$t->stop_process($worker);
$operator->get('/intermission/disable');
my @others = map { $t->client->get('/intermission/status?format=json') } 1 .. OTHERS;
kill CONT => $worker;
is $operator->response->status, 200, 'the release begins';
my @seen = map { $_->response->json->{held} } @others;

my @between = uniq grep { $_ > 0 && $_ < COUNT } @seen;
note scalar(@between) . ' of ' . OTHERS . ' were answered in different turns of the release';
cmp_ok scalar @between, '>=', 10, 'others get their turn in the middle of the release';
is_deeply \@seen, [ sort { $b <=> $a } @seen ], 'and see the queue only shrink';

my @answered = grep { $_->response->status == 200 } @clients;
is scalar @answered, COUNT, 'all are answered';
is scalar(grep { $_ ne '/up' } $origin->uris), COUNT, 'once';

$t->finish;
