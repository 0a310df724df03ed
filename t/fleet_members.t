#!/usr/bin/env perl

# A fleet on an etcd of three members: one of them ends or hangs, the leader as well, and nobody
# notices.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Command;
use Intermission::Test::Fleet;

my $fleet = Intermission::Test::Fleet->new(
    nodes => [qw(one two)],
    hosts => [qw(holder m0 m1 m2)],
    etcd => [qw(m0 m1 m2)]
) or plan skip_all => $Intermission::Test::Fleet::NEEDS;
my $etcd = $fleet->etcd;
$fleet->agents;

sub number_of_leader {
    my ($asked) = @_;
    my $leader = wait_for { $etcd->leader($asked) } 'a leader';
    return $leader =~ s/\D//gr;
}

my $command = $fleet->begin('--on-loss' => 'stop', '--nodes' => 2);
ok $fleet->wait_running($command), 'the command runs';

# The leader is killed.
my $leader = number_of_leader(0);
$etcd->stop($leader);
$fleet->goes_on("the leader, m$leader, is killed: all stay paused");
$etcd->start($leader);
wait_for { $etcd->leader($leader) } 'the member to be back';

# The leader is cut off.
$leader = number_of_leader(0);
$fleet->hosts->cut("m$leader");
$fleet->goes_on("the leader, m$leader, is cut off: all stay paused");
$fleet->hosts->mend("m$leader");
wait_for { $etcd->leader($leader) } 'the member to be back';

# A member hangs.
$etcd->signal('STOP', 0);
$fleet->goes_on('a member, m0, hangs: all stay paused');
$etcd->signal('CONT', 0);

unlike $command->said, qr/lost|not paused|stopping/, 'the holder had no reason to stop';
$fleet->go_on;
is $command->status, 4, 'the command ends by itself';
$fleet->wait_states('open open', 'all are resumed');

# With one member down from the beginning.
$fleet->hosts->cut('m0');
$command = $fleet->begin('--nodes' => 2);
ok $fleet->wait_running($command), 'a command runs while the first member is cut off';
$fleet->go_on;
is $command->status, 4, 'and ends';
$fleet->hosts->mend('m0');

$fleet->finish;
