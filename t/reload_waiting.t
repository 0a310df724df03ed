#!/usr/bin/env perl

# Calls that wait for their answer, for a drain or for a canary's verdict, get it also when nginx is
# reloaded meanwhile; and all workers killed at once leave the pause as it was.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

use constant COUNT => 20;

my $t = Intermission::Test->new(workers => 2);
my $origin = $t->origin('/slow' => { wait => 1 });
$t->start(default_server(<<'EOF'));
    listen 127.0.0.1:%%PORT_80%%;
EOF

# A drain that begins before a reload and ends after it.
my $slow = $t->client->get('/slow');
$origin->wait_requests(1);
my $drain = $t->call('enable', drain => '30s');
$t->wait_state('paused');
$t->reload;
my $again = $t->call('enable', drain => '30s');
my @clients = map { $t->hold(GET => "/$_") } 1 .. COUNT;
ok $drain->silent && $again->silent, 'drains wait for a request of an old worker';
is $t->status->{in_flight}, 1, 'which is still in flight';
$origin->answer;
is $slow->response->status, 200, 'it ends';
is $drain->response->status, 200, 'so does the drain that an old worker waits for';
is $again->response->status, 200, 'and that of a new one';

# A canary that is out while nginx is reloaded.
$origin->set("/$_" => { wait => 1 }) for 1 .. 3;
$origin->forget;
my $canary = $t->call('disable', canary => 3);
$origin->wait_requests(3);
$t->reload;
ok $canary->silent, 'the verdict of a canary waits for its requests';
ok !(grep { !$_->silent } @clients[ 3 .. COUNT - 1 ]), 'and so do all others';
$origin->answer;
is $canary->response->status, 200, 'it falls after a reload';
is answered(@clients), COUNT, 'and lets the others go';
is_deeply [ $origin->uris ], [ map {"/$_"} 1 .. COUNT ], 'in order';
$t->wait_state('open');

# All workers at once: nobody is left to remember, but the zone is.
$t->must('enable', for => '1h');
my $resumes_at = $t->status->{resumes_at};
my @cut = map { $t->hold(GET => "/cut-$_") } 1 .. COUNT;
$t->expect_kill;
wait_for { $t->server->workers == 2 } 'the old workers to end';
my @workers = $t->server->workers;
kill KILL => @workers;
is scalar(grep { $_->response->status == 0 } @cut), COUNT, 'all workers die with their clients';
wait_for { 2 == grep { $_ != $workers[0] && $_ != $workers[1] } $t->server->workers } 'others';
my $status = $t->status;
is "$status->{state} $status->{held} $status->{in_flight}", 'paused 0 0', 'the pause is there';
cmp_ok abs(seconds($status->{resumes_at}) - seconds($resumes_at)), '<=', 1, 'with its deadline';
$origin->forget;
my $held = $t->hold(GET => '/held');
is_deeply [ $origin->uris ], [], 'and holds';
$t->disable;
is $held->response->status, 200, 'until it ends';

$t->finish;
