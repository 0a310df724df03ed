#!/usr/bin/env perl

# What takes a place in a release with a concurrency, and what gives it back: whichever way a
# released request ends, the next one goes at once. Nothing is looked at in intervals.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;
use Time::HiRes qw(time);

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new(workers => 3);
my $origin = $t->origin(
    '/slow' => { wait => 1 },
    '/error' => { wait => 1, status => 500 },
    '/dropped' => { wait => 1, drop => 1 },
    '/cut' => { wait => 1, cut => 1 },
    '/socket' => { wait => 1, upgrade => 1 },
);
$t->start(default_server(<<'EOF'));
    intermission_interval 1h;
    intermission_bypass $http_x_bypass;
    proxy_http_version 1.1;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $http_connection;
EOF

my @upgrade = (headers => [ 'Upgrade: echo', 'Connection: upgrade' ]);

# One place; the second held request goes when the first, which waits at the origin, is over. What is
# not told to it would come in an hour.
sub gives_back {
    my ($what, $uri, $end, %with) = @_;
    $origin->forget;
    $t->enable;
    my $first = $t->hold(GET => $uri, %with);
    my $second = $t->hold(GET => '/second', client => $t->client_at(($t->server->workers)[-1]));
    $t->must('disable', concurrency => 1);
    $origin->wait_requests(1);
    ok $second->silent, "$what: one is in flight, the second waits";

    my $start = time;
    $end->($first);
    is $second->response->status, 200, 'the second goes when the first is over';
    cmp_ok time - $start, '<', 5, 'at once';
    is_deeply [ $origin->uris ], [ $uri, '/second' ], 'in order';
    $t->wait_state('open');
}

my $answer = sub { $origin->answer };
gives_back('an answer', '/slow', $answer);
gives_back('an error', '/error', $answer);
gives_back('no answer', '/dropped', $answer);
gives_back('half an answer', '/cut', $answer);
gives_back('an upgrade', '/socket', $answer, @upgrade);
gives_back('a client that closes', '/slow', sub { $_[0]->close });
gives_back('a client that resets', '/slow', sub { $_[0]->reset });
for (1 .. 2) {
    my ($victim) = $t->server->workers;
    gives_back('a worker that dies', '/slow', sub { $t->kill_worker($victim) },
        client => $t->client_at($victim));
}

# A client that has left while held takes no place.
$origin->forget;
$t->enable;
my @clients = map { $t->hold(GET => "/slow?$_") } 1 .. 20;
$clients[$_]->close for 0, 2 .. 9;
$t->must('disable', concurrency => 2);
$origin->wait_requests(2);
is_deeply [ $origin->uris ], [ '/slow?2', '/slow?11' ], 'who has left takes no place';
$t->must('disable', concurrency => 5);
$origin->wait_requests(5);
is_deeply [ $origin->uris ], [ map {"/slow?$_"} 2, 11 .. 14 ], 'more places are used at once';
$t->must('disable', concurrency => 3);
$origin->answer(1);
$t->wait_in_flight(4);
is scalar(my @uris = $origin->uris), 5, 'fewer places: none goes until there is one';
$origin->answer(2);
$origin->wait_requests(6);
$t->wait_in_flight(3);

# What is in flight for another reason takes none: who was there before, and who goes by the gate.
my $privileged = $t->client->get('/slow?privileged', headers => ['X-Bypass: 1']);
$origin->wait_requests(7);
$origin->answer(1);
$origin->wait_requests(8);
is $t->status->{in_flight}, 4, 'who goes by the gate takes no place';

# What a release has let go counts for the next one, as the backend still has it.
$t->enable;
$t->must('disable', concurrency => 4);
$origin->wait_requests(9);
$t->status for 1 .. 5;
is $t->status->{in_flight}, 5, 'what the last release let go counts towards the next';
$t->must('disable');
$origin->wait_requests(12);
$origin->answer;
is answered($privileged, @clients[ 1, 10 .. 19 ]), 12,
    'all are answered';
$t->wait_state('open');
$t->wait_in_flight(0);

$t->finish;
