#!/usr/bin/env perl

# Sticky sessions and a peer that is being drained (nginx 1.29.6 and later): which peer a held request goes to is decided after
# its release, by what is configured then.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new;

sub http {
    my ($drain) = @_;
    return <<"EOF";
    upstream backend {
        zone backend 64k;
        sticky cookie peer;
        server 127.0.0.1:%%PORT_1%% route=first $drain;
        server 127.0.0.1:%%PORT_2%% route=second;
    }
    server {
        listen 127.0.0.1:%%PORT_80%%;
        intermission on;
        location / { proxy_pass http://backend; }
        location /intermission/ { intermission_control; }
    }
    server { listen 127.0.0.1:%%PORT_1%%; return 200 "first"; }
    server { listen 127.0.0.1:%%PORT_2%%; return 200 "second"; }
EOF
}

my ($works, $says) = $t->check(http('drain'));
plan skip_all => 'this nginx has no sticky sessions' if !$works && $says =~ /unknown directive|invalid parameter/;

$t->start(http('drain'));
$t->enable;
my @bound = map { $t->hold(GET => "/$_", headers => ['Cookie: peer=first']) } 1 .. 3;
my @new = map { $t->hold(GET => "/$_") } 4 .. 6;
$t->disable;
is $_->response->body, 'first', 'who is bound to the peer goes there' for @bound;
is $_->response->body, 'second', 'who is not goes elsewhere' for @new;
wait_for { $t->status->{in_flight} == 0 } 'each to be counted off';

$t->finish;
