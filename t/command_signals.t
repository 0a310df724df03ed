#!/usr/bin/env perl

# `intermission run` is interrupted: while it waits for a quiet app, while its command runs, while
# it resumes; by signals to it alone or to its whole process group. The app is resumed each time,
# and not before the command is over.

use strict;
use warnings;

use FindBin qw($Bin);
use POSIX qw(SIGHUP SIGINT SIGQUIT SIGTERM);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Command;

my %number = (HUP => SIGHUP, INT => SIGINT, QUIT => SIGQUIT, TERM => SIGTERM);

my $t = Intermission::Test->new(workers => 2);
my $origin = $t->origin('/slow' => { wait => 1 });
my $http = default_server(<<'EOC');
    listen 127.0.0.1:%%PORT_80%%;
    location /for-run/ { ACCESS intermission_control; }
EOC
my $open = $http =~ s/ACCESS//r;
my $closed = $http =~ s/ACCESS/deny all;/r;
$t->start($open);

my $folder = $t->folder;
my @run = ('run', '--url' => control_url($t) =~ s/intermission$/for-run/r);

# A command that notes each signal it gets, begins to clean up at the first, and ends when it is
# told to.
my $patient = $t->write_file('patient', <<'EOC');
for signal in HUP INT QUIT TERM; do
    trap "echo $signal >>%%FOLDER%%/signals" $signal
done
echo $$ >%%FOLDER%%/pid
until [ -e %%FOLDER%%/go ]; do sleep 0.02; done
exit 7
EOC

sub fresh { unlink map {"$folder/$_"} qw(pid go signals) }
sub signals { return join ' ', split /\n/, slurp("$folder/signals") }
sub is_paused { return $t->status->{state} eq 'paused' }

sub begin {
    my (@arguments) = @_;
    fresh();
    my $command = Intermission::Test::Command->new($t, @run, @arguments);
    wait_begun($t);
    return $command;
}

# While it waits for a quiet app.
my $requests = 0;
for my $signal (sort keys %number) {
    fresh();
    my $slow = $t->client->get('/slow');
    $origin->wait_requests(++$requests);
    my $command = Intermission::Test::Command->new($t, @run, 'sh', $patient);
    wait_for { is_paused() } 'the pause';
    $command->signal($signal);
    is $command->status, 128 + $number{$signal}, "$signal while it waits for a quiet app: it ends";
    is $t->status->{state}, 'open', 'the app is resumed';
    ok !-e "$folder/pid", 'and nothing was run';
    like $command->said, qr/: resumed, 0 requests held\n\z/, 'which is told';
    $origin->answer;
    $slow->response;
}

# What it was told to ignore when it was started, as by nohup, does not interrupt it.
{
    my $slow = $t->client->get('/slow');
    $origin->wait_requests(++$requests);
    my $deaf = Intermission::Test::Command->start($t, {}, 'sh', '-c' => q{trap '' HUP; exec "$@"},
        'sh', Intermission::Test::Command::program(), @run, 'true');
    wait_for { is_paused() } 'the pause';
    $deaf->signal('HUP');
    $deaf->wait_said(qr/1 in flight, 0 held, 1 s/);
    $origin->answer;
    is $deaf->status, 0, 'a signal that is ignored';
    $slow->response;
}

# While the command runs.
for my $signal (sort keys %number) {
    my $command = begin('sh', $patient);
    my $held = $t->hold(GET => '/held');
    $command->signal($signal);
    wait_for { signals() } 'the signal to reach the command';
    is signals(), $signal, "$signal while the command runs: it is passed on";
    ok is_paused(), 'the app stays paused, as the command has not ended';
    go_on($t);
    is $command->status, 7, 'its exit status is what counts';
    is $held->response->status, 200, 'the app is resumed';
    $requests++;

    $command = begin('sh', '-c' => "echo >$folder/pid; exec sleep 60");
    $command->signal($signal);
    is $command->status, 128 + $number{$signal}, 'a command that ends of it';
    is $t->status->{state}, 'open', 'the app is resumed';
}

