#!/usr/bin/env perl

# The PROXY protocol in front of HTTP/1.1, HTTP/2 and TLS: held and released in order, and a client
# that the load balancer cuts off never reaches the origin. Who may call is decided by the
# connection's own peer, whatever address the protocol says.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Client;
use Intermission::Test::HTTP2;
use Intermission::Test::TLS;

my $has_tls = !Intermission::Test::TLS->missing;

my $t = Intermission::Test->new;
my $origin = $t->origin;
Intermission::Test::TLS->certificate($t->folder) if $has_tls;
my $tls = $has_tls ? <<'EOF' : '';
        listen 127.0.0.1:%%PORT_443%% ssl proxy_protocol;
        ssl_certificate %%FOLDER%%/cert.pem;
        ssl_certificate_key %%FOLDER%%/key.pem;
EOF
$t->start(<<"EOF");
    intermission on;
    set_real_ip_from 127.0.0.1;
    real_ip_header proxy_protocol;
    server {
        listen 127.0.0.1:%%PORT_80%%;
        location /intermission/ { intermission_control; }
    }
    server {
        listen 127.0.0.1:%%PORT_81%% proxy_protocol;
$tls
        location / {
            proxy_set_header X-Client \$remote_addr;
            proxy_pass http://%%ORIGIN%%;
        }
        location /intermission/ { intermission_control; }
    }
    server {
        listen 127.0.0.1:%%PORT_82%% http2 proxy_protocol;
        location / { proxy_pass http://%%ORIGIN%%; }
    }
EOF

my $line = "PROXY TCP4 192.0.2.7 192.0.2.1 4000 80\r\n";

sub client {
    my ($port) = @_;
    return Intermission::Test::TLS->new(port => $t->port(443), before => $line) if $port == 443;
    my $client = Intermission::Test::Client->new(port => $t->port($port));
    $client->send($line);
    return $client;
}

my @plain = (81, $has_tls ? 443 : 81);
my $streams = Intermission::Test::HTTP2->new(client => client(82));

$t->enable;
my @clients = map { $t->hold(POST => "/$_", body => 'body', client => client($plain[ $_ % 2 ])) } 1 .. 6;
my @streams = map { $t->hold(GET => "/$_", client => $streams) } 7 .. 9;
my @gone = map { $t->hold(GET => '/gone', client => client($_)) } @plain;
my $gone = $t->hold(GET => '/gone', client => $streams);
$_->close for @gone;
$streams->reset($gone);
$t->wait_held(9);
$t->disable;
is answered(@clients), 6, 'HTTP/1.1: all are answered';
is scalar(grep { $streams->response($_)->status == 200 } @streams), 3, 'HTTP/2: all are answered';
my @requests = $origin->requests;
is_deeply [ map { $_->{uri} } @requests ], [ map {"/$_"} 1 .. 9 ], 'in order, and none that left';
is $requests[0]{headers}{'x-client'}, '192.0.2.7', 'the address is the one that the protocol says';

# A connection that sends half of its line is not a request, and holds nothing.
my $half = Intermission::Test::Client->new(port => $t->port(81));
$half->send('PROXY TCP4 192.0');
is client(81)->get('/intermission/status')->response->status, 200,
    'a call through a balancer on this machine is local, as before realip';

$t->finish;
