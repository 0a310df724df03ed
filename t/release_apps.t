#!/usr/bin/env perl

# Apps are released by themselves: each has its own pace, places, canary and drain, at the same time
# and in the same workers. One call can release them all.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

use constant COUNT => 40;

my $t = Intermission::Test->new(workers => 2);
my @apps = qw(plain paced placed tried);
my $origin = $t->origin(map { ("/$_/slow" => { wait => 1 }) } @apps);
$t->start(<<'EOF');
    server {
        listen 127.0.0.1:%%PORT_80%% reuseport;
        intermission on;
        intermission_interval 1h;
        location ~ ^/(?<app>\w+)/ {
            intermission_app_name $app;
            proxy_pass http://%%ORIGIN%%;
            proxy_set_header X-At $msec;
        }
        location ^~ /intermission/ { intermission_control; }
    }
EOF

my %clients;

sub hold_all {
    $origin->forget;
    $t->enable($_) for @apps;
    for my $number (1 .. COUNT) {
        push @{ $clients{$_} }, $t->hold(GET => "/$_/$number", app => $_) for @apps;
    }
}

sub requests_of {
    my ($app) = @_;
    return grep { $_->{uri} =~ m{^/$app/} } $origin->requests;
}

sub took {
    my ($app) = @_;
    my @at = map { $_->{headers}{'x-at'} } requests_of($app);
    return $at[-1] - $at[0];
}

sub all_good {
    for my $app (@apps) {
        my $good = grep { $_->response->status == 200 } @{ delete $clients{$app} };
        is $good, COUNT, "$app: all are answered";
        is_deeply [ map { $_->{uri} } requests_of($app) ], [ map {"/$app/$_"} 1 .. COUNT ],
            'in order';
        $t->wait_state('open', $app);
    }
}

# Four releases at the same time.
hold_all();
$t->must('disable', app => 'paced', rate => '10r/s');
$t->must('disable', app => 'placed', concurrency => 1);
my $caller = $t->call('disable', app => 'tried', canary => 5);
$t->must('disable', app => 'plain');
is $caller->response->status, 200, 'a canary has its verdict meanwhile';
is $t->status('paced')->{state}, 'releasing', 'while another app is let go slowly';
all_good();
cmp_ok took('paced'), '>=', (COUNT - 1) / 10 * 0.95, 'a pace of its own';
cmp_ok took('plain'), '<', COUNT / 10 / 2, 'and none for others';

# One call for all, with a pace for each.
hold_all();
my $answer = $t->control('disable', app => '*', rate => '40r/s', format => 'json');
is $answer->json->{message}, 'Pause disabled.', 'one call for all';
is_deeply [ sort map { $_->{app} } @{ $answer->json->{apps} } ], [ sort @apps ], 'which lists them';
all_good();
cmp_ok took($_), '>=', (COUNT - 1) / 40 * 0.95, "$_: at that pace" for @apps;
cmp_ok took($_), '<', 2 * COUNT / 40, 'by itself' for @apps;

# A drain of one app, while another is busy, in maintenance, or releases.
my @busy = map { $t->client->get("/$_/slow") } qw(plain paced);
$origin->wait_requests(4 * COUNT + 2);
$t->must('maintenance', app => 'placed');
$caller = $t->call('enable', app => 'paced', drain => '20s');
$t->must('enable', app => 'tried', drain => '20s');
$t->wait_state('paused', 'paced');
$busy[0]->close;
$t->wait_in_flight(0, 'plain');
$t->status for 1 .. 5;
ok $caller->silent, 'a drain waits for its own app';
$busy[1]->close;
is $caller->response->status, 200, 'and for no other';
is $t->get('/placed/1')->status, 503, 'one is in maintenance';
is $t->get('/plain/1')->status, 200, 'one is open';
my $held = $t->hold(GET => '/tried/1', app => 'tried');
$t->must('disable', app => '*');
is $held->response->status, 200, 'one call ends all that';
is $t->get("/$_/1")->status, 200, "$_ is open" for @apps;

$t->finish;
