#!/usr/bin/env perl

# Order over several workers: what is held by four workers is released in the order in which it
# came to the gate, whichever worker holds it. The origin numbers connections as they are made,
# which is the order in which the gate lets go. The workers have to wake each other for that: the
# look at the shared state at each interval is put off until long after the test.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

use constant COUNT => 400;

my $t = Intermission::Test->new(workers => 4);
my $origin = $t->origin;
$t->start(default_server(<<'EOF'));
    intermission_interval 1h;
    proxy_set_header X-Worker $pid;
EOF

for my $round (1 .. 3) {
    $origin->forget;
    $t->enable;
    my @clients = map { $t->hold(GET => "/$_") } 1 .. COUNT;
    $t->disable;

    my @answered = grep { $_->response->status == 200 } @clients;
    is scalar @answered, COUNT, "round $round: everybody is answered";

    my @requests = $origin->requests;
    my %workers = map { $_->{headers}{'x-worker'} => 1 } @requests;
    is keys %workers, 4, 'all workers held some';
    is_deeply [ map { $_->{uri} } @requests ], [ map {"/$_"} 1 .. COUNT ], 'all in order';
}

$t->finish;
