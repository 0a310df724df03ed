#!/usr/bin/env perl

# A caller that waits for a drain costs no CPU, however many wait and whatever is in flight.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;
use Time::HiRes qw(sleep time);

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Server;

use constant { WORKERS => 2, CALLERS => 50, SECONDS => 2, INTERVAL => 0.25 };

my $t = Intermission::Test->new(workers => WORKERS);
my $origin = $t->origin('/slow' => { wait => 1 });
$t->start;

my @slow = map { $t->client->get('/slow') } 1 .. 20;
$origin->wait_requests(20);
my @callers = map { $t->call('enable', drain => '1h') } 1 .. CALLERS;
$t->status for 1 .. 10;
is scalar(grep { $_->silent } @callers), CALLERS, 'callers wait';

my $began = time;
my @before = $t->server->cost;
sleep SECONDS;    # this is what is measured, nothing is waited for
my @after = $t->server->cost;
my $seconds = time - $began;
my ($ticks, $wakes) = map { $after[$_] - $before[$_] } 0, 1;
note "${\ CALLERS} callers for ${\ SECONDS} s: $ticks ticks, $wakes wakes";
cmp_ok $ticks, '<=', 1, 'they cost no CPU time';
my $looks = WORKERS * $seconds / INTERVAL;
cmp_ok $wakes, '<=', 1.5 * $looks + 4, "few wakes beyond a look at the shared state at each interval";

$origin->answer;
is answered(@slow), 20, 'what was in flight is answered';
is answered(@callers), CALLERS, 'and so are they';
$t->disable;
$_->close for @slow, @callers;

# Nobody waits any more, and nothing is left behind. That clients have gone may take workers a moment.
$t->server->wait_asleep;
@before = $t->server->cost;
sleep SECONDS;
@after = $t->server->cost;
cmp_ok $after[1] - $before[1], '<=', 4, 'no wakes when nobody waits any more';

$t->finish;
