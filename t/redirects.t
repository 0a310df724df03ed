#!/usr/bin/env perl

# Internal redirects: try_files, error_page, X-Accel-Redirect and rewrites lead a request past the
# gate several times. It is held once at most, and it cannot get around the gate either.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new;
my $origin = $t->origin(
    '/accel' => { wait => 1, headers => ['X-Accel-Redirect: /target'] },
    '/failing' => { wait => 1, status => 500 },
    '/open-accel' => { headers => ['X-Accel-Redirect: /target'] },
);
$t->write_file('file', "file\n");
$t->start(<<'EOF');
    server {
        listen 127.0.0.1:%%PORT_80%%;
        root %%FOLDER%%;
        intermission on;
        proxy_intercept_errors on;

        # From one place under the gate to another.
        location /tried { try_files $uri /none @named; }
        location @named { proxy_pass http://%%ORIGIN%%; }
        location /rewritten { rewrite ^ /target last; }
        location /accel { proxy_pass http://%%ORIGIN%%; }
        location /failing { error_page 500 = /target; proxy_pass http://%%ORIGIN%%; }
        location /target { proxy_pass http://%%ORIGIN%%; }
        location = /file { }

        # From an open place to one under the gate.
        location /open-tried { intermission off; try_files /none /target; }
        location /open-named { intermission off; try_files /none @named; }
        location /open-error { intermission off; error_page 404 = /target; }
        location /open-accel { intermission off; proxy_pass http://%%ORIGIN%%; }
        location /open-index/ { intermission off; index /target; }

        location /intermission/ { intermission_control; }
    }
EOF

# Nothing gets around the gate: as often as there are requests, so often is held.
$t->enable;
my @under = qw(/tried /rewritten /target /file);
my @open = qw(/open-tried /open-named /open-error /open-accel /open-index/);
mkdir $t->folder . '/open-index';
my %client_of = map { $_ => $t->hold(GET => $_) } @under, @open;
is_deeply [ $origin->uris ], ['/open-accel'], 'the origin saw what is open, no more';

$t->disable;
for my $uri (@under, @open) {
    is $client_of{$uri}->response->status, 200, "$uri is held and released";
}
is $t->status->{totals}{held}, @under + @open, 'each of them once';

# Who went through before the pause, or was released, is not held on the way.
for my $uri (qw(/accel /failing)) {
    $origin->forget;
    my $passed = $t->client->get($uri);
    $origin->wait_requests(1);
    $t->enable;
    my $held = $t->hold(GET => $uri);
    $origin->answer;
    is $passed->response->body, "/target\n", "$uri, passed: goes on behind a closed gate";
    ok $held->silent, "$uri, held: stays";

    $t->disable;
    $origin->wait_requests(3);
    $t->enable;
    $origin->answer;
    is $held->response->body, "/target\n", "$uri, released: goes on behind a closed gate";
    $t->disable;
}
is $t->status->{totals}{held}, @under + @open + 2, 'nobody was held twice';
is $t->status->{in_flight}, 0, 'nobody is in flight any more';

$t->finish;
