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
$t->start(default_server(<<'EOF'));
    listen 127.0.0.1:%%PORT_82%% http2;
    client_max_body_size 10m;
    location /held { intermission_read_body held; proxy_pass http://%%ORIGIN%%; }
EOF

sub connection { return $t->http2(port => $t->port(82)) }

# Of two or more, one stays.
sub leaves {
    my ($what) = @_;
    $t->wait_held(1);
    pass "$what: out of the queue";
}

# Held and released in order, over streams and connections.
$t->enable;
my ($one, $two) = (connection(), connection());
my @streams = map { [ $_ % 2 ? $one : $two, undef, $_ ] } 1 .. 20;
$_->[1] = $t->hold($_->[2] % 3 ? 'GET' : 'POST', "/$_->[2]", body => $_->[2] % 3 ? '' : 'body', client => $_->[0])
    for @streams;
ok $one->silent($streams[0][1]), 'nothing comes back while paused';
$t->disable;
is_deeply [ map { $_->[0]->response($_->[1])->body } @streams ], [ map {"/$_\n"} 1 .. 20 ],
    'each stream gets its own answer';
is_deeply [ $origin->uris ], [ map {"/$_"} 1 .. 20 ], 'in order';
$origin->forget;

# Streams that are reset.
$t->enable;
my $stays = $t->hold(GET => '/stays', client => $one);
$one->reset($t->hold(GET => '/gone', client => $one));
leaves('a GET that is reset');
$one->reset($t->hold(POST => '/gone', body => 'x' x 1000, client => $one));
leaves('a POST that is reset');
$one->reset($t->hold(POST => '/gone', body => 'x' x 5_000_000, client => $one));
leaves('a large POST, unread, that is reset');
$one->reset($t->hold(POST => '/gone', body => 'x' x 1000, more => 1, client => $one));
leaves('half of a POST that is reset');
$one->reset($t->hold(POST => '/held', body => 'x' x 100_000, more => 1, client => $one));
leaves('a POST, read while held, that is reset');

# Connections that end.
for my $way (qw(close abort)) {
    my $connection = connection();
    $t->hold(GET => '/gone', client => $connection) for 1 .. 3;
    $t->hold(POST => '/gone', body => 'x' x 60_000, client => $connection);
    $t->hold(POST => '/held', body => 'x' x 60_000, client => $connection);
    $connection->$way;
    leaves("all streams of a connection ($way)");
}

$t->disable;
is $one->response($stays)->status, 200, 'the stream that stayed is answered';
is_deeply [ $origin->uris ], ['/stays'], 'it alone reached the origin';

my $status = $t->status;
is $status->{totals}{aborted}, 15, 'the total of aborted requests';
is $status->{in_flight}, 0, 'nothing is in flight';

# A body larger than the window arrives whole.
$t->enable;
my $body = join ',', 1 .. 200_000;
my $large = $t->hold(POST => '/large', body => $body, client => $one);
$t->disable;
is $one->response($large)->status, 200, 'a large POST is released';
is +($origin->requests)[-1]{length}, length $body, 'with its whole body';

$t->finish;
