#!/usr/bin/env perl

# Once enable has answered, nothing goes through at any worker, whichever one took the call. What
# was sent before that has either gone through by then, and is in flight, or is held.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

use constant { WORKERS => 4, CLIENTS => 40, ROUNDS => 15 };

my $t = Intermission::Test->new(workers => WORKERS);
my $origin = $t->origin('/before' => { wait => 1 });
$t->start;

my @workers = $t->server->workers;
my @clients = map { $t->client_at($workers[ $_ % WORKERS ]) } 1 .. CLIENTS;
my @callers = map { $t->client_at($_) } @workers;

my (@through, @odd);
for my $round (1 .. ROUNDS) {
    $origin->forget;
    my $half = CLIENTS / 2;
    my ($before, $after) = ([ @clients[ 0 .. $half - 1 ] ], [ @clients[ $half .. $#clients ] ]);

    # Half of the requests and the call go out together; the other half when it is answered.
    my $caller = $callers[ $round % WORKERS ];
    my $called_at = $round % ($half + 1);
    for my $number (0 .. $half) {
        $caller->get('/intermission/enable') if $number == $called_at;
        $before->[$number]->get('/before') if $number < $half;
    }
    push @odd, "round $round: enable failed" if $caller->response->status != 200;
    $_->get('/after') for @$after;

    # Each one is held or in flight.
    my $status;
    wait_for {
        $status = $t->status;
        $status->{held} + $status->{in_flight} == CLIENTS;
    } 'all requests to reach the gate';
    my @seen = $origin->wait_requests($status->{in_flight});
    push @through, scalar @seen;
    push @odd, "round $round: $_->{uri} leaked" for grep { $_->{uri} eq '/after' } @seen;
    push @odd, "round $round: $status->{held} held, ${\ scalar @seen} at the origin"
        if $status->{held} + @seen != CLIENTS;

    $origin->set('/before' => { wait => 0 });
    $origin->answer;
    $t->disable;
    push @odd, "round $round: not answered" if grep { $_->response->status != 200 } @clients;
    $t->wait_state('open');
    $origin->set('/before' => { wait => 1 });
}

note "went through before the pause: @through";
is_deeply \@odd, [], 'nothing leaks, and everything is accounted for';
$t->wait_in_flight(0);

$t->finish;
