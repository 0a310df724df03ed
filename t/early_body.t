#!/usr/bin/env perl

# client_body_early_read (nginx 1.31): nginx reads the body before any phase, and so before the gate. Requests are held with it,
# and released in order, whatever intermission_read_body says; who leaves is noticed; what is refused is not held.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

use constant LARGE => 'x' x 200_000;

my $http = <<'EOF';
    client_body_early_read 1;
    server {
        listen 127.0.0.1:%%PORT_80%%;
        intermission on;
        location / { proxy_pass http://%%ORIGIN%%; }
        location /held/ { intermission_read_body held; proxy_pass http://%%ORIGIN%%; }
        location /off/ { intermission_read_body off; proxy_request_buffering off; proxy_pass http://%%ORIGIN%%; }
        location /deny/ { deny all; }
        location /intermission/ { intermission_control; }
    }
EOF
my $t = Intermission::Test->new;
my ($works, $says) = $t->check($http);
plan skip_all => 'this nginx has no client_body_early_read' if !$works && $says =~ /unknown directive/;

my $origin = $t->origin;
$t->start($http);
$t->enable;
is $t->post('/deny/', LARGE)->status, 403, 'what is refused';
is $t->status->{totals}{held}, 0, 'is not held';
my @uris = qw(/1 /held/2 /off/3 /4);
my @held = map { $t->hold(POST => $_, body => LARGE) } @uris;
my @leaving = map { $t->hold(POST => "$_-leaving", body => LARGE) } @uris;
$_->close for @leaving;
$t->wait_held(4);
is_deeply [ $origin->uris ], [], 'nothing goes through';
$t->disable;
is $_->response->status, 200, 'answered' for @held;
is_deeply [ $origin->uris ], \@uris, 'in order, and nothing of who has left';
is_deeply [ map { $_->{length} } $origin->requests ], [ (length LARGE) x 4 ], 'with its body';
wait_for { $t->status->{in_flight} == 0 } 'each to be counted off';

$t->finish;
