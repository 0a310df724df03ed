#!/usr/bin/env perl

# The clocks of a fleet are hours apart, and are set while its app is held: those of the nginxes, of the agents and of
# the holder. Deadlines, leases and losses are counted in time that passes. Needs the library of Debian's package
# libfaketime, which sets the clock of one program alone.

use strict;
use warnings;

use File::Temp qw(tempdir);
use FindBin qw($Bin);
use Test::More;
use Time::HiRes qw(time);

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Command;
use Intermission::Test::FakedClock;
use Intermission::Test::Fleet;

use constant FOR => 15;

my $folder = tempdir(CLEANUP => 1);
chmod 0755, $folder;    # nginx's workers read there
my %apart = (nginx => 18_000, one => -25_200, two => 86_400, holder => 10_800);
my %clock = map { $_ => Intermission::Test::FakedClock->new("$folder/$_") } keys %apart;
$clock{$_}->set($apart{$_}) for keys %apart;

sub env {
    my ($whose) = @_;
    my %environment = $clock{$whose}->environment;
    return ('env', map {"$_=$environment{$_}"} sort keys %environment);
}

my $fleet = do {
    my %environment = $clock{nginx}->environment;
    local @ENV{ keys %environment } = values %environment;
    Intermission::Test::Fleet->new(nodes => [qw(one two)],
        nginx => { main => join ' ', map {"env $_;"} sort keys %environment });
} or plan skip_all => 'needs etcd (package etcd-server)';
my ($one, $two) = $fleet->nodes;
$fleet->agent($_, env($_)) for qw(one two);

sub deadlines {
    return map { Intermission::Test::Fleet::deadline($_->status('shop')) } $fleet->nodes;
}

# By the nginxes' own clock, and so whatever that is set to.
sub goes_on {
    my ($what) = @_;
    my @before = deadlines();
    my $states = '';
    eval {
        wait_for {
            my @now = deadlines();
            ($states = $fleet->states_next) ne 'paused paused' || 2 == grep { $now[$_] - $before[$_] > 4 } 0, 1;
        } 'the pauses to be renewed', 2 * FOR;
    } or diag $@;
    return is $states, 'paused paused', $what;
}

my $command = $fleet->begin([ env('holder') ]);
ok $fleet->wait_running($command), 'the command runs';
cmp_ok abs((deadlines())[0] - time - $apart{nginx}), '<', 600, 'by the clock of nginx a pause ends hours later';
my @held = map { $_->hold(GET => '/held') } $one, $two;
for my $to (-36_000, +90_000) {
    $clock{$_}->set($apart{$_} + $to) for sort keys %apart;
    my $shown = sub { abs((deadlines())[0] - time - $apart{nginx} - $to) < 600 };
    eval {
        wait_for { $shown->() } 'nginx to see it', 2 * FOR;
    };
    ok $shown->(), 'the clocks are set';
    goes_on('and the pauses go on');
}
unlike $command->said, qr/lost|open|store|not paused/, 'nothing of that is told as a loss';

# A node whose agent is killed: it is told of in time, and the node opens in its time.
$clock{$_}->set($apart{$_}) for sort keys %apart;
$fleet->agent_of('two')->signal('KILL');
$fleet->agent_of('two')->status;
$fleet->none_opens_before($command, qr/node two is lost: .* It stays paused for \d+\.\d s at least/,
    'a node that is lost is told of before it opens');
$clock{$_}->set($apart{$_} - 3600) for sort keys %apart;

# The holder is killed: its lease ends in time, and so does the deadline of the node that cannot hear of it.
$command->signal('KILL');
$fleet->go_on;
$fleet->wait_states('open open', 'nobody is held for longer than a lease or a deadline', 30);
is_deeply [ map { $_->response->status } @held ], [ 200, 200 ], 'and nobody is lost';

$fleet->finish;
