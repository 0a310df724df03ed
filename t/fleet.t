#!/usr/bin/env perl

# Three nginxes as one, through a real etcd: `intermission run --fleet` has the app paused and quiet at
# all of them before the command is run, and resumed at all of them. If one fails, nothing is run.

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
my @etcd = $fleet->etcd->options;
my @app = ('--app' => 'shop', @etcd);

# Nobody there.
my $command = $fleet->begin;
is $command->status, 75, 'a fleet without nodes';
is $command->said, "intermission: no node is part of the fleet: start an agent beside each nginx. "
    . "Nothing was paused.\n", 'is told in one line';
like intermission($one, 'fleet', 'status', @app)->out, qr/^total: 0 nodes, .*; not held$/m, 'and shown';

# All.
$fleet->agents;
$command = $fleet->begin('--nodes' => 3);
ok $fleet->wait_running($command), 'the command runs';
is $fleet->states, 'paused paused paused', 'all are paused when it does';
like $command->said, qr/paused at 3 nodes, and quiet after \d+\.\d s: running sh/, 'which is told';
my @held = map { $_->hold(GET => '/held') } $fleet->nodes;
my $other = intermission($one, 'run', '--fleet' => 'shop', @etcd, 'true');
is $other->status, 75, 'another holder';
like $other->said, qr/\A.*the app shop is paused already, by another holder \(.*, process \d+\): .*\n\z/,
    'has to wait, and is told who it is';
is $fleet->states, 'paused paused paused', 'it changes nothing';
my $shown = intermission($one, 'fleet', 'status', @app)->out;
like $shown, qr/^$_: paused, \d+ held, 0 in flight, last seen \d+ s ago$/m, "$_ is shown"
    for qw(one two three);
like $shown, qr/^total: 3 nodes, .*held by .*, process \d+$/m, 'the total and the holder as well';
my $json = intermission($one, 'fleet', 'status', @app, '--json')->out;
like $json, qr/"state":"paused"/, 'in JSON as well';
$fleet->go_on;
is $command->status, 4, 'the exit status is the command\'s';
is $fleet->states =~ s/releasing/open/gr, 'open open open', 'all are resumed by then';
like $command->said, qr/resumed at 3 nodes, 3 requests held/, 'which is told';
is_deeply [ map { $_->response->status } @held ], [ (200) x 3 ], 'and nobody is lost';

# One does not get quiet.
my $slow = $two->client->get('/slow');
$two->{origin}->wait_requests(2);
$command = $fleet->begin('--drain' => '1s');
is $command->status, 75, 'a node that does not get quiet';
like $command->said, qr/node two: it did not get quiet in time: wait for longer \(--drain\)\. Nothing was run/,
    'is named';
ok !$fleet->is_running, 'nothing is run';
$fleet->wait_states('open open open', 'all are resumed');
$two->{origin}->answer;
is $slow->response->status, 200, 'the slow one is answered';

# One is paused already, by hand.
$two->enable('shop');
$command = $fleet->begin;
is $command->status, 75, 'a node that is paused by another call';
like $command->said, qr/node two: another call has paused it already: wait for its end\. Nothing was run/,
    'is named';
ok !$fleet->is_running, 'nothing is run';
$fleet->wait_states('open paused open', 'the others are resumed, the other pause goes on');
$two->disable('shop');

# Fewer nodes than there are.
$command = $fleet->begin('--nodes' => 4);
is $command->status, 75, 'fewer nodes than expected';
like $command->said, qr/the fleet has 3 nodes, and not 4 \(--nodes\): one, three, two\. Nothing was/,
    'are named';

# By hand.
$command = $fleet->begin;
ok $fleet->wait_running($command), 'a command runs';
my $refused = intermission($one, 'fleet', 'resume', @app);
is $refused->status, 64, 'the emergency exit asks, and nobody is there';
is $fleet->states, 'paused paused paused', 'so nothing is done';
is intermission($one, 'fleet', 'resume', @app, '--yes')->status, 0, 'the emergency exit';
$fleet->wait_states('open open open', 'all are resumed');
$command->wait_said(qr/another call has ended the pause \(intermission fleet resume\)/);

# The next holder has its turn. The former one lives, and so does its lease: what it still writes is refused only as
# the app is not the one that it has made.
my $next = $fleet->begin('--for' => '15s');
ok $fleet->wait_running($next), 'another holder has its turn';
$command->signal('TERM');
is $command->died_of, 15, 'the former one ends';
like $command->said, qr/the pause was over already/, 'and has nothing to resume';
is $fleet->states, 'paused paused paused', 'so all stay paused';
is @{ $fleet->etcd->holders }, 1, 'for the one that holds them now';
unlike $next->said, qr/another call|is not paused/, 'who has nothing to be told';
$fleet->go_on;
is $next->status, 4, 'and ends in its time';
$fleet->wait_states('open open open', 'all are open');

# One node, long before its pause is to be renewed.
$command = $fleet->begin('--for' => '5m');
ok $fleet->wait_running($command), 'a command runs';
$two->disable('shop');
$command->wait_said(qr/node two is not paused: another call, .*has ended its pause/);
is $fleet->states, 'paused open paused', 'a node that is resumed by hand is told of, the others stay paused';
$fleet->go_on;
is $command->status, 4, 'the command goes on';
$fleet->wait_states('open open open', 'all are open');

# An interruption.
$command = $fleet->begin;
ok $fleet->wait_running($command), 'a command runs';
$command->signal('TERM');
is $command->died_of, 15, 'a signal ends it, and the command';
is $fleet->states =~ s/releasing/open/gr, 'open open open', 'all are resumed by then';

$fleet->finish;
