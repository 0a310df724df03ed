#!/usr/bin/env perl

# Workers are killed at random moments under load: while they hold, in the middle of a release,
# while they have the zone's lock. Each takes its own clients along. Nobody else is lost, nothing
# hangs, the order stays, and the counts are right within a second.

use strict;
use warnings;

use FindBin qw($Bin);
use List::Util qw(shuffle);
use Test::More;
use Time::HiRes qw(sleep time);

use lib "$Bin/lib";
use Intermission::Test;

use constant { WORKERS => 3, ROUNDS => 12, EACH => 60, HEALED => 1 };

my $seed = $ENV{INTERMISSION_SEED} // time ^ $$;
srand $seed;
note "INTERMISSION_SEED=$seed";

my $t = Intermission::Test->new(workers => WORKERS);
my $origin = $t->origin;
$t->start(default_server(<<'EOF'));
    location /quick { return 200 "quick\n"; }
EOF
$t->expect_kill;

# Whoever is killed at once takes a call of ours along: it is made again.
sub insist {
    my ($call, %arguments) = @_;
    my $response;
    wait_for { ($response = $t->control($call, %arguments))->status == 200 } "$call to be answered";
    return $response;
}

# A process that takes the zone's lock all the time, through every worker: arrivals at a paused app
# that leave again, and status calls.
sub start_churn {
    my $pid = fork // die "fork: $!";
    return $pid if $pid;
    $SIG{$_} = 'DEFAULT' for qw(TERM ALRM);
    while (1) {
        eval { my @clients = map { $t->client->get("/churn") } 1 .. 4; $t->control('status') };
    }
}

sub kill_somebody {
    my @workers = shuffle($t->server->workers);
    kill KILL => $workers[0] if @workers;
    return;
}

my ($lost, $out_of_order, $slow) = (0, 0, 0);
for my $round (1 .. ROUNDS) {
    wait_for { $t->server->workers == WORKERS } 'all workers to be there';
    insist('enable');
    $origin->forget;
    my @clients = map { $t->hold(GET => "/held-$_") } 1 .. EACH;
    my $churn = start_churn();
    sleep rand 0.02;
    kill_somebody();
    insist('disable', $round % 3 ? () : (rate => '5000r/s'));
    sleep rand 0.01;
    kill_somebody();
    sleep rand 0.01;
    kill_somebody() if $round % 2;
    my $killed = time;
    kill TERM => $churn;
    waitpid $churn, 0;

    # Whoever has no answer had its connection cut by the system.
    my @answers = map { $_->response->status } @clients;
    $lost += grep { $_ != 200 && $_ != 0 } @answers;
    wait_for {
        my $status = insist('status', format => 'json')->json;
        $status->{state} eq 'open' && $status->{held} + $status->{in_flight} == 0
    } 'the counts to heal';
    $slow++ if time - $killed > HEALED;
    my @numbers = map { m{^/held-(\d+)} ? $1 : () } $origin->uris;
    $out_of_order++ if grep { $numbers[ $_ - 1 ] > $numbers[$_] } 1 .. $#numbers;
}
is $lost, 0, 'nobody got anything but an answer or the end of a connection';
is $slow, 0, 'the counts are right within a second';
is $out_of_order, 0, 'those that reach the origin do so in order';
is insist('status', format => 'json')->json->{in_flight}, 0, 'nothing is in flight';
is $t->get('/quick')->status, 200, 'requests go on';

$t->finish;
