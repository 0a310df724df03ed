#!/usr/bin/env perl

# The module loads, every directive is taken where it belongs, in every form that it has, without a
# word, and is inherited as nginx's own are.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new;

sub accepted {
    my ($http, $name) = @_;
    my ($ok, $said) = $t->check($http);
    ok $ok, $name or diag $said;
    is scalar(() = $said =~ /\[\w+\]/g), 0, 'without a warning' or diag $said;
    return;
}

accepted('', 'the module alone');
accepted('server { listen 127.0.0.1:%%PORT_80%%; }', 'a server that does not use it');
accepted('server { listen 127.0.0.1:%%PORT_80%%; intermission on; }', 'no zone is needed');
accepted("intermission_zone $_;", "intermission_zone $_") for qw(1m 512k 16m);

my @anywhere = (
    'intermission on',
    'intermission off',
    'intermission_app_name shop',
    'intermission_app_name "$host:$server_port"',
    'intermission_app_name ""',
    'intermission_max_time 1ms',
    'intermission_max_time 90s',
    'intermission_max_time 1m30s',
    'intermission_max_time 1d',
    'intermission_timeout_action pass',
    ( map {"intermission_timeout_action $_"} 400, 404, 429, 500, 503, 504, 599 ),
    'intermission_health_check_path /up',
    'intermission_health_check_path /up /health/live "/with space"',
    'intermission_privileged_user_agent probe',
    'intermission_privileged_user_agent probe "two words" "~^a{2}$" ~*b',
    'intermission_bypass $arg_bypass',
    'intermission_bypass $arg_bypass $cookie_a$cookie_b fixed',
    'intermission_read_body release',
    'intermission_read_body held',
    'intermission_read_body off',
    'intermission_interval 100ms',
    'intermission_interval 1s',
);
for my $directive (@anywhere) {
    accepted("$directive;", "http: $directive");
    accepted("server { $directive; }", "server: $directive");
    accepted("server { location / { $directive; } }", "location: $directive");
}
for my $control ('intermission_control', 'intermission_control local', 'intermission_control any') {
    accepted("server { location /c/ { $control; } }", $control);
    accepted("intermission on; server { location /c/ { $control; } }", "$control, gate around it");
}

# Inheritance: the nearest one counts.
$t->origin;
$t->start(<<'EOF');
    intermission on;
    intermission_app_name outer;
    intermission_timeout_action 503;
    intermission_max_time 100ms;

    server {
        listen 127.0.0.1:%%PORT_80%%;
        intermission_timeout_action 504;

        location / { proxy_pass http://%%ORIGIN%%; }
        location /inner/ {
            intermission_timeout_action 429;
            proxy_pass http://%%ORIGIN%%;
            location /inner/off/ { intermission off; proxy_pass http://%%ORIGIN%%; }
            location /inner/app/ { intermission_app_name inner; proxy_pass http://%%ORIGIN%%; }
        }
        location /intermission/ { intermission_control; }
    }
EOF
$t->enable('outer');
is $t->status->{app}, 'outer', 'the app of a control location is inherited as well';
is $t->get('/')->status, 504, 'a server goes before http';
is $t->get('/inner/')->status, 429, 'a location before a server';
is $t->get('/inner/off/')->status, 200, 'off within on';
is $t->get('/inner/app/')->status, 200, 'another app within';
$t->enable('inner');
is $t->get('/inner/app/')->status, 429, 'which inherits the rest';

$t->finish;
