#!/usr/bin/env perl

# The tests' own tools: several origins in one test each end when they are told to, whichever was
# started first.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test::Origin;
use Intermission::Test::Ports qw(take_port);
use Intermission::Test::Wait qw(TIME_LIMIT);

$SIG{ALRM} = sub { die "an origin did not end\n" };

for my $order ('the first first', 'the last first') {
    my @origins = map { Intermission::Test::Origin->new(port => take_port()) } 1 .. 3;
    my @pids = map { $_->{pid} } @origins;
    @origins = reverse @origins if $order eq 'the last first';
    my $ended = eval {
        alarm TIME_LIMIT;
        $_->stop for @origins;
        alarm 0;
        1;
    };
    ok $ended, "all origins end, $order" or kill KILL => @pids;
}

done_testing;
