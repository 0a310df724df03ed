#!/usr/bin/env perl

# A control location is never under the gate, also where everything around it is. What `if` and
# `limit_except` make of a part of its requests is control as well.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new;
$t->origin;
$t->write_file('users', "user:{PLAIN}secret\n");
$t->start(default_server(<<'EOF'));
    intermission_max_time 1h;
    location /satisfied/ { satisfy any; allow all; intermission_control; }
    location /guarded/ {
        auth_basic "x";
        auth_basic_user_file %%FOLDER%%/users;
        intermission_control;
    }
    location /rewritten/ { rewrite ^/rewritten(.*) /intermission$1 last; }
    location /limited/ {
        intermission_control any;
        limit_except GET { allow 127.0.0.1; deny all; }
    }
    location /shut/ {
        intermission_control any;
        limit_except GET { deny all; }
    }
    location /if/ {
        intermission_control;
        if ($http_x_if) { add_header X-If yes; }
        if ($http_x_else) { return 418; }
    }
    location /tried/ { intermission off; try_files /none /intermission/status; }
EOF

my @secret = (headers => ['Authorization: Basic dXNlcjpzZWNyZXQ=']);

is $t->status->{in_flight}, 0, 'a call is not in flight itself';
$t->enable;
my $held = $t->hold(GET => '/held');

for my $place (qw(intermission satisfied rewritten tried)) {
    is $t->get("/$place/status")->status, 200, "/$place/ answers while paused";
}
my $if = $t->get('/if/status', headers => ['X-If: 1']);
is $if->status, 200, '/if/ answers where the condition holds';
is $if->header('x-if'), 'yes', 'as that says';
is $t->get('/if/status', headers => ['X-Else: 1'])->status, 418, 'or answers something else';
is $t->post('/shut/disable')->status, 403, '/shut/ answers no POST';
is $t->post('/limited/enable')->status, 200, '/limited/ answers a POST';
is $t->get('/guarded/status', @secret)->status, 200, '/guarded/ answers who may call it';
is $t->get('/guarded/disable')->status, 401, 'and nobody else';

my $status = $t->status;
is "$status->{state} $status->{held}", 'paused 1', 'the app is still paused';
is $status->{in_flight}, 0, 'calls do not count as in flight';
is $status->{totals}{bypassed}, 0, 'nor as bypassed';

is $t->post('/limited/disable')->status, 200, 'a call resumes';
is $held->response->status, 200, 'what was held';

$t->finish;
