#!/usr/bin/env perl

# `intermission run` resumes with a canary, and when the resume fails: it says so, with what to do
# by hand, tries again for a while, and ends with an exit status of its own.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Command;

my $t = Intermission::Test->new;
my $origin = $t->origin('/bad' => { status => 502 });
my $http = default_server(<<'EOC');
    listen unix:%%FOLDER%%/nginx.sock;
    location /for-run/ { ACCESS intermission_control; }
EOC
my $open = $http =~ s/ACCESS//r;
my $closed = $http =~ s/ACCESS/deny all;/r;
$t->start($open);

my $folder = $t->folder;
my $url = control_url($t) =~ s/intermission$/for-run/r;

sub begin {
    my ($address, @options) = @_;
    my $command
        = Intermission::Test::Command->new($t, 'run', '--url' => $address, @options, patient($t, 3));
    wait_begun($t);
    return $command;
}

# A canary that comes back well.
my $command = begin($url, '--canary' => 2);
my @held = map { $t->hold(GET => "/good-$_") } 1 .. 5;
go_on($t);
is $command->status, 3, 'a good canary: the exit status is the command\'s';
is_deeply [ map { $_->response->status } @held ], [ (200) x 5 ], 'all are released';
like $command->said, qr/resuming: waiting for the canary \(2 requests\)/, 'it is waited for';
like $command->said, qr/: resumed, 5 requests held, the longest for /, 'and what was held is told';

# One that does not.
$command = begin($url, '--canary' => 1, '--app' => "it's");
go_on($t);
$t->wait_state('releasing', 'it%27s');
$t->must('disable', app => 'it%27s');
is $command->status, 3, 'a canary that another call ends: the exit status is the command\'s';
like $command->said, qr/: The canary was ended by another call/, 'told';

$command = begin($url, '--canary' => 1);
my $bad = $t->hold(GET => '/bad');
@held = map { $t->hold(GET => "/held-$_") } 1 .. 2;
go_on($t);
is $command->status, 69, 'a bad canary has an exit status of its own';
is $bad->response->status, 502, 'it got its answer';
is $t->status->{state}, 'paused', 'the app is paused again';
is $t->status->{held}, 2, 'with those behind it';
like $command->said, qr/The canary failed: 1 of 1, the last in 502\. The app is paused again\. /,
    'the server\'s words';
my ($by_hand) = $command->said =~ /2 requests held, and no deadline\. When .* mended: (curl .*)$/m;
ok $by_hand, 'and what to do';
like `$by_hand 2>$folder/curl.err`, qr/\APause disabled\.$/m, 'which works';
is_deeply [ map { $_->response->status } @held ], [ 200, 200 ], 'they are released';

# By hand, with a canary of its own.
$t->enable;
$bad = $t->hold(GET => '/bad');
my $disable = intermission($t, 'disable', '--url' => $url, '--canary' => 1, '--json');
is $disable->status, 75, 'disable with a bad canary';
like $disable->out, qr/\A\{"error":"The canary failed: .*"state":"paused"/, 'as JSON';
like $disable->said, qr/: The canary failed: 1 of 1, the last in 502\. The app is paused again/,
    'and for people';
$t->disable;

# A resume that fails is told at once, and tried again.
my $unix = 'unix:' . $t->folder . '/nginx.sock:/for-run';
for my $case ([ $url => 'default' ], [ $unix => "it's a & b", '--app' => "it's a & b" ]) {
    my ($address, $app, @options) = @$case;
    my $name = $app =~ s/([^a-z])/sprintf '%%%02x', ord $1/ger;
    $command = begin($address, @options);
    $t->reload($closed);
    go_on($t);
    $command->wait_said(qr/: IT COULD NOT BE RESUMED, and may still be paused: the server does/);
    is $t->status($name)->{state}, 'paused', 'a resume that fails';
    $command->wait_said(qr/^intermission: trying again for 60s\. By hand: curl/m);
    $t->reload($open);
    is $command->status, 3, 'is tried again';
    is $t->status($name)->{state}, 'open', 'until the app is resumed';
    is scalar(() = $command->said =~ /COULD NOT BE RESUMED/g), 1, 'it is told once';
    ($by_hand) = $command->said =~ /By hand: (curl .*)$/m;
    $t->must('enable', app => $name);
    like `$by_hand 2>$folder/curl.err`, qr/\APause disabled\.\napp: \Q$app\E$/m,
        'what is to be done by hand works';
}

# For as long as the pause may last.
$command = begin($url, '--for' => '3s');
$t->must('enable', for => '1h');    # somebody moved the deadline
$t->reload($closed);
go_on($t);
is $command->status, 69, 'a resume that fails again and again';
like last_line($command->said), qr/: it could not be resumed within 3s\. By hand: curl /, 'is told';
$t->disable;
$t->reload($open);

# nginx is gone when the app is to be resumed, and comes back without a pause.
$command = begin($url);
$t->server->quit;
go_on($t);
$command->wait_said(qr/IT COULD NOT BE RESUMED.*: nothing answers there/);
$t->server->start;
is $command->status, 3, 'nginx was away';
like last_line($command->said), qr/it was resumed in the meantime/, 'and has come back';

$t->finish;
