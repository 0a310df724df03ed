#!/usr/bin/env perl

# intermission_auto where the backend is found by its name at each request: who finds no such name, or nobody there, is held. The
# first of those who are held is the probe, as the name may stand for others by then. Where nobody can be asked for a name, the usual
# error is given: that is a mistake, and no outage.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::DNS;
use Intermission::Test::Gateway;

my $t = Intermission::Test->new(workers => 2);
my $dns = Intermission::Test::DNS->new($t, 'dns');
$t->start(<<'EOF');
    intermission on;
    intermission_auto on;
    intermission_auto_interval 20ms;
    intermission_auto_max_time 20s;
    intermission_app_name $app;
    resolver_timeout 100ms;
    map $uri $app { ~^/(?<name>\w+) $name; }
    server {
        listen 127.0.0.1:%%PORT_80%%;
        resolver 127.0.0.1:%%PORT_dns%% ipv6=off;
        location / { proxy_pass http://$app.test:%%PORT_ORIGIN%%; }
        location /probed { intermission_auto_probe /up; proxy_pass http://$app.test:%%PORT_ORIGIN%%; }
        location /brief { intermission_auto_max_time 300ms; proxy_pass http://$app.test; }
        location /fastcgi {
            fastcgi_param REQUEST_URI $request_uri;
            fastcgi_pass $app.test:%%PORT_fastcgi%%;
        }
        location /silent { resolver 127.0.0.1:%%PORT_nobody%%; proxy_pass http://$app.test:%%PORT_ORIGIN%%; }
        location /intermission/ { intermission_control; }
    }
    server {
        listen 127.0.0.1:%%PORT_2%%;
        location / { proxy_pass http://$app.test:%%PORT_ORIGIN%%; }
    }
EOF
my $names = {};
sub names { return $dns->names(map { ("$_.test" => $names->{$_}) } keys %$names) }

# A name that nobody knows, and that comes to be known.
my @clients = map { $t->hold(GET => "/lost/$_", app => 'lost') } 1 .. 3;
becomes { $t->status('lost')->{state} } 'down', 'a name that does not exist: the app is down';
my $origin = $t->origin;
$names->{lost} = ['127.0.0.1'];
names();
is $_->response->status, 200, 'held until there is a server by that name' for @clients;
is_deeply [ sort $origin->uris ], [ map {"/lost/$_"} 1 .. 3 ], 'each came once';
is +($origin->uris)[0], '/lost/1', 'the first of them before the others';
$t->wait_state(open => 'lost');

# A server that comes back by another address.
$names->{$_} = ['127.0.0.3'] for qw(moved probed);
$names->{several} = [ '127.0.0.3', '127.0.0.4' ];
names();
my @moved = map { $t->hold(GET => "/$_", app => $_) } qw(moved probed several);
$names->{$_} = ['127.0.0.1'] for qw(moved probed several);
names();
is $_->response->status, 200, 'held until the name stands for a server that is there' for @moved;
$t->wait_state(open => $_) for qw(moved probed several);

# FastCGI.
my $fastcgi = $t->hold(POST => '/fastcgi', app => 'fastcgi', body => 'x' x 1000);
$names->{fastcgi} = ['127.0.0.1'];
names();
my $gateway = Intermission::Test::Gateway->new($t, 'fastcgi');
is $fastcgi->response->body, '/fastcgi 1000', 'as well with FastCGI';

# Somebody who would know, and says nothing.
my $silent = $t->hold(GET => '/silent', app => 'silent');
becomes { $t->status('silent')->{state} } 'down', 'no answer about a name: the app is down';
$silent->close;
is $t->get('/brief')->status, 502, 'who was held for as long as may be gets the usual error';

# Nobody who could be asked.
my $nobody = $t->client(port => $t->port(2))->get('/nobody');
is $nobody->response->status, 502, 'no resolver: the usual error';
is $t->status('nobody')->{totals}{held}, 0, 'and nobody is held';

$t->finish;
