#!/usr/bin/env perl

# HTTP/2 to the backend (nginx 1.29.4 and later): held, released in order, and counted as any other request is, with its body.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new;
my $http = <<'EOF';
    server {
        listen 127.0.0.1:%%PORT_80%%;
        intermission on;
        location / { proxy_http_version 2; proxy_pass http://127.0.0.1:%%PORT_2%%; }
        location /intermission/ { intermission_control; }
    }
    server {
        listen 127.0.0.1:%%PORT_2%%;
        http2 on;
        location / { add_header X-Protocol $server_protocol; proxy_pass http://%%ORIGIN%%; }
    }
EOF
my ($works, $says) = $t->check($http);
plan skip_all => 'this nginx has no HTTP/2 to backends' if !$works && $says =~ /invalid value "2"|"http2"/;

my $origin = $t->origin('/bad' => { status => 500 });
$t->start($http);
$t->enable;
my $large = 'x' x 100_000;
my @held = map { $t->hold(@$_) } [ GET => '/1' ], [ POST => '/2', body => $large ], [ GET => '/3' ];
(my $leaving = $t->hold(GET => '/leaving'))->close;
$t->wait_held(3);
is_deeply [ $origin->uris ], [], 'nothing goes through';
$t->must('disable', concurrency => 1);
is $_->response->header('X-Protocol'), 'HTTP/2.0', 'answered by HTTP/2' for @held;
is_deeply [ $origin->uris ], [qw(/1 /2 /3)], 'in order, and nothing of who has left';
is(($origin->requests)[1]{length}, 100_000, 'with its body');
wait_for { $t->status->{state} eq 'open' } 'the release to end';
wait_for { $t->status->{in_flight} == 0 } 'each to be counted off';

# A canary is judged by what the backend answers, over HTTP/2 as well.
$t->enable;
@held = map { $t->hold(GET => $_) } qw(/bad /4);
is $t->control('disable', canary => 1)->status, 409, 'a canary that fails: paused again';
is $held[0]->response->status, 500, 'its answer';
ok $held[1]->silent, 'the rest stays held';
$t->disable;
is $held[1]->response->status, 200, 'and is released later';

$t->finish;
