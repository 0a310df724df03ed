#!/usr/bin/env perl

# A client leaves while its request is held by an app that a redirect has led it to, from behind the
# gate of another one: it leaves the queue and the counts of both, by whatever way it came there,
# and whatever happened to it before.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new;
my $origin = $t->origin(
    '/accel' => { headers => ['X-Accel-Redirect: /page'] },
    '/accel-named' => { headers => ['X-Accel-Redirect: @app'] },
    '/error' => { status => 500 },
    '/error-named' => { status => 500 },
    '/socket' => { upgrade => 1 },
    '/socket-behind' => { upgrade => 1 },
    '/slow' => { wait => 1 },
);
$t->start(default_server(<<'EOF'));
    listen 127.0.0.1:%%PORT_82%% http2;
    root %%FOLDER%%;
    intermission_app_name web;
    proxy_intercept_errors on;
    proxy_http_version 1.1;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $http_connection;

    location / { try_files /none @app; }
    location @app { intermission_app_name app; proxy_pass http://%%ORIGIN%%; }
    location /page { intermission_app_name app; proxy_pass http://%%ORIGIN%%; }
    location /body { try_files /none @body; }
    location @body {
        intermission_app_name app;
        intermission_read_body held;
        proxy_pass http://%%ORIGIN%%;
    }
    location /variable { set $name app; try_files /none @variable; }
    location @variable { intermission_app_name $name; proxy_pass http://%%ORIGIN%%; }
    location /accel { proxy_pass http://%%ORIGIN%%; }
    location /error { error_page 500 = /page; proxy_pass http://%%ORIGIN%%; }
    location /error-named { error_page 500 = @app; proxy_pass http://%%ORIGIN%%; }
    location /socket-behind { post_action @slow; proxy_pass http://%%ORIGIN%%; }
    location /behind { post_action @slow; proxy_pass http://%%ORIGIN%%; }
    location @slow {
        intermission_app_name app;
        rewrite ^ /slow break;
        proxy_pass http://%%ORIGIN%%;
    }
EOF

my $quiet = '0 held, 0 in flight, 0 upgraded';

# Of both apps together.
sub counts_become {
    my ($counts, $what) = @_;
    my $came = becomes {
        my %sum;
        for my $status (map { $t->status($_) } qw(web app)) {
            $sum{$_} += $status->{$_} for qw(held in_flight upgraded);
        }
        "$sum{held} held, $sum{in_flight} in flight, $sum{upgraded} upgraded";
    } $counts, $what;
    $came or die "what comes next would count on that\n";
}

my %leave = (
    'closes' => sub { my $client = $t->client->request(@_); sub { $client->close } },
    'is reset' => sub { my $client = $t->client->request(@_); sub { $client->reset } },
    'resets its stream' => sub {
        my $connection = $t->http2(port => $t->port(82));
        my $stream = $connection->request(@_);
        sub { $connection->reset($stream) };
    },
    'closes HTTP/2' => sub {
        my $connection = $t->http2(port => $t->port(82));
        $connection->request(@_);
        sub { $connection->close };
    },
);

my @workers = $t->server->workers;

# From an app that is open to one that is paused.
$t->enable('app');
for my $uri (qw(/tried /body /variable /accel /accel-named /error /error-named)) {
    for my $way (sort keys %leave) {
        my $leave = $leave{$way}->(POST => $uri, body => 'a body');
        counts_become('1 held, 0 in flight, 0 upgraded', "$uri: held by the second one");
        $leave->();
        counts_become($quiet, "then its client $way: out of all counts");
    }
}

# Held and released by the first one before.
for my $way (sort keys %leave) {
    $t->enable('web');
    my $leave = $leave{$way}->(GET => '/twice');
    $t->wait_held(1, 'web');
    $t->disable('web');
    $t->wait_held(1, 'app');
    $leave->();
    counts_become($quiet, "held twice, then its client $way: out of all counts");
}

# The second app goes on as ever.
$origin->forget;
my @clients = map { $t->hold(GET => "/last-$_", app => 'app') } 1 .. 3;
$t->disable('app');
is $_->response->status, 200, 'those who stay are answered' for @clients;
is_deeply [ $origin->uris ], [ map {"/last-$_"} 1 .. 3 ], 'in order, and nobody else is';
counts_become($quiet, 'all are over');

# Connections that are upgraded, after a hold and without one.
my @upgrade = (headers => [ 'Upgrade: echo', 'Connection: upgrade' ]);
$t->enable('app');
my $held = $t->hold(GET => '/socket', @upgrade, app => 'app');
$t->disable('app');
is $held->response->status, 101, 'upgraded after a hold by the second app';
my $passed = $t->client->get('/socket', @upgrade);
is $passed->response->status, 101, 'upgraded without one';
counts_become('0 held, 0 in flight, 2 upgraded', 'both count as that');
$_->close for $held, $passed;
counts_become($quiet, 'they close: out of all counts');

# What runs behind an answer, or an upgraded connection, at a place of the paused app.
$t->enable('app');
for my $case ([ '/behind', 200 ], [ '/socket-behind', 101, @upgrade ]) {
    my ($uri, $status, @with) = @$case;
    $origin->forget;
    my $client = $t->client->get($uri, @with);
    is $client->response->status, $status, "$uri is answered";
    $client->close;
    $origin->wait_requests(2);
    $origin->answer;
    counts_become($quiet, 'what runs behind it is over: out of all counts');
}
$t->disable('app');

is_deeply [ $t->server->workers ], \@workers, 'no worker has died';

$t->finish;
