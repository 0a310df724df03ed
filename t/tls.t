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
$t->start(default_server(<<'EOF'));
    listen 127.0.0.1:%%PORT_443%% ssl http2;
    ssl_certificate %%FOLDER%%/cert.pem;
    ssl_certificate_key %%FOLDER%%/key.pem;
    location /held { intermission_read_body held; proxy_pass http://%%ORIGIN%%; }
EOF

sub client { return Intermission::Test::TLS->new(port => $t->port(443), @_) }

my $streams = $t->http2(client => client(alpn => ['h2']));
my $body = join ',', 1 .. 50_000;

# Held and released.
$t->enable;
my @clients = map { $t->hold(GET => "/$_", client => client()) } 1 .. 5;
push @clients, $t->hold(POST => '/6', body => 'small', client => client());
my @held = map { $t->hold(POST => "/$_", body => $_ % 2 ? '' : 'x' x 3000, client => $streams) } 7 .. 14;
push @clients, $t->hold(GET => '/15', client => client());
ok $clients[0]->silent, 'nothing comes back while paused';
$t->disable;
is answered(@clients), 7, 'HTTP/1.1: all are answered';
is scalar(grep { $streams->response($_)->status == 200 } @held), 8, 'HTTP/2: all are answered';
is_deeply [ $origin->uris ], [ map {"/$_"} 1 .. 15 ], 'in order';

# Large bodies.
$origin->forget;
$t->enable;
my @large = map { client() } 1 .. 2;
my @uris = qw(/large /held);
for my $client (@large) {
    $client->send($client->head(POST => shift @uris, length => length $body));
    $t->wait_held(2 - @uris);
}
my $stream = $t->hold(POST => '/stream', body => $body, client => $streams);
$large[1]->send($body);
$t->disable;
$large[0]->send($body);
is $_->response->status, 200, 'a large body' for @large;
is $streams->response($stream)->status, 200, 'a large body of a stream';
is_deeply [ map { $_->{sha} } $origin->requests ], [ (sha256_hex($body)) x 3 ], 'all of them whole';

# Clients that leave.
$origin->forget;
$t->wait_state('open');
$t->enable;
for my $way (qw(close reset abandon)) {
    for my $request ([ GET => '/gone' ], [ POST => '/gone', body => 'x' x 1000 ]) {
        my $client = client();
        $t->hold(@$request, client => $client);
        $client->$way;
        $t->wait_held(0);
        pass "$request->[0], $way: out of the queue";
    }
}
$streams->reset($t->hold(GET => '/gone', client => $streams));
$t->wait_held(0);
my $last = $t->hold(GET => '/last', client => client());
$t->disable;
is $last->response->status, 200, 'who stayed is answered';
is_deeply [ $origin->uris ], ['/last'], 'nothing of those that left reached the origin';
is $t->status->{totals}{aborted}, 7, 'they are counted';

$t->finish;
