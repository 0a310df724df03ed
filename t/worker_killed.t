#!/usr/bin/env perl

# A worker that is killed while it holds requests takes its own clients along, as it must. All the
# others stay held and are released in order, the pause stays, and the counts become right again.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

use constant { WORKERS => 3, COUNT => 60 };

my $t = Intermission::Test->new(workers => WORKERS);
my $origin = $t->origin;
$t->start;

for my $which ('first', 'last') {
    $origin->forget;
    $t->enable;

    # The victim holds the first or the last of the queue, and others in between.
    my ($victim) = $t->server->workers;
    my @clients = map { $t->client } 1 .. COUNT;
    $clients[ $which eq 'first' ? 0 : -1 ] = $t->client_at($victim);
    $t->hold(GET => "/$_", client => $clients[ $_ - 1 ]) for 1 .. COUNT;

    $t->kill_worker($victim);
    my @left = grep { $clients[ $_ - 1 ]->silent } 1 .. COUNT;
    cmp_ok scalar @left, '<', COUNT, "$which: a worker dies with its clients";
    $t->wait_held(scalar @left);
    is $t->status->{state}, 'paused', 'the app is still paused';

    push @left, COUNT + 1;
    push @clients, $t->hold(GET => '/' . (COUNT + 1));
    $t->disable;
    my @answered = grep { $clients[ $_ - 1 ]->response->status == 200 } @left;
    is scalar @answered, scalar @left, 'all others are answered';
    is_deeply [ $origin->uris ], [ map {"/$_"} @left ], 'in order';

    $t->wait_state('open');
    is $t->status->{held}, 0, 'nothing is held';
    $t->wait_in_flight(0);
}

# One that dies in the middle of a release holds nobody up.
$origin->forget;
$t->enable;
my ($victim, $other) = $t->server->workers;
my $control = $t->client_at($other);
my @clients = ($t->hold(GET => '/1', client => $t->client_at($victim)));
push @clients, map { $t->hold(GET => "/$_") } 2 .. COUNT;
kill STOP => $victim;
is $control->get('/intermission/disable')->response->status, 200, 'a release begins';
$t->kill_worker($victim);
my @answered = grep { $clients[ $_ - 1 ]->response->status == 200 } 1 .. COUNT;
cmp_ok scalar @answered, '>=', 1, 'it goes on when the worker whose turn it is dies';
is_deeply [ $origin->uris ], [ map {"/$_"} @answered ], 'in order';
$t->wait_state('open');
is $t->status->{held}, 0, 'nothing is held';

$t->finish;
