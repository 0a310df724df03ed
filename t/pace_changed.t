#!/usr/bin/env perl

# A release under way can be stopped and changed: enable stops it where it is, disable with another
# pace changes it, again and again, over several workers. Nothing is lost, doubled or out of order.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;
use Time::HiRes qw(time);

use lib "$Bin/lib";
use Intermission::Test;

use constant { WORKERS => 3, COUNT => 300 };

my $t = Intermission::Test->new(workers => WORKERS, connections => 4096);
my $origin = $t->origin;
$t->start(default_server(<<'EOF'));
    intermission_interval 1h;
    location /intermission/ { intermission_control; intermission_release_rate 20r/s; }
EOF

my @clients;

sub hold_all {
    $origin->forget;
    $t->enable;
    @clients = map { $t->hold(GET => "/$_") } 1 .. COUNT;
}

# All are answered, once each and in order.
sub ends_well {
    my ($what) = @_;
    is answered(@clients), COUNT, "$what: all are answered";
    is_deeply [ $origin->uris ], [ map {"/$_"} 1 .. COUNT ], 'once each, in order';
    $t->wait_state('open');
    $t->wait_in_flight(0);
    is $t->status->{held}, 0, 'nothing is left';
}

sub released_at_least {
    my ($count) = @_;
    wait_for { $t->status->{totals}{released} % COUNT >= $count } "$count to be released";
}

# Stopped three times.
hold_all();
my $seen = 0;
for my $stop (1 .. 3) {
    $t->must('disable', rate => '100r/s');
    released_at_least($seen + 20);
    like $t->control('enable')->body, qr/^Pause enabled\.$/m, "stop $stop: enable";
    my $status = $t->status;
    is $status->{state}, 'paused', 'it is paused';
    cmp_ok $status->{held}, '>', 0, 'and some are still held';
    $t->wait_in_flight(0);
    $seen = $origin->uris;
    is $t->status->{held}, COUNT - $seen, 'who is held and who went make up all';
    my $until = time + 0.2;
    wait_for { time > $until } 'some time to pass';
    is scalar(my @uris = $origin->uris), $seen, 'nobody goes while it is paused';
}
$t->must('disable', rate => '1000r/s');
ends_well('stopped and resumed');

# A pace that would take ages is changed.
hold_all();
$t->disable;
released_at_least(3);
my $start = time;
my $response = $t->control('disable', rate => '1000r/s');
like $response->body, qr/^Pause already disabled\.$/m, 'another pace';
ends_well('20r/s, then 1000r/s');
cmp_ok time - $start, '<', COUNT / 20 / 2, 'the new pace holds at once';

# A fast one is slowed down.
hold_all();
$t->must('disable', rate => '200r/s');
released_at_least(20);
$t->must('disable', rate => '10r/s');
$start = time;
$seen = $t->status->{totals}{released} % COUNT;
released_at_least($seen + 5);
cmp_ok time - $start, '>', 0.2, 'a slower pace holds at once as well';
cmp_ok scalar(my @uris = $origin->uris), '<', $seen + 40, 'and few have gone since';

# The same once more is no new release, and does not begin the pace anew.
$start = time;
my $before = $t->status->{totals}{released};
$t->must('disable', rate => '10r/s') while time - $start < 0.5;
my $went = $t->status->{totals}{released} - $before;
my $took = time - $start;
cmp_ok $went, '<=', 10 * $took + 3,
    sprintf "the same call over and over: $went in %.2f s", $took;
cmp_ok $went, '>=', 2, 'it goes on meanwhile';

# No limit at all, by way of a pause: the calls follow each other without a break.
$t->enable;
$t->must('disable', rate => '1000000r/s');
ends_well('a row of changes');

# Calls at random while requests are let go.
hold_all();
srand 20;
for (1 .. 60) {
    if (rand > 0.5) { $t->enable }
    else { $t->must('disable', rate => int(1 + rand 2000) . 'r/s') }
}
$t->enable;
$t->must('disable', rate => '5000r/s');
ends_well('sixty calls');

$t->finish;
