#!/usr/bin/env perl

# `intermission run`: the app is paused and quiet while the command runs, and resumed after it,
# whatever becomes of it. Where the app cannot be paused, nothing is run.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Command;

my $t = Intermission::Test->new(workers => 2);
my $origin = $t->origin('/slow' => { wait => 1 });
$t->start(default_server(<<'EOC'));
    listen 127.0.0.1:%%PORT_80%%;
EOC

my $folder = $t->folder;
my @run = ('run', '--url' => control_url($t));

sub run { return intermission($t, @run, @_) }

# A command that goes on when the test says so.
my $until_told = ". $folder/while; until [ -e $folder/go ]; do sleep 0.02; done; rm $folder/go";
$t->write_file('while', "echo \$\$ >$folder/pid\n");
sub begin {
    unlink "$folder/pid";
    my $command = Intermission::Test::Command->new($t, @run, @_);
    wait_begun($t);
    return $command;
}

# The exit status is the command's, and the app is open again.
for my $status (0, 1, 3, 64, 69, 75, 127, 255) {
    my $command = run('sh', '-c' => "exit $status");
    is $command->status, $status, "a command that ends with $status";
    is $t->status->{state}, 'open', 'the app is open again';
}
is run('sh', '-c' => 'kill -KILL $$')->status, 137, 'a command that is killed';
is $t->status->{state}, 'open', 'the app is open again';

# Its arguments, its input, its output.
my $echo = run('--', 'printf', '<%s>', 'a b', '', '*', '--', '$HOME');
is $echo->out, '<a b><><*><--><$HOME>', 'the arguments are as they were';
$t->write_file('input', "some text\n");
is run({ TEST_STDIN => "$folder/input" }, 'cat')->out, "some text\n", 'so is the input';
my $quiet = run('true');
is $quiet->out, '', 'stdout is left to the command';
is $quiet->said =~ s/\d\.\d s/0.0 s/r, <<"EOC", 'what happens is told on stderr';
intermission: paused, and quiet after 0.0 s: running true
intermission: ${\ control_url($t)}: resumed, 0 requests held
EOC

# The state while it runs.
my $slow = $t->client->get('/slow');
$origin->wait_requests(1);
my $command = Intermission::Test::Command->new(
    $t, @run, '--for' => '90s', 'sh', '-c' => $until_told);
$command->wait_said(qr/1 in flight, 0 held, 1 s/);
ok !-e "$folder/pid", 'the command is not begun before the app is quiet';
my @held = map { $t->hold(GET => "/held-$_") } 1 .. 3;
$origin->answer;
is $slow->response->status, 200, 'what was in flight is over';
wait_begun($t);
my $status = $t->status;
is "$status->{state} $status->{held} $status->{in_flight}", 'paused 3 0', 'then it is';
ok $status->{resumes_at}, 'the pause has a deadline';
go_on($t);
is $command->status, 0, 'the command is over';
is_deeply [ map { $_->response->status } @held ], [ 200, 200, 200 ], 'what was held goes on';
like $command->said, qr/resumed, 3 requests held, the longest for \d+\.\d s$/m, 'and is told';
is_deeply [ grep {/held/} $origin->uris ], [ map {"/held-$_"} 1 .. 3 ], 'in order';

# Another app than the location's.
$command = begin('--app' => 'a b', 'sh', '-c' => $until_told);
is $t->status->{state}, 'open', '--app leaves the others alone';
is $t->status('a%20b')->{state}, 'paused', 'and pauses the one';
go_on($t);
$command->status;
like $command->said, qr/\(app a b\): resumed/, 'which is named';

# The app does not get quiet.
$slow = $t->client->get('/slow');
$origin->wait_requests(5);
$command = run('--drain' => '1200ms', 'touch', "$folder/was-run");
is $command->status, 75, 'an app that does not get quiet';
like $command->said, qr/1 still in flight after 1200ms/, 'is told';
is $t->status->{state}, 'open', 'it is resumed';
$origin->answer;
$slow->response;

# The app is paused already, or in maintenance: that is for somebody else to end.
$t->must('enable', for => '1h');
my $deadline = $t->status->{resumes_at};
$command = run('touch', "$folder/was-run");
is $command->status, 75, 'an app that is paused already';
like $command->said, qr/it is paused already, by another call \(it ends by itself at \d{4}-/,
    'is told';
is $t->status->{state}, 'paused', 'it stays paused';
cmp_ok abs(seconds($t->status->{resumes_at}) - seconds($deadline)), '<=', 1, 'with its deadline';
$t->enable;
like run('touch', "$folder/was-run")->said, qr/\(it has no deadline\)/, 'or without one';
$t->must('maintenance');
$command = run('touch', "$folder/was-run");
is $command->status, 75, 'an app in maintenance';
like $command->said, qr/its state is maintenance/, 'is told';
is $t->status->{state}, 'maintenance', 'it stays in maintenance';
$t->disable;

# A command that cannot be begun.
for my $case ([ "$folder/none" => 127 ], [ 'no-such-command' => 127 ], [ $folder => 126 ],
    [ "$folder/input" => 126 ])
{
    my ($name, $expected) = @$case;
    my $changes = $t->server->logged(qr/intermission: app/);
    $command = run($name);
    is $command->status, $expected, 'a command that cannot be begun: ' . $name =~ s/\Q$folder//r;
    like $command->said, qr/\Aintermission: .* Nothing was paused\.\n\z/, 'is told';
    is scalar $t->server->logged(qr/intermission: app/), $changes, 'and nothing was paused';
}
$t->write_file('broken', "#!$folder/no-interpreter\n");
chmod 0755, "$folder/broken";
$command = run("$folder/broken");
like $command->status, qr/^12[67]$/, 'one that turns out to be broken when it is begun';
is $t->status->{state}, 'open', 'leaves the app open';
is run('take_pause')->status, 127, 'the inside of the script is no command';
is $t->status->{state}, 'open', 'the app is open';
ok !-e "$folder/was-run", 'nothing was run in all these cases';

# A paced release is begun, and not waited for.
$command = begin('--rate' => '1r/s', '--burst' => 1, 'sh', '-c' => $until_told);
@held = map { $t->hold(GET => "/paced-$_") } 1 .. 12;
go_on($t);
is $command->status, 0, 'a paced release';
is $t->status->{state}, 'releasing', 'goes on after the end of the command';
$t->disable;
$_->response for @held;

# A pace that only the server finds wrong must not keep the app paused.
$command = begin('--rate' => '100000r/s', '--burst' => 1, 'sh', '-c' => $until_told);
@held = $t->hold(GET => '/held');
go_on($t);
is $command->status, 0, 'a pace that the server refuses';
is $held[0]->response->status, 200, 'does not keep the app paused';

$t->finish;
