#!/usr/bin/env perl

# intermission_auto: a backend that goes away and comes back, without any call, costs its users a wait and no error. Nothing is
# sent twice, bodies arrive whole, those who came first go first, and it ends in the usual error when it takes too long.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use FindBin qw($Bin);
use Test::More;
use Time::HiRes qw(sleep time);

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Load;

for my $workers (1, 3) {
    my $t = Intermission::Test->new(workers => $workers);
    $t->start(<<'EOF');
        log_format sent '$request_uri $status $intermission_status [$upstream_bytes_sent]';
        access_log %%FOLDER%%/sent.log sent;
        server {
            listen 127.0.0.1:%%PORT_80%% reuseport;
            client_max_body_size 10m;
            intermission on;
            intermission_auto on;
            intermission_auto_interval 50ms;
            error_page 502 /sorry;
            location / { proxy_pass http://%%ORIGIN%%; }
            location /short/ {
                intermission_app_name short;
                intermission_auto_max_time 300ms;
                proxy_pass http://%%ORIGIN%%;
            }
            location /off/ {
                intermission_auto off;
                intermission_app_name off;
                proxy_pass http://%%ORIGIN%%;
            }
            location = /sorry { intermission off; return 200 "sorry\n"; }
            location /intermission/ { intermission_control; }
        }
EOF

    # Nobody is there to begin with.
    my $off = $t->get('/off/');
    is $off->status, 502, "$workers workers: off, the usual error";
    is $off->body, "sorry\n", 'with the page of it';
    my $first = $t->hold(GET => '/first');
    is $t->status->{state}, 'down', 'a request that finds no backend is held, and the app is down';
    my %sha = map { $_ => sha256_hex($_ x 1000) } 'a' .. 'e';
    my @clients = ($first, map { $t->hold(POST => "/$_", body => $_ x 1000) } sort keys %sha);
    my $chunked = $t->client;
    $chunked->send("POST /chunked HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n");
    $chunked->send(sprintf "%x\r\n%s\r\n", 70_000, $_ x 70_000) for 'x', 'y';
    $chunked->send("0\r\n\r\n");
    push @{ $chunked->{methods} }, 'POST';
    push @clients, $chunked;
    $t->wait_held(7);
    ok $_->silent, 'nobody is answered' for @clients;
    my $origin = $t->origin;
    is $_->response->status, 200, 'answered when it is there' for @clients;
    my @there = $origin->requests;
    is_deeply [ map { $_->{uri} } @there ], [ '/first', (map {"/$_"} sort keys %sha), '/chunked' ],
        'each once, in order';
    is $there[$_]{sha}, $sha{ ('a' .. 'e')[ $_ - 1 ] }, 'a body that is whole' for 1 .. 5;
    is $there[6]{sha}, sha256_hex('x' x 70_000 . 'y' x 70_000), 'and one in chunks';
    my $log = $t->folder . '/sent.log';
    becomes { Intermission::Test::Server::slurp($log) =~ m{^/first 200 RELEASED \[(.*)\]$}m ? $1 =~ /^\d+$/ : '' } 1,
        'of the attempts to send it the last one is logged';
    $t->wait_state('open');

    # A time that runs out.
    $t->end_origin;
    my $late = $t->get('/short/');
    is $late->status, 502, 'the usual error in the end';
    is $late->body, "sorry\n", 'with the page of it';
    is $t->get('/short/again')->status, 502, 'and another time';
    $origin = $t->origin;
    $t->wait_state('open', 'short');
    is $t->get('/short/there')->status, 200, 'and it is';

    # Restarts under load.
    my $load = Intermission::Test::Load->new($t, 60);
    my @log;
    for my $restart (1 .. 3) {
        wait_for { 20 <= (my @there = $origin->requests) } 'requests to arrive';
        push @log, $origin->requests;
        $t->end_origin;
        sleep 0.5;
        $origin = $t->origin;
    }
    wait_for { 20 <= (my @there = $origin->requests) } 'requests to arrive';
    $t->wait_state('open');
    my %status = $load->finish;
    push @log, $origin->requests;
    my @failed = grep { $status{$_} != 200 } keys %status;
    my %seen;
    $seen{ $_->{uri} }++ for @log;
    is_deeply [ grep { $seen{$_} > 1 } sort keys %seen ], [], 'nothing was sent twice';
    cmp_ok scalar(keys %status), '>', 90, scalar(keys %status) . ' requests';
    my %sent = map { /^(\S+) 502 \S+ \[(.*)\]/ ? ($1 => $2) : () } split /\n/, Intermission::Test::Server::slurp($t->folder . '/sent.log');
    my @unsent = grep { !$sent{"/orders?ref=$_"} } @failed;
    is_deeply \@unsent, [], scalar(@failed) . ' failed, all of them on their way when it went';
    cmp_ok scalar(@failed), '<=', 15, 'and these are few';
    $t->stop;
}

done_testing;
