#!/usr/bin/env perl

# Who is held by an operator's pause, and meets an outage before its turn comes, has the time of that pause: intermission_max_time, and
# not intermission_auto_max_time. It gets the usual error when that is over, whatever intermission_timeout_action says.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new;
$t->start(default_server(<<'EOF'));
    intermission_auto on;
    intermission_auto_interval 20ms;
    intermission_auto_max_time 200ms;
    intermission_max_time 3s;
    intermission_timeout_action 504;
    location /intermission/ { intermission_control; intermission_release_concurrency 1; }
EOF

$t->enable;
my $first = $t->hold(GET => '/first');
my $second = $t->hold(GET => '/second');
$t->disable;
is $first->response->status, 502, 'whose turn came, and found no backend: after intermission_auto_max_time';
ok $second->silent, 'whose turn did not come is held';
is $second->response->status, 502, 'until intermission_max_time is over';

$t->finish;
