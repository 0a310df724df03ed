#!/usr/bin/env perl

# A fleet in which processes end, stop and begin in the middle: holders, agents, nginx.

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
$fleet->agent('one');

# A node that joins, whose clock began at another time.
my $command = $fleet->begin;
ok $fleet->wait_running($command), 'the command runs, with one node';
my @apart = system('unshare -T --monotonic 100000 true 2>/dev/null') == 0
    ? qw(unshare -T --monotonic 100000 --boottime 100000) : ();
$fleet->agent('two', @apart);
$command->wait_said(qr/node two has joined: it is not paused yet/);
$command->wait_said(qr/node two is paused as well/);
is $fleet->states, 'paused paused', 'a node that joins is paused as well';

# The agent is killed, and started again.
my $agent = $fleet->agent_of('two');
$agent->signal('KILL');
$agent->status;
$agent = $fleet->agent('two', @apart);
$agent->wait_said(qr/app shop: going on with the pause of the agent before/);
$fleet->goes_on('an agent that is started anew goes on with the pause');
unlike $command->said, qr/two is (?:not paused|lost)/, 'which the holder counts as one';

# The agent is told to end, and does not come back.
$agent->signal('TERM');
is $agent->status, 0, 'an agent ends';
$command->wait_said(qr/node two is lost: its agent has ended, or does not reach the store\. It stays paused/);
is $fleet->states, 'paused paused', 'its node is still paused';
$agent = $fleet->agent('two');
$command->wait_said(qr/node two is back, and was paused all the time/);

# Its nginx hangs. The agent is there, so that it is only seen by what is not renewed.
my @hanging = $two->server->workers;
kill STOP => @hanging;
$command->wait_said(qr/node two is lost: it does not answer\. It stays paused for [3-7]\.\d s at least/);
kill CONT => @hanging;
wait_for { (() = $command->said =~ /node two is back/g) == 2 } 'the node to be back';
is $fleet->states, 'paused paused', 'an nginx that hangs is told of while it is still paused';

# nginx is started anew, and has forgotten the pause.
$two->server->quit;
$two->server->start;
$command->wait_said(qr/node two is not paused: another call, a restart of nginx or its deadline/);
is $fleet->states, 'paused open', 'a pause that a restart has ended is told of';
$fleet->go_on;
is $command->status, 4, 'the command goes on';
$fleet->wait_states('open open', 'all are open');

# The holder is killed.
$command = $fleet->begin;
ok $fleet->wait_running($command), 'a command runs';
my @held = map { $_->hold(GET => '/held') } $one, $two;
$command->signal('KILL');
$fleet->go_on;
$fleet->wait_states('open open', 'when the holder is killed, all are resumed', 30);
is_deeply [ map { $_->response->status } @held ], [ 200, 200 ], 'and nobody is lost';

# The holder is stopped for longer than its lease, while another one comes.
$command = $fleet->begin;
ok $fleet->wait_running($command), 'a command runs';
$command->signal('STOP');
$fleet->wait_states('open open', 'a holder that is stopped is taken for lost', 30);
my $late = $command;
$command = $fleet->begin;
ok $fleet->wait_running($command), 'another holder has its turn';
$late->signal('CONT');
$late->wait_said(qr/another call has ended the pause|the store took this process for lost/);
$fleet->wait_states('paused paused', 'the late one changes nothing');
$fleet->go_on;
is $_->status, 4, 'both commands end' for $late, $command;
$fleet->wait_states('open open', 'all are open');

$fleet->finish;
