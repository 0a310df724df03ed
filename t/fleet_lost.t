#!/usr/bin/env perl

# A node of a fleet is cut off: nothing is run if it has not acknowledged yet, and the holder is told
# before it opens if it has.

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

# A node is cut off before it has acknowledged anything.
$hosts->cut('two');
my $command = $fleet->begin('--drain' => '1s');
is $command->status, 75, 'a node that is cut off before';
like $command->said, qr/no answer in time from node two: is its agent up, and its nginx\?/, 'is named';
ok !$fleet->is_running, 'nothing is run';
$fleet->wait_states('open open', 'all are open');
$hosts->mend('two');
wait_for { $fleet->agent_of('two')->said =~ /the store is back/ } 'the agent to come back', 40;

# A node is cut off while the command runs.
$command = $fleet->begin('--on-loss' => 'stop');
ok $fleet->wait_running($command), 'the command runs';
my $held = $two->hold(GET => '/held');
$hosts->cut('two');
$fleet->none_opens_before($command, qr/node two is lost: .* stays paused for \d/,
    'a node that is cut off is told of before it opens');
wait_for { !$fleet->is_alive } 'the end of the command';
is $two->status('shop')->{state}, 'paused', 'the command is stopped before that node opens';
is $command->status, 69, 'the holder cannot say that all were resumed, and says so';
like $command->said, qr/node two DID NOT SAY THAT IT HAS RESUMED: it does by itself, within 15s/,
    'with the time';
like $command->said, qr/the command ended with 143/, 'and the status of the command';
$fleet->wait_states('open open', 'the node that is cut off opens by itself');
is $held->response->status, 200, 'and what it held is answered';

$fleet->finish;
