#!/usr/bin/env perl

# Beside echo: what it answers, delays or asks by subrequests is held before it begins, and a location that it sends a request
# to belongs to the same hold.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Neighbour;

beside ['ngx_http_echo_module'] => sub {
    my ($t) = @_;
    my $origin = $t->origin;
    $t->start(default_server(<<'EOF'));
        location /echo { echo "answered: $intermission_status"; }
        location /delayed { echo_sleep 0.2; echo "later"; }
        location /both { echo_location /1; echo_location /2; }
        location /exec { echo_exec /target; }
        location /body { echo_read_request_body; echo_request_body; }
EOF
    $t->enable;
    my %held = map { $_ => $t->hold(GET => $_) } qw(/echo /delayed /both /exec);
    my $body = $t->hold(POST => '/body', body => 'what was sent');
    is_deeply [ $origin->uris ], [], 'nothing goes through';
    $t->disable;
    is $held{'/echo'}->response->body, "answered: RELEASED\n", 'an answer';
    is $held{'/delayed'}->response->body, "later\n", 'one that is delayed';
    is $held{'/both'}->response->status, 200, 'one that asks others';
    is $held{'/exec'}->response->status, 200, 'one that is sent on';
    is $body->response->body, 'what was sent', 'a body that it reads';
    is_deeply [ sort $origin->uris ], [qw(/1 /2 /target)], 'each of them once';
    is $t->status->{totals}{held}, 5, 'and each request was held once';
    $t->wait_in_flight(0);
};

done_testing;
