#!/usr/bin/env perl

# intermission_auto with FastCGI, uwsgi and SCGI: as with proxy_pass. nginx passes gRPC on as it comes, so that is never taken back:
# the usual error.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Gateway;

my $t = Intermission::Test->new;
$t->start(<<'EOF');
    intermission on;
    intermission_auto on;
    intermission_auto_interval 20ms;
    client_max_body_size 2m;
    server {
        listen 127.0.0.1:%%PORT_80%%;
        listen 127.0.0.1:%%PORT_82%% http2;
        location /fastcgi {
            intermission_app_name fastcgi;
            fastcgi_param REQUEST_URI $request_uri;
            fastcgi_param CONTENT_LENGTH $content_length;
            fastcgi_pass 127.0.0.1:%%PORT_fastcgi%%;
        }
        location /uwsgi {
            intermission_app_name uwsgi;
            uwsgi_param REQUEST_URI $request_uri;
            uwsgi_param CONTENT_LENGTH $content_length;
            uwsgi_pass 127.0.0.1:%%PORT_uwsgi%%;
        }
        location /scgi {
            intermission_app_name scgi;
            scgi_param REQUEST_URI $request_uri;
            scgi_param CONTENT_LENGTH $content_length;
            scgi_pass 127.0.0.1:%%PORT_scgi%%;
        }
        location /grpc { intermission_app_name grpc; grpc_pass grpc://127.0.0.1:%%PORT_nobody%%; }
        location /intermission/ { intermission_control; }
    }
EOF

for my $name (qw(fastcgi uwsgi scgi)) {
    my @lengths = (0, 1000, 300_000);
    my @clients = map { $t->hold(POST => "/$name$_", app => $name, body => 'x' x $_) } @lengths;
    is $t->status($name)->{state}, 'down', "$name: nobody is there";
    my $backend = Intermission::Test::Gateway->new($t, $name);
    is $clients[$_]->response->body, "/$name$lengths[$_] $lengths[$_]", 'answered when somebody is' for 0 .. 2;
    wait_for { $t->status($name)->{state} eq 'open' } 'the app to be open';
    my @came = Intermission::Test::Server::slurp($t->folder . '/backends.log') =~ /^$name (.*)$/mg;
    is_deeply \@came, [ map {"/$name$_ $_"} @lengths ], 'each once, in order, with its whole body';
}

my $connection = $t->http2(port => $t->port(82));
my $stream = $connection->request(
    POST => '/grpc',
    body => 'the whole',
    headers => ['content-type: application/grpc+proto', 'te: trailers'],
);
is $connection->response($stream)->status, 502, 'grpc: the usual error';
is $t->status('grpc')->{totals}{held}, 0, 'and nobody is held';

$t->finish;
