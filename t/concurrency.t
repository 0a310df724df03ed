#!/usr/bin/env perl

# The concurrency of a release: never more released requests in flight than asked for, over all
# workers, and a place that becomes free is used at once, however it became free. Nothing is looked
# at in intervals: they are an hour.

use strict;
use warnings;

use FindBin qw($Bin);
use List::Util qw(min);
use Test::More;
use Time::HiRes qw(time);

use lib "$Bin/lib";
use Intermission::Test;

use constant { COUNT => 150, PLACES => 7 };

for my $workers (1, 2, 4) {
    my $t = Intermission::Test->new(workers => $workers);
    my $origin = $t->origin('/slow' => { wait => 1 });
    $t->start(default_server(<<'EOF'));
        intermission_interval 1h;
        location /intermission/ {
            intermission_control;
            intermission_release_concurrency 7;
        }
EOF

    $t->enable;
    my @clients = map { $t->hold(GET => "/slow?$_") } 1 .. COUNT;
    $t->disable;

    # Some of those at the origin are answered, and as many come, no more.
    my ($answered, $most, @took) = (0, 0);
    srand $workers;
    while ($answered < COUNT) {
        my $expected = min($answered + PLACES, COUNT);
        my $start = time;
        $origin->wait_requests($expected);
        push @took, 1000 * (time - $start);
        my $in_flight = $t->status->{in_flight};
        my $arrived = $origin->requests;
        $most = $arrived - $answered if $arrived - $answered > $most;
        $most = $in_flight if $in_flight > $most;
        my $count = min(1 + int rand PLACES, COUNT - $answered);
        $origin->answer($count);
        $answered += $count;
    }
    is $most, PLACES, "$workers workers: never more in flight than asked for";
    my $median = (sort { $a <=> $b } @took)[ @took / 2 ];
    note sprintf '%d workers: free places used after %.1f ms (median), %.1f ms (most)',
        $workers, $median, (sort { $a <=> $b } @took)[-1];
    # Nobody asks nginx for anything meanwhile: a place that is not noticed at once is not used at all.
    cmp_ok $median, '<', 500, 'free places are used at once';

    is answered(@clients), COUNT, 'all are answered';
    is_deeply [ $origin->uris ], [ map {"/slow?$_"} 1 .. COUNT ], 'in order';
    $t->wait_state('open');
    $t->stop;
}

done_testing;
