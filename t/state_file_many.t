#!/usr/bin/env perl

# What changes by itself (a release that ends, a deadline that passes, a canary that comes back) is
# in the state file soon after, and with one write for many apps: each write waits for the disk, and
# the worker that writes serves nobody meanwhile.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;
use Time::HiRes qw(time);

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::StateFile qw(keep_lock);

# How often a worker writes at most, and when what has changed is in the file, in seconds.
use constant { WORKERS => 2, APPS => 150, PAUSE => 0.1, SOON => 3 };

my $t = Intermission::Test->new(workers => WORKERS);
my $origin = $t->origin('/slow' => { wait => 1 });
$t->shared_folder('state');
my $file = $t->folder . '/state/file';
$t->start('intermission_state_file %%FOLDER%%/state/file;' . default_server(<<'EOF'));
    intermission_app_name $arg_app;
    location / { empty_gif; }
    location /slow { proxy_pass http://%%ORIGIN%%; }
EOF


sub serial { slurp($file) =~ /^serial (\d+)$/m ? $1 : 0 }

sub apps_in {
    my ($state) = @_;
    my $all = $t->must('status', app => '*', format => 'json')->json;
    return grep { $_->{state} eq $state } @$all;
}

sub are_few {
    my ($what, $before, $started, $calls) = @_;
    my $writes = serial() - $before;
    my $most = $calls + WORKERS * (1 + (time - $started) / PAUSE);
    return cmp_ok $writes, '<=', $most, "$what: few writes for many apps";
}

# Waits until the file says that all apps are open, which they are since `$open`.
sub says_soon {
    my ($what, $open) = @_;
    wait_for { slurp($file) =~ /^end 0 /m } 'the file to say that all is open';
    return cmp_ok time - $open, '<', SOON, "$what: the file says so soon";
}

# Many releases that end at once.
my @apps = map {"app-$_"} 1 .. APPS;
$t->enable($_) for @apps;
my @held = map { $t->client->get("/?app=$_") } @apps;
wait_for { 0 == grep { $_->{app} =~ /^app-/ && !$_->{held} } apps_in('paused') } 'all to be held';
my ($before, $started) = (serial(), time);
$t->disable('*');
is answered(@held), APPS, 'all are released';
wait_for { !apps_in('releasing') } 'all releases to end';
my $open = time;
says_soon('releases', $open);
are_few('releases', $before, $started, 1);

# Pauses all of them until the same time: when that is, or nothing if the calls took longer.
sub pause_together {
    my ($seconds) = @_;
    my $end = time + $seconds;
    for my $app (@apps) {
        my $left = int(1000 * ($end - time));
        return if $left <= 0;
        $t->must('enable', app => $app, for => "${left}ms");
    }
    return APPS == apps_in('paused') ? $end : undef;
}

# Many deadlines that pass together.
my $end = pause_together(3) // pause_together(8) // pause_together(18);
ok $end, 'all are paused';
($before, $started) = (serial(), $end);
wait_for { time > $end && !apps_in('paused') } 'all deadlines to pass';
$open = time;
says_soon('deadlines', $open);
are_few('deadlines', $before, $started, 0);

# A release that ends while another process has the file's lock, as while it writes: that is no
# accident, and is in the file when the lock is free.
$t->enable('shop');
@held = map { $t->hold(GET => '/?app=shop', app => 'shop') } 1 .. 3;
$t->must('disable', app => 'shop', rate => '1r/s', burst => 1);
my $lock = keep_lock($file);
is answered(@held), 3, 'a release ends while the file is locked';
my $locked_until = time + 0.5;
wait_for { time > $locked_until } 'a worker to have tried';
like slurp($file), qr/^releasing shop /m, 'the file says nothing new';
undef $lock;
says_soon('after the lock', time);
unlike $t->server->log, qr/state file .* cannot be written/, 'nobody complains';

# A canary that comes back, with nginx being stopped right then.
sub canary_comes_back {
    $t->enable('shop');
    my $held = $t->hold(GET => '/slow?app=shop', app => 'shop');
    my $canary = $t->call('disable', app => 'shop', canary => 1);
    wait_for { grep { $_->{uri} =~ m{^/slow} } $origin->requests } 'the canary to reach the origin';
    like slurp($file), qr/^paused shop /m, 'a canary that is out counts as paused';
    $origin->answer;
    like $canary->response->body, qr/^Pause disabled/, 'it comes back';
    is $held->response->status, 200, 'with an answer';
    $origin->forget;
    return time;
}

says_soon('a canary', canary_comes_back());
canary_comes_back();
$t->server->terminate;
like slurp($file), qr/^end 0 /m, 'what was not written yet is written when nginx ends';

$t->finish;
