#!/usr/bin/env perl

# A redirect from a place of one app to a place of another: the request belongs to the app of the
# place where it is. That one's gate holds it, a drain of that one waits for it, and the other one's
# does not.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new;
my $origin = $t->origin(
    '/accel' => { headers => ['X-Accel-Redirect: @app'] },
    '/failing' => { status => 500 },
    '/slow' => { wait => 1 },
);
my $format = q(log_format came '$request_uri $intermission_status $intermission_wait_time';);
$t->start($format . default_server(<<'EOF'));
    root %%FOLDER%%;
    intermission_app_name web;
    proxy_intercept_errors on;
    access_log %%FOLDER%%/came.log came;

    location / { try_files $uri /none @app; }
    location @app { intermission_app_name app; proxy_pass http://%%ORIGIN%%; }
    location /any { satisfy any; allow all; try_files /none @any; }
    location @any {
        satisfy any;
        allow all;
        intermission_app_name app;
        proxy_pass http://%%ORIGIN%%;
    }
    location /variable { set $name app; try_files /none @variable; }
    location @variable { intermission_app_name $name; proxy_pass http://%%ORIGIN%%; }
    location /accel { proxy_pass http://%%ORIGIN%%; }
    location /failing { error_page 500 = @app; proxy_pass http://%%ORIGIN%%; }
    location /behind { post_action @app; proxy_pass http://%%ORIGIN%%; }
EOF

sub came { return slurp($t->folder . '/came.log') }

sub of { my ($app, $what) = @_; return $t->status($app)->{$what} }

# Where it is in flight, and whose drain waits for it.
my $slow = $t->client;
$slow->request(GET => '/slow');
$origin->wait_requests(1);
is of(app => 'in_flight'), 1, 'in flight at the app where it is';
is of(web => 'in_flight'), 0, 'no more at the one by which it came';
is $t->control('enable', app => 'web', drain => '10s')->status, 200, 'that one is quiet';
$t->disable('web');
is $t->control('enable', app => 'app', drain => '200ms')->status, 504, 'the other one is not';
$origin->answer;
is $slow->response->status, 200, 'it is answered';
is of(app => 'in_flight'), 0, 'and over';

# The other app's gate holds it, however it comes there.
$origin->forget;
$t->enable('app');
my %client_of;
for my $uri (qw(/page /any /variable /accel /failing)) {
    my @body = $uri eq '/accel' ? (body => 'x' x 100_000) : ();
    $client_of{$uri} = $t->hold(@body ? 'POST' : 'GET', $uri, @body, app => 'app');
}
is_deeply [ sort $origin->uris ], [qw(/accel /failing)], 'only the first app let something through';
is of(web => 'in_flight'), 0, 'they are in flight nowhere';
$origin->set('/accel' => {}, '/failing' => {});
$t->disable('app');
is $client_of{$_}->response->status, 200, "$_ was held and is released" for sort keys %client_of;
my ($accel) = grep { $_->{uri} eq '/accel' } reverse $origin->requests;
is $accel->{length}, 100_000, 'with its body';
is of(app => 'in_flight'), 0, 'all are over';
is of(web => 'totals')->{held}, 0, 'the first app held nobody';

# Held by one and then by the other.
$t->enable($_) for qw(web app);
my $twice = $t->hold(GET => '/twice', app => 'web');
$t->disable('web');
$t->wait_held(1, 'app');
is of(web => 'held'), 0, 'held by the second app, no more by the first';
$t->disable('app');
is $twice->response->status, 200, 'released by both';
is of(web => 'totals')->{released}, 1, 'a release of the first';
is of(app => 'totals')->{released}, 6, 'and of the second';

# Held by the first one only: how it came is told.
$t->enable('web');
my $once = $t->hold(GET => '/once', app => 'web');
$t->disable('web');
is $once->response->status, 200, 'released';
my $log = wait_for { came() =~ m{^/once (.*)$}m && $1 } 'the log';
like $log, qr/^RELEASED \d/, 'the log tells of the hold';

# A canary that failed where it was, and went on elsewhere, has failed.
$origin->set('/failing' => { status => 500 });
$t->enable('web');
my $failing = $t->hold(GET => '/failing', app => 'web');
is $t->control('disable', app => 'web', canary => 1)->status, 409, 'a canary went on after a failure';
$t->disable('web');
is of(web => 'in_flight'), 0, 'nothing is left in flight';

# What runs behind an answer is not held.
$t->enable('app');
$origin->forget;
is $t->get('/behind')->status, 200, 'an answer with something behind it';
$origin->wait_requests(2);
is of(app => 'held'), 0, 'that is not held';

$t->finish;
