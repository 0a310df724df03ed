#!/usr/bin/env perl

# What happens to those who wait for a backend that is down: clients that leave, an operator who pauses, resumes or answers 503, a
# reload, a worker that is killed, a backend that is a unix socket, one that nginx may not connect to, and several servers.

use strict;
use warnings;

use FindBin qw($Bin);
use IO::Socket::UNIX;
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new(workers => 2);
my $conf = <<'EOF';
    upstream several { server 127.0.0.1:%%PORT_ORIGIN%%; server 127.0.0.1:%%PORT_2%%; }
    server {
        listen 127.0.0.1:%%PORT_80%% reuseport;
        intermission on;
        intermission_auto on;
        intermission_auto_interval 20ms;
        intermission_interval 50ms;
        location / { proxy_pass http://127.0.0.1:%%PORT_ORIGIN%%; }
        location /socket { intermission_app_name socket; proxy_pass http://unix:%%FOLDER%%/there/socket; }
        location /several { intermission_app_name several; proxy_pass http://several; }
        location = /pid { intermission off; return 200 $pid; }
        location /intermission/ { intermission_control; }
    }
EOF
$t->start($conf);


# Clients that leave.
my @clients = map { $t->hold(GET => "/$_") } 1 .. 4;
$_->close for @clients[ 0, 2 ];
$t->wait_held(2);
my $origin = $t->origin;
is $clients[$_]->response->status, 200, 'who stays is answered' for 1, 3;
is_deeply [ $origin->uris ], [ '/2', '/4' ], 'and who left is not asked for';
$t->wait_state('open');

# An operator.
$t->end_origin;
my $first = $t->hold(GET => '/first');
like $t->enable->body, qr/^Pause enabled\.$/m, 'a pause';
$origin = $t->origin;
my $second = $t->hold(GET => '/second');
ok $first->silent, 'goes first';
is scalar(my @none = $origin->uris), 0, 'though the backend is there';
$t->disable;
is $_->response->status, 200, 'a release' for $first, $second;
is_deeply [ $origin->uris ], [ '/first', '/second' ], 'in order';
$t->wait_state('open');

$t->end_origin;
$first = $t->hold(GET => '/first');
$t->must('maintenance');
my $refused = $first->response;
is $refused->status, 503, 'a maintenance';
like $refused->body, qr/503/, 'with a page that is whole';
$t->disable;
$t->wait_state('open');

my ($same) = $t->server->workers;
@clients = map { $t->hold(GET => "/$_", client => $t->client_at($same)) } 1 .. 3;
my $taken_back = sub { $t->status->{totals}{taken_back} };
my $before = $taken_back->();
$t->must('disable');
becomes { $taken_back->() } $before + 1, 'disable where it is down: the first is tried';
ok $_->silent, 'and all are held' for @clients;
is $taken_back->(), $before + 1, 'no other was tried';
$origin = $t->origin;
is $_->response->status, 200, 'and answered' for @clients;
$t->wait_state('open');

# What bypasses the gate.
$t->end_origin;
is $t->get('/up')->status, 502, 'a health check: the usual error, at once';
is $t->status->{state}, 'open', 'and nobody waits for that';

# A reload.
$first = $t->hold(GET => '/first');
$t->reload;
$second = $t->hold(GET => '/second');
$origin = $t->origin;
is $_->response->status, 200, 'over a reload' for $first, $second;
is_deeply [ $origin->uris ], [ '/first', '/second' ], 'in order';
$t->wait_state('open');

# The worker that probes is killed.
$t->end_origin;
my ($one, $other) = $t->server->workers;
my $lost = $t->hold(GET => '/lost', client => $t->client_at($one));
my $kept = $t->hold(GET => '/kept', client => $t->client_at($other));
$t->kill_worker($one);
$origin = $t->origin;
is $kept->response->status, 200, 'another one goes on';
$t->wait_state('open');

# A socket.
$t->expect_accident(qr/connect\(\) to unix:\S+ failed \(2: No such file/);
mkdir $t->folder . '/there';
chmod 0755, $t->folder . '/there';
my $client = $t->hold(GET => '/socket', app => 'socket');
my $socket = IO::Socket::UNIX->new(Local => $t->folder . '/there/socket', Listen => 5) or die "socket: $!";
chmod 0666, $t->folder . '/there/socket';
my $answered = 0;
while (!$answered) {
    my $peer = $socket->accept or die "accept: $!";
    my $line = readline $peer // next;
    print {$peer} "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nyes";
    close $peer;
    $answered = 1;
}
is $client->response->body, 'yes', 'a socket that was missing';
wait_for { $t->status('socket')->{state} =~ /open|releasing/ } 'the app to go on';
SKIP: {
    skip 'workers have no user of their own', 1 if $>;
    chmod 0600, $t->folder . '/there/socket';
    $t->expect_accident(qr/Permission denied/);
    is $t->get('/socket')->status, 502, 'a socket without permission: an error at once';
}

# Several servers, both of which are down.
$t->end_origin;
$client = $t->hold(GET => '/several', app => 'several');
$origin = $t->origin;
is $client->response->status, 200, 'one of several servers that is back';
$t->wait_state('open', 'several');

$t->finish;
