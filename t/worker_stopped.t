#!/usr/bin/env perl

# A worker that is stopped, as by a debugger or an overloaded machine, loses its turn after a second
# without a sign of life: the others go on without it, and what arrives is served. When it continues
# it catches up.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;
use Time::HiRes qw(time);

use lib "$Bin/lib";
use Intermission::Test;

use constant { EACH => 20, LEASE => 1, SOON => 2.5 };

my $t = Intermission::Test->new(workers => 2);
my $origin = $t->origin;
$t->start;
my ($stopped, $running) = $t->server->workers;
END { kill CONT => $stopped if $stopped }

my $control = $t->client_at($running);

sub status {
    return $control->get('/intermission/status?format=json')->response->json;
}

for my $what ('first in the queue', 'everywhere in the queue') {
    $origin->forget;
    is $control->get('/intermission/enable')->response->status, 200, "$what: a pause";
    my (@first, @others);
    for my $number (1 .. EACH) {
        my $at = $what =~ /everywhere/ && $number % 2 ? $running : $stopped;
        my $client = $t->client_at($at)->get("/first-$number");
        push @{ $at == $stopped ? \@first : \@others }, $client;
        wait_for { status()->{held} == $number } 'a request to be held';
    }
    for my $number (1 .. EACH) {
        push @others, $t->client_at($running)->get("/other-$number");
        wait_for { status()->{held} == EACH + $number } 'a request to be held';
    }

    kill STOP => $stopped;
    my $began = time;
    is $control->get('/intermission/disable')->response->status, 200, 'and its end';
    is answered(@others), @others, 'the others are released';
    my $waited = time - $began;
    cmp_ok $waited, '<', SOON, sprintf 'after its lease: %.2f s', $waited;
    ok !(grep { !$_->silent } @first), 'what it holds is still held';
    is $control->get('/after')->response->status, 200, 'what arrives is served';
    is status()->{held}, scalar @first, 'its requests are still on the count';

    kill CONT => $stopped;
    is answered(@first), @first, 'it catches up';
    my @order = map { m{^/first-(\d+)} ? $1 : () } $origin->uris;
    is_deeply [ grep { $what =~ /first/ || $_ % 2 == 0 } @order ],
        [ grep { $what =~ /first/ || $_ % 2 == 0 } 1 .. EACH ], 'with its own in order';
    wait_for { status()->{state} eq 'open' } 'the release to end';
    wait_for { status()->{in_flight} == 0 } 'nothing to be in flight';
}

# A worker that is stopped while another one pauses must not let anything through when it continues.
kill STOP => $stopped;
is $control->get('/intermission/enable')->response->status, 200, 'paused while a worker is stopped';
$origin->forget;
kill CONT => $stopped;
my $late = $t->client_at($stopped)->get('/late');
wait_for { status()->{held} == 1 } 'its request to be held';
is_deeply [ $origin->uris ], [], 'it lets nothing through';
is $control->get('/intermission/disable')->response->status, 200, 'until it may';
is $late->response->status, 200, 'and then it does';

$t->finish;
