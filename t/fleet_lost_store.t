#!/usr/bin/env perl

# The store of a fleet ends: the holder is told before a node opens, and no pause lasts for ever.

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
my ($one) = $fleet->nodes;
$fleet->agents;

# The store ends.
my $command = $fleet->begin;
ok $fleet->wait_running($command), 'a command runs';
my $held = $one->hold(GET => '/held');
$fleet->etcd->stop;
$fleet->none_opens_before($command, qr/etcd at .*If that lasts, nodes may open in \d/,
    'that the store has ended is told before a node opens');
$fleet->none_opens_before($command, qr/the store took this process for lost: nodes open/, 'and so is the worst');
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
