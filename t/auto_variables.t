#!/usr/bin/env perl

# intermission_auto where the address of the backend has variables in it. If it names an upstream of the configuration it is as any
# other. If not, nginx makes up a server for this one request, and nobody is asked before that fails: the usual error.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new(workers => 2);
$t->start(<<'EOF');
    upstream app { server 127.0.0.1:%%PORT_ORIGIN%% fail_timeout=300s; }
    server {
        listen 127.0.0.1:%%PORT_80%%;
        intermission on;
        intermission_auto on;
        intermission_auto_interval 20ms;
        intermission_app_name $uri;
        location /server { proxy_pass http://$arg_server; }
        location /path { proxy_pass http://app/a$uri; }
        location /address { proxy_pass http://127.0.0.1:%%PORT_ORIGIN%%/a$uri; }
        location /intermission/ { intermission_control; }
    }
EOF

my $address = '127.0.0.1:' . $t->port('ORIGIN');
for my $uri ("/server?server=$address", '/address') {
    is $t->get($uri)->status, 502, "$uri: the usual error";
    my $app = $t->status($uri =~ s/\?.*//r);
    is "$app->{state} $app->{totals}{held}", 'open 0', 'nobody is held';
}

my @clients = map { $t->hold(GET => $_, app => s/\?.*//r) } '/server?server=app', '/path';
my $origin = $t->origin;
is $_->response->status, 200, 'a name of the configuration: held, and answered' for @clients;
is_deeply [ sort $origin->uris ], [ '/a/path', '/server?server=app' ], 'each once';

$t->finish;
