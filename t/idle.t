#!/usr/bin/env perl

# Holding costs no CPU: the workers sleep but for a look at the shared state at each
# intermission_interval, however many requests they hold.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;
use Time::HiRes qw(sleep time);

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Server;

use constant { WORKERS => 2, COUNT => 600, SECONDS => 1.5, INTERVAL => 0.25 };

my $t = Intermission::Test->new(workers => WORKERS);
my $origin = $t->origin;
$t->start(default_server(<<'EOF'));
    intermission_max_time 1h;
EOF

# The CPU time (in clock ticks) and the wakes of all workers while the time passes, and how long that
# was.
sub cost_of_waiting {
    my $began = time;
    my @before = $t->server->cost;
    sleep SECONDS;    # this is what is measured, nothing is waited for
    my @after = $t->server->cost;
    return ((map { $after[$_] - $before[$_] } 0, 1), time - $began);
}

$t->enable;
my @clients = map { $t->client->get("/$_") } 1 .. COUNT;
$t->wait_held(COUNT);

my ($ticks, $wakes, $seconds) = cost_of_waiting();
note "while holding ${\ COUNT}: $ticks ticks, $wakes wakes";
cmp_ok $ticks, '<=', 1, 'no CPU time while it holds';
my $looks = WORKERS * $seconds / INTERVAL;
cmp_ok $wakes, '<=', 1.5 * $looks + 4, "few wakes beyond a look at the shared state at each interval";

$t->disable;
is answered(@clients), COUNT, 'all are answered';
$_->close for @clients;
$t->wait_state('open');
# That clients have gone may take workers a moment.
$t->server->wait_asleep;

($ticks, $wakes) = cost_of_waiting();
note "while open: $ticks ticks, $wakes wakes";
cmp_ok $ticks, '<=', 1, 'no CPU time while nothing is held';
cmp_ok $wakes, '<=', 4, 'and no wakes';

$t->finish;
