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
use Intermission::Test::Etcd;

my $http = <<'EOC';
    server {
        listen 127.0.0.1:%%PORT_80%%;
        intermission on;
        location / { proxy_pass http://%%ORIGIN%%; }
        location /intermission/ { intermission_control; }
    }
EOC
my @nodes = map { Intermission::Test->new } 1 .. 3;
my ($one, $two, $three) = @nodes;
my $etcd = Intermission::Test::Etcd->new($one);
plan skip_all => 'needs etcd (package etcd-server)' if !$etcd;
for my $t (@nodes) {
    $t->origin('/slow' => { wait => 1 });
    $t->start($http);
}
my @etcd = ('--etcd' => $etcd->url);
my $folder = $one->folder;
my $until_told = "echo >$folder/pid; until [ -e $folder/go ]; do sleep 0.02; done; exit 4";

sub states {
    return join ' ', map { $_->status('shop')->{state} } @nodes;
}

sub agent {
    my ($t, $name) = @_;
    my $agent = Intermission::Test::Command->new($one, 'agent', @etcd, '--node' => $name,
        '--url' => control_url($t));
    $agent->wait_said(qr/node $name is part of the fleet/);
    return $agent;
}

sub begin {
    unlink map {"$folder/$_"} qw(pid go);
    return Intermission::Test::Command->new($one, 'run', '--fleet' => 'shop', @etcd, '--for' => '15s',
        @_, 'sh', '-c' => $until_told);
}
sub go_on { return $one->write_file('go', '') }

# Nobody there.
my $command = begin();
is $command->status, 75, 'a fleet without nodes';
like $command->said, qr/no node is part of the fleet: start an agent beside each nginx/, 'is told';

my @agents = (agent($one, 'one'), agent($two, 'two'), agent($three, 'three'));
my $twin = intermission($one, 'agent', @etcd, '--node' => 'two', '--url' => control_url($one));
is $twin->status, 75, 'a name that is taken';
like $twin->said, qr/there is a node two already, at .*: give this one another name/, 'is told';

# All.
$command = begin();
wait_for { -s "$folder/pid" } 'the command to run';
is states(), 'paused paused paused', 'all are paused when the command runs';
like $command->said, qr/paused at 3 nodes, and quiet after \d+\.\d s: running sh/, 'which is told';
my $other = intermission($one, 'run', '--fleet' => 'shop', @etcd, 'true');
is $other->status, 75, 'another holder';
like $other->said, qr/the app shop is paused already, by another holder/, 'has to wait';
is states(), 'paused paused paused', 'and changes nothing';
go_on();
is $command->status, 4, 'the exit status is the command\'s';
wait_for { states() eq 'open open open' } 'all to be resumed';
pass 'all are resumed';

# One is paused already, by hand.
$two->enable('shop');
$command = begin();
is $command->status, 75, 'a node that is paused by another call';
like $command->said, qr/node two: another call has paused it already: wait for its end. Nothing was run/, 'is named';
ok !-e "$folder/pid", 'nothing is run';
wait_for { states() eq 'open paused open' } 'the others to be resumed';
pass 'the others are resumed, and the pause of the other call goes on';
$two->disable('shop');

# The holder is killed.
$command = begin();
wait_for { -s "$folder/pid" } 'the command to run';
$command->signal('KILL');
go_on();
wait_for { states() eq 'open open open' } 'all to be resumed';
pass 'when the holder is killed, all are resumed';

$_->signal('TERM') for @agents;
$etcd->stop;
$_->stop for @nodes;
done_testing;
