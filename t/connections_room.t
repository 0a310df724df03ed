#!/usr/bin/env perl

# The room of a worker: it holds as many requests as it has connections, less a reserve. A release
# lets no more go than there are free connections for, and goes on when one ends. So streams of
# HTTP/2, which are many on one connection, take nobody's room; what bounds a client is limit_conn.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $zone = 'limit_conn_zone $binary_remote_addr zone=clients:64k;';
my $http = $zone . default_server(<<'EOF');
    listen 127.0.0.1:%%PORT_82%% http2;
    limit_conn_status 429;
    location /bounded { limit_conn clients 20; proxy_pass http://%%ORIGIN%%; }
EOF

# Runs a test with a worker of 256 connections.
sub with_worker {
    my ($what, $test) = @_;
    subtest $what => sub {
        my $t = Intermission::Test->new(connections => 256);
        my $origin = $t->origin('/slow' => { wait => 1 });
        $t->start($http);
        $t->enable;
        $test->($t, $origin);
        $t->wait_state('open');
        $t->wait_in_flight(0);
        unlike $t->server->log, qr/worker_connections are not enough(?!, reusing)|accept4?\(\) failed/,
            'nginx never ran out of connections';
        $t->stop;
    };
}

# Waits until so many more requests have been held, or refused.
sub wait_decided {
    my ($t, $count) = @_;
    return wait_for {
        my $totals = $t->status->{totals};
        $totals->{held} + $totals->{rejected} == $count;
    } "$count requests to be held or refused";
}

# Releases so many, the origin answering what has arrived each time; in which order they arrive.
sub release {
    my ($t, $origin, $count) = @_;
    $t->disable;
    my (@uris, $unhealthy);
    while (@uris < $count) {
        my $before = @uris;
        wait_for { @uris = grep {/slow/} $origin->uris; @uris > $before } 'further requests';
        $t->status;
        $unhealthy++ if $t->get('/up')->status != 200;
        $origin->answer;
    }
    ok !$unhealthy, 'calls and health checks are answered all the time';
    return @uris;
}

with_worker '200 connections', sub {
    my ($t, $origin) = @_;
    my @clients;
    for my $number (1 .. 200) {
        push @clients, $t->client->get("/slow?$number");
        wait_decided($t, $number);
    }
    is $t->status->{held}, 200, 'all are held' or return $t->disable;
    is $t->get('/up')->status, 200, 'health checks are answered';
    my @uris = release($t, $origin, 200);
    is_deeply \@uris, [ map {"/slow?$_"} 1 .. 200 ], 'released in order';
    is answered(@clients), 200, 'all are answered';
};

with_worker 'eight connections of HTTP/2', sub {
    my ($t, $origin) = @_;
    my @connections = map { $t->http2(port => $t->port(82)) } 1 .. 8;
    my ($count, @streams, @uris) = (0);
    for my $number (1 .. 100) {
        for my $connection (@connections) {
            push @uris, '/slow?' . ++$count;
            push @streams, [ $connection, $connection->get($uris[-1]) ];
            wait_decided($t, $count);
        }
    }
    is $t->status->{held}, 800, 'all of their streams are held';
    my @clients;
    for my $number (1 .. 100) {
        push @uris, '/slow?' . ++$count;
        push @clients, $t->client->get($uris[-1]);
        wait_decided($t, $count);
    }
    is $t->status->{held}, 900, 'and so are the requests of others' or return $t->disable;
    my @seen = release($t, $origin, 900);
    is_deeply \@seen, \@uris, 'released in order';
    is answered(@clients), 100, 'all are answered';
    is scalar(grep { $_->[0]->response($_->[1])->status == 200 } @streams), 800, 'streams as well';
};

with_worker 'limit_conn', sub {
    my ($t, $origin) = @_;
    my $connection = $t->http2(port => $t->port(82), from => '127.0.0.2');
    my @streams = map { $connection->get("/bounded?$_") } 1 .. 30;
    $t->wait_held(20);
    my @statuses = map { $connection->response($_)->status } @streams[ 20 .. 29 ];
    is_deeply \@statuses, [ (429) x 10 ], 'one client has so many requests held, no more';
    my $one_more = $t->client(from => '127.0.0.2')->get('/bounded');
    is $one_more->response->status, 429, 'over all of its connections';
    my $other = $t->hold(GET => '/bounded?other');
    $t->disable;
    is $other->response->status, 200, 'other clients have their own room';
    is $connection->response($_)->status, 200, 'all are answered' for @streams[ 0 .. 19 ];
};

done_testing;
