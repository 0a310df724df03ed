#!/usr/bin/env perl

# Order, whatever the requests bring: without a body and with one, of a length or in chunks, over
# HTTP/1.1 and over HTTP/2, whose bodies nginx gives to its modules later than the others'.

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
    location /held/ { intermission_read_body held; proxy_pass http://%%ORIGIN%%; }
    location /off/ { intermission_read_body off; proxy_pass http://%%ORIGIN%%; }
EOF

my @chunked = (headers => ['Transfer-Encoding: chunked']);
my $streams = $t->http2(port => $t->port(82));
my %ways = (
    'GET' => sub { $t->client->get(@_) },
    'POST' => sub { $t->client->post(@_, 'x' x 3000) },
    'POST in chunks' => sub {
        my $client = $t->client;
        $client->send($client->head(POST => @_, @chunked) . "3\r\nabc\r\n0\r\n\r\n");
        return $client;
    },
    'a stream' => sub { $streams->get(@_) },
    'a stream with a body' => sub { $streams->post(@_, 'x' x 3000) },
);

# Each way beside each other one, all of them in one release.
for my $place (qw(/ /held/ /off/)) {
    $origin->forget;
    $t->enable;
    my ($held, @uris, @clients);
    for my $first (sort keys %ways) {
        for my $way (map { ($first, $_) } sort keys %ways) {
            push @uris, ($place eq '/off/' && $way =~ /stream/ ? '/' : $place) . ++$held;
            push @clients, $ways{$way}->($uris[-1]);
            $t->wait_held($held);
        }
    }
    $t->disable;
    ref $_ ? $_->response : $streams->response($_) for @clients;
    is_deeply [ $origin->uris ], \@uris, "$place: $held requests, in order";
    $t->wait_state('open');
}

$t->finish;
