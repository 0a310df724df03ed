#!/usr/bin/env perl

# satisfy any: the first access rule that says yes ends that phase, which must not open a closed
# gate; the gate must not grant access either; and whom all rules refuse is not held.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new;
my $origin = $t->origin('/no' => { status => 403 });
$t->write_file('users', "user:{PLAIN}secret\n");
$t->start(<<'EOF');
    server {
        listen 127.0.0.1:%%PORT_80%%;
        intermission on;
        satisfy any;
        auth_basic "x";
        auth_basic_user_file %%FOLDER%%/users;

        location /allowed { allow 127.0.0.1; deny all; proxy_pass http://%%ORIGIN%%; }
        location /denied { deny all; proxy_pass http://%%ORIGIN%%; }
        location /asked-yes {
            deny all;
            auth_request /yes;
            proxy_pass http://%%ORIGIN%%;
        }
        location /asked-no {
            deny all;
            auth_request /no;
            proxy_pass http://%%ORIGIN%%;
        }
        location ~ ^/(yes|no)$ {
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
            proxy_pass http://%%ORIGIN%%;
        }

        location /intermission/ { allow 127.0.0.1; intermission_control; }
    }
EOF

my @right = (headers => ['Authorization: Basic dXNlcjpzZWNyZXQ=']);
my @wrong = (headers => ['Authorization: Basic dXNlcjp3cm9uZw==']);

sub answers {
    return join ' ', $t->get('/allowed')->status, $t->get('/denied')->status,
        $t->get('/denied', @wrong)->status, $t->get('/denied', @right)->status;
}

is answers(), '200 401 401 200', 'the rules while the app is open';
$origin->forget;

$t->enable;
is $t->get('/denied')->status, 401, 'refused at once: no rule is satisfied';
is $t->get('/denied', @wrong)->status, 401, 'refused at once: a wrong password';
is $t->get('/asked-no')->status, 401, 'refused at once: auth_request says no';
is $t->post('/denied', 'x' x 1000)->status, 401, 'refused at once: with a body';
is $t->status->{totals}{held}, 0, 'none of them was held';
$origin->forget;

my @clients = (
    $t->hold(GET => '/allowed'),
    $t->hold(GET => '/allowed?wrong', @wrong),
    $t->hold(GET => '/denied', @right),
    $t->hold(POST => '/asked-yes', body => 'body'),
    $t->hold(POST => '/allowed?post', body => 'body'),
);
is_deeply [ $origin->uris ], ['/yes'], 'whom one rule lets in is held, and nothing leaks';

$t->disable;
is $_->response->status, 200, 'until the release' for @clients;
is_deeply [ ($origin->uris)[ 1 .. 5 ] ],
    [qw(/allowed /allowed?wrong /denied /asked-yes /allowed?post)], 'in order';
is answers(), '200 401 401 200', 'the rules are the same afterwards';

$t->finish;
