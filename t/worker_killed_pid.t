#!/usr/bin/env perl

# The process id of an old worker that was killed is given to another process, before anybody
# looked. That is not the worker: what it held and what it had in flight is off the counts, a drain
# that waits for it ends, and nobody waits for its turn. Nor is a worker there that has ended while
# the master is stopped, so that its process id is still taken.

use strict;
use warnings;

use FindBin qw($Bin);
use POSIX ();
use Test::More;
use Time::HiRes qw(time);

use lib "$Bin/lib";
use Intermission::Test;

use constant { LAST => '/proc/sys/kernel/ns_last_pid', TRIES => 1000, LEASE => 1 };

my $impostor;

END {
    kill KILL => $impostor if $impostor;
}

sub set_last {
    my ($pid) = @_;
    open my $last, '>', LAST or return;
    print {$last} $pid or return;
    return close $last;
}

# Starts a process with this id; another program may be faster. The ids that follow are as they were
# going to be, so that tests that run beside this one do not meet their dead again.
sub take_pid {
    my ($pid) = @_;
    my $before = slurp(LAST);
    my $taken;
    for (1 .. TRIES) {
        set_last($pid - 1) or last;
        my $child = fork // die "fork: $!";
        exec 'sleep', '60' or POSIX::_exit(127) if !$child;
        $taken = $child if $child == $pid;
        last if $taken;
        kill KILL => $child;
        waitpid $child, 0;
    }
    set_last($before);
    return $taken;
}

plan skip_all => 'process ids cannot be chosen here' if !-w LAST;

my $t = Intermission::Test->new(workers => 2);
my $origin = $t->origin('/slow' => { wait => 1 });
$t->start;

my ($victim, $other) = $t->server->workers;
my $slow = $t->client_at($victim)->get('/slow');
$origin->wait_requests(1);
$t->enable;
my $cut = $t->hold(GET => '/cut', client => $t->client_at($victim));
my $left = $t->hold(GET => '/left', client => $t->client_at($other));
$t->reload;
my $drain = $t->call('enable', drain => '20s');
wait_for { $drain->silent } 'the drain to wait';

$t->expect_kill($victim);
kill KILL => $victim;
wait_for { !kill 0 => $victim } 'the worker to be gone';
$impostor = take_pid($victim);

SKIP: {
    skip 'its id could not be had', 4 if !$impostor;
    my $started = time;
    wait_for { my $status = $t->status; $status->{held} == 1 && $status->{in_flight} == 0 }
        'its requests to be off the counts';
    is $drain->response->status, 200, 'the drain ends';
    cmp_ok time - $started, '<', 2 * LEASE, 'within two seconds';

    $origin->forget;
    $t->disable;
    is $left->response->status, 200, 'what is left is released';
    $t->wait_state('open');
    is_deeply [ $origin->uris ], ['/left'], 'it alone';
}

($victim, $other) = $t->server->workers;
my $control = $t->client_at($other);
$t->enable;
$cut = $t->hold(GET => '/cut', client => $t->client_at($victim));
$t->server->signal('STOP');
kill KILL => $victim;
my $gone = eval {
    wait_for { $control->get('/intermission/status?format=json')->response->json->{held} == 0 }
        'what it held to be off the counts';
};
ok $gone, 'what it held is off the counts, although nobody has noticed its end';
$t->expect_kill($victim);
$t->server->signal('CONT');
wait_for { $t->server->workers == 2 } 'another worker in its place';

$t->finish;
