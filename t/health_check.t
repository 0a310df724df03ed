#!/usr/bin/env perl

# intermission_health_check_path: these paths go through a closed gate, exactly these.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new;
$t->origin;
$t->start(<<'EOF');
    intermission on;
    intermission_max_time 100ms;
    intermission_timeout_action 503;

    server {
        listen 127.0.0.1:%%PORT_80%%;

        location / { proxy_pass http://%%ORIGIN%%; }
        location /own/ {
            intermission_health_check_path /own/live /own/ready;
            proxy_pass http://%%ORIGIN%%;
        }
        location /intermission/ { intermission_control; }
    }

    server {
        listen 127.0.0.1:%%PORT_81%%;
        intermission_health_check_path /live;
        location / { proxy_pass http://%%ORIGIN%%; }
    }
EOF

sub at_other_server { return $t->client(port => $t->port(81))->get(@_)->response->status }

$t->enable;

for my $uri ('/up', '/up?full=1', '//up', '/x/../up', '/%75p', '/own/live', '/own/ready') {
    is $t->get($uri)->status, 200, "$uri goes through";
}
for my $uri ('/', '/up/', '/upper', '/UP', '/x/up', '/?/up', '/own/', '/own/live/x') {
    is $t->get($uri)->status, 503, "$uri is held";
}
is $t->post('/up', 'x')->status, 200, 'whatever the method';

is at_other_server('/live'), 200, 'another server has its own paths';
is at_other_server('/up'), 503, 'instead of the default one';

is $t->status->{totals}{bypassed}, 9, 'the total of bypassed requests';

$t->finish;
