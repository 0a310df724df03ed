#!/usr/bin/env perl

# An old worker that is killed after a reload is not replaced, so nobody clears what it left behind:
# what it held and what it had in flight is off the counts within a second all the same, a drain
# that waits for it ends, and others do not wait for its turn.

use strict;
use warnings;

use FindBin qw($Bin);
use List::Util qw(sum);
use Test::More;
use Time::HiRes qw(time);

use lib "$Bin/lib";
use Intermission::Test;

use constant { EACH => 20, SOON => 1 };

my $t = Intermission::Test->new(workers => 2);
my $origin = $t->origin('/slow' => { wait => 1 });
$t->start;

sub within {
    my ($what, $condition) = @_;
    my $started = time;
    my $held = eval { wait_for { $condition->() } $what };
    ok $held && time - $started <= SOON, "$what within a second";
    return;
}

sub kill_old {
    my ($worker) = @_;
    $t->expect_kill($worker);
    kill KILL => $worker;
    return;
}

my ($victim, $other) = $t->server->workers;
my $slow = $t->client_at($victim)->get('/slow');
$origin->wait_requests(1);

$t->enable;
my @cut = map { $t->hold(GET => "/cut-$_", client => $t->client_at($victim)) } 1 .. EACH;
my @others = map { $t->hold(GET => "/other-$_", client => $t->client_at($other)) } 1 .. EACH;
$t->reload;
push @others, map { $t->hold(GET => "/new-$_") } 1 .. EACH;
is $t->status->{in_flight}, 1, 'an old worker has a request in flight';

my $drain = $t->call('enable', drain => '10s');
wait_for { $drain->silent } 'the drain to wait';
kill_old($victim);
within('the drain ends', sub { !$drain->silent });
is $drain->response->status, 200, 'with success: nothing is in flight any more';
within('the counts are right', sub {
    my $status = $t->status;
    return $status->{held} == 2 * EACH && $status->{in_flight} == 0;
});
is_deeply [ map { $_->response->status } $slow, @cut ], [ (0) x (1 + EACH) ],
    'its clients are cut off';
my @by_worker = $t->control('metrics')->body =~ /^intermission_worker_held_requests\S+ (\d+)$/gm;
is sum(@by_worker), 2 * EACH, 'the metrics by worker tell of the living only';

$origin->forget;
my $started = time;
$t->disable;
is answered(@others), 2 * EACH, 'all others are released';
cmp_ok time - $started, '<', SOON, 'without waiting for the dead';
is_deeply [ $origin->uris ], [ (map {"/other-$_"} 1 .. EACH), map {"/new-$_"} 1 .. EACH ], 'in order';
$t->wait_state('open');

$t->finish;
