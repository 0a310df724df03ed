#!/usr/bin/env perl

# Retry-After: intermission_retry_after puts it on every 503 of the module, the maintenance call can
# say something else for its own, and no other response has it.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new(workers => 2);
my $origin = $t->origin(
    '/503' => { status => 503 },
    '/own' => { status => 503, headers => ['Retry-After: 7'] },
);
$t->start(<<'EOF');
    server {
        listen 127.0.0.1:%%PORT_80%% reuseport;
        intermission on;
        intermission_retry_after 90s;

        location / { proxy_pass http://%%ORIGIN%%; }
        location /longer { intermission_retry_after 1h30m; proxy_pass http://%%ORIGIN%%; }
        location /full { intermission_max_held 1; proxy_pass http://%%ORIGIN%%; }
        location /brief-503 {
            intermission_max_time 50ms;
            intermission_timeout_action 503;
            proxy_pass http://%%ORIGIN%%;
        }
        location /brief-504 {
            intermission_max_time 50ms;
            intermission_timeout_action 504;
            proxy_pass http://%%ORIGIN%%;
        }
        location /brief-pass { intermission_max_time 50ms; proxy_pass http://%%ORIGIN%%; }
        location /intermission/ { intermission_control; }
    }
    server {
        listen 127.0.0.1:%%PORT_81%% reuseport;
        intermission on;
        location / { proxy_pass http://%%ORIGIN%%; }
    }
EOF

sub is_answer {
    my ($response, $status, $after, $what) = @_;
    is $response->status, $status, $what;
    return is $response->header('Retry-After'), $after,
        defined $after ? "comes with Retry-After: $after" : 'comes without Retry-After';
}

sub plain { return $t->client(port => $t->port(81)) }

# What the backend answers is its own.
is_answer($t->get('/'), 200, undef, 'a 200 of the backend');
is_answer($t->get('/503'), 503, undef, 'a 503 of the backend');
is_answer($t->get('/own'), 503, 7, 'a 503 of the backend with the header');

# Paused.
$t->enable;
my $held = $t->hold(GET => '/held');
is_answer($t->get('/full'), 503, 90, 'more than may be held');
is_answer($t->get('/brief-503'), 503, 90, 'held for too long');
is_answer($t->get('/brief-504'), 504, undef, 'held for too long, 504');
is_answer($t->get('/brief-pass'), 200, undef, 'held for too long, and passed on');

# Maintenance: what the call says, and else what the location says.
my $longer = $t->hold(GET => '/longer');
my $plain = plain()->get('/');
$t->wait_held(3);
$t->must('maintenance', retry_after => '2m');
is_answer($held->response, 503, 120, 'held, maintenance with its own time');
is_answer($longer->response, 503, 120, 'in a location with another as well');
is_answer($plain->response, 503, 120, 'and in a server without');
is_answer($t->get('/'), 503, 120, 'a new one');
is_answer($t->post('/longer', 'body'), 503, 120, 'with a body');
is_answer(plain()->get('/')->response, 503, 120, 'in a server without');
is_answer($t->get('/up'), 200, undef, 'a health check');

$t->must('maintenance');
is_answer($t->get('/'), 503, 90, 'maintenance without a time');
is_answer($t->get('/longer'), 503, 5400, 'in a location with another');
is_answer(plain()->get('/')->response, 503, undef, 'in a server without');

for my $case ([ '1s', 1 ], [ '90', 90 ], [ '1500ms', 1 ], [ '1d', 86400 ], [ '1m+30s', 90 ]) {
    my ($given, $seconds) = @$case;
    $t->must('maintenance', retry_after => $given);
    is_answer($t->get('/'), 503, $seconds, "maintenance with $given");
}
is $t->client->get('/intermission/status')->response->header('Retry-After'), undef,
    'a call has none';

# It does not outlive the maintenance it was said for.
$t->disable;
is_answer($t->get('/'), 200, undef, 'open again');
$t->must('maintenance');
is_answer($t->get('/'), 503, 90, 'another maintenance');

$t->finish;
