#!/usr/bin/env perl

# `intermission run` renews the deadline of its pause while the command runs, and does nothing else:
# what another call has resumed stays resumed, and no renewal comes after the resume.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Command;

my $t = Intermission::Test->new(workers => 2);
my $http = default_server(<<'EOC');
    listen 127.0.0.1:%%PORT_80%%;
    location / { return 200 "page\n"; }
    location /for-run/ { ACCESS intermission_control; }
EOC
my $open = $http =~ s/ACCESS//r;
my $closed = $http =~ s/ACCESS/deny all;/r;
$t->start($open);

my $url = control_url($t) =~ s/intermission$/for-run/r;

sub begin {
    my (@options) = @_;
    my $command = Intermission::Test::Command->new(
        $t, 'run', '--url' => $url, '--for' => '3s', @options, patient($t));
    wait_begun($t);
    return $command;
}
sub changes { return $t->server->logged(qr/intermission: app/) }

# The pause outlasts its deadline.
my $command = begin();
my $first = $t->status->{resumes_at};
my ($since, @changes) = ($t->status->{since}, changes());
my %deadlines;
wait_for {
    my $status = $t->status;
    $deadlines{ $status->{resumes_at} // 'none' } = 1;
    keys %deadlines >= 5 || $status->{state} ne 'paused';
} 'the deadline to move';
is $t->status->{state}, 'paused', 'the pause outlasts its deadline';
cmp_ok abs(seconds($t->status->{since}) - seconds($since)), '<=', 1, 'and is still the same';
is scalar(changes()), @changes, 'renewals are no changes of state';
go_on($t);
is $command->status, 0, 'the command has ended';
is $t->status->{state}, 'open', 'the app is resumed';

# Another call resumes the app, pauses it, or begins a maintenance.
$command = begin();
$t->disable;
$command->wait_said(qr/the pause was ended by another call or its deadline/);
like $command->said, qr/\(the app is open\)\. The command goes on, and so does/,
    'resumed by another call';
is $t->get('/page')->status, 200, 'the traffic goes on';
$t->enable;
go_on($t);
is $command->status, 0, 'the exit status is the command\'s';
is $t->status->{state}, 'paused', 'a new pause of somebody else is left alone';
$t->disable;

$command = begin('--for' => '60s');
$t->must('maintenance');
go_on($t);
is $command->status, 0, 'a maintenance was begun in the meantime';
like $command->said, qr/it was put into maintenance in the meantime, and is left like that/, 'told';
is $t->status->{state}, 'maintenance', 'and left like that';
$t->disable;

$command = begin('--for' => '60s');
$t->disable;
go_on($t);
is $command->status, 0, 'resumed by another call, before a renewal';
like $command->said, qr/it was resumed in the meantime/, 'told';

# A renewal that fails is told, and tried again.
$command = begin('--for' => '6s');
$t->reload($closed);
$command->wait_said(qr/the pause could not be renewed, it ends within 6s: the server does not let/);
my $deadline = $t->status->{resumes_at};
$t->reload($open);
wait_for { $t->status->{resumes_at} gt $deadline } 'the next renewal';
is $t->status->{state}, 'paused', 'a renewal that fails is tried again';
go_on($t);
is $command->status, 0, 'the command has ended';
is $t->status->{state}, 'open', 'the app is resumed';

# If all of them fail, the deadline passes.
$command = begin();
$t->reload($closed);
$t->wait_state('open');
pass 'if all of them fail, the deadline passes';
$t->reload($open);
$command->wait_said(qr/the pause was ended by another call or its deadline/);
go_on($t);
is $command->status, 0, 'the exit status is the command\'s';

# No renewal comes after the resume, whenever the command ends.
my $before = changes();
for my $tenth (map { 8 + $_ } 0 .. 5) {
    my $run = intermission($t, 'run', '--url' => $url, '--for' => '3s',
        'sh', '-c' => 'sleep ' . $tenth / 10);
    is $run->status, 0, "a command that ends after ${tenth}00 ms, about when the pause is renewed";
    is $t->status->{state}, 'open', 'leaves the app open';
}
is scalar(changes()), $before + 12, 'each time it was paused once, and resumed once';

$t->finish;
