#!/usr/bin/env perl

# TLS, with HTTP/1.1 and HTTP/2 inside: held and released in order with whole bodies, and of a
# client that left nothing reaches the origin.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::TLS;

plan skip_all => Intermission::Test::TLS->missing if Intermission::Test::TLS->missing;

my $t = Intermission::Test->new;
my $origin = $t->origin;
Intermission::Test::TLS->certificate($t->folder);
$t->start(<<'EOF');
    intermission on;
    server {
        listen 127.0.0.1:%%PORT_80%%;
        location /intermission/ { intermission_control; }
    }
    server {
        listen 127.0.0.1:%%PORT_443%% ssl http2;
        ssl_certificate %%FOLDER%%/cert.pem;
        ssl_certificate_key %%FOLDER%%/key.pem;
        location / { proxy_pass http://%%ORIGIN%%; }
        location /held { intermission_read_body held; proxy_pass http://%%ORIGIN%%; }
    }
EOF

sub client { return Intermission::Test::TLS->new(port => $t->port(443), @_) }

my $streams = $t->http2(client => client(alpn => ['h2']));
my $body = join ',', 1 .. 50_000;
my $held = 0;

sub hold {
    my ($client, @request) = @_;
    my $sent = $client->request(@request);
    $t->wait_held(++$held);
    return $sent;
}

# Held and released.
$t->enable;
my @clients = map { hold(client(), GET => "/$_") } 1 .. 5;
push @clients, hold(client(), POST => '/6', body => 'small');
my @held = map { hold($streams, POST => "/$_", body => $_ % 2 ? '' : 'x' x 3000) } 7 .. 14;
push @clients, hold(client(), GET => '/15');
ok $clients[0]->silent, 'nothing comes back while paused';
$t->disable;
is scalar(grep { $_->response->status == 200 } @clients), 7, 'HTTP/1.1: all are answered';
is scalar(grep { $streams->response($_)->status == 200 } @held), 8, 'HTTP/2: all are answered';
is_deeply [ $origin->uris ], [ map {"/$_"} 1 .. 15 ], 'in order';

# Large bodies.
$origin->forget;
$t->enable;
$held = 0;
my @large = map { client() } 1 .. 2;
my @uris = qw(/large /held);
for my $client (@large) {
    $client->send($client->head(POST => shift @uris, length => length $body));
    $t->wait_held(++$held);
}
my $stream = hold($streams, POST => '/stream', body => $body);
$large[1]->send($body);
$t->disable;
$large[0]->send($body);
is $_->response->status, 200, 'a large body' for @large;
is $streams->response($stream)->status, 200, 'a large body of a stream';
is_deeply [ map { $_->{sha} } $origin->requests ], [ (sha256_hex($body)) x 3 ], 'all of them whole';

# Clients that leave.
$origin->forget;
wait_for { $t->status->{state} eq 'open' } 'the app to be open';
$t->enable;
$held = 0;
for my $way (qw(close reset abandon)) {
    for my $request ([ GET => '/gone' ], [ POST => '/gone', body => 'x' x 1000 ]) {
        my $client = client();
        hold($client, @$request);
        $client->$way;
        $t->wait_held(--$held);
        pass "$request->[0], $way: out of the queue";
    }
}
$streams->reset(hold($streams, GET => '/gone'));
$t->wait_held(--$held);
my $last = hold(client(), GET => '/last');
$t->disable;
is $last->response->status, 200, 'who stayed is answered';
is_deeply [ $origin->uris ], ['/last'], 'nothing of those that left reached the origin';
is $t->status->{totals}{aborted}, 7, 'they are counted';

$t->finish;
