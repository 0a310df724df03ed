#!/usr/bin/env perl

# Deadlines that come while another app is released, by a worker that has just let go all that it may in
# a turn of its loop: their apps wait for the next turn, and the loop has to get there.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;
use Time::HiRes qw(sleep time);

use lib "$Bin/lib";
use Intermission::Test;

# The deadlines, 2 ms apart, are spread over the release of the large app.
use constant { LARGE => 1500, SMALL => 100, APART => 0.002, AHEAD => 3 };

my $t = Intermission::Test->new(connections => 4 * LARGE);
$t->start(default_server(<<'EOF'));
    listen 127.0.0.1:%%PORT_80%% backlog=4096;
    intermission_app_name $arg_app;
    location / { empty_gif; }
EOF

$t->enable('large');
my @clients = map { $t->client->get('/x?app=large') } 1 .. LARGE;
$t->wait_held(LARGE, 'large');

my $begin = time + AHEAD;
for my $number (1 .. SMALL) {
    my $left = $begin + $number * APART - time;
    $t->must('enable', app => "small$number", for => int(1000 * $left) . 'ms');
    push @clients, $t->client->get("/x?app=small$number");
}
cmp_ok time, '<', $begin, 'all are held before the first deadline' or $t->finish;
sleep $begin - time;
is $t->disable('large')->status, 200, 'the large app is released';

is answered(@clients), LARGE + SMALL, 'all are answered';
is $t->control('status', app => 'large')->status, 200, 'and the worker is at work';

$t->finish;
