#!/usr/bin/env perl

# gRPC: a stream whose client has not ended it, and may not do so before it hears from the backend,
# is held, released and answered; one that was given up meanwhile does not reach the backend.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Client;
use Intermission::Test::HTTP2;

my $t = Intermission::Test->new;
$t->start(<<'EOF');
    server {
        listen 127.0.0.1:%%PORT_80%% http2;
        intermission on;
        location / { grpc_pass grpc://127.0.0.1:%%PORT_backend%%; }
        location /held { intermission_read_body held; grpc_pass grpc://127.0.0.1:%%PORT_backend%%; }
    }
    server {
        listen 127.0.0.1:%%PORT_backend%% http2;
        access_log %%FOLDER%%/backend.log;
        location / { return 200; }
    }
    server {
        listen 127.0.0.1:%%PORT_control%%;
        location /intermission/ { intermission_control; }
    }
EOF

my $operator = Intermission::Test::Client->new(port => $t->port('control'));
sub call { return $operator->get("/intermission/$_[0]")->response }

sub wait_held {
    my ($count) = @_;
    return wait_for { call('status?format=json')->json->{held} == $count } "$count held requests";
}

my $client = Intermission::Test::HTTP2->new(port => $t->port(80));

sub open_stream {
    my ($uri) = @_;
    return $client->request(
        POST => $uri,
        body => 'the beginning',
        more => 1,
        headers => ['content-type: application/grpc+proto', 'te: trailers'],
    );
}

is $client->response(open_stream('/open'))->status, 200, 'answered while it is open';

for my $uri (qw(/released /held)) {
    call('enable');
    my ($stream, $given_up) = (open_stream($uri), open_stream("$uri/given-up"));
    wait_held(2);
    $client->reset($given_up);
    wait_held(1);
    call('disable');
    is $client->response($stream)->status, 200, "$uri: held, released and answered while it is open";
}
wait_for { call('status?format=json')->json->{in_flight} == 0 } 'the end of what was in flight';

my $log = slurp($t->folder . '/backend.log');
like $log, qr/released/, 'the backend logs what reaches it';
unlike $log, qr/given-up/, 'what was given up did not reach it';

$t->finish;
