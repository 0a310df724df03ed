#!/usr/bin/env perl

# A fleet is resumed at a rate: it is shared out among the nodes by how many each holds at that moment. Together
# they release no more, whoever holds any has a share, and who holds none opens at once.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Command;
use Intermission::Test::Fleet;

my $fleet = Intermission::Test::Fleet->new(nodes => [qw(one two three)])
    or plan skip_all => 'needs etcd (package etcd-server)';
my ($one, $two, $three) = $fleet->nodes;
$fleet->agents;
my @etcd = $fleet->etcd->options;
my @app = ('--app' => 'shop', @etcd);

sub held {
    my ($node, $count) = @_;
    return map { $node->hold(GET => "/held-$_") } 1 .. $count;
}

# What the nodes said last of how they resumed.
sub resumed {
    return join ' ', map {
        my ($line) = reverse $fleet->agent_of($_)->said =~ /app shop: resumed, (.*)/g;
        $line =~ s/ requests? held(?:, at )?/:/r;
    } qw(one two three);
}

# Shared out, though the counts are other ones than when the pause was last renewed.
my $command = $fleet->begin('--rate' => '8r/s', '--for' => '5m');
ok $fleet->wait_running($command), 'the command runs';
my @clients = (held($one, 6), held($two, 2));
$fleet->go_on;
is $command->status, 4, 'the exit status is the command\'s';
like $command->said, qr/resumed at 3 nodes, 8 requests held/, 'all are resumed';
is resumed(), '6:6r/s 2:2r/s 0:', 'each at its share';
is $three->status('shop')->{state}, 'open', 'who holds none opens at once';
is answered(@clients), 8, 'nobody is lost';
$fleet->wait_states('open open open', 'it comes to an end');

# A share that is less than one in a second is one, at the cost of the others; and a release is paced indeed.
$command = $fleet->begin('--rate' => '3r/s');
ok $fleet->wait_running($command), 'the command runs';
@clients = (held($one, 12), held($two, 1), held($three, 1));
$fleet->go_on;
is $command->status, 4, 'the command ends';
is resumed(), '12:1r/s 1:1r/s 1:1r/s', 'each that holds any has a share';
is $one->status('shop')->{state}, 'releasing', 'and a node that has much to release takes its time';
$one->must('disable', app => 'shop', rate => '1000r/s');
is answered(@clients), 14, 'nobody is lost';
$fleet->wait_states('open open open', 'it comes to an end');

# A rate that is too small, and options that it does not go with.
$command = $fleet->begin('--rate' => '2r/s');
is $command->status, 75, 'a rate below the number of nodes';
is $command->said, 'intermission: --rate 2r/s is to be shared out among 3 nodes, and each can take 1r/s at least: give '
    . "--rate 3r/s or more. Nothing was paused.\n", 'is told, with what to do';
is $fleet->begin('--rate' => '5r/s', '--burst' => 2)->status, 64, 'a burst does not go with a fleet';

# What cannot be begun, or is interrupted, is resumed at that rate as well.
$command = $fleet->begin('--rate' => '9r/s');
ok $fleet->wait_running($command), 'the command runs';
@clients = (held($one, 1), held($two, 2));
$command->signal('TERM');
is $command->died_of, 15, 'an interruption';
is resumed(), '1:3r/s 2:6r/s 0:', 'resumes at the same rate';
is answered(@clients), 3, 'nobody is lost';
$fleet->wait_states('open open open', 'it comes to an end');

# By hand: by what the nodes have said last.
$command = $fleet->begin('--for' => '15s');
ok $fleet->wait_running($command), 'a command runs';
@clients = (held($one, 4), held($three, 1));
wait_for { intermission($one, 'fleet', 'status', @app)->out =~ /^total: 3 nodes, 5 held/m } 'what is held to be known';
my $refused = intermission($one, 'fleet', 'resume', @app, '--yes', '--rate' => '1r/s');
is $refused->status, 75, 'the emergency exit at a rate that is too small';
like $refused->said, qr/\A.*--rate 1r\/s is to be shared out among 2 nodes, .* Nothing was done\.\n\z/, 'is told';
is $fleet->states, 'paused paused paused', 'and nothing done';
is intermission($one, 'fleet', 'resume', @app, '--yes', '--rate' => '10r/s')->status, 0, 'the emergency exit at a rate';
$command->wait_said(qr/another call has ended the pause \(intermission fleet resume\)/);
is answered(@clients), 5, 'nobody is lost';
$fleet->wait_states('open open open', 'all are resumed');
is resumed(), '4:8r/s 0: 1:2r/s', 'each at its share';
$fleet->go_on;
is $command->status, 4, 'the holder is told, and its command goes on';

# Without a rate the next one is at once, whatever the rate before.
$command = $fleet->begin;
ok $fleet->wait_running($command), 'a command runs';
@clients = held($one, 3);
$fleet->go_on;
is $command->status, 4, 'the command ends';
is resumed(), '3: 0: 0:', 'without a rate all go at once';
is answered(@clients), 3, 'nobody is lost';

# A foreign value in the place of the rates keeps nobody paused.
$fleet->wait_states('open open open', 'all are open');
$command = $fleet->begin;
ok $fleet->wait_running($command), 'a command runs';
$fleet->etcd->put('/intermission/paces/shop', 'hello');
$fleet->agent_of('one')->wait_said(qr{/intermission/paces/shop in the store is of something else: remove it});
$fleet->go_on;
is $command->status, 4, 'a foreign value keeps nobody paused';
$fleet->wait_states('open open open', 'all are open');
$fleet->etcd->remove('/intermission/paces/shop');

$fleet->finish;
