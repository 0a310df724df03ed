#!/usr/bin/env perl

# A deadline comes although the worker that took the call is gone: killed, alone or with all others,
# or replaced by a reload. Requests held elsewhere are released in order, and nobody need be held.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;
use Time::HiRes qw(time);

use lib "$Bin/lib";
use Intermission::Test;

use constant { WORKERS => 3, COUNT => 30, SLACK => 2 };

my $t = Intermission::Test->new(workers => WORKERS);
my $origin = $t->origin;
$t->start(default_server(<<'EOF'));
    intermission_interval 1h;
    intermission_max_time 1h;
EOF

my ($start, @clients);

# Seconds until the deadline.
my $for = 3;

# A call at one worker, requests at the others. The deadline is set when all are held, so that a slow
# machine does not come too late.
sub pause_at {
    my ($worker, @others) = @_;
    $origin->forget;
    my $caller = $t->client_at($worker);
    is $caller->get('/intermission/enable')->response->status, 200, 'a call at a worker';
    @clients = map { $t->hold(GET => "/$_", client => $t->client_at($others[ $_ % @others ])) }
        1 .. (@others ? COUNT : 0);
    my $call = $caller->get("/intermission/enable?for=${for}s");
    $start = time;
    is $call->response->status, 200, 'the same worker is told of a deadline';
}

sub deadlines { return scalar $t->server->logged(qr/by deadline/) }

sub comes {
    my ($what, $deadlines) = @_;
    is answered(@clients), @clients,
        "$what: what is held is answered";
    my $answered = time - $start;
    wait_for { time - $start > $for - 0.1 && $t->status->{state} eq 'open' } "$what: the deadline";
    my $took = time - $start;
    cmp_ok $answered, '>=', $for - 0.05, 'not before the deadline' if @clients;
    cmp_ok $took, '<=', $for + SLACK, 'which comes in time';
    is_deeply [ $origin->uris ], [ map {"/$_"} 1 .. @clients ], 'in order';
    wait_for { deadlines() >= $deadlines } 'the log';
    return is deadlines(), $deadlines, 'one line more in the log';
}

# The worker is killed.
my ($victim, @others) = $t->server->workers;
pause_at($victim, @others);
$t->kill_worker($victim);
is $t->status->{state}, 'paused', 'it dies, the pause stays';
comes('a worker that was killed', 1);

# The same with nobody held.
($victim) = $t->server->workers;
pause_at($victim);
$t->kill_worker($victim);
comes('nobody held', 2);

# All workers are killed.
my @all = $t->server->workers;
pause_at($all[0]);
$t->kill_worker($_) for @all;
comes('all workers killed', 3);

# A reload: the old workers hold, the new ones know of the deadline.
$for = 6;
my @old = $t->server->workers;
pause_at($old[0], @old);
$t->reload;
my @new = grep { my $pid = $_; !grep { $pid == $_ } @old } $t->server->workers;
push @clients, map { $t->hold(GET => '/' . (COUNT + $_), client => $t->client_at($new[0])) }
    1 .. 3;
comes('a reload', 4);

# A reload with nobody held: the old workers are gone.
@old = $t->server->workers;
pause_at($old[0]);
$t->reload;
comes('a reload with nobody held', 5);

# A killed worker takes the requests along that it holds itself.
$for = 3;
my ($first, $second) = $t->server->workers;
pause_at($second, $first);
$t->kill_worker($first);
ok $clients[0]->closed, 'a worker that held all is killed';
@clients = ();
comes('nobody is left', 6);

$t->finish;
