#!/usr/bin/env perl

# A canary is judged by what the backend answered: a client that takes its answer slowly, or not at
# all, neither fails it nor delays the verdict.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

use constant SIZE => 12_000_000;    # more than the sockets take in

my $t = Intermission::Test->new;
my $origin = $t->origin(
    '/good' => { body => 'x' x SIZE },
    '/bad' => { body => 'x' x SIZE, status => 500 },
    '/cut' => { body => 'x' x (2 * SIZE), cut => 1 },
);
$t->start(default_server(<<'EOF'));
    listen 127.0.0.1:%%PORT_80%% sndbuf=64k;
    listen 127.0.0.1:%%PORT_82%% http2 sndbuf=64k;
    intermission_interval 1h;
    location /intermission/ { intermission_control; intermission_release_timeout 8s; }
EOF

my %read_nothing = (
    'HTTP/1.1' => sub { my $client = $t->client->get(@_); sub { $client->response } },
    'HTTP/2' => sub {
        my $connection = $t->http2(port => $t->port(82));
        my $stream = $connection->get(@_);
        sub { $connection->response($stream) };
    },
);

# What a canary comes to whose first request is by a client that reads nothing, and how that client
# reads its answer after all.
sub try_canary {
    my ($protocol, $uri) = @_;
    $t->enable;
    my $held = $t->status->{held};
    my $read = $read_nothing{$protocol}->($uri);
    $t->wait_held($held + 1);
    my @others = map { $t->hold(GET => "/$_") } 1 .. 3;
    return ($t->control('disable', canary => 2), $read, @others);
}

for my $protocol (sort keys %read_nothing) {
    my ($answer, $read, @others) = try_canary($protocol, '/good');
    is $answer->status, 200, "$protocol: a good answer that nobody reads is good" or $t->disable;
    like $answer->body, qr/^canary: 2\ncanary_failed: 0$/m, 'and counts';
    is $_->response->status, 200, 'the rest is released' for @others;
    $t->wait_state('open');
    is length $read->()->body, SIZE, 'it is there when the client reads it';
    $t->wait_in_flight(0);

    for my $case ([ '/bad', 500 ], [ '/cut', 502 ]) {
        my ($uri, $status) = @$case;
        ($answer, $read, @others) = try_canary($protocol, $uri);
        is $answer->status, 409, "$protocol: $uri that nobody reads is bad";
        like $answer->body, qr/^The canary failed: 1 of [12], [^\n]*\b$status\b/, 'in words';
        is $t->status->{state}, 'paused', 'the app is paused again';
        $read->();
        $t->disable;
        is $_->response->status, 200, 'the rest is released then' for @others;
        $t->wait_in_flight(0);
    }
}

$t->finish;