# To the whole process group, as when a job is cancelled: what renews the pause has to outlive it.
my $command = begin('--for' => '3s', 'sh', $patient);
$command->signal_group('TERM');
wait_for { signals() } 'the signal to reach the command';
my $deadline = $t->status->{resumes_at};
wait_for { !is_paused() || $t->status->{resumes_at} gt $deadline } 'a renewal';
ok is_paused(), 'TERM to the whole group: the pause is still renewed';
go_on($t);
is $command->status, 7, 'and the app resumed';
is $t->status->{state}, 'open', 'when the command has ended';

# The command has begun another one.
$t->write_file('worker', <<'EOC');
trap 'echo worker >>%%FOLDER%%/signals; exit' TERM
echo >%%FOLDER%%/pid
while :; do sleep 0.02; done
EOC
$command = begin('sh', '-c' => "trap 'wait; exit 7' TERM; sh $folder/worker & wait");
$command->signal('TERM');
is $command->status, 7, 'a command that waits for another one';
is signals(), 'worker', 'which gets the signal as well';

# Signals come thick and fast.
$command = begin('sh', $patient);
for my $round (1 .. 20) {
    $command->signal($_) for qw(TERM HUP INT);
    select undef, undef, undef, 0.01;
}
go_on($t);
is $command->status, 7, 'many signals: the exit status is right';
is $t->status->{state}, 'open', 'and the app resumed';
$command = begin('sh', '-c' => "trap '' TERM; echo >$folder/pid; sleep 1; exit 143");
$command->signal('TERM') while !select(undef, undef, undef, 0.005) && !$command->is_over;
is $command->status, 143, 'up to its very end';
is $command->died_of, SIGTERM, 'which looks as it does without intermission';
is $t->status->{state}, 'open', 'the app is resumed';

# While it resumes: it goes on with that, and the exit status is the command's.
$command = begin('sh', $patient);
$t->reload($closed);
go_on($t);
$command->wait_said(qr/IT COULD NOT BE RESUMED/);
$command->signal($_) for qw(INT TERM HUP);
$command->signal_group('TERM');
$t->reload($open);
is $command->status, 7, 'signals while it resumes: the exit status is the command\'s';
is $t->status->{state}, 'open', 'the app is resumed';

# Whoever reads its messages has gone.
fresh();
my $words = join ' ', map {"'$_'"} Intermission::Test::Command::program(), @run, 'sh', $patient;
my $piped = Intermission::Test::Command->start($t, {},
    'sh', '-c' => "{ $words 2>&1; echo \$? >$folder/status; } | head -n 1");
wait_for { -s "$folder/pid" && $piped->out } 'the reader to have read a line';
go_on($t);
$piped->status;
wait_for { -s "$folder/status" } 'the end';
is slurp("$folder/status"), "7\n", 'without a reader: the exit status';
is $t->status->{state}, 'open', 'the app is resumed';

# It is killed: the traffic flows when the deadline has passed, and nothing pauses the app again.
$command = begin('--for' => '6s', 'sh', $patient);
my $held = $t->hold(GET => '/held');
$command->signal('KILL');
$command->status;
ok is_paused(), 'killed: nobody resumes the app';
is $held->response->status, 200, 'but the deadline does';
wait_for { $t->server->log =~ /by deadline.* from releasing to open/s } 'the log';
my $log = $t->server->log;
go_on($t);
select undef, undef, undef, 2.5;    # longer than a renewal would take
is $t->status->{state}, 'open', 'the app stays open';
is $t->server->log, $log, 'nothing called any more';

# It stands still (Ctrl-Z) until the deadline has passed.
$command = begin('--for' => '3s', 'sh', $patient);
$command->signal_group('STOP');
wait_for { !is_paused() } 'the deadline';
$command->signal_group('CONT');
$command->wait_said(qr/the pause was ended by another call or its deadline \(the app is open\)/);
is $t->status->{state}, 'open', 'a pause whose deadline has passed is not begun again';
go_on($t);
is $command->status, 7, 'the exit status is the command\'s';

$t->finish;
