#!/usr/bin/env perl

# A call that is made by a subrequest is answered at once or not at all: it cannot wait.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new;
my $origin = $t->origin('/slow' => { wait => 1 });
$t->start(default_server(<<'EOF'));
    location /mirrored {
        intermission off;
        mirror /intermission/enable;
        proxy_pass http://%%ORIGIN%%;
    }
EOF

my $slow = $t->client->get('/slow');
$origin->wait_requests(1);
is $t->get('/mirrored?drain=1s')->status, 200, 'the request is answered';
is $t->status->{state}, 'open', 'a subrequest that would wait changes nothing';
is $t->get('/mirrored')->status, 200, 'the next one as well';
$t->wait_state('paused');
$t->disable;
$origin->answer;
is $slow->response->status, 200, 'what was in flight is answered';

$t->finish;
