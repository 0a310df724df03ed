#!/usr/bin/env perl

# A drain answers within 10 ms of the end of the last request, whichever workers the two are at,
# without looking at intervals: those are an hour here. The times are those of nginx's own log,
# and the median counts, as the machine may be busy with something else.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;
use Time::HiRes qw(time);

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Server;

use constant { WORKERS => 4, ROUNDS => 16, LIMIT => 10 };

my $t = Intermission::Test->new(workers => WORKERS);
my $origin = $t->origin('/slow' => { wait => 1 });
my $format = q(log_format timed '$msec $pid $request_uri';);
$t->start($format . default_server(<<'EOF'));
    intermission_interval 1h;
    access_log %%FOLDER%%/timed.log timed;
    location /pid { intermission off; access_log off; return 200 $pid; }
EOF

my @workers = $t->server->workers;
my @control = map { $t->client_at($_) } @workers;

sub status_at { return $_[0]->get('/intermission/status?format=json')->response->json }

# When that was logged at last, in milliseconds, and by which worker.
sub logged {
    my ($uri, $count) = @_;
    my $log = wait_for {
        my @lines = grep {/ \Q$uri\E$/} split /\n/,
            slurp($t->folder . '/timed.log');
        @lines == $count && $lines[-1];
    } "$uri in the log";
    my ($seconds, $worker) = split / /, $log;
    return ($seconds * 1000, $worker);
}

my (@logged, @seen, %pairs);
for my $round (1 .. ROUNDS) {
    # Three requests at a worker, held ones at all of them, and a caller at another.
    my ($with_last, $with_caller) = ($round % WORKERS, int(($round - 1) / WORKERS) % WORKERS);
    $origin->forget;
    my @slow = map { $t->client_at($workers[$with_last])->get("/slow?$round") } 1 .. 3;
    $origin->wait_requests(3);
    $t->enable;
    my @held = map { $t->hold(GET => '/held', client => $t->client_at($_)) } @workers;
    my $call = '/intermission/enable?drain=' . (20 + $round) . 's';
    my $caller = $t->client_at($workers[$with_caller])->get($call);
    status_at($_) for @control;

    $origin->answer(2);
    $slow[$_]->response for 0, 1;
    my $silent = $caller->silent;
    my $start = time;
    $origin->answer;
    my $status = $caller->response->status;
    push @seen, 1000 * (time - $start);
    $slow[2]->response;
    my ($ended, $at) = logged("/slow?$round", 3);
    my ($answered, $by) = logged($call, 1);
    push @logged, $answered - $ended;
    $pairs{"$at $by"} = 1;
    ok $silent && $status == 200, "round $round: an answer behind the last request";

    $t->disable;
    $_->response for @held;
}
is keys %pairs, ROUNDS, 'each pair of workers had its turn';

sub median { return (sort { $a <=> $b } @_)[ @_ / 2 ] }
note sprintf 'from the end to the answer: median %.1f ms, most %.1f ms; as seen: median %.1f ms',
    median(@logged), (sort { $a <=> $b } @logged)[-1], median(@seen);
cmp_ok median(@logged), '<=', LIMIT, 'the answer comes within 10 ms of the end';
cmp_ok median(@seen), '<=', 3 * LIMIT, 'as its client sees it';

$t->finish;
