#!/usr/bin/env perl

# The variables: what became of a request, for how long it was held, and its app, in the access log
# and in what the backend is told. One that was not held tells it nothing.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Server;

my $t = Intermission::Test->new;
my $origin = $t->origin('/accel' => { headers => ['X-Accel-Redirect: /target'] });
$t->start(<<'EOF');
    log_format held '$request_uri $status '
                    '$intermission_app $intermission_status $intermission_wait_time';
    map $intermission_wait_time $seconds_held { default $intermission_wait_time; - ""; }

    server {
        listen 127.0.0.1:%%PORT_80%%;
        access_log %%FOLDER%%/held.log held;
        intermission on;
        intermission_app_name $arg_app;
        intermission_bypass $arg_bypass;
        intermission_max_held 4;
        proxy_set_header X-Request-Held $seconds_held;

        location / { proxy_pass http://%%ORIGIN%%; }
        location /brief { intermission_max_time 50ms; proxy_pass http://%%ORIGIN%%; }
        location /error {
            intermission_max_time 50ms;
            intermission_timeout_action 504;
            proxy_pass http://%%ORIGIN%%;
        }
        location /ungated { intermission off; proxy_pass http://%%ORIGIN%%; }
        location /denied { deny all; proxy_pass http://%%ORIGIN%%; }
        location /intermission/ { access_log off; intermission_control; }
    }
EOF

# What the log says of a request: its status, its app, what became of it, and how long it waited.
sub logged {
    my ($uri) = @_;
    my $line = wait_for {
        my $log = slurp($t->folder . '/held.log');
        ($log =~ /^\Q$uri\E (.*)$/m)[0];
    } "$uri in the log";
    return split / /, $line;
}

sub logged_as {
    my ($uri, $expected, $held) = @_;
    my ($status, $app, $ending, $wait) = logged($uri);
    is "$status $app $ending", $expected, "$uri: $expected";
    return is $wait, '-', 'it was not held' if !$held;
    like $wait, qr/^\d+\.\d{3}$/, "it was held for $wait s";
    return cmp_ok $wait, '<', 60, 'in seconds';
}

# While open.
$t->get($_) for qw(/open /open?app=shop /ungated /denied);
logged_as('/open', '200 default PASSED');
logged_as('/open?app=shop', '200 shop PASSED');
logged_as('/ungated', '200 default -');
logged_as('/denied', '403 default -');

# While paused.
$t->enable;
$t->get($_) for qw(/bypass?bypass=1 /brief /error);
logged_as('/bypass?bypass=1', '200 default BYPASSED');
logged_as('/brief', '200 default TIMED_OUT', 1);
logged_as('/error', '504 default TIMED_OUT', 1);
cmp_ok((logged($_))[3], '>=', 0.05, "$_: for as long as it may be held") for qw(/brief /error);

my $gone = $t->hold(GET => '/gone');
my @held = map { $t->hold(GET => $_) } qw(/held /accel);
$gone->close;
logged_as('/gone', '499 default ABORTED', 1);
push @held, map { $t->hold(GET => "/more-$_") } 1, 2;
is $t->get('/rejected')->status, 503, 'one too many';
logged_as('/rejected', '503 default REJECTED');

$t->disable;
is $_->response->status, 200, 'released' for @held;
logged_as('/held', '200 default RELEASED', 1);
logged_as('/accel', '200 default RELEASED', 1);

$t->enable('shop');
my $refused = $t->hold(GET => '/refused?app=shop', app => 'shop');
$t->must('maintenance', app => 'shop');
is $refused->response->status, 503, 'maintenance';
is $t->get('/late?app=shop')->status, 503, 'for what comes as well';
logged_as('/refused?app=shop', '503 shop MAINTENANCE', 1);
logged_as('/late?app=shop', '503 shop MAINTENANCE');

# What the backend was told.
my %told = map { $_->{uri} => $_->{headers}{'x-request-held'} } $origin->requests;
is $told{$_}, undef, "$_ was not held, and nothing is said of it"
    for '/open', '/ungated', '/bypass?bypass=1';
for my $uri ('/held', '/accel', '/target', '/brief') {
    like $told{$uri}, qr/^\d+\.\d{3}$/, "$uri was held, and the backend is told";
}

$t->finish;
