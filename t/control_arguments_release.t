#!/usr/bin/env perl

# Wrong arguments of the calls that pause and release: 400, naming the argument, what it was and
# what is allowed; and nothing changes, whatever state the app is in. The edges of what is right are
# there as well.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new;
my $origin = $t->origin('/slow' => { wait => 1 });
$t->start(default_server(<<'EOF'));
    intermission_app_name $arg_app;
    location /intermission/ {
        intermission_control;
        intermission_release_concurrency 1;
        intermission_release_timeout 1h;
    }
    location /paced/ { intermission_control; intermission_release_rate 5000r/s; }
EOF

# An app in each state. One request is in flight in that which releases, and one is held.
my @states = qw(open paused releasing maintenance);
my @clients;
for my $app (qw(paused releasing)) {
    $t->enable($app);
    push @clients, map { $t->hold(GET => "/slow?app=$app", app => $app) } 1 .. 2;
}
$t->must('enable', app => 'paused', for => '1h');
$t->disable('releasing');
$t->must('maintenance', app => 'maintenance', retry_after => '77s');

sub all_that_is {
    my @all = map { $t->status($_) } @states;
    delete @$_{qw(oldest_wait_ms since resumes_at)} for @all;
    return \@all;
}

# When the paused app resumes, in seconds of the day.
sub deadline {
    my ($hour, $minute, $second) = $t->status('paused')->{resumes_at} =~ /T(\d+):(\d+):(\d+)Z/;
    return 3600 * $hour + 60 * $minute + $second;
}

$origin->wait_requests(1);
my ($before, $deadline) = (all_that_is(), deadline());
is_deeply [ map { $_->{state} } @$before ], \@states, 'an app in each state';

# What is allowed, in the words of the answer.
my $time = 'a time above 0 and at most 1d';
my $count = 'a number from 1 to 1000000';
my $rate = 'a rate from 1r/s to 1000000r/s';
my @no_times = ('', qw(0 0s 0ms -1 -1s x 1x 1y 1d1s 2d 86401 25h 1M 1.5s s 1s1s 1s1m 1e3 1s%20 %201s
    1%00s 99999999999999999999 18446744073709551616s 18446744073709552s 213503982334d));
my @no_counts = ('', qw(0 -1 x 1x 1.5 1e3 +1 0x10 %201 1%20 1000001 4294967296 4294967297
    18446744073709551617));
my @no_rates = ('', qw(0 0r/s -1 -1r/s x xr/s 1 100 r/s 1r/m 1R/s 1r/s1 1.5r/s 1%20r/s 1000001r/s
    4294967297r/s 18446744073709551617r/s));
my %wrong = (
    enable => { for => [ $time, @no_times ], drain => [ $time, @no_times ] },
    disable => {
        rate => [ $rate, @no_rates ],
        burst => [ $count, @no_counts ],
        concurrency => [ $count, @no_counts ],
        canary => [ $count, @no_counts ],
        for => [ $time, @no_times ],
    },
    maintenance => { retry_after => [ 'a time from 1s to 1d', @no_times, '999ms' ] },
);

# The answer to a call with that query, at an app in each state.
sub refused {
    my ($call, $query, @named) = @_;
    my $bad = 0;
    for my $app (@states) {
        my $response = $t->get("/intermission/$call?app=$app&$query");
        my $line = (split /\n/, $response->body)[0];
        my @missing = grep { index($line, $_) < 0 } @named;
        next if $response->status == 400 && !@missing;
        $bad++;
        diag "$call?$query at $app: ${\ $response->status} $line";
    }
    return is $bad, 0, "$call?$query";
}

sub shown { return $_[0] =~ s/%00/?/gr =~ s/%20/ /gr =~ s/\+/ /gr }

for my $call (sort keys %wrong) {
    for my $name (sort keys %{ $wrong{$call} }) {
        my ($allowed, @values) = @{ $wrong{$call}{$name} };
        refused($call, "$name=$_", $name, '"' . shown($_) . '"', $allowed) for @values;
        refused($call, $name, $name, $allowed);
        refused($call, "$name=1s&$name=1s", $name, 'twice');
        refused($call, "$name=5&$name=6", $name, 'twice');
        refused($call, uc "$name=1s", uc $name, 'knows', $name);
        my ($other) = grep { !$wrong{$_}{$name} } sort keys %wrong;
        refused($other, "$name=1s", $name, 'unknown');
        is $t->get("/intermission/status?$name=1s")->status, 400, "status does not know $name";
    }
}

# Flags, and what goes together.
refused('enable', "drain=1s&keep=$_", 'keep', '0 or 1') for '', qw(2 yes on true -1 01);
refused('enable', 'keep=1', 'keep', 'drain');
refused('disable', 'burst=5', 'burst', 'rate');
refused('disable', 'for=5s', 'for', 'canary');
refused('disable', 'rate=1000000r/s&burst=999', 'burst', '999', '1000000r/s', 'at least 1000');
refused('disable', 'rate=1001r/s&burst=1', 'burst', 'at least 2');
refused('disable', 'rate=10r/s&canary=0', 'canary', $count);
is $t->get('/paced/disable?app=paused&burst=4')->status, 400, "too small for a location's rate";
refused('enable', 'for=1s&bogus=1', 'bogus', 'for, drain, settle, keep');

# All apps at once.
for my $query (qw(enable maintenance enable?for=1s maintenance?retry_after=1s disable?canary=1
    disable?rate=0 disable?rate=1r/s&rate=2r/s)) {
    my $response = $t->get("/intermission/$query" . ($query =~ /\?/ ? '&' : '?') . 'app=*');
    is $response->status, 400, "$query of all apps";
}
is_deeply all_that_is(), $before, 'after all that nothing has changed';
# The clock that people read is a second off now and then.
my $moved = (deadline() - $deadline + 43_200) % 86_400 - 43_200;
cmp_ok abs $moved, '<=', 1, 'nor has the deadline';
is $t->get('/?app=maintenance')->header('Retry-After'), 77, 'nor what maintenance says';

# The edges of what is right, each in an app of its own.
my @right = (
    (map {"enable?for=$_"} qw(1ms 1 1d 24h 86400 23h59m60s 0001s)),
    (map {"enable?drain=$_"} qw(1ms 1d 1d&keep=0 1s&keep=1)),
    (map {"disable?rate=$_"} qw(1r/s 1000000r/s 1000000r/s&burst=1000 1r/s&burst=1000000 01r/s)),
    (map {"disable?concurrency=$_"} qw(1 1000000 0001)),
    (map {"maintenance?retry_after=$_"} qw(1s 1d 1000ms)),
);
my $number = 0;
for my $query (@right) {
    $number++;
    my ($call) = split /\?/, $query;
    $t->enable("right-$number") if $call eq 'disable';
    is $t->get("/intermission/$query&app=right-$number")->status, 200, $query;
}
$t->enable('canary');
my $caller = $t->call('disable', app => 'canary', canary => 1_000_000);
$t->wait_state('releasing', 'canary');
$t->disable('canary');
is $caller->response->status, 409, 'which has not come together';
is $t->get('/paced/disable?app=paused&burst=5')->status, 200, "a burst for a location's rate";

$t->finish;
