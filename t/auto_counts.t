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
$t->start(default_server(<<'EOF'));
    intermission_auto on;
    intermission_auto_interval 20ms;
    location /brief {
        intermission_app_name brief;
        intermission_auto_max_time 100ms;
        proxy_pass http://%%ORIGIN%%;
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

unlike $t->must('metrics')->body, qr/^intermission_probes_total\{/m, 'an app that nobody has used has none';

for my $outage (1, 2) {
    my @clients = map { $t->hold(GET => "/$_") } 1 .. 3;
    my $before = $t->status->{totals}{probes};
    wait_for { $t->status->{totals}{probes} >= $before + 3 } 'probes';
    my $origin = $t->origin;
    is $_->response->status, 200, 'answered' for @clients;
    $t->wait_state('open', 'default');
    my %now = counts('default');
    is "@now{qw(outages taken_back expired)}", "$outage $outage 0", 'the first of each outage was taken back';
    $t->end_origin;
}

is $t->get('/brief')->status, 502, 'nobody is there in time' for 1 .. 3;
my $origin = $t->origin;
$t->wait_state('open', 'brief');
my %now = counts('brief');
is "@now{qw(outages taken_back expired)}", '1 1 3', 'three waited for too long, in one outage';
cmp_ok $now{probes}, '>', 3, 'with probes';
my $probes = $t->status('brief')->{totals}{probes};
is $t->get('/brief')->status, 200, 'it is over';
is $t->status('brief')->{totals}{probes}, $probes, 'and so are the probes';

$t->finish;
