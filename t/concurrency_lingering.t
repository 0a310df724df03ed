#!/usr/bin/env perl

# A request is in flight until nginx is through with it. Where nginx reads on what its client still sends, behind the answer
# (lingering_close), that is when the client has left: until then it keeps its place in a release.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new(workers => 2);
my $origin = $t->origin;
$t->start(default_server(<<'EOF'));
    location /reads-on { lingering_timeout 60s; proxy_pass http://127.0.0.1:%%PORT_ORIGIN%%; }
    location /ends { lingering_close off; proxy_pass http://127.0.0.1:%%PORT_ORIGIN%%; }
    location /intermission/ { intermission_control; intermission_release_concurrency 1; }
EOF

# It has sent more than its request, and nobody knows whether that was all.
sub held_with_more {
    my ($uri) = @_;
    my $client = $t->hold(GET => $uri, headers => ['Connection: close']);
    $client->send('more');
    return $client;
}

$t->enable;
my $first = held_with_more('/reads-on');
my $second = $t->hold(GET => '/second');
$t->disable;
is $first->response->status, 200, 'answered';
is $t->status->{in_flight}, 1, 'and in flight, as nginx reads on';
ok $second->silent, 'so it keeps its place';
$first->close;
is $second->response->status, 200, 'until its client has left';
$t->wait_state('open');

$t->enable;
$first = held_with_more('/ends');
$second = $t->hold(GET => '/second');
$t->disable;
is $_->response->status, 200, 'without lingering_close it leaves its place at once' for $first, $second;

$t->finish;
