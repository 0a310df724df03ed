#!/usr/bin/env perl

# Workers that are killed while a canary is under way. One that had some of the canary takes them
# along, which is a failure; one that had others, or the caller, does not matter. Nothing is looked
# at in intervals.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

use constant { WORKERS => 3, COUNT => 30, CANARY => 3 };

my $t = Intermission::Test->new(workers => WORKERS);
my $origin = $t->origin('/slow' => { wait => 1 });
$t->start(default_server(<<'EOF'));
    intermission_interval 1h;
EOF

my (@workers, @clients, @worker_of, $caller);

# Requests are held by these workers in turn, and a canary is called for at one of them.
sub begin {
    my ($caller_at, @at) = @_;
    $origin->forget;
    $t->enable;
    @worker_of = map { $at[ $_ % @at ] } 0 .. COUNT;
    @clients = map {
        my $uri = $_ <= CANARY ? "/slow?$_" : "/$_";
        $t->hold(GET => $uri, client => $t->client_at($worker_of[$_]))
    } 1 .. COUNT;
    $caller = $t->client_at($caller_at)->get('/intermission/disable?canary=' . CANARY);
    $origin->wait_requests(CANARY);
    $t->status for 1 .. 5;
    return ok $caller->silent, 'a canary is under way, and its caller waits';
}

# Who is still there is answered, in order behind the canary.
sub ends_in_order {
    my ($what) = @_;
    my @there = grep { $worker_of[$_] != $workers[0] } CANARY + 1 .. COUNT;
    $t->disable;
    is scalar(grep { $clients[ $_ - 1 ]->response->status == 200 } @there), @there,
        "$what: the rest is answered";
    my @uris = grep { !/slow/ } $origin->uris;
    is_deeply \@uris, [ map {"/$_"} @there ], 'in order';
    $t->wait_state('open');
    is $t->status->{held}, 0, 'nobody is held';
    $origin->answer;
    $t->wait_in_flight(0);
}

# The canary at a worker that dies, alone or with others of it elsewhere.
@workers = $t->server->workers;
begin($workers[1], @workers[ 0, 0, 0, 1, 2 ]);
$t->kill_worker($workers[0]);
my $left = grep { $_->silent } @clients[ 0 .. CANARY - 1 ];
cmp_ok $left, '<', CANARY, 'a worker with some of the canary dies';
if ($left) {
    $t->status for 1 .. 5;
    ok $caller->silent, 'others of it are still awaited';
    $origin->answer;
}
my $answer = $caller->response;
is $answer->status, 409, 'who died with a worker failed';
like $answer->body, qr/^The canary failed: \d of 3, [^\n]*without an answer/, 'as the answer says';
is $t->status->{state}, 'paused', 'the app is paused again';
ends_in_order('a worker with some of the canary');

@workers = $t->server->workers;
begin($workers[1], $workers[0], $workers[0], $workers[0], $workers[0]);
$t->kill_worker($workers[0]);
is $caller->response->status, 409, 'a worker with all that is held, the canary included: failed';
is $t->status->{state}, 'paused', 'the app is paused again';
ends_in_order('a worker with all');

# A worker with the caller, and none of the canary.
@workers = $t->server->workers;
begin($workers[0], @workers[ 1, 2 ]);
$t->kill_worker($workers[0]);
ok $caller->closed, "the caller's worker dies";
$origin->answer;
is answered(@clients), COUNT, 'the canary is judged without it';
$t->wait_state('open');

# A worker with others than the canary.
@workers = $t->server->workers;
begin($workers[1], @workers[ 1, 1, 1, 1, 0, 2 ]);
$t->kill_worker($workers[0]);
$t->status for 1 .. 5;
ok $caller->silent, 'a worker with some of the rest dies: the caller waits on';
$origin->answer;
is $caller->response->status, 200, 'and the canary is good';
ends_in_order('a worker with some of the rest');

$t->finish;
