#!/usr/bin/env perl

# A renewal that nobody answers may still be taken up, by a server that was stuck. It is for a pause
# that is over then, and does nothing. With an older module, whose pauses have no numbers, the app is
# resumed once more.

use strict;
use warnings;

use FindBin qw($Bin);
use IO::Socket::INET;
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Between;
use Intermission::Test::Command;

my $t = Intermission::Test->new;
$t->start;

my $folder = $t->folder;

# Passes each call on to nginx; one that pauses only when there is no file `stuck`. With a file `old`
# the answers are those of a module that does not number its pauses.
my $forwarder = Intermission::Test::Between->new(\&forward);

sub forward {
    my ($from) = @_;
    sysread $from, my $call, 65_536;
    if ($call =~ m{^\S+ \S+/enable}) {
        select undef, undef, undef, 0.01 while -e "$folder/stuck";
    }
    my $to = IO::Socket::INET->new('127.0.0.1:' . $t->port) or return;
    syswrite $to, $call =~ s/\r\n/\r\nConnection: close\r\n/r;
    while (sysread $to, my $answer, 65_536) {
        $answer =~ s/^pause: /Pause: /m if -e "$folder/old";
        syswrite $from, $answer;
    }
    $t->write_file('late', '') if $call =~ m{^\S+ \S+/enable};
    return;
}

my $url = 'http://127.0.0.1:' . $forwarder->port . '/intermission';

# Runs a command during which a renewal gets stuck, and resumes.
sub resume {
    unlink "$folder/stuck";
    my $command = Intermission::Test::Command->new(
        $t, 'run', '--url' => $url, '--for' => '9s', patient($t));
    wait_begun($t);
    $t->write_file('stuck', '');
    $command->wait_said(
        qr/the pause could not be renewed, it ends within 9s: no answer came in time/);
    is $t->status->{state}, 'paused', 'a renewal is stuck';
    go_on($t);
    $command->wait_said(qr/: resumed, 0 requests held$/m);
    is $t->status->{state}, 'open', 'the app is resumed';
    return $command;
}

# A renewal that has the number of its pause does nothing when that is over.
my $command = resume();
is $command->status, 0, 'the exit status is the command\'s';
unlink "$folder/late", "$folder/stuck";
wait_for { -e "$folder/late" } 'the late renewal';
is $t->status->{state}, 'open', 'a late renewal pauses nothing';
is scalar $t->server->logged(qr/from open to paused/), 1, 'not even for a moment';

# An older module has no numbers.
$t->write_file('old', '');
$command = resume();
ok !$command->is_over, 'without a number, the app is looked after';
unlink "$folder/stuck";
wait_for { $t->server->logged(qr/from open to paused/) == 3 } 'the late renewal';
is $command->status, 0, 'the exit status is the command\'s';
is $t->status->{state}, 'open', 'the app is resumed once more';

$forwarder->stop;
$t->finish;
