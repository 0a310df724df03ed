#!/usr/bin/env perl

# A request that went through and ended before the backend's answer was complete is abandoned: the
# backend may be at work for it still. How many were, and how long ago the last one was, is told; what
# ended in any other way does not count.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new(workers => 2);
my $origin = $t->origin(
    '/slow' => { wait => 1 },
    '/500' => { status => 500 },
    '/404' => { status => 404 },
    '/large' => { wait => 1, body => 'x' x 20_000_000 },
);
$t->write_file('file', 'a file');
$t->start(default_server(<<'EOF'));
    location /late { proxy_read_timeout 100ms; proxy_pass http://%%ORIGIN%%/slow; }
    location /nice {
        error_page 504 =200 /file;
        proxy_read_timeout 100ms;
        proxy_pass http://%%ORIGIN%%/slow;
    }
    location /unbuffered {
        proxy_buffering off;
        send_timeout 1s;
        proxy_pass http://%%ORIGIN%%/large;
    }
    location /refused { proxy_pass http://127.0.0.1:%%PORT_9%%; }
    location /ignored { proxy_ignore_client_abort on; proxy_pass http://%%ORIGIN%%/slow; }
    location /file { alias %%FOLDER%%/file; }
EOF

my $abandoned = 0;

sub is_abandoned {
    my ($what, $count) = @_;
    wait_for { my $status = $t->status; !$status->{in_flight} } 'nothing to be in flight';
    $abandoned += $count;
    return is $t->status->{totals}{abandoned}, $abandoned, $count ? "$what is abandoned" : $what;
}

is $t->status->{last_abandoned_ms}, undef, 'nothing has been abandoned';
for my $uri (qw(/fine /500 /404 /file /refused)) {
    $t->get($uri);
    is_abandoned("$uri is not", 0);
}
unlike $t->control('metrics')->body, qr/^intermission_last_abandoned_seconds\{/m, 'nothing to tell';

for my $way (qw(close reset)) {
    $origin->forget;
    my $client = $t->client->get('/slow');
    $origin->wait_requests(1);
    $client->$way;
    is_abandoned("what a client leaves ($way)", 1);
    $origin->answer;
}
is $t->get($_)->status, $_ eq '/late' ? 504 : 200, "$_: the backend takes too long"
    for qw(/late /nice);
is_abandoned('what takes too long, whatever page is made of it,', 2);
my $last = $t->status->{last_abandoned_ms};
like $last, qr/^\d+$/, 'it is told how long ago that was';
wait_for { $t->status->{last_abandoned_ms} > $last } 'that time to grow';
$origin->answer;

# A client that does not read is given up, while the backend still has a part of the answer.
$origin->forget;
my $reader = $t->client->get('/unbuffered');
$origin->wait_requests(1);
$origin->answer;
is_abandoned('half an answer', 1);
$reader->close;

# nginx can wait for the backend though the client has left.
$origin->forget;
my $ignored = $t->client->get('/ignored');
$origin->wait_requests(1);
$ignored->close;
$t->status for 1 .. 5;
is $t->status->{in_flight}, 1, 'proxy_ignore_client_abort: a drain would wait for it';
$origin->answer;
is_abandoned('what has been answered to nobody is not', 0);

# Never sent to a backend.
$t->enable;
my $held = $t->hold(GET => '/held');
$held->close;
$t->wait_held(0);
$t->disable;
is_abandoned('what was left while it was held is not', 0);

# A worker that dies with requests in flight.
$origin->forget;
my ($victim) = $t->server->workers;
my @stuck = map { $t->client_at($victim)->get('/slow') } 1 .. 3;
$origin->wait_requests(3);
$t->kill_worker($victim);
wait_for { $t->status->{totals}{abandoned} == $abandoned + 3 } 'the requests of a killed worker';
is_abandoned('what a killed worker had in flight', 3);

my $metrics = $t->control('metrics')->body;
like $metrics, qr/^intermission_abandoned_requests_total\{app="default"\} $abandoned$/m, 'a metric';
like $metrics, qr/^intermission_last_abandoned_seconds\{app="default"\} [\d.]+$/m, 'and another';

$t->finish;
