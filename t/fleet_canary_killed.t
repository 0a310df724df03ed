#!/usr/bin/env perl

# A fleet is resumed behind a canary, and processes end while it is out: nobody is lost, and none stays paused for
# ever.

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
my $origin = $two->{origin};
$origin->set('/slow-500' => { wait => 1, status => 500 });
my @clients;

# Node two holds the most, first of all this.
sub resume_behind_canary {
    my ($uri, @options) = @_;
    my @held = (one => [qw(/1 /2)], two => [ $uri, qw(/2 /3) ], three => ['/1']);
    (my $command, @clients) = $fleet->behind_canary(\@held, @options);
    return $command;
}

# The holder is killed: all resume, though it fails.
my $command = resume_behind_canary('/slow-500', '--for' => '5m');
$fleet->wait_canary($command, 'two');
$command->signal('KILL');
$fleet->wait_states('open releasing open', 'the holder is killed, and the others resume', 30);
$origin->answer;
$fleet->wait_states('open open open', 'and the canary\'s node as soon as there is a verdict');
is answered(@clients[ 0, 1, 3 .. 5 ]), 5, 'nobody is lost';

# The agent is killed, and started anew: nobody knows what came of it.
$command = resume_behind_canary('/slow', '--for' => '15s');
$fleet->wait_canary($command, 'two');
$fleet->agent_of('two')->signal('KILL');
$fleet->agent_of('two')->status;
$fleet->agent('two')->wait_said(qr/the agent was started anew in the middle of it, so nobody knows what came of it/);
is $command->status, 69, 'a canary of which nobody knows';
like $command->said, qr/the canary at node two was not good: the agent was started anew/, 'is not good';
like $command->said, qr/still paused at 2 nodes, .* after 15s at most/, 'and the others stay paused';
$origin->answer;
is $fleet->states =~ s/releasing/open/r, 'paused open paused', 'as they do';
$_->disable('shop') for $one, $three;
is answered(@clients), 6, 'nobody is lost';
$fleet->wait_states('open open open', 'all are open');

# The agent is killed, and its canary fails: the deadline ends it, as nobody else is there to do so.
$command = resume_behind_canary('/slow-500', '--for' => '15s');
$fleet->wait_canary($command, 'two');
$fleet->agent_of('two')->signal('KILL');
$fleet->agent_of('two')->status;
$origin->answer;
is $command->status, 69, 'an agent that does not come back';
like $command->said, qr/the canary at node two was not good: its agent has ended, or does not reach the store/, 'is told';
my $left = $two->status('shop');
is $left->{state}, 'paused', 'its node is paused again';
ok $left->{resumes_at}, 'with a deadline that the agent had given it before';
$_->disable('shop') for $fleet->nodes;
is answered(@clients[ 0, 1, 3 .. 5 ]), 5, 'nobody is lost';
$fleet->wait_states('open open open', 'all are open');

$fleet->finish;
