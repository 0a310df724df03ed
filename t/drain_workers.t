#!/usr/bin/env perl

# A drain over several workers: one that is killed takes along what it had in flight, within a
# second, and requests that arrive at any worker at any moment neither get through nor keep the
# drain from seeing the end. Nothing is looked at in intervals: they are an hour.

use strict;
use warnings;

use FindBin qw($Bin);
use List::Util qw(min);
use Test::More;
use Time::HiRes qw(time);

use lib "$Bin/lib";
use Intermission::Test;

use constant { WORKERS => 4, KILLS => 4, ROUNDS => 40, ARRIVALS => 40, SOON => 5 };

my $t = Intermission::Test->new(workers => WORKERS, connections => 4096);
my $origin = $t->origin('/slow' => { wait => 1 });
$t->start(default_server(<<'EOF'));
    intermission_interval 1h;
EOF

sub in_flight_at {
    my ($worker, $count) = @_;
    $origin->forget;
    my @clients = map { $t->client_at($worker)->get('/slow') } 1 .. $count;
    $origin->wait_requests($count);
    return @clients;
}

# A worker dies with all that is in flight. The best round counts, as the machine may be busy.
my @took;
for my $round (1 .. KILLS) {
    my ($victim, @others) = $t->server->workers;
    my $at = $others[ $round % @others ];
    my @slow = in_flight_at($victim, 5);
    $t->enable;
    my @held = map { $t->hold(GET => '/held', client => $t->client_at($_)) } @others;
    my $caller = $t->client_at($at)->get('/intermission/enable?drain=20s');
    $t->wait_in_flight(5);
    ok $caller->silent, 'a caller waits for them';

    my $start = time;
    $t->kill_worker($victim);
    is $caller->response->status, 200, "round $round: their worker dies, the caller is answered";
    push @took, time - $start;
    is $t->status->{in_flight}, 0, 'nothing is in flight';
    is $t->status->{state}, 'paused', 'the app stays paused';
    $t->disable;
    is $_->response->status, 200, 'what others held is released' for @held;
}

cmp_ok min(@took), '<', 1, 'within a second';

# The caller's worker dies: the pause stays, and whoever asks again is answered.
my ($victim, $other) = $t->server->workers;
my ($slow) = in_flight_at($other, 1);
my $caller = $t->client_at($victim)->get('/intermission/enable?drain=20s');
my $second = $t->client_at($other)->get('/intermission/enable?drain=20s');
$t->wait_state('paused');
$t->kill_worker($victim);
ok $caller->closed, "a caller's worker dies";
is $t->status->{state}, 'paused', 'the app stays paused';
$origin->answer;
is $slow->response->status, 200, 'what was in flight is answered';
is $second->response->status, 200, 'and so is another caller';
$t->disable;

# Requests come to the gate of all workers while the last one ends.
my @workers = $t->server->workers;
my @clients = map { $t->client_at($workers[ $_ % WORKERS ]) } 1 .. ARRIVALS;
my @late;
for my $round (1 .. ROUNDS) {
    my @slow = in_flight_at($workers[ $round % WORKERS ], 1);
    $_->get('/')->response for @clients;
    $origin->forget;
    $t->enable;
    my @held = map { $t->hold(GET => '/held', client => $t->client_at($_)) } @workers;
    $caller = $t->client_at($workers[ int($round / WORKERS) % WORKERS ])
        ->get('/intermission/enable?drain=20s');
    $_->get('/held') for @clients[ 0 .. ARRIVALS / 2 - 1 ];
    $origin->answer;
    $_->get('/held') for @clients[ ARRIVALS / 2 .. $#clients ];

    my $start = time;
    my $answer = $caller->response;
    push @late, $round if $answer->status != 200 || time - $start > SOON;
    my @leaked = $origin->uris;
    push @late, "$round leaks @leaked" if @leaked;
    $t->disable;
    $_->response for @slow, @held, @clients;
}
is_deeply \@late, [], 'a drain sees the end, and nothing leaks, whatever arrives meanwhile';

$t->finish;
