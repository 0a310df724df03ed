#!/usr/bin/env perl

# disable?canary=N lets the first N go, waits until they are over, and lets the rest go when all of
# them came back well. The caller waits for the verdict. Over several workers, in order, and without
# looking at intervals.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

use constant { COUNT => 60, CANARY => 5 };

for my $workers (1, 3) {
    my $t = Intermission::Test->new(workers => $workers);
    my $origin = $t->origin('/slow' => { wait => 1 });
    $t->start(default_server(<<'EOF'));
        intermission_interval 1h;
EOF

    my @uris = map {"/slow?$_"} 1 .. COUNT;
    my @clients;
    my $begin = sub {
        $origin->forget;
        $t->enable;
        @clients = map { $t->hold(GET => $_) } @uris;
        my $caller = $t->call('disable', canary => CANARY, @_);
        $origin->wait_requests(CANARY);
        return $caller;
    };
    my $end = sub {
        my ($what) = @_;
        $origin->wait_requests(COUNT);
        $origin->answer;
        is answered(@clients), COUNT, "$what: all are answered";
        is_deeply [ $origin->uris ], \@uris, 'in order';
        $t->wait_state('open');
    };

    # A canary that is good.
    my $caller = $begin->();
    my $status = $t->status;
    is $status->{state}, 'releasing', "$workers workers: the app is releasing";
    is $status->{held}, COUNT - CANARY, 'only the canary was let go';
    is $status->{in_flight}, CANARY, 'it is in flight';
    ok $caller->silent, 'the caller waits';

    my @late = map { $t->hold(GET => "/late-$_") } 1 .. 3;
    $origin->answer(CANARY - 1);
    $t->wait_in_flight(1);
    $t->status for 1 .. 5;
    ok $caller->silent, 'it waits for the last one as well';
    is scalar(my @there = $origin->uris), CANARY, 'and so does the rest';

    $origin->answer;
    my $answer = $caller->response;
    is $answer->status, 200, 'the verdict';
    like $answer->body, qr/^Pause disabled\.\ncanary: 5\ncanary_failed: 0\n/, 'in words';
    $origin->wait_requests(COUNT + 3);
    $origin->answer;
    is $_->response->status, 200, 'an answer' for @clients, @late;
    is_deeply [ $origin->uris ], [ @uris, map {"/late-$_"} 1 .. 3 ],
        'in order, those that came meanwhile at the end';
    $t->wait_state('open');

    # The rest at a pace of its own.
    $caller = $begin->(concurrency => 2, format => 'json');
    $origin->answer;
    is $caller->response->json->{canary}, CANARY, 'the answer as JSON';
    $origin->wait_requests(CANARY + 2);
    is $t->status->{held}, COUNT - CANARY - 2, 'the rest goes at its pace';
    $t->must('disable', concurrency => 100);
    $end->('a canary and a pace');

    # As many as are held, and more.
    $origin->forget;
    $t->enable;
    @clients = map { $t->hold(GET => $_) } @uris[ 0 .. 2 ];
    $caller = $t->call('disable', canary => 5);
    $origin->wait_requests(3);
    $origin->answer;
    is answered(@clients), 3, 'fewer are held than asked for';
    ok $caller->silent, 'the caller waits on';
    is $t->status->{state}, 'releasing', 'the app releases on';
    push @clients, map { $t->client->get($_) } @uris[ 3, 4 ];
    $origin->wait_requests(5);
    ok $caller->silent, 'what comes next is taken';
    my $more = $t->hold(GET => '/more');
    $origin->answer;
    is $caller->response->status, 200, 'and then there is a verdict';
    is $_->response->status, 200, 'all are answered' for @clients[ 3, 4 ], $more;
    $t->wait_state('open');

    # More than a worker lets go in one turn.
    $origin->forget;
    $t->enable;
    @clients = map { $t->hold(GET => "/slow?$_") } 1 .. 200;
    $caller = $t->call('disable', canary => 150);
    $origin->wait_requests(150);
    $t->status for 1 .. 5;
    is $t->status->{in_flight}, 150, 'a large canary';
    $origin->answer(149);
    $t->wait_in_flight(1);
    ok $caller->silent, 'all of it is awaited';
    $origin->answer;
    is $caller->response->status, 200, 'its verdict';
    $origin->wait_requests(200);
    $origin->answer;
    is answered(@clients), 200, 'all are answered';
    is_deeply [ $origin->uris ], [ map {"/slow?$_"} 1 .. 200 ], 'in order';
    $t->wait_state('open');

    # Nobody held, and not paused at all.
    $t->enable;
    $caller = $t->call('disable', canary => 1);
    $t->wait_state('releasing');
    is $t->get('/first')->status, 200, 'the first that comes is the canary';
    is $caller->response->status, 200, 'with a verdict';
    is $t->status->{state}, 'open', 'and the app is open';
    $answer = $t->control('disable', canary => 1);
    like $answer->body, qr/^Pause already disabled\.$/m, 'no canary where nothing is paused';
    is $t->status->{state}, 'open', 'the app stays open';
    $t->stop;
}

done_testing;
