#!/usr/bin/env perl

# How long the first in the queue is held: nobody is first where nobody is held, also in the answer
# of the very call that lets them go.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;
use Time::HiRes qw(sleep);

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new;
$t->origin;
$t->start;

my $calls = $t->client;
for my $call (qw(disable maintenance)) {
    $t->enable;
    my @held = map { $t->hold(GET => "/$_") } 1 .. 3;
    sleep 0.2;
    cmp_ok $t->status->{oldest_wait_ms}, '>=', 200, 'while they are held';
    my $answer = $calls->get("/intermission/$call?format=json")->response->json;
    my ($held, $oldest) = @$answer{qw(held oldest_wait_ms)};
    ok $held ? $oldest >= 200 : $oldest == 0, "$call: $held held, the first for $oldest ms";
    $_->response for @held;
    is $t->status->{oldest_wait_ms}, 0, 'afterwards';
    $t->disable;
}

$t->finish;
