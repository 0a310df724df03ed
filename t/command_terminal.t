#!/usr/bin/env perl

# `intermission` at a terminal: what is typed reaches the command that `run` runs, Ctrl-C reaches it
# once, a terminal that goes away does not leave the app paused, and progress is one line.

use strict;
use warnings;

use FindBin qw($Bin);
use POSIX ();
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Command;
use Intermission::Test::Files qw(program);

plan skip_all => 'there is no command `script`, which makes a terminal'
    if !program('script');

my $t = Intermission::Test->new;
my $origin = $t->origin('/slow' => { wait => 1 });
$t->start;

my $folder = $t->folder;
my $url = control_url($t);
my $keyboard = "$folder/keyboard";
POSIX::mkfifo($keyboard, 0600) or die "mkfifo: $!";
open my $keys, '+<', $keyboard or die "$keyboard: $!";
$keys->autoflush;

my $noted = $t->write_file('noted', <<'EOC');
trap 'echo INT >>%%FOLDER%%/signals; exit 9' INT
trap 'echo TERM >>%%FOLDER%%/signals; exit 15' TERM
trap 'echo HUP >>%%FOLDER%%/signals; exit 1' HUP
echo $$ >%%FOLDER%%/pid
until [ -e %%FOLDER%%/go ]; do sleep 0.02; done
EOC

sub signals { return join ' ', split /\n/, slurp("$folder/signals") }

# A terminal of its own, in which this is run.
sub at_terminal {
    my @arguments = @_;
    unlink map {"$folder/$_"} qw(pid go signals);
    my ($environment) = grep {ref} @arguments;
    my @command = (Intermission::Test::Command::program(), grep { !ref } @arguments);
    my $line = join ' ', map {"'$_'"} @command;
    return Intermission::Test::Command->start(
        $t, { TEST_STDIN => $keyboard, %{ $environment // {} } },
        'script', '-qec' => "exec $line", '/dev/null',
    );
}

# Typing.
my $terminal = at_terminal('run', '--url' => $url, 'sh', '-c' => 'read -r word; exit $word');
wait_for { $terminal->out =~ /running sh/ } 'the command to run';
print {$keys} "5\n";
is $terminal->status, 5, 'what is typed reaches the command';

# Ctrl-C. A shell turns it off for what it runs beside itself, and env can turn it on again. Where
# env cannot, the command gets TERM.
$t->write_file('bin/env', "#!/bin/sh\nexit 125\n");
chmod 0755, "$folder/bin/env";
for my $case ([ {} => 'INT' ], [ { PATH => "$folder/bin:$ENV{PATH}" } => 'INT|TERM' ]) {
    my ($environment, $signal) = @$case;
    $terminal = at_terminal($environment, 'run', '--url' => $url, 'sh', $noted);
    wait_begun($t);
    my $held = $t->hold(GET => '/held');
    print {$keys} "\cC";
    like $terminal->status, qr/^(?:9|15)$/, "Ctrl-C: the exit status is the command's";
    like signals(), qr/^(?:$signal)$/, 'which gets it once';
    is $held->response->status, 200, 'the app is resumed';
}

# Ctrl-C before the command runs.
my $slow = $t->client->get('/slow');
$origin->wait_requests(3);
$terminal = at_terminal('run', '--url' => $url, 'sh', $noted);
wait_for { $terminal->out =~ /1 in flight, 0 held, 2 s/ } 'the progress';
my ($shown) = $terminal->out =~ /\A(.* 2 s)/s;
like $shown, qr/\A\r\e\[Kintermission: waiting .* 1 s\r\e\[Kintermission: waiting .* 2 s\z/,
    'the progress is one line, which is replaced';
print {$keys} "\cC";
is $terminal->status, 130, 'Ctrl-C before the command runs';
ok !-e "$folder/pid", 'it is not run';
is $t->status->{state}, 'open', 'the app is resumed';
like $terminal->out, qr/\r\e\[Kintermission: \S+: resumed, 0 requests held\r\n\z/, 'which is said';
$origin->answer;

# The terminal goes away.
$terminal = at_terminal('run', '--url' => $url, 'sh', $noted);
wait_begun($t);
my $held = $t->hold(GET => '/held');
$terminal->signal('KILL');
is $held->response->status, 200, 'the terminal is lost: the app is resumed';
like signals(), qr/^HUP/, 'and the command was told';

# Watching.
$terminal = at_terminal('watch', '--url' => $url);
wait_for { $terminal->out =~ /open.*\n.*\e\[1A\e\[K.*open/s } 'the line to be replaced';
$t->enable;
wait_for { $terminal->out =~ /paused, 0 held, 0 in flight, longest wait 0\.0 s/ } 'a change';
pass 'watch replaces its line';
print {$keys} "\cC";
is $terminal->status, 130, 'until Ctrl-C';

$t->finish;
