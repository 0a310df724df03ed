#!/usr/bin/env perl

# An operator's pause and an outage. Who waits for a backend when an operator pauses waits on. A request that was on its way to its
# backend then, and finds none, is held in front of those who came later, and the pause goes on. Who is held by a pause, and meets an
# outage before its turn comes, has the time of that pause: intermission_max_time, and not intermission_auto_max_time. It gets the usual
# error when that is over, whatever intermission_timeout_action says.

use strict;
use warnings;

use FindBin qw($Bin);
use IO::Socket::INET;
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Wait qw(writable);

my $t = Intermission::Test->new;
$t->start(default_server(<<'EOF'));
    intermission_auto on;
    intermission_auto_interval 20ms;
    intermission_auto_max_time 200ms;
    intermission_max_time 3s;
    intermission_timeout_action 504;
    location /full {
        intermission_app_name full;
        intermission_auto_max_time 60s;
        intermission_max_time 60s;
        proxy_connect_timeout 1s;
        proxy_pass http://127.0.0.1:%%PORT_full%%;
    }
    location /brief {
        intermission_app_name brief;
        intermission_auto_max_time 1s;
        intermission_max_time 60s;
        proxy_pass http://127.0.0.1:%%PORT_ORIGIN%%;
    }
    location /intermission/ { intermission_control; intermission_release_concurrency 1; }
EOF

$t->enable;
my $first = $t->hold(GET => '/first');
my $second = $t->hold(GET => '/second');
$t->disable;
is $first->response->status, 502, 'whose turn came, and found no backend: after intermission_auto_max_time';
ok $second->silent, 'whose turn did not come is held';
is $second->response->status, 502, 'until intermission_max_time is over';

$first = $t->hold(GET => '/brief', app => 'brief');
$t->must('enable', app => 'brief');
wait_for { $t->status('brief')->{oldest_wait_ms} > 1500 } 'intermission_auto_max_time to be over';
ok $first->silent, 'who waits for a backend, and is paused then, has the time of the pause';
$t->origin;
$t->must('disable', app => 'brief');
is $first->response->status, 200, 'and is answered';

# A server whose queue of connections is full: nobody answers to the wish for a connection.
my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $t->port('full'), ReuseAddr => 1, Listen => 1) or die "listen: $!";
my @others;
while (!@others || writable($others[-1], 0.3)) {
    push @others, IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $t->port('full'), Blocking => 0) // die "connect: $!";
}
$first = $t->client->get('/full/first');
wait_for { $t->status('full')->{in_flight} } 'a request to be on its way';
$t->must('enable', app => 'full');
$second = $t->hold(GET => '/full/second', app => 'full');
$t->wait_held(2, 'full');
is $t->status('full')->{state}, 'paused', 'one that was on its way is held, and the pause goes on';
close $_ for @others;

# To the first connection that brings a request.
sub serve {
    while (my $socket = $listener->accept) {
        my $line = readline $socket // next;
        print {$socket} "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nyes";
        return $line;
    }
    die "accept: $!";
}
$t->must('disable', app => 'full');
like serve(), qr{^GET /full/$_ }, "$_: in order" for qw(first second);
is $_->response->status, 200, 'answered' for $first, $second;

$t->finish;
