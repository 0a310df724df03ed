#!/usr/bin/env perl

# nginx is told to quit while a backend is down: nobody is held any longer. Each request is tried once more, gets the usual error, and
# nginx ends.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;
use Time::HiRes qw(time);

use lib "$Bin/lib";
use Intermission::Test;

use constant SOON => 10;

my $t = Intermission::Test->new(workers => 2);
$t->start(default_server(<<'EOF'));
    intermission_auto on;
    intermission_auto_interval 20ms;
    intermission_auto_max_time 300s;
    location /intermission/ { intermission_control; }
EOF

my @clients = map { $t->hold(GET => "/$_") } 1 .. 20;
is $t->status->{state}, 'down', 'a backend that is not there';
my $started = time;
$t->server->signal('QUIT');
is $_->response->status, 502, 'the usual error' for @clients;
cmp_ok time - $started, '<', SOON, 'at once';
$t->stop;

done_testing;
