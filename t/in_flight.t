#!/usr/bin/env perl

# in_flight counts what went through the gate and is not over, from the beginning and over all
# workers: whether the app was open or the request released, and however the request ends.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new(workers => 2);
my $origin = $t->origin('/slow' => { wait => 1 }, '/error' => { status => 500 });
$t->start(default_server(<<'EOF'));
    proxy_intercept_errors on;
    location /error { error_page 500 = /slow; proxy_pass http://%%ORIGIN%%; }
    location /dead { proxy_pass http://127.0.0.1:%%PORT_99%%; }
    location /ungated { intermission off; proxy_pass http://%%ORIGIN%%/slow; }
    location /shop { intermission_app_name shop; proxy_pass http://%%ORIGIN%%/slow; }
EOF

sub in_flight_becomes {
    my ($count, $what) = @_;
    return becomes { $t->status->{in_flight} } $count, $what;
}

is $t->status->{in_flight}, 0, 'nothing at first';
$t->get($_) for qw(/ /dead /intermission/status);
$t->post('/', 'x' x 100_000);
in_flight_becomes(0, 'nothing after some requests, failed ones included');

# While open.
$origin->forget;
my @clients = map { $t->client->get('/slow') } 1 .. 4;
my $redirected = $t->client->get('/error');
my $ungated = $t->client->get('/ungated');
my $shop = $t->client->get('/shop');
$origin->wait_requests(8);
in_flight_becomes(5, 'what the origin has not answered, a redirected request once');
is $t->status('shop')->{in_flight}, 1, 'another app counts for itself';

$t->enable;
is $t->status->{in_flight}, 5, 'a pause does not change that';
my $held = $t->hold(GET => '/slow');
is $t->status->{in_flight}, 5, 'what is held is not in flight';

pop(@clients)->close;
in_flight_becomes(4, 'a client that leaves ends its request');
pop(@clients)->reset;
in_flight_becomes(3, 'in whichever way');

$origin->answer;
is $_->response->status, 200, 'answered' for @clients, $redirected, $ungated, $shop;
in_flight_becomes(0, 'an answer ends it');
$t->wait_in_flight(0, 'shop');
is $t->status->{held}, 1, 'one is still held';

# After a release.
$origin->forget;
$t->disable;
$origin->wait_requests(1);
in_flight_becomes(1, 'what was released is in flight');
is $t->status->{held}, 0, 'and not held any more';
$origin->answer;
is $held->response->status, 200, 'until it is answered';
in_flight_becomes(0, 'nothing at the end');

# A connection that stays open is not a request.
is $held->get('/next')->response->status, 200, 'the next request of a connection';
in_flight_becomes(0, 'is over when it is answered');

# A worker that dies takes along what it had in flight.
my @many = map { $t->client->get('/slow') } 1 .. 20;
in_flight_becomes(20, 'twenty in flight in two workers');
$t->kill_worker(($t->server->workers)[0]);
my $left = grep { $_->silent } @many;
cmp_ok $left, '<', 20, 'a worker that is killed takes some along';
in_flight_becomes($left, 'what the other worker has is left');
$origin->answer;
in_flight_becomes(0, 'and ends as ever');

$t->finish;
