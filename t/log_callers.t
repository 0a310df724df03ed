#!/usr/bin/env perl

# The module's variables in the log line of a call whose answer waited: no request that was held.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new;
my $origin = $t->origin('/slow' => { wait => 1 });
my $format = q(log_format gate '$uri $intermission_status $intermission_wait_time';);
$t->start($format . default_server(<<'EOF'));
    location /intermission/ {
        intermission_control;
        access_log %%FOLDER%%/gate.log gate;
    }
EOF

my $slow = $t->client->get('/slow');
$origin->wait_requests(1);
my $drained = $t->call('enable', drain => '20s');
$t->wait_state('paused');
$origin->answer;
is $slow->response->status, 200, 'the request in flight is answered';
is $drained->response->status, 200, 'the drain is answered';

sub lines {
    open my $log, '<', $t->folder . '/gate.log' or return;
    return grep {m{enable}} <$log>;
}
wait_for { lines() } 'the log';
is_deeply [ lines() ], ["/intermission/enable - -\n"], 'logged as not held';

$t->finish;
