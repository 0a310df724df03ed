#!/usr/bin/env perl

# intermission_max_held: as many are held in an app, over all workers, and the next is answered 503
# at once, while paused and while releasing. A place becomes free when a held request leaves, for
# whatever reason.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;
use Time::HiRes qw(time);

use lib "$Bin/lib";
use Intermission::Test;

use constant { WORKERS => 4, MOST => 50 };

my $t = Intermission::Test->new(workers => WORKERS);
my $origin = $t->origin('/slow' => { wait => 1 });
my $format = q(log_format ending '$intermission_status $uri';);
$t->start($format . default_server(<<'EOF'));
    intermission_interval 1h;
    intermission_max_held 50;
    access_log %%FOLDER%%/ending.log ending;
    location /brief { intermission_max_time 5s; proxy_pass http://%%ORIGIN%%; }
    location /more { intermission_max_held 51; proxy_pass http://%%ORIGIN%%; }
    location /any { intermission_max_held 0; proxy_pass http://%%ORIGIN%%; }
    location /shop { intermission_app_name shop; proxy_pass http://%%ORIGIN%%; }
EOF

my @held;
my $rejected = 0;

sub is_full {
    my ($what) = @_;
    my $start = time;
    is $t->client_at($_)->get('/over')->response->status, 503, "$what: full at each worker"
        for $t->server->workers;
    cmp_ok time - $start, '<', 5, 'which is said at once';
    $rejected += WORKERS;
    is $t->status->{totals}{rejected}, $rejected, 'and counted';
}

$t->enable;
my @all = map { $t->client->get("/$_") } 1 .. 4 * MOST;
wait_for { $t->status->{totals}{rejected} == 3 * MOST } 'all to have come to the gate';
wait_for { 3 * MOST == grep { !$_->silent } @all } 'the answers to those who are refused';
@held = grep { $_->silent } @all;
is @held, MOST, 'of many that come together as many as may be are held';
is $t->status->{held}, MOST, 'as the state says';
is scalar(grep { !$_->silent && $_->response->status == 503 } @all), 3 * MOST, 'the others get 503';
$rejected = 3 * MOST;
is_full('as many as may be');
is $t->post('/over', 'x' x 100_000)->status, 503, 'with a body as well';
$rejected++;
is $t->get('/up')->status, 200, 'a health check goes through';
is scalar(grep { $_->silent } @held), MOST, 'who is held stays held';
my $ending;
wait_for {
    ($ending) = slurp($t->folder . '/ending.log') =~ /^(\w+) \/over$/m;
} 'the log';
is $ending, 'REJECTED', '$intermission_status says so';

# Each location has its own limit, each app its own count.
push @held, $t->hold(GET => '/more');
is $t->get('/more')->status, 503, 'a location with a limit of its own';
$rejected++;
push @held, $t->hold(GET => '/any');
push @held, $t->hold(GET => '/any');
is_full('and one without a limit');
$t->enable('shop');
my @shop = map { $t->hold(GET => '/shop', app => 'shop') } 1 .. 3;
is $t->status->{held}, MOST + 3, 'another app counts by itself';
$t->disable('shop');
is $_->response->status, 200, 'and is resumed by itself' for @shop;

# A client that leaves makes room, at any worker.
(pop @held)->close for 1 .. 4;
$t->wait_held(MOST - 1);
push @held, $t->hold(GET => '/again');
is_full('a client that leaves makes room for one');

# A request whose time is up makes room.
(pop @held)->close;
$t->wait_held(MOST - 1);
my $brief = $t->hold(GET => '/brief');
is_full('full with one that is held for a while');
is $brief->response->status, 200, 'its time is up';
push @held, $t->hold(GET => '/again');
is_full('and another has its place');

# A worker that dies makes room for what it held.
my ($victim, @others) = $t->server->workers;
$t->kill_worker($victim);
@held = grep { $_->silent } @held;
$t->wait_held(scalar @held);
cmp_ok scalar @held, '<', MOST, 'a worker dies';
push @held, map { $t->hold(GET => '/again') } @held + 1 .. MOST;
is_full('others have the places of its requests');

# While releasing.
$origin->forget;
$t->must('disable', rate => '1r/s');
is $t->status->{state}, 'releasing', 'a slow release';
wait_for { $t->status->{held} < MOST } 'the first to go';
push @held, map { $t->client->get('/late') } 1 .. MOST / 2;
wait_for { $t->status->{totals}{rejected} > $rejected } 'the queue to be full';
cmp_ok $t->status->{held}, '<=', MOST, 'no more are held than may be';
$t->must('disable', rate => '1000000r/s');
$t->wait_state('open');
is $t->get('/next')->status, 200, 'when it is over, requests go through';

$t->finish;
