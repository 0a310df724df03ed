#!/usr/bin/env perl

# A large release goes out in batches, and the other clients of the worker get their turn in
# between: one that asks all the time sees the queue shrink, instead of waiting until all are out.

use strict;
use warnings;

use FindBin qw($Bin);
use List::Util qw(max uniq);
use Test::More;
use Time::HiRes qw(time);

use lib "$Bin/lib";
use Intermission::Test;

use constant COUNT => 3000;

my $t = Intermission::Test->new(connections => 3 * COUNT);
my $origin = $t->origin;
$t->start(<<'EOF');
    server {
        listen 127.0.0.1:%%PORT_80%% backlog=4096;
        keepalive_requests 100000;
        intermission on;
        location / { proxy_pass http://%%ORIGIN%%; }
        location /intermission/ { intermission_control; }
    }
EOF

$t->enable;
my @clients = map { $t->client->get('/') } 1 .. COUNT;
$t->wait_held(COUNT);

my $other = $t->client;
my (@seen, @waits);
$other->get('/intermission/disable')->response;
while (1) {
    my $start = time;
    my $status = $other->get('/intermission/status?format=json')->response->json;
    push @waits, time - $start;
    push @seen, $status->{held};
    last if $status->{state} eq 'open';
}

my @between = uniq grep { $_ > 0 && $_ < COUNT } @seen;
note sprintf 'asked %d times, longest wait %.1f ms', scalar @seen, 1000 * max @waits;
cmp_ok scalar @between, '>=', 10, 'another client gets its turn in the middle of the release';
is_deeply \@seen, [ sort { $b <=> $a } @seen ], 'and sees the queue only shrink';

my @answered = grep { $_->response->status == 200 } @clients;
is scalar @answered, COUNT, 'all are answered';
is scalar($origin->uris), COUNT, 'once';

$t->finish;
