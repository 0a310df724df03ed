#!/usr/bin/env perl

# worker_shutdown_timeout is honoured: a worker that was told to go, by a reload, closes what it
# still holds when the time is over, as nginx does with every other request. Those requests never
# reach the backend, they are off the counts, and all others are released in order.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;
use Time::HiRes qw(time);

use lib "$Bin/lib";
use Intermission::Test;

use constant { EACH => 15, SHUTDOWN => 3 };

my $t = Intermission::Test->new(workers => 2, main => 'worker_shutdown_timeout 3s;');
my $origin = $t->origin;
my $format = q(log_format status '$intermission_status $request_uri';);
$t->start($format . default_server(<<'EOF'));
    listen 127.0.0.1:%%PORT_80%%;
    access_log %%FOLDER%%/status.log status;
    location /intermission/ { intermission off; intermission_control; access_log off; }
EOF

$t->enable;
my @old = map { $t->hold(($_ % 4 ? 'GET' : 'POST'), "/old-$_", body => 'x' x 5000) } 1 .. EACH;
my $started = time;
$t->reload;
my @new;
for my $number (1 .. EACH) {
    # By the total: what is held becomes less at any moment.
    push @new, $t->client->get("/new-$number");
    wait_for { $t->status->{totals}{held} == EACH + $number } 'a request to be held';
}
is scalar(grep { $_->response->status == 0 } @old), EACH, 'what old workers hold is closed';
cmp_ok time - $started, '>=', SHUTDOWN - 0.1, 'when the time is over, not before';
my $status;
wait_for {
    $status = $t->status;
    $status->{held} == EACH && $status->{totals}{aborted} == EACH;
} 'them to count as given up';
is $status->{state}, 'paused', 'the app is paused as before';
wait_for { $t->server->workers == 2 } 'the old workers to end';

$t->disable;
is answered(@new), EACH, 'all others are released';
is_deeply [ $origin->uris ], [ map {"/new-$_"} 1 .. EACH ], 'in order, and nothing else';
my $log = slurp($t->folder . '/status.log');
is scalar(() = $log =~ m{^ABORTED /old-}mg), EACH, 'the log says so';

# A release that is quicker is not disturbed, also at the end of nginx.
$t->enable;
my @clients = map { $t->hold(GET => "/last-$_") } 1 .. EACH;
$t->reload;
$t->server->signal('QUIT');
is answered(@clients), EACH, 'a quit lets go what it can';

$t->finish;
