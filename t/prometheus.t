#!/usr/bin/env perl

# A real Prometheus scrapes the metrics, gives every name back as it was, and has the alerts of
# docs/alerts.yml. These go off when they should, by Prometheus' own test of rules, and name no
# metric that there is not; nor does the dashboard for Grafana.

use strict;
use warnings;

use FindBin qw($Bin);
use JSON::PP qw(decode_json);
use POSIX ();
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Files qw(program);
use Intermission::Test::Server;

for my $program (qw(prometheus promtool)) {
    next if program($program);
    plan skip_all => "$program (package prometheus) is not installed";
}

my $t = Intermission::Test->new(workers => 2);
$t->origin;
$t->start(default_server(<<'EOF'));
    intermission_app_name $arg_app;
EOF

sub slurp_document { return slurp("$Bin/../docs/$_[0]") }

# Prometheus, on a port of its own.
$t->write_file('alerts.yml', slurp_document('alerts.yml'));
$t->write_file('prometheus.yml', <<'EOF');
global: { scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }
rule_files: [ alerts.yml ]
scrape_configs:
  - job_name: nginx
    metrics_path: /intermission/metrics
    static_configs: [ { targets: [ '127.0.0.1:%%PORT_80%%' ] } ]
EOF
my $folder = $t->folder;
my $address = '127.0.0.1:' . $t->port(90);
my $prometheus = fork // die "fork: $!";
if (!$prometheus) {
    open STDOUT, '>', "$folder/prometheus.log";
    open STDERR, '>&', \*STDOUT;
    exec 'prometheus', "--config.file=$folder/prometheus.yml",
        "--storage.tsdb.path=$folder/data", "--web.listen-address=$address"
        or POSIX::_exit(127);
}

END {
    my $status = $?;
    stop_prometheus('KILL');
    $? = $status;
}

sub stop_prometheus {
    my ($signal) = @_;
    return if !$prometheus;
    kill $signal => $prometheus;
    waitpid $prometheus, 0;
    undef $prometheus;
}

