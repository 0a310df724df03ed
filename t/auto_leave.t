#!/usr/bin/env perl

# Clients that leave at random while a backend goes down and comes back: while they are held, when they are let go, and on their
# way. Who stays is answered, what was sent is sent once, and in the end nothing is held and nothing in flight.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;
use Time::HiRes qw(sleep);

use lib "$Bin/lib";
use Intermission::Test;

use constant { ROUNDS => 6, CLIENTS => 60 };

my $seed = $ENV{INTERMISSION_SEED} // time;
srand $seed;
diag "seed: $seed";

my $t = Intermission::Test->new(workers => 2);
$t->start(default_server(<<'EOF'));
    listen 127.0.0.1:%%PORT_82%% http2 reuseport;
    intermission_auto on;
    intermission_auto_interval 10ms;
    intermission_interval 20ms;
EOF

# A request over HTTP/1.1 or as a stream: what leaves, and what waits for the answer.
sub send_one {
    my ($uri) = @_;
    my @body = rand() < 0.5 ? (body => 'x' x int rand 30_000) : ();
    my $method = @body ? 'POST' : 'GET';
    if (rand() < 0.5) {
        my $client = $t->client->request($method => $uri, @body);
        my $leave = rand() < 0.5 ? sub { $client->close } : sub { $client->reset };
        return ($leave, sub { $client->response->status });
    }
    my $connection = $t->http2(port => $t->port(82));
    my $stream = $connection->request($method => $uri, @body);
    my @ways = (sub { $connection->reset($stream) }, sub { $connection->close }, sub { $connection->abort });
    return ($ways[ rand @ways ], sub { $connection->response($stream)->status });
}

my (%sent, @lost, $number);
for my $round (1 .. ROUNDS) {
    my (@stay, @leave);
    for (1 .. CLIENTS) {
        my ($leave, $wait) = send_one('/' . ++$number);
        if (rand() < 0.5) { push @leave, $leave }
        else { push @stay, [ $number, $wait ] }
        (splice @leave, rand @leave, 1)->() if @leave && rand() < 0.5;
    }
    my $half = @leave / 2;
    $_->() for splice @leave, 0, $half;
    my $origin = $t->origin;
    for my $leave (@leave) {
        sleep rand 0.01;
        $leave->();
    }
    push @lost, grep { $_->[1]->() != 200 } @stay;
    wait_for { my $now = $t->status; $now->{state} eq 'open' && !$now->{held} && !$now->{in_flight} } 'the end of all';
    $sent{$_}++ for $origin->uris;
    $t->end_origin;
}
is_deeply [ map { $_->[0] } @lost ], [], 'who stays is answered';
is_deeply [ grep { $sent{$_} > 1 } sort keys %sent ], [], 'nothing is sent twice';
my %totals = %{ $t->status->{totals} };
cmp_ok $totals{aborted}, '>', 0, "$totals{aborted} left while they were held";
is $totals{held}, $totals{released} + $totals{aborted} + $totals{timed_out} + $totals{rejected}, 'each hold has one end';

$t->finish;
