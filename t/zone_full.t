#!/usr/bin/env perl

# A zone that is full of paused apps has no room to count the requests of another app, which go
# through. They are counted all the same, for all apps together: where there is room again and that
# app is paused, a drain waits for them.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

use constant MANY => 1000;

my $t = Intermission::Test->new(workers => 2);
my $origin = $t->origin('/slow' => { wait => 1 }, '/socket' => { upgrade => 1 });
$t->start('intermission_zone 64k;' . default_server(<<'EOF'));
    intermission_app_name $http_app;
    proxy_http_version 1.1;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection upgrade;
EOF

my $control = $t->client_at(($t->server->workers)[1]);

sub status_of {
    my ($app) = @_;
    return $control->get("/intermission/status?app=$app&format=json")->response->json;
}

sub send_to {
    my ($app, $path, $client) = @_;
    my $count = () = $origin->requests;
    $client //= $t->client;
    $client->get($path, headers => [ "App: $app", 'Upgrade: echo', 'Connection: upgrade' ]);
    $origin->wait_requests($count + 1);
    return $client;
}

my $paused = grep { $t->control('enable', app => "app-$_")->status == 200 } 1 .. MANY;
cmp_ok $paused, '<', MANY, "the zone is full of $paused apps";

my $slow = send_to('late', '/slow');
$t->disable('app-1');
my @drains = map { $t->call('enable', app => $_, drain => '10s') } 'late', 'app-2';
wait_for { status_of('late')->{state} eq 'paused' } 'the app to be paused, as there is room';
is status_of('late')->{in_flight}, 1, 'what went through before counts as in flight';
ok $drains[0]->silent, 'a drain waits for it';
ok $drains[1]->silent, 'that of another app as well: it could be one of its own';
$origin->answer;
is $slow->response->status, 200, 'it is answered';
is $_->response->status, 200, 'and a drain is over' for @drains;
is status_of('late')->{in_flight}, 0, 'nothing is in flight any more';

is $t->control('enable', app => 'none')->status, 507, 'the zone is full again';
my $socket = send_to('none', '/socket');
is $socket->response->status, 101, 'an upgrade without room';
is status_of('late')->{in_flight}, 0, 'is not in flight any more';

my $long = send_to('n' x 300, '/slow');
is status_of('late')->{in_flight}, 0, 'a name that is too long is that of no app';
$origin->answer;
is $long->response->status, 200, 'and goes through';

my ($victim) = $t->server->workers;
my $stuck = send_to('none', '/slow', $t->client_at($victim));
is status_of('late')->{in_flight}, 1, 'one goes through a worker';
is status_of('none')->{in_flight}, 1, 'also where the app that is asked for is not known';
$t->kill_worker($victim);
is status_of('late')->{in_flight}, 0, 'and is over when that is killed';

$t->finish;
