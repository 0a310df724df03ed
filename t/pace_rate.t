#!/usr/bin/env perl

# The pace of a release, with 1, 2 and 4 workers: within 2 % of the rate that was asked for, never
# more than the burst at once, all in order. nginx's own clock says when a request was let go. A
# machine that stands still disturbs a release and its clock, so the best half of a release counts,
# and the best of some rounds; but no round may be much too fast.

use strict;
use warnings;

use FindBin qw($Bin);
use List::Util qw(max min);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

use constant { COUNT => 600, RATE => 400, ROUNDS => 6, ERROR => 0.02, TOO_FAST => 0.05 };

# How many may go at once, if nobody says: what falls due in 10 ms.
use constant BURST => RATE / 100;

for my $workers (1, 2, 4) {
    my $t = Intermission::Test->new(workers => $workers, connections => 4096);
    my $origin = $t->origin;
    $t->start(default_server(<<'EOF'));
            intermission_interval 1h;
        proxy_set_header X-At $msec;
        proxy_set_header X-Worker $pid;
EOF

    my ($best, $least);
    for my $round (1 .. ROUNDS) {
        $origin->forget;
        $t->enable;
        my @clients = map { $t->hold(GET => "/$_") } 1 .. COUNT;
        is $t->control('disable', rate => RATE . 'r/s')->status, 200, 'a release';
        is answered(@clients), COUNT, 'all are answered';

        my @requests = $origin->requests;
        is_deeply [ map { $_->{uri} } @requests ], [ map {"/$_"} 1 .. COUNT ], 'in order';
        my @at = map { 1000 * $_->{headers}{'x-at'} } @requests;
        my %of_worker = map { $_->{headers}{'x-worker'} => 1 } @requests;
        is keys %of_worker, $workers, 'all workers let some go';

        my %at_once;
        $at_once{$_}++ for @at;
        my $took = ($at[-1] - $at[0]) / 1000;
        my $error = $took * RATE / (COUNT - 1) - 1;
        note sprintf '%d workers, round %d: %.0f ms, %+.2f %%, at most %d in a millisecond',
            $workers, $round, 1000 * $took, 100 * $error, max values %at_once;
        cmp_ok $error, '>', -(TOO_FAST), "$workers workers: not much faster than asked";
        my @halves = map { $at[ $_ + COUNT / 2 ] - $at[$_] } 0 .. COUNT / 2 - 1;
        $best = min((map { abs($_ / 1000 * RATE / (COUNT / 2) - 1) } @halves), $best // ());
        $least = min(max(values %at_once), $least // ());
        $t->wait_state('open');
        last if $best < ERROR && $least <= BURST;
    }
    cmp_ok $best, '<', ERROR, "$workers workers: the rate that was asked for";
    cmp_ok $least, '<=', BURST, 'and no more than the burst at once';
    $t->stop;
}

done_testing;
