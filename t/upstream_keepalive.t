#!/usr/bin/env perl

# Kept connections to the backend: requests that were held go over them after the release, one after the other, in order, and
# each is counted by itself. From nginx 1.29.7 on they are kept without being asked for.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my %ways = (
    'asked for' => 'keepalive 4; ',
    'by default' => '',
);

for my $way (sort keys %ways) {
    subtest $way => sub {
        my $t = Intermission::Test->new;
        my $origin = $t->origin;
        my $asked = $ways{$way} && 'proxy_http_version 1.1; proxy_set_header Connection "";';
        my $upstream = "upstream backend { server %%ORIGIN%%; $ways{$way} }";
        $t->start($upstream . default_server(<<"EOF"));
            location / { proxy_pass http://backend; $asked }
EOF
        $t->get("/kept-$_") for 1 .. 2;
        my %connections = map { $_->{connection} => 1 } $origin->requests;
        if (!$asked && keys %connections == 2) {
            $t->stop;
            plan skip_all => 'this nginx keeps none by default';
        }
        is keys %connections, 1, 'a connection is kept';

        $origin->forget;
        $t->enable;
        my @held = map { $t->hold(POST => "/$_", body => "body of $_") } 1 .. 20;
        (my $leaving = $t->hold(GET => '/leaving'))->close;
        $t->wait_held(20);
        $t->must('disable', concurrency => 1);
        is $_->response->status, 200, 'answered' for @held;
        is_deeply [ $origin->uris ], [ map {"/$_"} 1 .. 20 ], 'in order, and nothing of who has left';
        is scalar(grep { $_->{connection} != 1 } $origin->requests), 0, 'all over the connection that was kept';
        $t->wait_in_flight(0);
        $t->finish;
    };
}

done_testing;
