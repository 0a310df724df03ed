#!/usr/bin/env perl

# drain=…&settle=… waits until nothing is in flight, and nothing was abandoned for some time.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new(workers => 2);
my $origin = $t->origin('/slow' => { wait => 1 });
$t->start(default_server(<<'EOF'));
    intermission_interval 1h;
EOF

sub drain { return $t->control('enable', drain => '20s', @_) }

sub abandon {
    $origin->forget;
    my $client = $t->client->get('/slow');
    $origin->wait_requests(1);
    $client->close;
    $t->wait_in_flight(0);
    return;
}

is $t->control('enable', settle => '1s')->status, 400, 'settle= goes with drain=';
my $answer = drain(settle => '1h');
is $answer->status, 200, 'nothing was ever abandoned';
like $answer->body, qr/^last_abandoned_ms: -$/m, 'and that is told';
$t->disable;

abandon();
$answer = drain();
is $answer->status, 200, 'a drain that is not to settle answers at once';
like $answer->body, qr/^total_abandoned: 1$/m, 'and tells what was abandoned';
like $answer->body, qr/^last_abandoned_ms: \d+$/m, 'and how long ago';
$t->disable;

abandon();
$answer = drain(settle => '1500ms', format => 'json')->json;
cmp_ok $answer->{last_abandoned_ms}, '>=', 1500, 'one that is waits for that long after the last';
cmp_ok $answer->{last_abandoned_ms}, '<', 6500, 'and not for the interval';
$t->disable;

# One more is abandoned while it waits.
$origin->forget;
my $client = $t->client->get('/slow');
$origin->wait_requests(1);
my $caller = $t->call('enable', drain => '20s', settle => '1s', format => 'json');
$t->status for 1 .. 5;
ok $caller->silent, 'what is in flight is waited for as ever';
$client->close;
cmp_ok $caller->response->json->{last_abandoned_ms}, '>=', 1000, 'and then for it to settle';
$t->disable;

abandon();
$answer = $t->control('enable', drain => '300ms', settle => '1h', keep => 1);
is $answer->status, 504, 'too long';
like $answer->body, qr/^The drain took too long: requests were abandoned/, 'in words';
is $t->status->{state}, 'paused', 'keep=1 keeps the pause';

$t->finish;
