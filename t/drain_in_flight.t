#!/usr/bin/env perl

# A drain waits until requests are over with all that belongs to them: subrequests, redirects,
# error pages, a body that comes slowly. A connection that was upgraded is not waited for. Nothing
# is looked at in intervals here: a request is held, and the interval is an hour.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new;
my $origin = $t->origin(
    '/slow' => { wait => 1 },
    '/page' => { body => '[<!--#include virtual="/slow" -->]' },
    '/accel' => { headers => ['X-Accel-Redirect: /slow'] },
    '/failing' => { status => 500 },
    '/socket' => { upgrade => 1 },
    '/slow-socket' => { upgrade => 1, wait => 1 },
);
$t->start(default_server(<<'EOF'));
    intermission_interval 1h;
    proxy_intercept_errors on;

    location / {
        proxy_pass http://%%ORIGIN%%;
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $http_connection;
    }
    location /page { ssi on; ssi_types *; proxy_pass http://%%ORIGIN%%; }
    location /failing { error_page 500 = /slow; proxy_pass http://%%ORIGIN%%; }
    location /named { error_page 404 = @slow; root %%FOLDER%%; }
    location /tried { try_files /none @slow; }
    location @slow { rewrite ^ /slow break; proxy_pass http://%%ORIGIN%%; }
    location /mirrored { mirror /slow-mirror; proxy_pass http://%%ORIGIN%%/fast; }
    location = /slow-mirror { internal; proxy_pass http://%%ORIGIN%%/slow; }
    location /asked { auth_request /slow; proxy_pass http://%%ORIGIN%%/fast; }
EOF

my @upgrade = (headers => [ 'Upgrade: echo', 'Connection: upgrade' ]);
my $held;

# Pauses, holds a request, and drains from then on.
sub drain {
    $t->enable;
    $held = $t->hold(GET => '/held');
    my $caller = $t->call('enable', drain => '20s');
    $t->status for 1 .. 5;
    return $caller;
}

sub resume {
    $t->disable;
    is $held->response->status, 200, 'the held one is released';
    $origin->forget;
}

# How many requests the origin has when the slow one is among them.
my %requests = (
    '/slow' => 1,
    '/page' => 2,
    '/accel' => 2,
    '/failing' => 2,
    '/named' => 1,
    '/tried' => 1,
    '/mirrored' => 2,
);
for my $uri (sort keys %requests) {
    my $client = $t->client->get($uri);
    $origin->wait_requests($requests{$uri});
    my $caller = drain();
    ok $caller->silent, "$uri is waited for";
    is $t->status->{in_flight}, 1, 'and counts once';
    $origin->answer;
    is $client->response->status, 200, 'its answer';
    is $caller->response->status, 200, 'ends the drain';
    resume();
}

# What is still being asked for its access has not gone through the gate.
my $asked = $t->client->get('/asked');
$origin->wait_requests(1);
my $caller = drain();
is $caller->response->status, 200, 'who has not come to the gate is not waited for';
$origin->answer;
$t->wait_held(2);
resume();
is $asked->response->status, 200, 'but is held there';
$origin->forget;

# A body that comes slowly: the backend knows nothing of it, and the gate stands behind it.
my $uploader = $t->client;
$uploader->send($uploader->head(POST => '/upload', length => 10) . 'x' x 5);
is drain()->response->status, 200, 'an upload is not waited for';
$uploader->send('x' x 5);
$t->wait_held(2);
resume();
is $uploader->response->status, 200, 'it is held when it has come';

# Upgraded connections.
my $socket = $t->client->get('/socket', @upgrade);
is $socket->response->status, 101, 'an upgraded connection';
$caller = drain();
my $answer = $caller->response;
is $answer->status, 200, 'is not waited for';
like $answer->body, qr/^upgraded: 1$/m, 'but reported';
resume();

my $slow_socket = $t->client->get('/slow-socket', @upgrade);
$origin->wait_requests(1);
$caller = drain();
ok $caller->silent, 'one that is not upgraded yet is waited for';
$origin->answer;
is $slow_socket->response->status, 101, 'its upgrade';
is $caller->response->status, 200, 'ends the drain';
resume();
is $t->status->{upgraded}, 2, 'both are still there';

$t->finish;
