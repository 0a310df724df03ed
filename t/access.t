#!/usr/bin/env perl

# Nobody is held who would be refused: allow and deny, auth_basic and auth_request decide before
# the gate, so their 401 and 403 come at once while the app is paused.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new;
my $origin = $t->origin('/no' => { status => 403 }, '/login' => { status => 401 });
$t->write_file('users', "user:{PLAIN}secret\n");
$t->start(default_server(<<'EOF'));
    location /deny/ { deny all; proxy_pass http://%%ORIGIN%%; }
    location /allow/ { allow 127.0.0.1; deny all; proxy_pass http://%%ORIGIN%%; }
    location /basic/ {
        auth_basic "x";
        auth_basic_user_file %%FOLDER%%/users;
        proxy_pass http://%%ORIGIN%%;
    }
    location /asked-yes/ { auth_request /yes; proxy_pass http://%%ORIGIN%%; }
    location /asked-no/ { auth_request /no; proxy_pass http://%%ORIGIN%%; }
    location /asked-login/ { auth_request /login; proxy_pass http://%%ORIGIN%%; }
    location /internal/ { internal; proxy_pass http://%%ORIGIN%%; }
    location /limited/ { limit_except GET { deny all; } proxy_pass http://%%ORIGIN%%; }
EOF

my @right = (headers => ['Authorization: Basic dXNlcjpzZWNyZXQ=']);
my @wrong = (headers => ['Authorization: Basic dXNlcjp3cm9uZw==']);

$t->enable;

is $t->get('/deny/')->status, 403, 'deny';
is $t->post('/deny/', 'x' x 1000)->status, 403, 'deny, with a body';
is $t->get('/basic/')->status, 401, 'auth_basic without a password';
is $t->get('/basic/', @wrong)->status, 401, 'auth_basic with a wrong one';
is $t->get('/asked-no/')->status, 403, 'auth_request that says 403';
is $t->get('/asked-login/')->status, 401, 'auth_request that says 401';
is $t->get('/internal/')->status, 404, 'an internal location';
is $t->post('/limited/', 'x')->status, 403, 'limit_except';
is $t->status->{totals}{held}, 0, 'none of them was held';
is_deeply [ $origin->uris ], [ '/no', '/login' ], 'the origin was asked about access, no more';

$origin->forget;
my @clients = map { $t->hold(GET => $_, @right) } qw(/ /allow/ /basic/ /asked-yes/ /limited/);
is $t->status->{held}, 5, 'whom the rules let in is held';
is_deeply [ $origin->uris ], ['/yes'], 'after they were asked';

$t->disable;
is $_->response->status, 200, 'and gets an answer when it is released' for @clients;
is_deeply [ $origin->uris ], [qw(/yes / /allow/ /basic/ /asked-yes/ /limited/)],
    'without asking again';

$t->finish;
