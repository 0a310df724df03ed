#!/usr/bin/env perl

# The metrics: what they count, in Prometheus' text format by its own checker's rules. Apps' names
# come from outside, and no name breaks out of its label, loses its difference from another one, or
# hides the next line. A thousand apps are answered in bounded time.

use strict;
use warnings;

use FindBin qw($Bin);
use List::Util qw(sum);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Files qw(program);

use constant { APPS => 1000, ROUNDS => 20, LIMIT_MS => 50, TICK_MS => 10 };

my $t = Intermission::Test->new(workers => 2);
my $origin = $t->origin('/slow' => { wait => 1 }, '/socket' => { upgrade => 1 });
$t->start('intermission_zone 16m;' . default_server(<<'EOF'));
    keepalive_requests 100000;
    intermission_app_name $arg_app;
    intermission_max_held 2;
    location / {
        proxy_pass http://%%ORIGIN%%;
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $http_connection;
    }
    location /brief {
        intermission_max_time 50ms;
        intermission_timeout_action 504;
        proxy_pass http://%%ORIGIN%%;
    }
EOF

# By name and labels, as they are written.
sub metrics {
    my $text = $t->control('metrics')->body;
    return map { /^([^#].*) (\S+)$/ ? ($1 => $2) : () } split /\n/, $text;
}

sub of_default {
    my ($name, $labels) = @_;
    my %metrics = metrics();
    return $metrics{ "intermission_$name\{" . join(',', 'app="default"', $labels // ()) . '}' };
}

# The answer.
my $response = $t->control('metrics');
is $response->status, 200, 'an answer';
is $response->header('Content-Type'), 'text/plain; version=0.0.4; charset=utf-8', 'in its format';
is $response->header('Cache-Control'), 'no-store', 'not for caches';
is $t->request(HEAD => '/intermission/metrics')->status, 200, 'HEAD as well';
is $t->control('metrics', format => 'json')->header('Content-Type'),
    'text/plain; version=0.0.4; charset=utf-8', 'in the same form, whatever is asked for';

# What they count.
my $slow = $t->client->get('/slow');
my $socket = $t->client->get('/socket', headers => [ 'Upgrade: echo', 'Connection: upgrade' ]);
$socket->response;
$origin->wait_requests(2);
$t->enable;
my @held = map { $t->hold(GET => "/$_") } 1 .. 2;
is $t->get('/third')->status, 503, 'one too many';
is $t->get('/up')->status, 200, 'and a health check';

is of_default('state', 'state="paused"'), 1, 'the state';
is of_default('state', "state=\"$_\""), 0, "and not $_" for qw(open releasing maintenance);
is of_default('held_requests'), 2, 'held';
wait_for { of_default('in_flight_requests') == 1 } 'one in flight, without the health check';
is of_default('upgraded_connections'), 1, 'upgraded';
is of_default('holds_total'), 2, 'ever held';
is of_default('requests_total', 'outcome="rejected"'), 1, 'rejected';
is of_default('requests_total', 'outcome="bypassed"'), 1, 'bypassed';
cmp_ok of_default($_), '>', 0, $_ for qw(longest_wait_seconds state_age_seconds);
my %metrics = metrics();
my $by_worker = qr/^intermission_worker_held_requests\{app="default",worker="\d+"\}/;
is sum(map { $metrics{$_} } grep {/$by_worker/} keys %metrics), 2, 'held by all workers together';
is $metrics{intermission_zone_used_bytes} + $metrics{intermission_zone_free_bytes},
    $metrics{intermission_zone_size_bytes}, 'the zone';
cmp_ok $metrics{intermission_zone_used_bytes}, '>', 0, 'of which something is used';

(pop @held)->close;
$t->wait_held(1);
is $t->get('/brief')->status, 504, 'one that waits too long';
$t->disable;
is $held[0]->response->status, 200, 'one that is released';
$t->wait_state('open');
is of_default('requests_total', "outcome=\"$_\""), 1, $_ for qw(released aborted timed_out);
is of_default('wait_seconds_count'), 3, 'each of the three held ones has waited';
is of_default('wait_seconds_bucket', 'le="+Inf"'), 3, 'in some bucket';
cmp_ok of_default('wait_seconds_sum'), '>=', 0.05, 'for some time together';
my @buckets = map { of_default('wait_seconds_bucket', "le=\"$_\"") }
    qw(0.01 0.05 0.1 0.25 0.5 1 2.5 5 10 30 60 300 +Inf);
is_deeply \@buckets, [ sort { $a <=> $b } @buckets ], 'the buckets grow';
is of_default('longest_wait_seconds'), 0, 'nobody waits any more';
$origin->answer;
is $slow->response->status, 200, 'what was in flight ends';
$socket->close;

# Names that try to break out of their label, as they are written in an address, and as the label.
my %label_of = (
    'quote%22' => 'quote\"',
    'a%22%7D%201%0Aevil%7Bapp%3D%22' => 'a\"} 1\nevil{app=\"',
    'backslash%5C' => 'backslash\\\\',
    'backslash%5Cn' => 'backslash\\\\n',
    'backslash%5C%22' => 'backslash\\\\\"',
    'line%0A%23%20TYPE%20x%20gauge' => 'line\n# TYPE x gauge',
    'return%0D' => "return\r",
    'tab%09' => "tab\t",
    'zero%00' => "zero\0",
    'invalid%ff' => 'invalid\\\\xff',
    'invalid%fe' => 'invalid\\\\xfe',
    'cut%e2%82' => 'cut\\\\xe2\\\\x82',
    '%e2%82%ac' => "\xe2\x82\xac",
    '%7B%7D,=' => '{},=',
    'default%20' => 'default ',
);
is $t->control('enable', app => $_)->status, 200, "an app called $_" for sort keys %label_of;
my $text = $t->control('metrics')->body;
for my $name (sort keys %label_of) {
    my $line = "intermission_state{app=\"$label_of{$name}\",state=\"paused\"} 1\n";
    cmp_ok index($text, "\n$line"), '>', 0, "$name is the label $label_of{$name}";
}
my $label = qr/\w+="(?:[^"\\\n]|\\["\\n])*"/;
my $metric = qr/intermission_\w+(?:\{$label(?:,$label)*\})? [0-9.e+-]+/;
my @odd = grep { !/^(?:$metric|# (?:HELP|TYPE) intermission_.+)$/ } split /\n/, $text;
is_deeply \@odd, [], 'each line is a metric of this module or tells about one';
is scalar(grep {/^intermission_held_requests/} split /\n/, $text), 1 + keys %label_of,
    'one line for each app';

SKIP: {
    skip 'promtool (package prometheus) is not installed', 1 if !program('promtool');
    is said_by_promtool($text), '', 'promtool finds no fault in it';
}

sub said_by_promtool {
    my ($metrics) = @_;
    $t->write_file('metrics.txt', '');
    my $file = $t->folder . '/metrics.txt';
    open my $handle, '>:raw', $file or die "$file: $!";
    print {$handle} $metrics;
    close $handle;
    my $said = qx(promtool check metrics <$file 2>&1);
    return $? ? "$said(status $?)" : $said;
}

# A thousand apps, and nobody else is kept waiting for long: what counts is what it costs a worker, as
# the machine may be busy with something else.
sub cost_ms { return TICK_MS * ($t->server->cost)[0] }

my $caller = $t->client;
$caller->get("/intermission/enable?app=app-$_")->response for 1 .. APPS;
my $before = cost_ms();
$text = $caller->get('/intermission/metrics')->response->body for 1 .. ROUNDS;
my $each = (cost_ms() - $before) / ROUNDS;
is scalar(grep {/^intermission_held_requests/} split /\n/, $text), APPS + 1 + keys %label_of,
    'a thousand apps';
note sprintf '%d KB in %.1f ms', length($text) / 1024, $each;
cmp_ok $each, '<', LIMIT_MS, 'in bounded time';

$t->finish;
