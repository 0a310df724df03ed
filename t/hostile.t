#!/usr/bin/env perl

# Slow, half, oversized and malformed requests against a paused app. None of them ends a worker, is
# held without limit in number or time, or takes memory beyond that of the requests that are held;
# those who behave are served meanwhile and afterwards.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

use constant { MANY => 300, MOST_HELD => 50, KIB_PER_REQUEST => 64 };

my $t = Intermission::Test->new(connections => 2048);
my $origin = $t->origin;
$t->start(<<'EOF');
    intermission on;
    client_header_timeout 2s;
    client_body_timeout 5s;
    client_max_body_size 100k;
    large_client_header_buffers 4 8k;
    server {
        listen 127.0.0.1:%%PORT_80%%;
        location / { proxy_pass http://%%ORIGIN%%; }
        location /held { intermission_read_body held; proxy_pass http://%%ORIGIN%%; }
        location /few {
            intermission_app_name few;
            intermission_max_held 50;
            intermission_max_time 6s;
            intermission_timeout_action 504;
            proxy_pass http://%%ORIGIN%%;
        }
        location /named { intermission_app_name $arg_app; proxy_pass http://%%ORIGIN%%; }
        location /intermission/ { intermission_control; }
    }
    server {
        listen 127.0.0.1:%%PORT_82%% http2;
        location / { proxy_pass http://%%ORIGIN%%; }
        location /held { intermission_read_body held; proxy_pass http://%%ORIGIN%%; }
    }
EOF
my ($worker) = $t->server->workers;

sub memory {
    my ($kib) = slurp("/proc/$worker/status") =~ /^VmRSS:\s*(\d+)/m;
    return $kib;
}

sub sends {
    my ($bytes, %to) = @_;
    my $client = $t->client(%to);
    $client->send($bytes);
    return $client;
}

$t->enable;
$t->enable('few');
my $witness = $t->hold(GET => '/witness');

# What is no request, or not a whole one, is answered or cut off by nginx and never held.
my $host = "Host: x\r\n";
my @malformed = (
    "\r\n\r\n\0\0\0",
    "GET\r\n\r\n",
    "GET / HTTP/9.9\r\n\r\n",
    "GET / HTTP/1.1\r\n\r\n",
    "GET /\0 HTTP/1.1\r\n$host\r\n",
    "GET /%00 HTTP/1.1\r\n$host\r\n",
    "GET /../../x HTTP/1.1\r\n$host\r\n",
    "POST / HTTP/1.1\r\n${host}Content-Length: -1\r\n\r\n",
    "POST / HTTP/1.1\r\n${host}Content-Length: 99999999999999999999\r\n\r\n",
    "POST / HTTP/1.1\r\n${host}Content-Length: 1\r\nContent-Length: 2\r\n\r\nx",
    "POST / HTTP/1.1\r\n${host}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx",
    "POST / HTTP/1.1\r\n${host}Transfer-Encoding: gzip\r\n\r\n",
    "POST / HTTP/1.1\r\n${host}Content-Length: 200000\r\n\r\n",
    "GET /" . 'x' x 40_000 . " HTTP/1.1\r\n$host\r\n",
    "GET / HTTP/1.1\r\n$host" . ('X-Header: ' . 'x' x 4000 . "\r\n") x 20 . "\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
);
for my $number (0 .. $#malformed) {
    my $client = sends($malformed[$number]);
    $client->half_close;
    1 while $client->read_more;
    unlike $client->take(12), qr{ [23]\d\d$}, "malformed $number: refused";
    $client->close;
}
is $t->status->{held}, 1, 'none of them is held';

# Half requests, as many as there are connections for them: cut off when their time is up.
my @half = map { sends("GET /half HTTP/1.1\r\nHost: x\r\nX-Y") } 1 .. MANY;
is $t->status->{held}, 1, 'half a header is not held';
is scalar(grep { 1 while $_->read_more; 1 } @half), MANY, 'and cut off by client_header_timeout';

# Bodies that do not come: read while held, their request ends with client_body_timeout.
my $post = "POST /held HTTP/1.1\r\nHost: x\r\n";
my @slow = map { sends("${post}Content-Length: 1000\r\n\r\nhalf") } 1 .. 20;
wait_for { $t->status->{totals}{held} == 21 } 'them to be held';
$t->wait_held(1);
pass 'a body that does not come ends its hold, where it is read while held';

# Malformed bodies of held requests.
my $chunked = "Transfer-Encoding: chunked\r\n\r\n";
my @bad = map { sends("POST /held HTTP/1.1\r\nHost: x\r\n$chunked$_") }
    "zz\r\n", "ffffffffffffffffffff\r\n", "5\r\nabc\r\n0\r\n\r\n", "-1\r\n", '1' x 5000;
push @bad, sends("POST /held HTTP/1.1\r\nHost: x\r\n${chunked}30000\r\n" . 'x' x 200_000);
$t->wait_held(1);
pass 'a malformed body ends its hold, where it is read while held';
my @later = map { sends("POST /later HTTP/1.1\r\nHost: x\r\n$chunked$_") } "zz\r\n", "5\r\nabc\r\n";
$t->wait_held(3);

# HTTP/2: frames that are wrong while streams are held end their connection, and what it held.
my %frames = (
    'a frame that is too large' => "\xff\xff\xff\0\0\0\0\0\1",
    'DATA for stream 0' => pack('CnCCN', 0, 1, 0, 0, 0) . 'x',
    'a window of 0' => pack('CnCCNN', 0, 4, 8, 0, 0, 0),
    'CONTINUATION of nothing' => pack('CnCCN', 0, 0, 9, 4, 1),
    'HPACK that is none' => pack('CnCCN', 0, 4, 1, 5, 9) . "\xff\xff\xff\xff",
    'a window that overflows' => pack('CnCCNN', 0, 4, 8, 0, 0, 0x7fffffff) x 3,
);
for my $what (sort keys %frames) {
    my $connection = $t->http2(port => $t->port(82));
    $connection->get('/gone');
    $connection->post('/held', 'x' x 1000, more => 1);
    $t->wait_held(5);
    $connection->{client}->send($frames{$what});
    $t->wait_held(3);
    pass "$what: ends its connection";
}

# More requests than may be held, and for longer than they may.
my @many = map { sends("GET /few HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n") } 1 .. MANY;
my %count;
$count{ $_->response->status }++ for @many;
is_deeply \%count, { 503 => MANY - MOST_HELD, 504 => MOST_HELD },
    'held within the limits of number and time';

# Names of apps, as clients may choose them.
my @names = ('%00', '%22%0a', 'x' x 3000, '..%2f..%2f', '%ff%fe', '*', '%25s%25n');
is $t->get("/named?app=$_")->status, 200, 'an app of any name' for @names;
is $t->get("/intermission/status?app=$_")->status =~ /^[24]00$/, 1, 'as an argument' for @names;

# Memory goes with the number of held requests, not with what they bring.
my $before = memory();
my $large = "POST /large HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n";
my @large = map { sends($large) } 1 .. MANY;
$t->wait_held(3 + MANY);
$_->send_some('x' x 100_000) for @large;
my $taken = memory() - $before;
cmp_ok $taken, '<', MANY * KIB_PER_REQUEST, "${\ MANY} held uploads take $taken KiB, whatever they send";
$_->close for @large;
$t->wait_held(3);

# Those who behaved.
is_deeply [ grep { !/named/ } $origin->uris ], [], 'nothing has reached the origin';
$t->disable($_) for qw(default few);
is $witness->response->status, 200, 'who was held before all that is answered';
unlike $_->response->status, qr/^2/, 'a malformed body, read after the release, is refused' for @later;
is_deeply [ grep { !/named/ } $origin->uris ], ['/witness'], 'and does not reach the origin';
is_deeply [ $t->server->workers ], [$worker], 'the worker is still the same';
wait_for { my $now = $t->status; !$now->{held} && !$now->{in_flight} } 'the counts to be right';

$t->finish;
