#!/usr/bin/env perl

# limit_req and limit_conn stand before the gate: they count a request when it arrives, and do not
# count it again when it is released. A held request keeps its place in limit_conn, as any request
# does that is not answered yet.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new;
my $origin = $t->origin;
$t->start(<<'EOF');
    limit_req_zone $server_port zone=slow:64k rate=1r/m;
    limit_req_zone $server_port zone=steady:64k rate=20r/s;
    limit_conn_zone $server_port zone=few:64k;
    limit_req_status 429;
    limit_conn_status 429;
    server {
        listen 127.0.0.1:%%PORT_80%%;
        intermission on;
        location / { proxy_pass http://%%ORIGIN%%; }
        location /slow { limit_req zone=slow burst=2 nodelay; proxy_pass http://%%ORIGIN%%; }
        location /steady { limit_req zone=steady burst=10; proxy_pass http://%%ORIGIN%%; }
        location /few { limit_conn few 3; proxy_pass http://%%ORIGIN%%; }
        location /intermission/ { intermission_control; }
    }
EOF

# limit_req without delay: three are let to the gate, and the release costs nothing of the limit.
$t->enable;
my @held = map { $t->hold(GET => "/slow-$_") } 1 .. 3;
is $t->get('/slow-4')->status, 429, 'one too many is refused at once, not held';
$t->disable;
is $_->response->status, 200, 'those that are held are not counted again' for @held;
is $t->get('/slow-5')->status, 429, 'nor is their place given back';
is_deeply [ $origin->uris ], [ map {"/slow-$_"} 1 .. 3 ], 'in order';

# limit_req with a delay: the delay comes first, then the hold.
$origin->forget;
$t->enable;
my @delayed = map { $t->client->get("/steady-$_") } 1 .. 6;
$t->wait_held(6);
is_deeply [ $origin->uris ], [], 'delayed requests are held when their delay is over';
$t->disable;
is $_->response->status, 200, 'and answered' for @delayed;
is_deeply [ $origin->uris ], [ map {"/steady-$_"} 1 .. 6 ], 'in order';

# A client that leaves while it is delayed never comes to the gate.
$origin->forget;
$t->enable;
my $held = $t->status->{totals}{held};
my @leaving = map { $t->client->get("/steady-$_") } 1 .. 5;
$_->close for @leaving;
wait_for { $t->server->accessed(qr{499 GET /steady}) == 5 } 'them to end';
$t->disable;
is_deeply [ $origin->uris ], [], 'nothing of clients that leave reaches the origin';

# limit_conn: a held request has its place until it is answered or given up.
$t->enable;
my @few = map { $t->hold(GET => "/few-$_") } 1 .. 3;
is $t->get('/few-4')->status, 429, 'held requests count';
(shift @few)->close;
$t->wait_held(2);
push @few, $t->hold(GET => '/few-5');
$t->disable;
is $_->response->status, 200, 'they are answered' for @few;
is $t->get('/few-6')->status, 200, 'and then there is room again';

$t->finish;
