#!/usr/bin/env perl

# What is counted where requests are held by themselves: outages, requests that were taken back, those whose time ran out, probes.
# In a status, in the metrics, and for one app as for another.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new(workers => 2);
$t->start(<<'EOF');
    server {
        listen 127.0.0.1:%%PORT_80%% reuseport;
        intermission on;
        intermission_auto on;
        intermission_auto_interval 20ms;
        location / { proxy_pass http://%%ORIGIN%%; }
        location /brief {
            intermission_app_name brief;
            intermission_auto_max_time 100ms;
            proxy_pass http://%%ORIGIN%%;
        }
        location /intermission/ { intermission_control; }
    }
EOF

my @counts = qw(outages taken_back expired probes);
my %metric = (
    outages => 'outages_total',
    taken_back => 'taken_back_requests_total',
    expired => 'expired_requests_total',
    probes => 'probes_total',
);

# The same in all ways to ask. Probes go on meanwhile, so they are asked for where nobody waits.
sub counts {
    my ($app) = @_;
    my $totals = $t->status($app)->{totals};
    my %line = $t->must('status', app => $app)->body =~ /^total_(\w+): (\d+)$/mg;
    my %value = $t->must('metrics', app => $app)->body =~ /^intermission_(\w+)\{app="\Q$app\E"\} (\d+)$/mg;
    is_deeply [ @line{@counts} ], [ @$totals{@counts} ], "$app: the lines of a status";
    is_deeply [ @value{ @metric{@counts} } ], [ @$totals{@counts} ], "$app: the metrics";
    return %$totals;
}

sub is_open {
    my ($app) = @_;
    return wait_for { $t->status($app)->{state} eq 'open' } 'the app to be open';
}

unlike $t->must('metrics')->body, qr/^intermission_probes_total\{/m, 'an app that nobody has used has none';

for my $outage (1, 2) {
    my @clients = map { $t->hold(GET => "/$_") } 1 .. 3;
    my $before = $t->status->{totals}{probes};
    wait_for { $t->status->{totals}{probes} >= $before + 3 } 'probes';
    my $origin = $t->{origin} = Intermission::Test::Origin->new(port => $t->port('ORIGIN'), answers => {});
    is $_->response->status, 200, 'answered' for @clients;
    is_open('default');
    my %now = counts('default');
    is "@now{qw(outages taken_back expired)}", "$outage $outage 0", 'the first of each outage was taken back';
    (delete $t->{origin})->stop;
}

is $t->get('/brief')->status, 502, 'nobody is there in time' for 1 .. 3;
my $origin = $t->origin;
is_open('brief');
my %now = counts('brief');
is "@now{qw(outages taken_back expired)}", '1 1 3', 'three waited for too long, in one outage';
cmp_ok $now{probes}, '>', 3, 'with probes';
my $probes = $t->status('brief')->{totals}{probes};
is $t->get('/brief')->status, 200, 'it is over';
is $t->status('brief')->{totals}{probes}, $probes, 'and so are the probes';

$t->finish;
