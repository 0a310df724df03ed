#!/usr/bin/env perl

# The wall clock is set, forward and back, while requests are held: deadlines, the longest time of a
# hold, and waits follow the monotonic clock. Needs the library of Debian's package libfaketime,
# which sets the clock for nginx alone.

use strict;
use warnings;

use File::Temp qw(tempdir);
use FindBin qw($Bin);
use Test::More;
use Time::HiRes qw(time);

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::FakedClock;

my $folder = tempdir(CLEANUP => 1);
chmod 0755, $folder;    # nginx's workers read there
my $clock = Intermission::Test::FakedClock->new("$folder/shift");

# nginx takes this along into its workers.
my %environment = $clock->environment;
my $t = Intermission::Test->new(workers => 2, main => join ' ', map {"env $_;"} sort keys %environment);
my $origin = $t->origin;

{
    local @ENV{ keys %environment } = values %environment;
    $t->start(default_server(<<'EOF'));
        listen 127.0.0.1:%%PORT_80%%;
        intermission_app_name $arg_app;
        location /short { intermission_max_time 3s; proxy_pass http://%%ORIGIN%%; }
        location /clock { intermission off; return 200 $msec; }
EOF
}

sub wall_clock { return $t->get('/clock')->body }

for my $by ('+3600', '-7200') {
    $clock->set(0);
    wait_for { abs(wall_clock() - time) < 60 } 'the right time';
    $t->must('enable', app => 'deadline', for => '4s');
    my $began = time;
    $t->enable('pause');
    my $deadline = $t->hold(GET => '/deadline?app=deadline', app => 'deadline');
    my $short = $t->hold(GET => '/short?app=pause', app => 'pause');
    my $long = $t->hold(GET => '/long?app=pause', app => 'pause');

    $clock->set($by);
    wait_for { abs(wall_clock() - time) > 3000 } 'nginx to see another time';
    my $oldest = $t->status('pause')->{oldest_wait_ms};
    my $passed = 1000 * (time - $began);
    cmp_ok $oldest, '<=', $passed, "$by s: the oldest wait has not grown";
    ok !(grep { !$_->silent } $deadline, $short, $long), 'nobody is released by that';
    is $t->status('deadline')->{state}, 'paused', 'no deadline comes early';

    is $short->response->status, 200, 'the longest time of a hold ends';
    my $waited = time - $began;
    ok 2.95 < $waited && $waited < 6, sprintf 'when it is over: %.2f s', $waited;
    is $deadline->response->status, 200, 'a deadline comes';
    $waited = time - $began;
    ok 3.95 < $waited && $waited < 7, sprintf 'in time: %.2f s', $waited;
    ok $long->silent, 'others are still held';

    my $hold = $t->hold(GET => '/new?app=pause', app => 'pause');
    $t->disable('pause');
    is $_->response->status, 200, 'and released' for $long, $hold;
    $t->wait_state('open', 'pause');
}

$t->finish;
