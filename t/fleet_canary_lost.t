#!/usr/bin/env perl

# While the canary of a fleet is out, a node joins, another operator comes, something else is written in the place of
# what is wanted, the holder is stopped, and etcd ends.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Command;
use Intermission::Test::Fleet;

my $fleet = Intermission::Test::Fleet->new(nodes => [qw(one two)])
    or plan skip_all => 'needs etcd (package etcd-server)';
my ($one, $two) = $fleet->nodes;
my $origin = $one->{origin};
my @clients;

# With two requests at node one, and as many as that at node two.
sub resume_behind_canary {
    my ($count, @options) = @_;
    my @held = (one => [ ('/slow') x 2 ], two => [ ('/slow') x $count ]);
    (my $command, @clients) = $fleet->behind_canary(\@held, @options);
    $fleet->wait_canary($command, 'one');
    return $command;
}

# A node that joins, and another operator.
$fleet->agent('one');
my $command = resume_behind_canary(0);
$fleet->agent('two');
$command->wait_said(qr/node two is paused as well/);
is $fleet->states, 'releasing paused', 'a node that joins is paused like those that wait';
my $other = intermission($one, 'run', '--fleet' => 'shop', $fleet->etcd->options, 'true');
is $other->status, 75, 'another operator';
like $other->said, qr/\A.*the app shop is paused already, by another holder.*\n\z/, 'is told who it is';

# Something else in the place of what is wanted.
$fleet->etcd->put('/intermission/apps/shop', 'hello');
$origin->answer;
$fleet->agent_of('two')->wait_said(qr{/intermission/apps/shop in the store is of something else});
$origin->wait_requests(2);
$origin->answer;
is $command->status, 4, 'is mended by the holder, and all goes on';
like $command->said, qr/resumed at 2 nodes/, 'with the node that has joined';
is answered(@clients), 2, 'nobody is lost';
$fleet->wait_states('open open', 'all are open');

# The holder is stopped for longer than its lease.
$command = resume_behind_canary(1);
$command->signal('STOP');
$fleet->wait_states('releasing open', 'a holder that is stopped is taken for lost, and the others resume', 30);
$command->signal('CONT');
is $command->status, 69, 'it knows of no verdict when it goes on';
like $command->said, qr/canary at node one was not good: the store took this process for lost/, 'and says why';
$origin->answer;
wait_for { $one->status('shop')->{held} == 0 } 'the rest to be let go';
$two->{origin}->answer;
$origin->answer;
is answered(@clients), 3, 'nobody is lost';
$fleet->wait_states('open open', 'all are open');

# etcd ends.
$command = resume_behind_canary(1, '--for' => '15s');
$fleet->etcd->stop;
$origin->answer;
wait_for { $one->status('shop')->{held} == 0 } 'the rest to be let go';
$command->wait_said(qr/etcd at .*If that lasts, nodes may open in \d/);
is $two->status('shop')->{state}, 'paused', 'that etcd has ended is told before a node opens';
$fleet->wait_states('open open', 'all open by themselves', 40);
$_->{origin}->answer for $one, $two;
is $command->status, 69, 'the holder knows of no verdict';
like $command->said, qr/the canary at node one was not good: the store took this process for lost/, 'and says so';
is answered(@clients), 3, 'nobody is lost';

$fleet->finish;
