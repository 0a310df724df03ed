#!/usr/bin/env perl

# Drain, pace, concurrency, canary and maintenance with streams of HTTP/2, with and without bodies,
# and with bodies that come slowly: each stream is a request of its own.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

use constant COUNT => 30;

my $t = Intermission::Test->new;
my $origin = $t->origin('/slow' => { wait => 1 });
$t->start(default_server(<<'EOF'));
    listen 127.0.0.1:%%PORT_82%% http2;
    http2_max_concurrent_streams 200;
    intermission_interval 1h;
    proxy_set_header X-At $msec;
EOF

my ($one, $two) = map { $t->http2(port => $t->port(82)) } 1, 2;
my @streams;

# Holds them in turn on two connections, every third with a body.
sub hold_all {
    my ($path) = @_;
    $origin->forget;
    $t->enable;
    @streams = map {
        my $connection = $_ % 2 ? $one : $two;
        my @request = $_ % 3 ? ('GET') : ('POST');
        my $stream = $connection->request(@request, "$path$_", body => $_ % 3 ? '' : 'x' x 5000);
        $t->wait_held($_);
        [ $connection, $stream ]
    } 1 .. COUNT;
}

sub status_of { return $_[0][0]->response($_[0][1])->status }

sub all_good {
    my ($what, $path) = @_;
    is scalar(grep { status_of($_) == 200 } @streams), COUNT, "$what: all are answered";
    is_deeply [ $origin->uris ], [ map {"$path$_"} 1 .. COUNT ], 'in order';
    $t->wait_state('open');
    $t->wait_in_flight(0);
}

# Drain: each stream is waited for.
my @slow = map { [ $one, $one->get("/slow?$_") ] } 1 .. 3;
$origin->wait_requests(3);
my $caller = $t->call('enable', drain => '20s');
$t->wait_in_flight(3);
$one->reset($slow[0][1]);
$t->wait_in_flight(2);
$t->status for 1 .. 5;
ok $caller->silent, 'a drain waits for all streams of a connection';
$origin->answer;
is status_of($_), 200, 'a stream is answered' for @slow[ 1, 2 ];
is $caller->response->status, 200, 'and the drain ends';
$t->disable;

# A pace.
hold_all('/paced-');
$t->must('disable', rate => '50r/s');
all_good('at a rate', '/paced-');
my @requests = $origin->requests;
my $took = $requests[-1]{headers}{'x-at'} - $requests[0]{headers}{'x-at'};
cmp_ok $took, '>=', (COUNT - 1) / 50 * 0.9, sprintf 'and no faster: %.2f s', $took;

# Places.
hold_all('/slow?');
$t->must('disable', concurrency => 4);
for my $round (1 .. int(COUNT / 4)) {
    $origin->wait_requests(4 * $round);
    $t->status for 1 .. 3;
    my $there = $origin->uris;
    is $there, 4 * $round, 'four streams at a time';
    $origin->answer;
}
$origin->wait_requests(COUNT);
$origin->answer;
all_good('in places', '/slow?');

# A canary, one of which is reset.
hold_all('/slow?');
$caller = $t->call('disable', canary => 4);
$origin->wait_requests(4);
$one->reset($streams[0][1]);
$origin->wait_requests(5);
ok $caller->silent, 'a stream of a canary is reset: the next is tried';
$origin->answer;
is $caller->response->status, 200, 'the canary is good';
$origin->wait_requests(COUNT);
$origin->answer;
is scalar(grep { status_of($_) == 200 } @streams[ 1 .. COUNT - 1 ]), COUNT - 1, 'all are answered';
$t->wait_state('open');

# Maintenance.
hold_all('/');
$t->must('maintenance');
is scalar(grep { status_of($_) == 503 } @streams), COUNT, 'maintenance: 503 to each stream';
is_deeply [ $origin->uris ], [], 'and nothing leaks';
is status_of([ $two, $two->get('/new') ]), 503, 'nor from a new one';
$t->disable;
is status_of([ $two, $two->get('/new') ]), 200, 'the connections are good for more';

# A body that comes slowly takes no place, until it is there.
for my $way ('comes', 'goes') {
    $origin->forget;
    $t->enable;
    my $slow = $t->client;
    $slow->send($slow->head(POST => '/upload', length => 10) . 'x' x 5);
    $t->wait_held(1);
    my $next = $t->hold(GET => '/next');
    $t->must('disable', concurrency => 1);
    is $next->response->status, 200, "$way: the next one has the place";
    if ($way eq 'comes') {
        $slow->send('x' x 5);
        is $slow->response->status, 200, 'and then the upload';
    }
    else {
        $slow->close;
    }
    $t->wait_state('open');
}

$t->finish;
