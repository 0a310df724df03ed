#!/usr/bin/env perl

# intermission_auto and groups of servers, kept by each worker or in a zone: nobody waits while one of them is there, and when none
# is, all wait for any of them, however long their fail_timeout. With proxy_next_upstream off nginx asks no other server, so nobody knows whether one is there.

use strict;
use warnings;

use FindBin qw($Bin);
use IO::Socket::INET;
use POSIX ();
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new(workers => 2);
$t->start(<<'EOF');
    upstream two {
        server 127.0.0.1:%%PORT_1%% fail_timeout=300s;
        server 127.0.0.1:%%PORT_2%% fail_timeout=300s;
    }
    upstream spare {
        server 127.0.0.1:%%PORT_1%% fail_timeout=300s;
        server 127.0.0.1:%%PORT_2%% fail_timeout=300s backup;
    }
    upstream kept { server 127.0.0.1:%%PORT_1%% fail_timeout=300s; keepalive 8; }
    upstream once { server 127.0.0.1:%%PORT_once%% fail_timeout=300s; keepalive 8; }
    upstream pair { server 127.0.0.1:%%PORT_1%%; server 127.0.0.1:%%PORT_2%%; }
    upstream zoned {
        zone zoned 64k;
        server 127.0.0.1:%%PORT_1%% fail_timeout=300s;
        server 127.0.0.1:%%PORT_2%% fail_timeout=300s backup;
    }
    intermission on;
    intermission_auto on;
    intermission_auto_interval 20ms;
    intermission_interval 50ms;
    proxy_http_version 1.1;
    proxy_set_header Connection '';
    server {
        listen 127.0.0.1:%%PORT_80%% reuseport;
        location /two { intermission_app_name two; proxy_pass http://two; }
        location /spare { intermission_app_name spare; proxy_pass http://spare; }
        location /zoned { intermission_app_name zoned; proxy_pass http://zoned; }
        location /kept { intermission_app_name kept; proxy_pass http://kept; }
        location /once { intermission_app_name once; proxy_pass http://once; }
        location /this-one { intermission_app_name this-one; proxy_next_upstream off; proxy_pass http://pair; }
        location /single { intermission_app_name single; proxy_next_upstream off; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /pid { intermission off; return 200 $pid; }
        location /intermission/ { intermission_control; }
    }
EOF

my @workers = $t->server->workers;

sub up { return Intermission::Test::Origin->new(port => $t->port(shift), answers => {}) }

# One of two is enough, and any of them ends the wait, whichever worker somebody waits at.
for my $app (qw(two spare zoned)) {
    for my $there (1, 2) {
        my @clients = map { $t->hold(GET => "/$app/$_", app => $app, client => $t->client_at($workers[ $_ % 2 ])) } 1 .. 6;
        is $t->status($app)->{state}, 'down', "$app: nobody is there";
        my $origin = up($there);
        is $_->response->status, 200, "$app: server $there is" for @clients;
        # They are let go in order. Who comes first to another server than the one that was tried, is nginx's.
        is_deeply [ sort $origin->uris ], [ map {"/$app/$_"} 1 .. 6 ], 'each once';
        $t->wait_state('open', $app);
        $origin->forget;
        is $t->get("/$app/7")->status, 200, 'one of them is enough';
        is $t->status($app)->{totals}{held}, 6 * $there, 'and nobody waits then';
        $origin->stop;
    }
}

# A server that nginx would not ask may be there.
my $origin = up(2);
my $same = $t->client_at($workers[0]);
is_deeply [ sort map { $same->get('/this-one')->response->status } 1 .. 2 ], [ 200, 502 ],
    'proxy_next_upstream off: the usual error where another server is there';
is $t->status('this-one')->{totals}{held}, 0, 'and nobody is held';
$origin->stop;
my $client = $t->hold(GET => '/single', app => 'single');
$origin = up(1);
is $client->response->status, 200, 'with a single server there is no other: held';
$t->wait_state('open', 'single');

# Kept connections: those that ended with the backend are no sign of anything.
is $t->get("/kept/$_")->status, 200, 'a connection that is kept' for 1 .. 3;
$origin->stop;
my @clients = map { $t->hold(GET => "/kept/$_", app => 'kept') } 4 .. 6;
$origin = up(1);
is $_->response->status, 200, 'held when it ends with its backend' for @clients;
# By connection, which one that is kept has more of than one.
is_deeply [ sort $origin->uris ], [ map {"/kept/$_"} 4 .. 6 ], 'each once';
$t->wait_state('open', 'kept');
$origin->stop;

# A server that takes a request on a kept connection, and is gone when nginx tries anew.
my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $t->port('once'), Listen => 9, ReuseAddr => 1)
    or die "listen: $!";
defined(my $server = fork) or die "fork: $!";
if (!$server) {
    @SIG{qw(INT TERM ALRM)} = ('DEFAULT') x 3;
    alarm 300;
    my $socket = $listener->accept;
    close $listener;
    sysread $socket, my $first, 65_536;
    syswrite $socket, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes";
    sysread $socket, my $second, 65_536;
    POSIX::_exit(0);
}
close $listener;
is $same->get('/once/1')->response->status, 200, 'a server that is about to go';
is $same->get('/once/2')->response->status, 502, 'a request that it took, and nobody is there for the second try: the usual error';
is $t->status('once')->{totals}{held}, 0, 'and nobody is held';
waitpid $server, 0;

$t->finish;
