#!/usr/bin/env perl

# Names that clients make up come and go. An app that is used all the time is not forgotten for
# them, with its totals, also where its name is made of the request; and there is room for each of
# them at once.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

use constant MADE_UP => 1500;

my $t = Intermission::Test->new;
$t->start('intermission_zone 256k;' . default_server(<<'EOF'));
    keepalive_requests 100000;
    intermission_app_name $http_app;
    location / { root %%FOLDER%%; log_not_found off; }
EOF

my $visitor = $t->client;

sub visit {
    my ($app) = @_;
    return $visitor->get('/missing', headers => ["App: $app"])->response->status;
}

$t->enable('shop');
my $held = $t->hold(GET => '/missing', app => 'shop', headers => ['App: shop']);
$t->disable('shop');
is $held->response->status, 404, 'an app has held a request';
$t->wait_state('open', 'shop');

my $served = 0;
for my $number (1 .. MADE_UP) {
    $served++ if visit("made-up-$number") == 404;
    visit('shop') if $number % 10 == 0;
}
is $served, MADE_UP, 'made-up names are served';
is $t->status('shop')->{totals}{held}, 1, 'the totals of what is used are kept';
is_deeply [ $t->server->logged(qr/no room to count/) ], [], 'and there is room for each name';

$t->finish;
