#!/usr/bin/env perl

# A paced release goes on, at its pace and in order, when a worker is killed, when one stands still
# for a while, and over reloads.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;
use Time::HiRes qw(time);

use lib "$Bin/lib";
use Intermission::Test;

use constant { WORKERS => 3, COUNT => 120, RATE => 60, SLOW => 20 };

my $t = Intermission::Test->new(workers => WORKERS);
my $origin = $t->origin;
my $configuration = default_server(<<'EOF');
    intermission_max_time 1h;
    proxy_set_header X-At $msec;
EOF
$t->start($configuration);

my (@clients, @worker_of, $rate);

# All workers hold some, in turn, and a release is under way.
sub begin {
    ($rate) = @_;
    my @workers = $t->server->workers;
    $origin->forget;
    $t->enable;
    @worker_of = map { $workers[ $_ % @workers ] } 0 .. COUNT;
    @clients = map { $t->hold(GET => "/$_", client => $t->client_at($worker_of[$_])) } 1 .. COUNT;
    $t->must('disable', rate => "${rate}r/s");
    wait_for { $origin->requests >= 10 } 'the release to be under way';
    return @workers;
}

# More requests come, one after the other, while the first are let go.
sub arrive {
    for my $number (@_) {
        my $held = $t->status->{totals}{held};
        push @clients, $t->client->get("/$number");
        wait_for { $t->status->{totals}{held} == $held + 1 } 'the next to be held';
    }
}

# Those are answered, in order, and no faster than they may go.
sub ends_well {
    my ($what, @numbers) = @_;
    my @good = grep { $clients[ $_ - 1 ]->response->status == 200 } @numbers;
    is scalar @good, scalar @numbers, "$what: all are answered";
    my %are = map { ("/$_" => 1) } @numbers;
    my @requests = $origin->requests;
    is_deeply [ grep { $are{$_} } map { $_->{uri} } @requests ], [ map {"/$_"} @numbers ],
        'in order';
    my %seen;
    is_deeply [ grep { $seen{ $_->{uri} }++ } @requests ], [], 'nothing twice';

    # In no second more than the rate, and what may be made up for.
    my @at = map { $_->{headers}{'x-at'} } @requests;
    my $most = 0;
    for my $first (0 .. $#at) {
        my $within = grep { $_ >= $at[$first] && $_ < $at[$first] + 1 } @at;
        $most = $within if $within > $most;
    }
    cmp_ok $most, '<=', $rate * 1.15 + 5, "at its pace: $most in a second at most";
    $t->wait_state('open');
    is $t->status->{held}, 0, 'nobody is held';
}

# A worker is killed.
my ($victim) = begin(RATE);
$t->kill_worker($victim);
ends_well('a worker is killed', grep { $worker_of[$_] != $victim } 1 .. COUNT);

# A worker stands still for less than its lease: the others wait for its turn.
my (undef, $still) = begin(RATE);
kill STOP => $still;
my $until = time + 0.5;
wait_for { time >= $until } 'some time to pass';
kill CONT => $still;
is answered(@clients), COUNT, 'one stands still: all answered';
my %times;
$times{$_}++ for $origin->uris;
is scalar(grep { $_ == 1 } values %times), COUNT, 'once each';
$t->wait_state('open');

# A reload, while enough is left for others to arrive meanwhile.
begin(SLOW);
$t->reload($configuration);
arrive(COUNT + 1 .. COUNT + 20);
ends_well('a reload', 1 .. COUNT + 20);

# Two reloads.
begin(SLOW);
$t->reload($configuration);
arrive(COUNT + 1 .. COUNT + 10);
$t->reload($configuration);
arrive(COUNT + 11 .. COUNT + 20);
ends_well('two reloads', 1 .. COUNT + 20);

$t->finish;
