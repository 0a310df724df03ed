#!/usr/bin/env perl

# Many apps released at once share what a worker lets go at a time: its other clients get their turn
# in between, as they do when one app is released. They have asked before the release begins: see
# fairness.t.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

use constant { APPS => 300, EACH => 5, OTHERS => 60 };

my $t = Intermission::Test->new(connections => 4 * APPS * EACH);
$t->start(default_server(<<'EOF'));
    listen 127.0.0.1:%%PORT_80%% backlog=4096;
    keepalive_requests 100000;
    intermission_app_name $arg_app;
    location / { empty_gif; }
EOF

my $operator = $t->client;
sub call { return $operator->get("/intermission/$_[0]")->response }

sub held { return call("status?app=$_[0]&format=json")->json->{held} }

call("enable?app=$_") for 1 .. APPS;
my @clients = map { $t->client->get('/x?app=' . (1 + $_ % APPS)) } 1 .. APPS * EACH;
for my $app (1 .. APPS) {
    wait_for { held($app) == EACH } "all of app $app to be held";
}

my ($worker) = $t->server->workers;
$t->stop_process($worker);
$operator->get('/intermission/disable?app=*');
my $last = '/intermission/status?format=json&app=' . APPS;
my @others = map { $t->client->get($last) } 1 .. OTHERS;
kill CONT => $worker;
is $operator->response->status, 200, 'all are resumed';
my $turns = grep { $_->response->json->{held} } @others;
note "$turns of " . OTHERS . ' had their turn before the last app';
cmp_ok $turns, '>=', 10, 'others get their turn before the last app has';

is answered(@clients), APPS * EACH, 'all are answered';

$t->finish;
