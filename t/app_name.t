#!/usr/bin/env perl

# Apps: a name for what is paused as one. It may come from variables, is "default" where it is
# empty, and pausing one app touches no other.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new(workers => 2);
$t->origin;
$t->start(default_server(<<'EOF'));
    listen 127.0.0.1:%%PORT_80%%;
    intermission_app_name $arg_name;
    location /shop/ {
        intermission_app_name shop;
        proxy_pass http://%%ORIGIN%%;
    }
    location /mixed/ {
        intermission_app_name shop$arg_suffix;
        proxy_pass http://%%ORIGIN%%;
    }
    location /intermission/ { intermission_app_name ""; intermission_control; }
    location /shop-control/ { intermission_app_name shop; intermission_control; }
EOF

sub states { return join ' ', map { $t->status($_)->{state} } qw(default shop blog) }

is states(), 'open open open', 'all apps are open';

# By the call's argument.
$t->enable('shop');
is states(), 'open paused open', 'the app that the call names is paused, no other';
is $t->status('shop')->{app}, 'shop', 'status says which app it is';
is $t->status->{app}, 'default', 'and that of the location is the default one here';

my @shop = (
    $t->hold(GET => '/shop/1', app => 'shop'),
    $t->hold(GET => '/mixed/2', app => 'shop'),
    $t->hold(GET => '/3?name=shop', app => 'shop'),
);
is $t->get($_)->status, 200, "$_ goes on" for '/', '/?name=', '/?name=blog', '/mixed/?suffix=s';

# By the control location's own name.
my $own = $t->get('/shop-control/status?format=json')->json;
is "$own->{app} $own->{state}", 'shop paused', 'a control location can have an app of its own';
my $named = $t->get('/shop-control/status?app=blog&format=json')->json;
is "$named->{app} $named->{state}", 'blog open', 'the argument goes before it';

# The default app is one among others.
$t->enable;
is states(), 'paused paused open', 'pausing the default app adds it';
my @default = map { $t->hold(GET => $_) } '/a', '/b?name=', '/c?name=default';
is $t->status->{held}, 3, 'an empty name, none and "default" are the same app';
is $t->get('/?name=blog')->status, 200, 'a third one goes on';

is $t->get('/shop-control/disable')->status, 200, 'one app is resumed';
is $_->response->status, 200, 'and its requests are released' for @shop;
ok $_->silent, 'those of the other one are not' for @default;
is states(), 'paused open open', 'the states of all';
$t->disable;
is $_->response->status, 200, 'until it is its turn' for @default;

# Names that need care where they are printed.
for my $name ('a%22b', 'a%5Cb', 'with%20space', '%C3%A4', '%3Cb%3E', 'a.b-c_d:80', '[::1]') {
    is $t->control('enable', app => $name)->status, 200, "an app called $name";
    my $status = $t->status($name);
    utf8::decode(my $plain = $name =~ s/%(..)/chr hex $1/ger);
    is $status->{app}, $plain, 'its name comes back as it was';
    is $status->{state}, 'paused', 'and it is paused';
    $t->disable($name);
}

$t->finish;
