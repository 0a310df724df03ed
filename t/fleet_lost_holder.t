#!/usr/bin/env perl

# The holder of a fleet is cut off: it is told, and can end its command, before a node opens.

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
$fleet->agents;

# The holder is cut off.
# So long that it is only the lease that ends.
my $command = $fleet->begin('--on-loss' => 'stop', '--for' => '60s');
ok $fleet->wait_running($command), 'a command runs';
$hosts->cut('holder');
$fleet->none_opens_before($command, qr/stopping the command/,
    'a holder that is cut off stops its command before a node opens');
unlike $command->said, qr/took this process for lost.*stopping the command/s, 'and before its lease may be over';
$fleet->wait_states('open open', 'all resume', 40);
$hosts->mend('holder');
is $command->status, 143, 'then it ends';
like $command->said, qr/the pause was over already/, 'and knows that the pause was over';

$fleet->finish;
