#!/usr/bin/env perl

# A fleet whose network breaks: a node, the holder, or the store is cut off. The holder is told while
# all are still paused; and no pause lasts for ever.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Command;
use Intermission::Test::Fleet;

my $fleet = Intermission::Test::Fleet->new(nodes => [qw(one two)], hosts => [qw(etcd holder)])
    or plan skip_all => $Intermission::Test::Fleet::NEEDS;
my $hosts = $fleet->hosts;
my ($one, $two) = $fleet->nodes;
$fleet->agents;

# How it was when the holder was told.
sub states_when_told {
    my ($command, $pattern) = @_;
    my $states;
    wait_for { $states = $fleet->states; $command->said =~ $pattern } "the holder to be told: $pattern", 40;
    return $states;
}

# A node is cut off while the command runs.
my $command = $fleet->begin('--on-loss' => 'stop');
ok $fleet->wait_running($command), 'the command runs';
my $held = $two->hold(GET => '/held');
$hosts->cut('two');
is states_when_told($command, qr/node two is lost: .* stays paused for \d/), 'paused paused',
    'a node that is cut off is still paused when that is told';
wait_for { !$fleet->is_alive } 'the end of the command';
is $two->status('shop')->{state}, 'paused', 'the command is stopped before that node opens';
is $command->status, 69, 'the holder cannot say that all were resumed, and says so';
like $command->said, qr/node two DID NOT SAY THAT IT HAS RESUMED: it does by itself, within 15s/,
    'with the time';
like $command->said, qr/the command ended with 143/, 'and the status of the command';
$fleet->wait_states('open open', 'the node that is cut off opens by itself');
is $held->response->status, 200, 'and what it held is answered';
$hosts->mend('two');
wait_for { $fleet->agent_of('two')->said =~ /the store is back/ } 'the agent to come back', 40;

# Before it has acknowledged anything.
$hosts->cut('two');
$command = $fleet->begin('--drain' => '1s');
is $command->status, 75, 'a node that is cut off before';
like $command->said, qr/no answer in time from node two: is its agent up, and its nginx\?/, 'is named';
ok !$fleet->is_running, 'nothing is run';
$fleet->wait_states('open open', 'all are open');
$hosts->mend('two');
wait_for { (() = $fleet->agent_of('two')->said =~ /the store is back/g) == 2 } 'the agent to come back', 40;

# The holder is cut off.
$command = $fleet->begin('--on-loss' => 'stop');
ok $fleet->wait_running($command), 'a command runs';
$hosts->cut('holder');
is states_when_told($command, qr/stopping the command/), 'paused paused',
    'a holder that is cut off stops its command while all are still paused';
$fleet->wait_states('open open', 'all resume', 40);
$hosts->mend('holder');
is $command->status, 143, 'then it ends';
like $command->said, qr/the pause was over already/, 'and knows that the pause was over';

# The store ends.
$command = $fleet->begin;
ok $fleet->wait_running($command), 'a command runs';
$held = $one->hold(GET => '/held');
$fleet->etcd->stop;
is states_when_told($command, qr/etcd at .*If that lasts, nodes may open in \d/), 'paused paused',
    'without the store all are still paused when that is told';
is states_when_told($command, qr/the store took this process for lost: nodes open/), 'paused paused',
    'and when the worst is told';
$fleet->wait_states('open open', 'all open by themselves', 40);
is $held->response->status, 200, 'and what was held is answered';
$fleet->go_on;
is $command->status, 69, 'the holder cannot say that all were resumed, and says so';
like $command->said, qr/the command ended with 4/, 'the status of the command is told';
$fleet->etcd->start(0);
wait_for { $fleet->etcd->leader(0) } 'etcd to be back';
for my $name (qw(one two)) {
    wait_for { $fleet->agent_of($name)->said =~ /the store is back\n\z/ } "agent $name to come back", 40;
}
wait_for { !@{ $fleet->etcd->holders } } 'what the holder left to go', 40;
$command = $fleet->begin('--nodes' => 2);
ok $fleet->wait_running($command), 'then all is as before';
$fleet->go_on;
is $command->status, 4, 'the next command runs';

$fleet->finish;
