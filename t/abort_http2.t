#!/usr/bin/env perl

# HTTP/2: streams are held and released as requests are; a stream that is reset and a connection
# that ends take what they held out of the queue, and nothing of it reaches the origin.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new;
my $origin = $t->origin;
$t->start(<<'EOF');
    intermission on;
    client_max_body_size 10m;

    server {
        listen 127.0.0.1:%%PORT_80%%;
        location / { proxy_pass http://%%ORIGIN%%; }
        location /intermission/ { intermission_control; }
    }
    server {
        listen 127.0.0.1:%%PORT_82%% http2;
        location / { proxy_pass http://%%ORIGIN%%; }
        location /held { intermission_read_body held; proxy_pass http://%%ORIGIN%%; }
    }
EOF

sub connection { return $t->http2(port => $t->port(82)) }

my $held = 0;

# Starts a stream and waits until it is held.
sub hold {
    my ($connection, @request) = @_;
    my $stream = $connection->request(@request);
    $t->wait_held(++$held);
    return $stream;
}

sub leaves {
    my ($count, $what) = @_;
    $t->wait_held($held -= $count);
    pass "$what: out of the queue";
}

# Held and released in order, over streams and connections.
$t->enable;
my ($one, $two) = (connection(), connection());
my @streams = map { [ $_ % 2 ? $one : $two, undef, $_ ] } 1 .. 20;
$_->[1] = hold($_->[0], $_->[2] % 3 ? 'GET' : 'POST', "/$_->[2]", body => $_->[2] % 3 ? '' : 'body')
    for @streams;
ok $one->silent($streams[0][1]), 'nothing comes back while paused';
$t->disable;
is_deeply [ map { $_->[0]->response($_->[1])->body } @streams ], [ map {"/$_\n"} 1 .. 20 ],
    'each stream gets its own answer';
is_deeply [ $origin->uris ], [ map {"/$_"} 1 .. 20 ], 'in order';
$origin->forget;
$held = 0;

# Streams that are reset.
$t->enable;
my $stays = hold($one, GET => '/stays');
$one->reset(hold($one, GET => '/gone'));
leaves(1, 'a GET that is reset');
$one->reset(hold($one, POST => '/gone', body => 'x' x 1000));
leaves(1, 'a POST that is reset');
$one->reset(hold($one, POST => '/gone', body => 'x' x 5_000_000));
leaves(1, 'a large POST, unread, that is reset');
$one->reset(hold($one, POST => '/gone', body => 'x' x 1000, more => 1));
leaves(1, 'half of a POST that is reset');
$one->reset(hold($one, POST => '/held', body => 'x' x 100_000, more => 1));
leaves(1, 'a POST, read while held, that is reset');

# Connections that end.
for my $way (qw(close abort)) {
    my $connection = connection();
    hold($connection, GET => '/gone') for 1 .. 3;
    hold($connection, POST => '/gone', body => 'x' x 60_000);
    hold($connection, POST => '/held', body => 'x' x 60_000);
    $connection->$way;
    leaves(5, "all streams of a connection ($way)");
}

$t->disable;
is $one->response($stays)->status, 200, 'the stream that stayed is answered';
is_deeply [ $origin->uris ], ['/stays'], 'it alone reached the origin';

my $status = $t->status;
is $status->{totals}{aborted}, 15, 'the total of aborted requests';
is $status->{in_flight}, 0, 'nothing is in flight';

# A body larger than the window arrives whole.
$t->enable;
$held = 0;
my $body = join ',', 1 .. 200_000;
my $large = hold($one, POST => '/large', body => $body);
$t->disable;
is $one->response($large)->status, 200, 'a large POST is released';
is +($origin->requests)[-1]{length}, length $body, 'with its whole body';

$t->finish;
