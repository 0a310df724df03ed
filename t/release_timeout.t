#!/usr/bin/env perl

# A release always ends: when intermission_release_timeout is over, the rest goes at once, in order,
# and the log says so, whether a rate or a concurrency kept it back.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;
use Time::HiRes qw(time);

use lib "$Bin/lib";
use Intermission::Test;

use constant { WORKERS => 3, COUNT => 120, TIMEOUT => 2 };

my $t = Intermission::Test->new(workers => WORKERS);
my $origin = $t->origin('/slow' => { wait => 1 });
$t->start(default_server(<<'EOF'));
    intermission_interval 1h;
    intermission_release_timeout 2s;
    location /patient/ { intermission_control; intermission_release_timeout 1h; }
EOF

my @clients;

sub hold_all {
    my (@uris) = @_;
    $origin->forget;
    $t->enable;
    @clients = map { $t->hold(GET => $_) } @uris;
}

sub log_lines { return scalar $t->server->logged(qr/by release timeout/) }

# When the time was up, if it was.
sub waits_for_timeout {
    my ($start, $what) = @_;
    my $took = time - $start;
    cmp_ok $took, '>=', TIMEOUT - 0.05, "$what: the rest waits";
    cmp_ok $took, '<=', TIMEOUT + 5, 'until the time is up';
}

# A rate that would take two minutes.
my @uris = map {"/$_"} 1 .. COUNT;
hold_all(@uris);
my $start = time;
$t->must('disable', rate => '1r/s');
my $first = $t->status->{held};
is answered(@clients), COUNT, 'a slow rate: all are answered';
waits_for_timeout($start, 'a slow rate');
cmp_ok $first, '>=', COUNT - 2, 'the pace held until then';
is_deeply [ $origin->uris ], \@uris, 'all in order';
$t->wait_state('open');
wait_for { log_lines() } 'the log';
is log_lines(), 1, 'a line in the log';
like $t->server->log, qr/\bdefault\b[^\n]*by release timeout, (?:11[0-9]|120) held/,
    'with the app and how many';

# A concurrency, and an origin that does not answer.
hold_all('/slow', '/slow', @uris);
$start = time;
$t->must('disable', concurrency => 2);
is $clients[-1]->response->status, 200, 'a backend that hangs: the last one is answered';
waits_for_timeout($start, 'a backend that hangs');
is $_->response->status, 200, 'all are' for @clients[ 2 .. $#clients - 1 ];
is_deeply [ $origin->uris ], [ '/slow', '/slow', @uris ], 'all in order';
$t->wait_state('open');
$t->wait_in_flight(2);
ok $_->silent, 'though two are in flight' for @clients[ 0, 1 ];
$origin->answer;
is $_->response->status, 200, 'until they are answered' for @clients[ 0, 1 ];
wait_for { log_lines() >= 2 } 'the log';
is log_lines(), 2, 'another line';

# What arrives meanwhile goes with the rest, behind it.
hold_all(@uris[ 0 .. 19 ]);
$t->must('disable', rate => '1r/s');
my @late = map { $t->hold(GET => "/late-$_") } 1 .. 5;
is $_->response->status, 200, 'all are answered' for @clients, @late;
is_deeply [ $origin->uris ], [ @uris[ 0 .. 19 ], map {"/late-$_"} 1 .. 5 ], 'in order';
$t->wait_state('open');

# A new pace has its own time; one that is paused has none.
wait_for { log_lines() == 3 } 'the log';
hold_all(@uris[ 0 .. 9 ]);
$t->must('disable', rate => '1r/s');
is $t->get('/patient/disable?rate=1r/s')->status, 200, 'a location with another timeout';
my $lines = log_lines();
my $until = time + TIMEOUT + 0.2;
wait_for { time > $until } 'the first timeout to pass';
is $t->status->{state}, 'releasing', 'the call that comes last counts';
$t->enable;
$t->must('disable', rate => '1r/s');
$t->enable;
$until = time + TIMEOUT + 0.2;
wait_for { time > $until } 'the timeout to pass';
is $t->status->{state}, 'paused', 'a pause in between takes the timeout away';
is log_lines(), $lines, 'no line for those';
$t->disable;
is $_->response->status, 200, 'all are answered' for @clients;
$t->wait_state('open');

# Released at once: no timeout, no line.
hold_all(@uris);
$t->disable;
is answered(@clients), COUNT, 'a release without a limit';
$t->wait_state('open');
is log_lines(), $lines, 'logs no timeout';

$t->finish;
