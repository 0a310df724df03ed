#!/usr/bin/env perl

# A fleet is resumed behind a canary: one node lets some requests go, and the others wait for what the backend makes
# of them. If that is not good, or nobody knows, all stay paused until their deadlines.

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
my $origin = $two->{origin};
$origin->set('/500' => { status => 500 });
my @clients;

# Node two holds the most, first of all this.
sub resume_behind_canary {
    my ($uri, @options) = @_;
    my @held = (one => [qw(/1 /2)], two => [ $uri, qw(/2 /3) ], three => ['/1']);
    (my $command, @clients) = $fleet->behind_canary(\@held, @options);
    return $command;
}

# One that is good.
my $command = resume_behind_canary('/slow', '--rate' => '600r/s');
$fleet->wait_canary($command, 'two');
is $fleet->states, 'paused releasing paused', 'one node lets some go, the one that holds the most';
is $two->status('shop')->{held}, 2, 'and only those';
like intermission($one, 'fleet', 'status', '--app' => 'shop', @etcd)->out, qr/^two: canary, /m, 'which is shown';
$fleet->goes_on('the others wait, and their pauses go on', $one, $three);
is $fleet->states, 'paused releasing paused', 'for as long as it is out';
is scalar(grep { $_->silent } @clients), 6, 'and all that they hold';
$origin->answer;
is $command->status, 4, 'then the exit status is the command\'s';
is answered(@clients), 6, 'and all are resumed';
like $command->said, qr/resumed at 3 nodes, 6 requests held/, 'which is told';
$fleet->wait_states('open open open', 'all are open');
my ($own) = $fleet->agent_of('one')->said =~ /app shop: resumed, 2 requests held, at (\d+)r\/s/;
is $own, 200, 'at the share that the canary\'s node leaves';

# One that fails.
$command = resume_behind_canary('/500', '--for' => '15s');
is $command->status, 69, 'a canary that fails';
like $command->said, qr/the canary at node two was not good: The canary failed: 1 of 1, the last in 500\./, 'is told';
like $command->said, qr/still paused at 3 nodes, 5 requests held: that ends by itself, after 15s at most\./,
    'with what becomes of the others';
like $command->said, qr/the command ended with 4\n\z/, 'and the status of the command';
is $fleet->states, 'paused paused paused', 'all stay paused';
is_deeply [ grep { !$_->status('shop')->{resumes_at} } $fleet->nodes ], [], 'each with a deadline';
is $clients[2]->response->status, 500, 'the canary was answered';
is scalar(grep { $_->silent } @clients[ 0, 1, 3 .. 5 ]), 5, 'nobody else was';
is @{ $fleet->etcd->holders }, 0, 'nobody holds the fleet any more';
my $next = $fleet->begin;
is $next->status, 75, 'the next holder';
like $next->said, qr/another call has paused it already: wait for its end/, 'is told that it is paused';
$fleet->wait_states('open open open', 'all open by themselves', 40);
is answered(@clients[ 0, 1, 3 .. 5 ]), 5, 'and nobody is lost';

# Another operator resumes all while it is out.
$command = resume_behind_canary('/slow');
$fleet->wait_canary($command, 'two');
is intermission($one, 'fleet', 'resume', '--app' => 'shop', @etcd, '--yes')->status, 0, 'another operator resumes';
is $command->status, 4, 'then the canary decides about nothing';
like $command->said, qr/another call has ended the pause/, 'which is told';
$origin->answer;
$fleet->wait_states('open open open', 'all are resumed');
is answered(@clients), 6, 'nobody is lost';

# Its node is resumed by hand.
$command = resume_behind_canary('/slow', '--for' => '15s');
$fleet->wait_canary($command, 'two');
$two->disable('shop');
is $command->status, 69, 'a canary that another call has ended';
like $command->said, qr/was not good: .*The canary was ended by another call, without a verdict/, 'is not good';
is $fleet->states =~ s/releasing/open/r, 'paused open paused', 'and the others stay paused';
$origin->answer;
$_->disable('shop') for $one, $three;
is answered(@clients), 6, 'nobody is lost';
$fleet->wait_states('open open open', 'all are open');

# Nothing was run, so there is nothing to try.
my $slow = $two->client->get('/slow');
$origin->forget;
$command = $fleet->begin('--canary' => 1, '--drain' => '1s');
is $command->status, 75, 'nothing is run';
unlike $command->said, qr/canary/, 'so there is no canary';
$fleet->wait_states('open open open', 'all are resumed');
$origin->answer;
is $slow->response->status, 200, 'the slow one is answered';

$fleet->finish;
