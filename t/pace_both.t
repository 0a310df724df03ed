#!/usr/bin/env perl

# A rate and a concurrency together: a release is never faster than the one nor in more places than
# the other, whichever is the tighter, and what a full backend delayed is not made up for at once.

use strict;
use warnings;

use FindBin qw($Bin);
use List::Util qw(max min);
use Test::More;
use Time::HiRes qw(sleep time);

use lib "$Bin/lib";
use Intermission::Test;

use constant { WORKERS => 2, COUNT => 120 };

my $t = Intermission::Test->new(workers => WORKERS);
my $origin = $t->origin('/slow' => { wait => 1 });
$t->start(default_server(<<'EOF'));
    intermission_interval 1h;
    proxy_set_header X-At $msec;
    location /intermission/ {
        intermission_control;
        intermission_release_rate 200r/s burst=3;
        intermission_release_concurrency 5;
    }
EOF

my @clients;

# Releases all by this call, while the origin answers so many of those that wait every 10 ms.
# Returns the most that were in flight, and how many went in each millisecond.
sub release {
    my ($answers, %call) = @_;
    $origin->forget;
    $t->enable;
    @clients = map { $t->hold(GET => "/slow?$_") } 1 .. COUNT;
    $t->must('disable', %call);
    my ($answered, $most) = (0, 0);
    while ($answered < COUNT) {
        my $there = grep { $_->{complete} } $origin->requests;
        $most = max($most, $there - $answered);
        my $count = min($answers, $there - $answered);
        $origin->answer($count) if $count;
        $answered += $count;
        sleep 0.01;    # the backend takes its time
    }
    is answered(@clients), COUNT, 'all are answered';
    is_deeply [ $origin->uris ], [ map {"/slow?$_"} 1 .. COUNT ], 'in order';
    $t->wait_state('open');
    my %went;
    my @at = map { sprintf '%.0f', 1000 * $_->{headers}{'x-at'} } $origin->requests;
    $went{ $_ - $at[0] }++ for @at;
    return ($most, \%went);
}

sub took { return max(keys %{ $_[0] }) / 1000 }

# The rate is the tighter: 120 at 200r/s take 0.6 s.
my ($most, $went) = release(5);
note sprintf 'a fast backend: %.2f s, %d in flight at most', took($went), $most;
cmp_ok took($went), '>=', (COUNT - 1) / 200 * 0.95, 'a fast backend: no faster than the rate';
cmp_ok $most, '<=', 5, 'no more in flight than asked for';

# The concurrency is the tighter: one answer in 10 ms at most.
($most, $went) = release(1);
note sprintf 'a slow backend: %.2f s, %d in flight at most', took($went), $most;
is $most, 5, 'a slow backend: all places are used, no more';
cmp_ok took($went), '>=', (COUNT - 5) * 0.01 * 0.95, 'as fast as it answers';

# The call overrides each by itself.
($most, $went) = release(5, concurrency => 2);
cmp_ok $most, '<=', 2, "concurrency=2: as many places, and the location's rate";
cmp_ok took($went), '>=', (COUNT - 1) / 200 * 0.95, 'which holds';
($most, $went) = release(100, rate => '1000r/s');
cmp_ok $most, '<=', 5, "rate=1000r/s: the location's places";
cmp_ok took($went), '>', 0, 'a rate of its own';

# A backend that hangs and comes back: what was missed meanwhile does not come at once.
$origin->forget;
$t->enable;
@clients = map { $t->hold(GET => "/slow?$_") } 1 .. COUNT;
$t->must('disable', rate => '100r/s', concurrency => 50);
$origin->wait_requests(50);
my $until = time + 0.5;
wait_for { time > $until } 'the backend to hang';
is scalar(my @uris = $origin->uris), 50, 'a backend that hangs has what it was to have';
my $back = time;
$origin->answer;
$origin->wait_requests(90);
my $took = time - $back;
# Of these 40, 100 ms may be made up for.
cmp_ok $took, '>=', (40 - 11) / 100 * 0.95, 'when it is back, the rate holds';
$origin->answer;
$origin->wait_requests(COUNT);
$origin->answer;
is answered(@clients), COUNT, 'all are answered';

$t->finish;
