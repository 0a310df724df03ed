#!/usr/bin/env perl

# A drain that takes longer than it may: 504 with how many are in flight and for how long, and the
# app is resumed, unless the call said keep=1.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;
use Time::HiRes qw(time);

use lib "$Bin/lib";
use Intermission::Test;

use constant { LIMIT => 0.3, SLACK => 5 };

my $t = Intermission::Test->new(workers => 2);
my $origin = $t->origin('/slow' => { wait => 1 });
$t->start(default_server(<<'EOF'));
    location /intermission/ { intermission_control; intermission_release_rate 1000r/s; }
EOF

my @slow;

# A drain with these arguments that is too short, while ten requests are in flight in both workers.
sub drain_too_long {
    my (%with) = @_;
    $origin->forget;
    @slow = map { $t->client->get('/slow') } 1 .. 10;
    $origin->wait_requests(10);
    my $start = time;
    my $response = $t->control('enable', drain => LIMIT * 1000 . 'ms', %with);
    my $took = time - $start;
    cmp_ok $took, '>=', LIMIT - 0.01, 'the answer comes when the time is up';
    cmp_ok $took, '<=', LIMIT + SLACK, 'and not much later';
    is $response->status, 504, 'it is 504';
    return $response;
}

sub end_slow {
    $origin->answer;
    is answered(@slow), 10, 'what was in flight is answered';
    $t->wait_in_flight(0);
}

my $response = drain_too_long();
like $response->body, qr/^[^\n]*\b10 in flight\b[^\n]*\b0\.3s\b/, 'with how many and for how long';
like $response->body, qr/^in_flight: 10$/m, 'and the state';
is $t->status->{state}, 'open', 'the app is resumed';
is $t->get('/next')->status, 200, 'requests go through';
end_slow();

# What was held meanwhile goes, in order, by the release policy of the location.
$t->enable;
$t->disable;
my @early = map { $t->client->get('/slow') } 1 .. 2;
$t->wait_in_flight(2);
$origin->forget;
$t->enable;
my @held = map { $t->hold(GET => "/$_") } 1 .. 20;
$response = $t->control('enable', drain => '300ms', format => 'json');
is $response->status, 504, 'a drain that takes too long while others are held';
like $response->json->{error}, qr/\b2 in flight\b/, 'as JSON';
is $_->response->status, 200, 'a held one is answered' for @held;
is_deeply [ grep { $_ ne '/slow' } $origin->uris ], [ map {"/$_"} 1 .. 20 ], 'all in order';
$t->wait_state('open');
$_->close for @early;
like $t->server->log, qr/from paused to releasing by [^\n]*, 20 held/, 'the log tells';

# keep=1.
$response = drain_too_long(keep => 1);
like $response->body, qr/^[^\n]*\b10 in flight\b/, 'keep=1: says so as well';
is $t->status->{state}, 'paused', 'but the app stays paused';
my $held = $t->hold(GET => '/held');
end_slow();
ok $held->silent, 'until somebody resumes';
is $t->control('enable', drain => '5s', keep => 1)->status, 200, 'another drain is in time';
$t->disable;
is $held->response->status, 200, 'what was held is released';

# keep=0 is as nothing said; a drain in time leaves no timer behind.
$response = drain_too_long(keep => 0);
is $t->status->{state}, 'open', 'keep=0: the app is resumed';
end_slow();
is $t->control('enable', drain => '200ms')->status, 200, 'a drain in time';
$held = $t->hold(GET => '/held');
my $until = time + 0.4;
wait_for { time > $until } 'its time to pass';
is $t->status->{state}, 'paused', 'the pause stays when its time has passed';
$t->disable;
is $held->response->status, 200, 'until it is ended';

$t->finish;
