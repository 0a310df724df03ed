#!/usr/bin/env perl

# More workers than the zone was laid out for, as after reloads while old workers still hold, and a
# zone whose records have all been used by names that clients made up: who is idle gives up its
# place for whoever is not. So new workers hold what comes, count what goes through, and let health
# checks through.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

use constant { FEW => 1, MANY => 20, MADE_UP => 100, ROUNDS => 3 };

my $t = Intermission::Test->new(workers => FEW);
my $origin = $t->origin('/slow' => { wait => 1 });
my $server = 'intermission_zone 64k;' . default_server(<<'EOF');
    listen 127.0.0.1:%%PORT_80%% reuseport;
    intermission_app_name $http_app;
EOF
$t->start($server);

my @shop = (headers => ['App: shop']);

$t->enable('shop');
my @held = $t->hold(GET => '/held-0', app => 'shop', @shop);
$t->get('/', headers => ["App: made-up-$_"]) for 1 .. MADE_UP;

$t->{workers} = $t->{server}{workers} = MANY;
$t->reload($server);
wait_for { $t->server->workers == FEW + MANY } 'the new workers to come';
my @new = ($t->server->workers)[ FEW .. FEW + MANY - 1 ];
my %at;
while (keys %at < MANY) {
    my $client = $t->client;
    $at{ $client->get('/pid')->response->body } //= $client;
}

# Held at each of them, in order, also when made-up names have taken the place of the app meanwhile.
for my $round (1 .. ROUNDS) {
    $t->enable('shop');
    for my $number (@held .. MANY) {
        my $client = $number ? $at{ $new[ $number - 1 ] } : $t->client;
        push @held, $client->get("/held-$number", @shop);
        eval { $t->wait_held($number + 1, 'shop') } or last;
    }
    is $t->status('shop')->{held}, 1 + MANY, 'each worker holds a request';
    is scalar(grep { $t->get('/up', @shop)->status == 200 } @new), MANY, 'health checks go through';
    # Another worker than the one that answered may be asked before that has counted the end.
    $t->wait_in_flight(0, 'shop');

    $origin->forget;
    $t->disable('shop');
    is answered(@held), 1 + MANY, 'all are released';
    is_deeply [ $origin->uris ], [ map {"/held-$_"} 0 .. MANY ], 'in order';
    $t->wait_state('open', 'shop');

    for my $worker (@new) {
        $at{$worker}->get('/', headers => ["App: of-$worker-$_"])->response for 1 .. 3;
    }
    @held = ();
}

# Counted at each of them, for the app that they are of.
$origin->forget;
my @slow = map { $at{$_}->get('/slow', headers => ['App: blog']) } @new;
$origin->wait_requests(MANY);
is $t->status('blog')->{in_flight}, MANY, 'each worker counts what goes through';
is $t->status('shop')->{in_flight}, 0, 'for its app alone';
$origin->answer;
$_->response for @slow;

unlike $t->server->log, qr/no room to count/, 'there is room all the time';

$t->finish;
