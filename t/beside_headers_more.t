#!/usr/bin/env perl

# Beside headers-more: what it changes in a request is changed before the gate, and so can say who goes through. What it changes
# in an answer is changed in those of the gate, too, and in those of what was held.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Neighbour;

beside ['ngx_http_headers_more_filter_module'] => sub {
    my ($t) = @_;
    my $origin = $t->origin;
    $t->start(default_server(<<'EOF'));
        intermission_bypass $http_x_pass;
        intermission_max_held 2;
        intermission_retry_after 7s;
        more_set_headers "Server: shop" "X-Status: $intermission_status";
        more_clear_input_headers X-Pass;
        location /pass { more_set_input_headers "X-Pass: yes"; proxy_pass http://%%ORIGIN%%; }
EOF
    $t->enable;
    is $t->get('/pass')->status, 200, 'a header that it sets lets a request through';
    my @held = ($t->hold(GET => '/1', headers => ['X-Pass: 1']), $t->hold(GET => '/2'));
    is $t->status->{held}, 2, 'one that it takes away does not';
    my $rejected = $t->get('/3');
    is $rejected->status, 503, 'the gate rejects one';
    is $rejected->header('Server'), 'shop', 'and it changes that answer';
    is $rejected->header('X-Status'), 'REJECTED', 'with what is known by then';
    is $rejected->header('Retry-After'), 7, 'whose own headers stay';
    $t->disable;
    is $_->response->header('X-Status'), 'RELEASED', 'and that of a held one' for @held;
    is_deeply [ $origin->uris ], [qw(/pass /1 /2)], 'all in order';
};

done_testing;
