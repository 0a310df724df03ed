#!/usr/bin/env perl

# intermission_max_time and intermission_timeout_action: nobody is held longer than that, and goes
# on to the backend then, or gets the error that was asked for.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;
use Time::HiRes qw(time);

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new;
my $origin = $t->origin;
$t->start(<<'EOF');
    server {
        listen 127.0.0.1:%%PORT_80%%;
        intermission on;
        intermission_max_time 300ms;

        location /pass { proxy_pass http://%%ORIGIN%%; }
        location /explicit {
            intermission_timeout_action pass;
            proxy_pass http://%%ORIGIN%%;
        }
        location /busy {
            intermission_timeout_action 503;
            proxy_pass http://%%ORIGIN%%;
        }
        location /slow {
            intermission_timeout_action 429;
            proxy_pass http://%%ORIGIN%%;
        }
        location /page {
            intermission_timeout_action 504;
            error_page 504 /sorry;
            proxy_pass http://%%ORIGIN%%;
        }
        location /sorry { internal; intermission off; proxy_pass http://%%ORIGIN%%; }
        location /patient {
            intermission_max_time 1h;
            proxy_pass http://%%ORIGIN%%;
        }
        location /intermission/ { intermission_control; }
    }
EOF

$t->enable;
my $patient = $t->hold(GET => '/patient');

my $start = time;
is $t->get('/pass')->status, 200, 'goes on to the backend when its time is over';
cmp_ok time - $start, '>=', 0.29, 'not before';
is $t->post('/explicit', 'body')->status, 200, 'also where that is written out, with a body';
is_deeply [ $origin->uris ], [ '/pass', '/explicit' ], 'the origin has seen both';
is +($origin->requests)[1]{length}, 4, 'and the body';

is $t->get('/busy')->status, 503, 'or gets an error that blames the server';
is $t->post('/slow', 'body')->status, 429, 'or one that blames the client';
is scalar($origin->uris), 2, 'which the origin does not see';
my $page = $t->get('/page');
is $page->status, 504, 'the error goes through error_page';
is $page->body, "/sorry\n", 'to a page outside of the gate';

my $status = $t->status;
is $status->{held}, 1, 'who has more time is still held';
is $status->{state}, 'paused', 'and the app is still paused';
is $status->{totals}{timed_out}, 5, 'the total of timed-out requests';
ok $patient->silent, 'nothing came for the patient one';

my $queued = $t->hold(GET => '/patient?second');
$origin->forget;
is $t->get('/busy')->status, 503, 'one times out behind two that stay';
$t->disable;
is $_->response->status, 200, 'they are released' for $patient, $queued;
is_deeply [ $origin->uris ], [ '/patient', '/patient?second' ], 'in order';

$t->finish;
