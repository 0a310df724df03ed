#!/usr/bin/env perl

# The burst of a release: as many go at once and no more, also when the worker stood still and has
# something to make up for. What it missed in a long standstill is forgiven, not made up for.
#
# nginx's clock says when a request was let go. On a busy machine a worker may be stopped between a
# look at the clock and the next step, so that two bursts seem to be one: the best of some rounds
# counts. A burst that is not kept shows in each of them.

use strict;
use warnings;

use FindBin qw($Bin);
use List::Util qw(max sum0);
use Test::More;
use Time::HiRes qw(sleep);

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new(connections => 4096);
my $origin = $t->origin;
$t->start(default_server(<<'EOF'));
    intermission_interval 1h;
    proxy_set_header X-At $msec;
    location /burst/ { intermission_control; intermission_release_rate 100r/s burst=7; }
EOF

use constant ROUNDS => 6;

my ($worker) = $t->server->workers;

# Releases so many; how many went in each millisecond from the first on.
sub release {
    my ($count, $call, $meanwhile) = @_;
    $origin->forget;
    $t->enable;
    my @clients = map { $t->client->get("/$_") } 1 .. $count;
    $t->wait_held($count);
    is $t->get($call)->status, 200, "release of $count: $call";
    $meanwhile->() if $meanwhile;
    is answered(@clients), $count, 'all are answered';
    $t->wait_state('open');

    my @at = map { sprintf '%.0f', 1000 * $_->{headers}{'x-at'} } $origin->requests;
    my %went;
    $went{ $_ - $at[0] }++ for @at;
    return \%went;
}

sub stand_still {
    my ($seconds) = @_;
    kill STOP => $worker;
    sleep $seconds;    # the standstill itself
    kill CONT => $worker;
}

# How many went in any so many milliseconds at most.
sub most_within {
    my ($went, $span) = @_;
    return max map {
        my $start = $_;
        sum0 map { $went->{$_} } grep { $_ >= $start && $_ < $start + $span } keys %$went;
    } keys %$went;
}

# Releases until no more go at once than may, and returns how many went when.
sub keeps_burst {
    my ($count, $call, $burst, $meanwhile) = @_;
    my ($went, $most);
    for (1 .. ROUNDS) {
        $went = release($count, $call, $meanwhile);
        $most = max values %$went;
        last if $most <= $burst;
    }
    note "$call: at most $most at once";
    cmp_ok $most, '<=', $burst, "no more than $burst at once";
    return $went;
}

keeps_burst(@$_, sub { stand_still(0.06) }) for (
    [ 50, '/intermission/disable?rate=100r/s&burst=1', 1 ],
    [ 200, '/intermission/disable?rate=400r/s', 4 ],
    [ 200, '/intermission/disable?rate=400r/s&burst=10', 10 ],
    [ 50, '/burst/disable', 7 ],
);

# 100 ms of 400r/s are 40, in bursts of 4; what half a second of standing still missed is not.
my $went = keeps_burst(200, '/intermission/disable?rate=400r/s', 4, sub { stand_still(0.5) });
my $most = most_within($went, 50);
note "after half a second's standstill: at most $most in 50 ms";
cmp_ok $most, '<=', 40 + 2 * 20, 'no stampede: a tenth of a second is made up for';

# The burst of the location is for its rate, not for that of a call.
keeps_burst(50, '/burst/disable?rate=200r/s', 2);

# A large burst is no licence to go faster.
$went = release(100, '/intermission/disable?rate=200r/s&burst=1000');
cmp_ok max(keys %$went), '>=', 99 * 5 * 0.95, 'a large burst does not exceed the rate';

$t->finish;
