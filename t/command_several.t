#!/usr/bin/env perl

# `intermission run` with several addresses: the app is paused and quiet at all of them before the
# command is run, and resumed at all of them. If one of them fails, nothing is run.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Command;

# Two servers with a zone of their own each.
my $listen = 'listen unix:%%FOLDER%%/nginx.sock;';
my ($one, $two) = map { Intermission::Test->new } 1 .. 2;
for my $t ($one, $two) {
    $t->origin('/slow' => { wait => 1 });
    $t->start(default_server($listen));
}

my $folder = $one->folder;
my @urls = (
    '--url' => control_url($one),
    '--url' => 'unix:' . $two->folder . '/nginx.sock:/intermission',
);

sub states { return join ' ', map { $_->status->{state} } $one, $two }
sub pauses { return scalar $_[0]->server->logged(qr/to paused/) }

# Both.
my $slow = $two->client->get('/slow');
$two->origin->wait_requests(1);
my $command = Intermission::Test::Command->new($one, 'run', @urls, patient($one, 4));
$command->wait_said(qr/waiting until it is quiet: 1 in flight, 0 held, 1 s/);
is states(), 'paused paused', 'both are paused';
my @held = map { $_->hold(GET => '/held') } $one, $two;
ok !-e "$folder/pid", 'the command is not run before both are quiet';
$two->origin->answer;
wait_begun($one);
pass 'and run then';
go_on($one);
is $command->status, 4, 'its exit status';
is_deeply [ map { $_->response->status } @held ], [ 200, 200 ], 'both are resumed';
is states(), 'open open', 'to be sure';
is scalar(() = $command->said =~ /: resumed, 1 request held/g), 2, 'which is told for each';

# One does not get quiet.
$slow = $two->client->get('/slow');
$two->origin->wait_requests(3);
my @run = ('run', @urls, '--drain' => '500ms', 'touch', "$folder/was-run");
$command = intermission($one, @run);
is $command->status, 75, 'one does not get quiet';
like $command->said, qr/^intermission: unix:\S+: 1 still in flight after 500ms/m, 'which is named';
unlike $command->said, qr/^intermission: http:\S+: \d still in flight/m, 'and only that';
is states(), 'open open', 'both are resumed';
$two->origin->answer;

# One is paused already: it stays paused, and the other is not even paused.
$two->must('enable');
my $before = pauses($one);
is intermission($one, @run)->status, 75, 'one is paused already';
is states(), 'open paused', 'it stays paused';
is pauses($one), $before, 'the other was not';
$two->disable;

# One cannot be paused, which is only seen when it is tried.
$two->reload(default_server("$listen location ~ enable\$ { return 503; }"));
$before = pauses($one);
$command = intermission($one, @run);
is $command->status, 75, 'one cannot be paused';
like $command->said, qr/^intermission: unix:\S+: the server answers 503/m, 'which is told';
is states(), 'open open', 'both are open';
is pauses($one), $before + 1, 'the other one was paused, and is resumed';
$two->reload(default_server($listen));

# One goes away while the command runs: the other is resumed without waiting for it.
$command = Intermission::Test::Command->new($one, 'run', @urls, '--for' => '3s', patient($one, 4));
wait_begun($one);
my $held = $one->hold(GET => '/held');
$two->server->quit;
go_on($one);
is $held->response->status, 200, 'one goes away: the other is resumed';
$command->wait_said(qr/^intermission: unix:\S+: IT COULD NOT BE RESUMED/m);
is $command->status, 69, 'the one that is gone has its own exit status';
like last_line($command->said), qr/could not be resumed .* By hand: .*--unix-socket/,
    'and its own words';

ok !-e "$folder/was-run", 'nothing was run where one failed';
$two->server->start;
$two->stop;
$one->finish;
