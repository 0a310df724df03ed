#!/usr/bin/env perl

# While a paced release is under way: what arrives goes to the end of the queue, whichever worker it
# comes to, and clients that leave make way for the next without a gap.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

use constant { WORKERS => 3, EARLY => 150, LATE => 30, RATE => 50 };

my $t = Intermission::Test->new(workers => WORKERS, connections => 4096);
my $origin = $t->origin;
$t->start(default_server(<<'EOF'));
    intermission_interval 1h;
    proxy_set_header X-At $msec;
    proxy_set_header X-Worker $pid;
EOF

# How many workers let these requests go.
sub workers_of {
    my %pids = map { $_->{headers}{'x-worker'} => 1 } @_;
    return scalar keys %pids;
}

# Arrivals during the release.
$t->enable;
my @clients = map { $t->hold(GET => "/early-$_") } 1 .. EARLY;
my $response = $t->control('disable', rate => RATE . 'r/s');
like $response->body, qr/^Pause disabled\.$/m, 'disable answers at once';
like $response->body, qr/^state: releasing$/m, 'and the release is under way';
for my $number (1 .. LATE) {
    my $held = $t->status->{totals}{held};
    push @clients, $t->client->get("/late-$number");
    wait_for { $t->status->{totals}{held} == $held + 1 } 'the next to be held';
}
cmp_ok $t->status->{totals}{released}, '<', EARLY, 'more arrive while the first are let go';
is answered(@clients), EARLY + LATE, 'all are answered';

my @requests = $origin->requests;
is_deeply [ map { $_->{uri} } @requests ],
    [ (map {"/early-$_"} 1 .. EARLY), (map {"/late-$_"} 1 .. LATE) ],
    'in the order in which they came';
is workers_of(@requests), WORKERS, 'over all workers';
my $took = $requests[-1]{headers}{'x-at'} - $requests[0]{headers}{'x-at'};
cmp_ok $took, '>=', (EARLY + LATE - 1) / RATE * 0.95, 'those that came later keep the pace as well';
$t->wait_state('open');
is $t->get('/next')->status, 200, 'then requests go through';

# Two of three clients leave during the release, some of them one after the other.
$origin->forget;
$t->enable;
@clients = map { $t->hold(GET => "/$_") } 1 .. 3 * EARLY;
$t->must('disable', rate => RATE . 'r/s');
wait_for { $origin->requests >= 5 } 'the release to be under way';
my $known = $origin->requests;
my @leave = grep { $_ % 3 || ($_ > 2 * EARLY && $_ < 2 * EARLY + 30) } $known + 100 .. 3 * EARLY;
my $before = $t->status->{totals}{aborted};
my %left = map { $_ => 1 } @leave;
$clients[ $_ - 1 ]->close for @leave;
wait_for { $t->status->{totals}{aborted} == $before + @leave } 'those who left to be counted';

my @stayed = grep { !$left{$_} } 1 .. 3 * EARLY;
is scalar(grep { $clients[ $_ - 1 ]->response->status == 200 } @stayed), @stayed,
    'who stayed is answered';
@requests = $origin->requests;
is_deeply [ map { $_->{uri} } @requests ], [ map {"/$_"} @stayed ], 'they alone, in order';
is workers_of(@requests), WORKERS, 'over all workers';

my @gaps = map { 1000 * ($requests[$_]{headers}{'x-at'} - $requests[ $_ - 1 ]{headers}{'x-at'}) }
    1 .. $#requests;
my $median = (sort { $a <=> $b } @gaps)[ @gaps / 2 ];
my @long = grep { $_ > 1000 / RATE * 5 } @gaps;
note sprintf 'from one to the next: median %.0f ms, %d of %d gaps are long', $median,
    scalar @long, scalar @gaps;
cmp_ok $median, '<=', 1000 / RATE * 1.1, 'who left leaves no gap';
cmp_ok scalar @long, '<', @gaps / 10, 'nor does a row of them';
$took = $requests[-1]{headers}{'x-at'} - $requests[0]{headers}{'x-at'};
my $asked = (@stayed - 1) / RATE;
my $all = 3 * EARLY / RATE;
cmp_ok $took, '<', ($asked + $all) / 2, sprintf 'they go in %.2f s instead of %.2f s', $took, $all;

$t->wait_state('open');
my $status = $t->status;
is $status->{held}, 0, 'nobody is held';
is $status->{totals}{held},
    $status->{totals}{released} + $status->{totals}{aborted}, 'and everybody is accounted for';

$t->finish;
