#!/usr/bin/env perl

# A client that leaves takes its request out of the queue at once, however it leaves, and nothing
# of it reaches the origin. Here for all whose leaving can be seen while their body is unread.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new;
my $origin = $t->origin;
$t->start(default_server(<<'EOF'));
    client_max_body_size 10m;
EOF

my %leave = (
    close => sub { $_[0]->close },
    half_close => sub { $_[0]->half_close },
    reset => sub { $_[0]->reset },
);

# What a client has sent when it leaves.
my %send = (
    'a GET' => sub { $_[0]->get('/gone') },
    'a POST' => sub { $_[0]->post('/gone', 'x' x 1000) },
    'a POST in chunks' => sub {
        $_[0]->send($_[0]->head(POST => '/gone', headers => ['Transfer-Encoding: chunked']));
        $_[0]->send("4\r\nbody\r\n0\r\n\r\n");
    },
    'half of a POST' => sub {
        $_[0]->send($_[0]->head(POST => '/gone', length => 2000) . 'x' x 1000);
    },
    'the head of a POST' => sub { $_[0]->send($_[0]->head(POST => '/gone', length => 2000)) },
    'three requests' => sub {
        $_[0]->send(join '', map { $_[0]->head(GET => "/gone-$_") } 1 .. 3);
    },
    'a request after another' => sub {
        $_[0]->get('/intermission/status')->response;
        $_[0]->get('/gone');
    },
);

$t->enable;
my $first = $t->hold(GET => '/first');
my $gone = 0;

for my $sent (sort keys %send) {
    for my $way (sort keys %leave) {
        my $client = $t->client;
        $send{$sent}->($client);
        $t->wait_held(2);
        $leave{$way}->($client);
        $t->wait_held(1);
        is $t->status->{totals}{aborted}, ++$gone, "$sent, then $way: out of the queue";
    }
}

# A body that fills the buffers hides a close behind it, but not a reset.
for my $size (200_000, 5_000_000) {
    my $client = $t->client;
    $client->send($client->head(POST => '/gone', length => $size));
    $t->wait_held(2);
    $client->send_some('x' x $size);
    $client->reset;
    $t->wait_held(1);
    is $t->status->{totals}{aborted}, ++$gone, "a POST of $size, then reset: out of the queue";
}

my $last = $t->hold(GET => '/last');
$t->disable;
is $_->response->status, 200, 'those who stayed are answered' for $first, $last;
is_deeply [ $origin->uris ], [ '/first', '/last' ], 'and they alone reached the origin';

# Clients that leave at the last moment: the release follows before anybody could notice.
$origin->forget;
$t->enable;
my $control = $t->client;
my @late = map { $t->hold(GET => "/late-$_") } 1 .. 100;
$leave{ (sort keys %leave)[ $_ % 3 ] }->($late[$_]) for 0 .. $#late;
is $control->get('/intermission/disable')->response->status, 200, 'a release at the same moment';
$gone += @late;
wait_for { $t->status->{totals}{aborted} == $gone } 'those who left to be counted';
is_deeply [ $origin->uris ], [], 'they do not reach the origin';

my $status = $t->status;
is $status->{totals}{released}, 2, 'they alone count as released';
is $status->{in_flight}, 0, 'nothing is in flight';
is scalar($t->server->accessed(qr/^499 /)), $gone, 'the others are logged as 499';

$t->finish;
