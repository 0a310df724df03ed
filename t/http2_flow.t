#!/usr/bin/env perl

# HTTP/2's flow control beside the gate: held streams whose bodies are not read do not close the
# window of their connection for other streams, large bodies arrive whole after the release, and a
# client that does not take its answer keeps nobody else waiting.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new;
my $origin = $t->origin('/large-answer' => { body => 'y' x 1_000_000 });
$t->start(default_server(<<'EOF'));
    listen 127.0.0.1:%%PORT_82%% http2;
    client_max_body_size 10m;
    location /held { intermission_read_body held; proxy_pass http://%%ORIGIN%%; }
    location /open { intermission off; proxy_pass http://%%ORIGIN%%; }
    location /streaming {
        proxy_http_version 1.1;
        proxy_request_buffering off;
        proxy_pass http://%%ORIGIN%%;
    }
EOF

my $connection = $t->http2(port => $t->port(82));
my $body = join ',', 1 .. 300_000;

# All bodies are far larger than any window.
$t->enable;
my %stream;
for my $uri (qw(/one /held /two /streaming)) {
    $stream{$uri} = $connection->post($uri, $body);
    $t->wait_held(scalar keys %stream);
}
my $open = $connection->post('/open', $body);
is $connection->response($open)->status, 200,
    'a stream that is not under the gate sends its body while four others are held';
is_deeply [ $origin->uris ], ['/open'], 'it alone reached the origin';

my $gone = $connection->post('/gone', $body);
$t->wait_held(5);
$connection->reset($gone);
$t->wait_held(4);

$t->disable;
is $connection->response($stream{$_})->status, 200, "$_ is answered" for sort keys %stream;
my @requests = $origin->requests;
is scalar(@requests), 5, 'each reached the origin once, and the one that was reset did not';
my @torn = map { $_->{uri} } grep { $_->{sha} ne sha256_hex($body) } @requests;
is_deeply \@torn, [], 'with its whole body';

# An answer that the client does not take.
$t->wait_state('open');
$t->enable;
my $stuck = $t->http2(port => $t->port(82));
my $stream = $stuck->get('/large-answer');
$t->wait_held(1);
my $next = $t->hold(GET => '/next');
$t->disable;
is $next->response->status, 200, 'the next one is answered';
my $late = $stuck->response($stream);
is $late->status, 200, 'and so is the one that reads late';
is length $late->body, 1_000_000, 'with all of the answer';
$t->wait_in_flight(0);

$t->finish;
