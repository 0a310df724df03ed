#!/usr/bin/env perl

# HTTP/2: as many streams of one connection are held as nginx allows at once, and more of them are
# refused by HTTP/2 itself; a client that says GOAWAY gets what it asked for before, and so does
# one whose worker is told to go by a reload.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

use constant LIMIT => 100;

my $t = Intermission::Test->new;
my $origin = $t->origin;
$t->start(default_server(<<'EOF'));
    listen 127.0.0.1:%%PORT_82%% http2;
    http2_max_concurrent_streams 100;
EOF

sub connection { return $t->http2(port => $t->port(82)) }

$t->enable;
my $full = connection();
my @streams;
for my $number (1 .. LIMIT) {
    push @streams, $full->get("/$number");
    $t->wait_held($number);
}
is $full->response($full->get('/one-more'))->status, 0, 'a stream beyond the limit is refused';
is $t->status->{held}, LIMIT, 'the others stay held';
is $t->get('/up')->status, 200, 'a health check over a connection of its own goes through';

# A stream that ends makes room for another one.
$full->reset(splice @streams, LIMIT / 2, 1);
$t->wait_held(LIMIT - 1);
push @streams, $full->get('/last');
$t->wait_held(LIMIT);

$origin->forget;
$t->disable;
is scalar(grep { $full->response($_)->status == 200 } @streams), LIMIT, 'all are answered';
my @stayed = grep { $_ != LIMIT / 2 + 1 } 1 .. LIMIT;
is_deeply [ $origin->uris ], [ (map {"/$_"} @stayed), '/last' ], 'in order';
$t->wait_state('open');

# The client says that it is going to leave.
$origin->forget;
$t->enable;
my $leaving = connection();
my $before = $leaving->get('/before');
$t->wait_held(1);
$leaving->go_away;
my $after = $t->hold(GET => '/after');
$t->disable;
is $leaving->response($before)->status, 200, 'what it asked for before is answered';
is $after->response->status, 200, 'and so is the next one';
is_deeply [ $origin->uris ], [qw(/before /after)], 'each reached the origin once, in order';
$t->wait_state('open');

# nginx says so, in a reload.
$origin->forget;
$t->enable;
my $old = connection();
my @held;
for my $number (1 .. 5) {
    push @held, $old->post("/held-$number", 'body');
    $t->wait_held($number);
}
$t->reload;
is $t->status->{held}, 5, 'streams stay held over a reload';
$t->disable;
is $old->response($_)->status, 200, 'and are answered' for @held;
is_deeply [ $origin->uris ], [ map {"/held-$_"} 1 .. 5 ], 'in order';

$t->finish;
