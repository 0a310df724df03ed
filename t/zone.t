#!/usr/bin/env perl

# The zone holds the apps that are used. Names that clients make up, in Host headers here, leave no
# trace in it; and where it is really full of paused apps, the call that needs room is told so.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

use constant { MADE_UP => 3000, MANY => 20_000 };

my $t = Intermission::Test->new;
my $origin = $t->origin;
$t->start(default_server(<<'EOF'));
    keepalive_requests 100000;
    intermission_app_name $host;
    location /missing { root %%FOLDER%%; }
EOF

my $visitor = $t->client;
my $control = $t->client;

sub visit {
    my ($host) = @_;
    return $visitor->get('/missing', headers => ["Host: $host"])->response->status;
}

sub call {
    my ($call, $app) = @_;
    return $control->get("/intermission/$call?app=$app&format=json")->response;
}

sub visit_made_up {
    my ($prefix) = @_;
    return scalar grep { visit("$prefix-$_.example") == 404 } 1 .. MADE_UP;
}

# Made-up names, before and after an app is paused.
is visit_made_up('before'), MADE_UP, 'requests with made-up names are served';
is call('enable', 'shop.example')->status, 200, 'there is room for a real app then';
my $held = $t->hold(GET => '/held', app => 'shop.example', headers => ['Host: shop.example']);
is visit_made_up('after'), MADE_UP, 'made-up names are served while an app is paused';
is visit('x' x 3000), 404, 'also one that is very long';

my $status = $t->status('shop.example');
is "$status->{state} $status->{held}", 'paused 1', 'the paused app is still there';
ok $held->silent, 'and so is what it holds';

# Paused apps cannot be forgotten, so the zone is full at some point.
my $answer;
my $paused = 0;
for my $number (1 .. MANY) {
    $answer = call('enable', "app-$number");
    last if $answer->status != 200;
    $paused++;
}
cmp_ok $paused, '>=', 10, "there is room for many apps: $paused";
is $answer->status, 507, 'a call that finds no room is told so';
like $answer->body, qr/full|zone/i, 'in words';
is call('status', 'app-' . ($paused + 1))->json->{state}, 'open', 'its app is open as before';
is call('status', 'app-1')->json->{state}, 'paused', 'those before it are still paused';
is call('status', 'shop.example')->json->{held}, 1, 'and hold what they held';
is visit('no-room.example'), 404, 'requests of other apps go on';
is $t->get('/held', headers => ['Host: other.example'])->status, 200, 'also through the proxy';

call('disable', 'app-1');
is call('enable', 'another')->status, 200, 'an app that is open makes room for one that is paused';

call('disable', 'shop.example');
is $held->response->status, 200, 'what was held all the time is released';

$t->finish;
