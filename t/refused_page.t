#!/usr/bin/env perl

# A backend is asked for the page of a request that was refused while it was held. What the gate did to
# see the held client leave is over then: with proxy_ignore_client_abort nginx waits for the backend.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new;
my $origin = $t->origin('/sorry' => { wait => 1 });
$t->start(default_server(<<'EOF'));
    proxy_ignore_client_abort on;
    error_page 503 504 @sorry;
    location /brief {
        intermission_max_time 50ms;
        intermission_timeout_action 504;
        proxy_pass http://%%ORIGIN%%;
    }
    location @sorry { intermission off; rewrite ^ /sorry break; proxy_pass http://%%ORIGIN%%; }
EOF

sub leaves {
    my ($what, $client) = @_;
    $origin->wait_requests(1);
    $client->reset;
    $t->status for 1 .. 5;
    my ($page) = $origin->requests;
    ok !$page->{gone}, "$what: the backend is not given up though the client has left";
    $origin->answer;
    wait_for { $t->server->access_log =~ m{^50[34] GET /(?:brief|held)\b}m } 'the log';
    is $t->status->{held}, 0, 'nothing is held';
    $origin->forget;
    return;
}

$t->enable;
my $brief = $t->client->get('/brief');
leaves('time is up', $brief);

my $held = $t->hold(GET => '/held');
$t->must('maintenance');
leaves('maintenance', $held);
$t->disable;
is $t->get('/next')->status, 200, 'requests go on';

$t->finish;