sub ask {
    my ($path, %arguments) = @_;
    my $client = eval { $t->client(port => $t->port(90)) } or return;
    s/(\W)/sprintf '%%%02x', ord $1/ge for values %arguments;
    my $uri = join '?', "/api/v1/$path", map {"$_=$arguments{$_}"} keys %arguments;
    my $response = $client->get($uri, headers => ['Connection: close'])->response;
    return if ($response->status // 0) != 200;
    return decode_json($response->body)->{data};
}

# What a query finds, by app.
sub query {
    my ($query) = @_;
    my $found = ask('query', query => $query) or return;
    return map { $_->{metric}{app} => $_->{value}[1] } @{ $found->{result} };
}

sub rules {
    my $found = ask('rules') or return;
    return map { @{ $_->{rules} } } @{ $found->{groups} };
}

# Names as they are written in an address, and as they come back.
my %name_of = (
    default => 'default',
    'a%22%7D%201%0Aevil%7Bapp%3D%22' => "a\"} 1\nevil{app=\"",
    'backslash%5Cn' => 'backslash\n',
    'invalid%ff' => 'invalid\xff',
    '%e2%82%ac' => "\x{20ac}",
);
$t->enable($_) for sort keys %name_of;
my $held = $t->hold(GET => '/');

my %scraped;
wait_for {
    %scraped = query('intermission_held_requests');
    keys %scraped == keys %name_of && $scraped{default} == 1;
} 'Prometheus to have scraped all apps';
is_deeply [ sort keys %scraped ], [ sort values %name_of ], 'every name comes back as it was';

my %value_of = (
    'intermission_state{state="paused"}' => 1,
    'intermission_state{state="open"}' => 0,
    'sum by (app) (intermission_worker_held_requests)' => 1,
    'intermission_holds_total' => 1,
    'intermission_requests_total{outcome="released"}' => 0,
    'intermission_wait_seconds_bucket{le="+Inf"}' => 0,
);
for my $query (sort keys %value_of) {
    my %found = query($query);
    is $found{default}, $value_of{$query}, $query;
}

my $target;
wait_for { ($target) = @{ ask('targets')->{activeTargets} }; $target->{health} eq 'up' }
'the target to be healthy';
is $target->{lastError}, '', 'without an error';

my @rules;
wait_for { @rules = rules(); @rules && !grep { $_->{health} eq 'unknown' } @rules }
'the alert rules to be evaluated';
is_deeply [ grep { $_->{health} ne 'ok' } @rules ], [], 'the alert rules work on what it has';

$t->disable($_) for sort keys %name_of;
is $held->response->status, 200, 'what was held is released';

# The rules' own test: what goes off when, in minutes.
my %labels = map { $_->[0] => "job=\"nginx\",instance=\"n\",app=\"$_->[1]\"" } [ LABELS => 'shop' ], [ OTHERS => 'other' ];
my %series = (
    'state{LABELS,state="paused"}' => '0 1 1 1 1 1 1',
    'state{LABELS,state="maintenance"}' => '0 0 0 0 0 0 0',
    'state_age_seconds{LABELS}' => '0 0 60 120 180 240 300',
    'longest_wait_seconds{LABELS}' => '0 0 60 120 180 240 300',
    'held_requests{LABELS}' => '0 1000 2000 3000 4000 5000 5000',
    'worker_held_requests{LABELS,worker="0"}' => '0 100 530 540 540 540 540',
    'requests_total{LABELS,outcome="rejected"}' => '0 0 0 0 0 5 5',
    'requests_total{LABELS,outcome="timed_out"}' => '0 0 0 0 0 0 0',
    'state{OTHERS,state="down"}' => '0 1 1 1 1 1 1',
    'state_age_seconds{OTHERS}' => '0 0 0 60 120 180 240',
    'outages_total{OTHERS}' => '0 0 0 5 7 9 9',
    'expired_requests_total{OTHERS}' => '0 0 0 0 0 5 5',
);
my $input = join '', map {
    my $name = s/(LABELS|OTHERS)/$labels{$1}/r;
    "      - { series: 'intermission_$name', values: '$series{$_}' }\n"
} sort keys %series;
my @fire = map {"Intermission$_"}
    qw(PausedTooLong WaitNearLimit HeldNearLimit WorkerNearLimit Rejects BackendDown BackendFlaps Expires);
my $fired = join '', map {"          - { labels: '{alertname=\"$_\"}', value: 1 }\n"} @fire;
my $quiet = join '', map {"      - { eval_time: 2m, alertname: $_, exp_alerts: [] }\n"} @fire;
$t->write_file('rules-test.yml', <<"EOF");
rule_files: [ alerts.yml ]
evaluation_interval: 10s
tests:
  - interval: 1m
    input_series:
$input
    alert_rule_test:
$quiet
    promql_expr_test:
      - expr: count by (alertname) (ALERTS{alertstate="firing"})
        eval_time: 6m
        exp_samples:
$fired
EOF
for my $check ('check rules alerts.yml', 'test rules rules-test.yml') {
    my $said = qx(cd $folder && promtool $check 2>&1);
    is $?, 0, "promtool $check" or diag $said;
}

# The dashboard and the rules name metrics that there are, in queries that can be understood.
my @expressions = map { $_->{query} } @rules;
my $dashboard = decode_json(slurp_document('grafana-dashboard.json'));
for my $panel (@{ $dashboard->{panels} }) {
    ok $panel->{description} && @{ $panel->{targets} }, "the panel $panel->{title} is whole";
    push @expressions, map { $_->{expr} } @{ $panel->{targets} };
}
my %known = map { $_ => 1 } $t->control('metrics')->body =~ /^# TYPE (\w+)/gm;
for my $expression (@expressions) {
    my @named = $expression =~ /\b(intermission_\w+)/g;
    my @unknown = grep { !$known{s/_bucket$//r} } @named;
    is_deeply \@unknown, [], "@named: known";
    my $plain = $expression =~ s/\$__rate_interval/1m/gr =~ s/\$\w+/.*/gr;
    ok ask('query', query => $plain), 'and understood';
}

stop_prometheus('TERM');
$t->finish;
