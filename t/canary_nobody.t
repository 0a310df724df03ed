#!/usr/bin/env perl

# A canary of which nobody came back, as all clients gave up while the backend hung, proves nothing:
# when its time is up the app is paused again. A canary for which nobody came is another matter.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new(workers => 2);
my $origin = $t->origin('/slow' => { wait => 1 });
$t->start(default_server(<<'EOF'));
    listen 127.0.0.1:%%PORT_82%% reuseport http2;
    intermission_interval 1h;
    location /intermission/ { intermission_control; intermission_release_timeout 2s; }
EOF

my %hold = (
    'close' => sub { my $client = $t->hold(GET => $_[0]); sub { $client->close } },
    'reset' => sub { my $client = $t->hold(GET => $_[0]); sub { $client->reset } },
    'reset their streams' => sub {
        my $connection = $t->http2(port => $t->port(82));
        my $held = $t->status->{held};
        my $stream = $connection->get($_[0]);
        $t->wait_held($held + 1);
        sub { $connection->reset($stream) };
    },
);

sub fails {
    my ($caller, $what) = @_;
    my $answer = $caller->response;
    is $answer->status, 409, "$what: not good";
    like $answer->body, qr/^The canary failed: /, 'in words';
    is $t->status->{state}, 'paused', 'the app is paused again';
}

for my $way (sort keys %hold) {
    for my $canary (1, 3) {
        $origin->forget;
        $t->enable;
        my @leave = map { $hold{$way}->("/slow?$_") } 1 .. 3;
        my $caller = $t->call('disable', canary => $canary);
        for my $number (1 .. 3) {
            $origin->wait_requests($canary == 1 ? $number : 3);
            $leave[ $number - 1 ]->();
        }
        fails($caller, "all $way, of a canary of $canary");
    }
}

# Those that come then are held, and decide.
$t->enable;
my @held = map { $t->hold(GET => "/$_") } 1 .. 3;
is $t->control('disable', canary => 3)->status, 200, 'three come back: good';
is $_->response->status, 200, 'they are answered' for @held;

# Nobody is asked at all: nobody came, or who came has left before.
for my $left (0, 2) {
    $t->enable;
    my @gone = map { $t->hold(GET => '/gone') } 1 .. $left;
    $_->close for @gone;
    $t->wait_held(0);
    my $answer = $t->control('disable', canary => 3);
    is $answer->status, 200, "$left came and left: nobody was asked, which is no failure";
    like $answer->body, qr/^canary: 0\ncanary_failed: 0$/m, 'in numbers';
    is $t->status->{state}, 'open', 'the app is open';
}

$t->finish;
