#!/usr/bin/env perl

# A request that is released needs a second connection, to its backend. The gate holds no more than
# it can release: further ones are answered 503, while the control location and health checks can be
# reached all the time, and no request fails when they are released.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $http = default_server(<<'EOF');
    keepalive_timeout 60s;
    intermission_retry_after 7s;
EOF

my @limits = (
    [ 'worker_connections 64', 60, connections => 64 ],
    [ 'worker_connections 256', 240, connections => 256 ],
    [ 'worker_rlimit_nofile 160', 150, connections => 1024, main => 'worker_rlimit_nofile 160;' ],
);

for my $limit (@limits) {
    my ($what, $arrivals, %with) = @$limit;
    subtest $what => sub {
        my $t = Intermission::Test->new(%with);
        my $origin = $t->origin;
        $t->start($http);
        $t->enable;

        my (@held, @rejected);
        for my $number (1 .. $arrivals) {
            my $client = $t->client->get("/$number");
            wait_for {
                my $totals = $t->status->{totals};
                $totals->{held} + $totals->{rejected} == $number;
            } 'a request to be held or refused';
            push @{ $client->silent ? \@held : \@rejected }, [ $number, $client ];
        }
        cmp_ok scalar @held, '>=', $arrivals / 8, 'it holds some: ' . scalar @held;
        cmp_ok scalar @rejected, '>=', 1, 'and refuses some: ' . scalar @rejected;
        is scalar(grep { $_->[1]->response->status == 503 } @rejected), scalar @rejected,
            'with 503';
        is scalar(grep { $_->[1]->closed } @rejected), scalar @rejected,
            'and closes their connections';

        for (1 .. 10) {
            is $t->get('/up')->status, 200, 'health checks are answered';
            is $t->status->{held}, scalar @held, 'calls as well';
        }
        my $answer = $t->get('/one-more');
        is $answer->status . ' ' . $answer->header('Retry-After'), '503 7',
            'who is refused is told when to come back';

        $origin->forget;
        $t->disable;
        my @answers = map { $_->[1]->response->status } @held;
        is_deeply \@answers, [ (200) x @held ], 'all that is held is released without an error';
        is_deeply [ $origin->uris ], [ map {"/$_->[0]"} @held ], 'in order';
        $t->wait_state('open');
        is $t->get('/after')->status, 200, 'requests go on';
        unlike $t->server->log, qr/worker_connections are not enough(?!, reusing)|accept4?\(\) failed/,
            'nginx never ran out of connections';
        $t->stop;
    };
}

done_testing;
