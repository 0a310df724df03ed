#!/usr/bin/env perl

# The burst of a release: as many go at once and no more, also when the worker stood still and has
# something to make up for. What it missed in a long standstill is forgiven, not made up for.

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
$t->start(<<'EOF');
    server {
        listen 127.0.0.1:%%PORT_80%%;
        intermission on;
        intermission_interval 1h;
        location / {
            proxy_pass http://%%ORIGIN%%;
            proxy_set_header X-At $msec;
        }
        location /intermission/ { intermission_control; }
        location /burst/ { intermission_control; intermission_release_rate 100r/s burst=7; }
    }
EOF

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
    is scalar(grep { $_->response->status == 200 } @clients), $count, 'all are answered';
    wait_for { $t->status->{state} eq 'open' } 'the release to end';

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

for my $case (
    [ 50, '/intermission/disable?rate=100r/s&burst=1', 1 ],
    [ 200, '/intermission/disable?rate=400r/s', 4 ],
    [ 200, '/intermission/disable?rate=400r/s&burst=10', 10 ],
    [ 50, '/burst/disable', 7 ],
) {
    my ($count, $call, $burst) = @$case;
    my $went = release($count, $call, sub { stand_still(0.06) });
    my $most = max values %$went;
    note "$call: at most $most at once";
    cmp_ok $most, '<=', $burst, "no more than $burst at once";
}

# 100 ms of 400r/s are 40, in bursts of 4; what a second of standing still missed is not.
my $went = release(200, '/intermission/disable?rate=400r/s', sub { stand_still(0.5) });
my $most = most_within($went, 50);
note "after half a second's standstill: at most $most in 50 ms";
cmp_ok max(values %$went), '<=', 4, 'no more than the burst at once after a long standstill';
cmp_ok $most, '<=', 40 + 2 * 20, 'and no stampede: a tenth of a second is made up for';

# The burst of the location is for its rate, not for that of a call.
$went = release(50, '/burst/disable?rate=200r/s');
cmp_ok max(values %$went), '<=', 2, "a call's rate has a burst of its own";

# A large burst is no licence to go faster.
$went = release(100, '/intermission/disable?rate=200r/s&burst=1000');
cmp_ok max(keys %$went), '>=', 99 * 5 * 0.95, 'a large burst does not exceed the rate';

$t->finish;
