#!/usr/bin/env perl

# Requests over unix sockets and IPv6 are held and released as those over IPv4, in one order with
# them; of a client that left nothing reaches the origin.

use strict;
use warnings;

use FindBin qw($Bin);
use IO::Socket::IP;
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $has_ipv6 = IO::Socket::IP->new(LocalHost => '::1', LocalPort => 0, Listen => 1);

my $t = Intermission::Test->new(workers => 2);
my $origin = $t->origin;
my $ipv6 = $has_ipv6 ? 'listen [::1]:%%PORT_6%%;' : '';
$t->start(default_server(<<"EOF"));
    listen 127.0.0.1:%%PORT_80%%;
    listen unix:%%FOLDER%%/http;
    listen unix:%%FOLDER%%/http2 http2;
    $ipv6
EOF

my @ways = ([ 'IPv4' => () ], [ 'a unix socket' => (path => $t->folder . '/http') ]);
push @ways, [ 'IPv6' => (host => '::1', port => $t->port(6)) ] if $has_ipv6;
my $streams = $t->http2(path => $t->folder . '/http2');

SKIP: {
    skip 'there is no IPv6 here', 1 if !$has_ipv6;
    is $t->client(host => '::1', port => $t->port(6))->get('/')->response->status, 200, 'IPv6';
}
$origin->forget;

$t->enable;
my (@clients, @streams, @uris);
for my $round (1 .. 4) {
    for my $way (@ways) {
        my ($name, @to) = @$way;
        push @uris, "/$round-" . @uris;
        push @clients, $t->hold(POST => $uris[-1], body => "over $name", client => $t->client(@to));
        $t->hold(GET => '/gone', client => $t->client(@to))->close;
        $t->wait_held(@clients + @streams);
    }
    push @uris, "/$round-stream";
    push @streams, $t->hold(GET => $uris[-1], client => $streams);
}
$t->disable;
is answered(@clients), @clients, 'all are answered';
is scalar(grep { $streams->response($_)->status == 200 } @streams), @streams, 'streams as well';
is_deeply [ $origin->uris ], \@uris, 'in one order, and none that left';

# A unix socket's client that leaves a body behind unread.
$t->enable;
my $leaves = $t->client(path => $t->folder . '/http');
$leaves->send($leaves->head(POST => '/gone', length => 500_000));
$t->wait_held(1);
$leaves->send_some('x' x 500_000);
$leaves->close;
$t->wait_held(0);
my $stays = $t->hold(GET => '/stays');
$t->disable;
is $stays->response->status, 200, 'who stays is answered';
ok !(grep { $_ eq '/gone' } $origin->uris), 'who left is not';

$t->finish;
