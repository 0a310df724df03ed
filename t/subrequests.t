#!/usr/bin/env perl

# Subrequests are never held on their own: those of SSI and auth_request, and the copies of mirror.
# The request that they belong to is what the gate knows.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new;
my $page = '[<!--#include virtual="/part-1" -->][<!--#include virtual="/part-2" -->]';
my $origin = $t->origin(
    '/page' => { body => $page },
    '/slow-page' => { body => $page, wait => 1 },
);
$t->write_file('open/page.txt', $page);
$t->start(default_server(<<'EOF'));
    ssi on;
    ssi_types *;
    location /open/ { intermission off; root %%FOLDER%%; }
    location /asked { auth_request /auth; proxy_pass http://%%ORIGIN%%; }
    location /open-asked {
        intermission off;
        auth_request /auth;
        proxy_pass http://%%ORIGIN%%;
    }
    location /mirrored { mirror /mirror; proxy_pass http://%%ORIGIN%%; }
EOF

my $parts = "[/part-1\n][/part-2\n]";

# An open place whose subrequests lead under the gate.
$t->enable;
is $t->get('/open/page.txt')->body, $parts, 'SSI includes go through a closed gate';
is $t->get('/open-asked')->status, 200, 'the question of auth_request as well';
is $t->status->{totals}{held}, 0, 'nothing was held';

# A place under the gate.
$origin->forget;
my @clients = map { $t->hold(GET => $_) } qw(/page /asked /mirrored);
is_deeply [ $origin->uris ], ['/auth'], 'the main request is held, after its access was checked';
$t->disable;
is $clients[0]->response->body, $parts, 'SSI is complete after the release';
is $_->response->status, 200, 'and so are the others' for @clients[ 1, 2 ];
$origin->wait_requests(7);
is_deeply [ sort $origin->uris ], [qw(/asked /auth /mirror /mirrored /page /part-1 /part-2)],
    'each request and subrequest reached the origin once';

# The gate closes between a request and its subrequests.
$origin->forget;
my $client = $t->client->get('/slow-page');
$origin->wait_requests(1);
is $t->status->{in_flight}, 1, 'one request in flight';
$t->enable;
$origin->answer;
is $client->response->body, $parts, 'a request that went through is completed while paused';

my $status = $t->status;
is $status->{held}, 0, 'nothing is held';
is $status->{in_flight}, 0, 'nothing is in flight';
is $status->{totals}{held}, 3, 'three main requests were held in all';

$t->finish;
