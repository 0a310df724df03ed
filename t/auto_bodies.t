#!/usr/bin/env perl

# Bodies of requests that find no backend: of 1 KB and 1 MB, with a length and in chunks, over HTTP/1.1, HTTP/2 and HTTP/3. Each
# arrives whole and once. What nginx passes on as it comes is not taken back unless all of it had come.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::HTTP3;
use Intermission::Test::TLS;

my $no_http3 = Intermission::Test::HTTP3->missing($ENV{INTERMISSION_NGINX} || 'nginx');
my $t = Intermission::Test->new;
my $quic = '';
if (!$no_http3) {
    Intermission::Test::TLS->certificate($t->folder);
    $quic = <<'EOF';
        listen 127.0.0.1:%%PORT_443%% quic reuseport;
        ssl_certificate %%FOLDER%%/cert.pem;
        ssl_certificate_key %%FOLDER%%/key.pem;
        ssl_protocols TLSv1.3;
EOF
}
$t->start(<<"EOF");
    server {
        listen 127.0.0.1:%%PORT_80%%;
        listen 127.0.0.1:%%PORT_82%% http2;
$quic
        client_max_body_size 10m;
        intermission on;
        intermission_auto on;
        intermission_auto_interval 20ms;
        location / { proxy_pass http://%%ORIGIN%%; }
        location /held/ { intermission_read_body held; proxy_pass http://%%ORIGIN%%; }
        location /unbuffered/ {
            intermission_app_name unbuffered;
            proxy_request_buffering off;
            proxy_http_version 1.1;
            proxy_pass http://%%ORIGIN%%;
        }
        location /intermission/ { intermission_control; }
    }
EOF

my %size = ('1k' => 1000, '1m' => 1_000_000);
my %body = map { $_ => join '', map { chr(97 + $_ % 26) } 1 .. $size{$_} } keys %size;
my $held = 0;
my (@sent, @answers);

# Sends a request, which finds no backend or one that is known to be down; what waits for its answer.
sub hold {
    my ($uri, $size, $send) = @_;
    push @sent, [ $uri, sha256_hex($size ? $body{$size} : '') ];
    push @answers, [ $uri, $send->() ];
    $t->wait_held(++$held);
    return;
}

sub post {
    my ($uri, $size) = @_;
    my $client = $t->client->post($uri, $body{$size});
    return sub { $client->response };
}

sub post_in_chunks {
    my ($uri, $size) = @_;
    my $client = $t->client;
    $client->send($client->head(POST => $uri, headers => ['Transfer-Encoding: chunked']));
    $client->send(sprintf "%x\r\n%s\r\n", length $_, $_) for $body{$size} =~ /(.{1,60000})/gs;
    $client->send("0\r\n\r\n");
    return sub { $client->response };
}

sub post_by_stream {
    my ($uri, $size) = @_;
    my $connection = $t->http2(port => $t->port(82));
    my $stream = $connection->post($uri, $body{$size});
    # The rest goes when the server opens its windows: as soon as it reads the body, which is not while it holds one that came.
    $connection->read_frame while $uri !~ m{^/came/} && length $connection->{streams}{$stream}{unsent};
    return sub { $connection->response($stream) };
}

sub post_by_quic {
    my ($uri, $size) = @_;
    my $connection = Intermission::Test::HTTP3->new(port => $t->port(443));
    my $stream = $connection->request(POST => $uri, body => $body{$size});
    return sub { $connection->response($stream) };
}

my %ways = (
    length => \&post,
    chunks => \&post_in_chunks,
    http2 => \&post_by_stream,
    ($no_http3 ? () : (http3 => \&post_by_quic)),
);
diag $no_http3 if $no_http3;

# What comes while the backend is known to be down has its body read when it is let go, or, in one place, while it is held. So
# the first of each kind, which is taken back, is one of an app that is open until then.
for my $way (sort keys %ways) {
    for my $size (sort keys %size) {
        my $origin = $t->origin;
        is $t->get('/there')->status, 200, "$way, $size: the backend is there";
        wait_for { $t->status->{state} eq 'open' } 'the app to be open';
        $t->end_origin;
        ($held, @sent, @answers) = (0);
        hold("/$_/$way/$size", $size, sub { $ways{$way}->("/$_/$way/$size", $size) }) for qw(taken-back);
        is $t->status->{state}, 'down', 'and is not: down';
        if ($size eq '1k' || $way =~ /http/) {
            hold("/$_/$way/$size", $size, sub { $ways{$way}->("/$_/$way/$size", $size) }) for qw(held came);
        }
        $origin = $t->origin;
        is $_->[1]->()->status, 200, "$_->[0] is answered" for @answers;
        is_deeply [ map { [ $_->{uri}, $_->{sha} ] } $origin->requests ], \@sent, 'each came once, whole, in order';
        wait_for { $t->status->{state} eq 'open' } 'the app to be open';
        $t->end_origin;
    }
}

# Unbuffered: what has all come with the head is held as any other. What has not is not.
my $small = $t->hold(POST => '/unbuffered/1k', app => 'unbuffered', body => $body{'1k'});
my $get = $t->hold(GET => '/unbuffered/get', app => 'unbuffered');
my $origin = $t->origin;
is $_->response->status, 200, 'unbuffered, but whole' for $small, $get;
is_deeply [ map { $_->{sha} } $origin->requests ], [ map { sha256_hex($_) } $body{'1k'}, '' ], 'each came once';
$t->wait_state('open', 'unbuffered');
$t->end_origin;
my $client = $t->client;
$client->send($client->head(POST => '/unbuffered/half', length => 2000) . substr $body{'1k'}, 0, 500);
is $client->response->status, 502, 'unbuffered, and half of it: the usual error';
is $t->status('unbuffered')->{state}, 'open', 'and nobody is held';

$t->finish;
