#!/usr/bin/env perl

# What arrives during a release queues behind what is held. The worker that holds the first of the
# queue is stopped for a moment, so that the release surely is under way when more arrives.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

use constant { EARLY => 40, LATE => 20 };

my $t = Intermission::Test->new(workers => 2);
my $origin = $t->origin;
$t->start(default_server(<<'EOF'));
    # A worker keeps its turn for four of these without a sign of life: longer than it is stopped.
    intermission_interval 10s;
EOF

my ($one, $other) = $t->server->workers;
my $control = $t->client_at($other);
my @late = map { $t->client_at($other) } 1 .. LATE;

sub state_is {
    my ($state) = @_;
    return $control->get('/intermission/status?format=json')->response->json->{state} eq $state;
}

# Before the pause, both workers let requests through.
$_->get('/open')->response for @late, $t->client_at($one);
$origin->forget;

$t->enable;
my @early = $t->hold(GET => '/early-1', client => $t->client_at($one));
push @early, map { $t->hold(GET => "/early-$_") } 2 .. EARLY;

kill STOP => $one;
is $control->get('/intermission/disable')->response->status, 200, 'disable answers';
ok state_is('releasing'), 'the release waits for the stopped worker';
$late[ $_ - 1 ]->get("/late-$_") for 1 .. LATE;
ok state_is('releasing'), 'and is still under way when more requests have come';
is_deeply [ $origin->uris ], [], 'nobody has overtaken the first one';
kill CONT => $one;

is answered(@early, @late), EARLY + LATE, 'all are answered';
my @uris = $origin->uris;
is_deeply [ @uris[ 0 .. EARLY - 1 ] ], [ map {"/early-$_"} 1 .. EARLY ],
    'first those that were held, in order';
is_deeply [ sort @uris[ EARLY .. $#uris ] ], [ sort map {"/late-$_"} 1 .. LATE ],
    'then those that came during the release';

wait_for { state_is('open') } 'the release to end';
is $t->status->{totals}{held}, EARLY + LATE, 'the total of held requests';

# The same at full speed: the calls and the requests go out together, from open connections.
for my $round (1 .. 3) {
    $_->get('/open')->response for @late;
    $origin->forget;
    $t->enable;
    my @held = map { $t->hold(GET => "/early-$_") } 1 .. 10 * EARLY;
    $control->get('/intermission/disable');
    $late[ $_ - 1 ]->get("/late-$_") for 1 .. LATE;

    is $control->response->status, 200, "round $round: disable answers";
    $_->response for @held, @late;
    my @first = ($origin->uris)[ 0 .. $#held ];
    is_deeply \@first, [ map {"/early-$_"} 1 .. @held ], 'nobody overtakes';
}

$t->finish;
