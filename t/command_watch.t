#!/usr/bin/env perl

# `intermission watch`, in a log: a line when something has changed. On a terminal: see
# command_terminal.t.

use strict;
use warnings;

use FindBin qw($Bin);
use JSON::PP ();
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Command;

my $t = Intermission::Test->new;
$t->origin;
$t->start;

my $url = control_url($t);

# A watch, ended after this has been done.
sub watching {
    my ($do, @arguments) = @_;
    my $command = Intermission::Test::Command->new($t, 'watch', '--url' => $url, @arguments);
    wait_for { $command->out } 'the first line';
    $do->($command);
    $command->signal_group('INT');
    is $command->status, 130, 'Ctrl-C ends it';
    return $command;
}

sub wait_shown {
    my ($command, $pattern) = @_;
    wait_for { $command->out =~ $pattern } $pattern;
    like $command->out, $pattern, "it shows $pattern";
}

my $command = watching(sub {
    my ($command) = @_;
    like $command->out, qr/\Adefault: open, 0 held, 0 in flight, longest wait 0\.0 s\n\z/, 'a line';
    $t->must('enable', for => '1h');
    wait_shown($command, qr/^default: paused, 0 held, .*, until \d{4}-\d\d-\d\dT\S+Z$/m);
    my $held = $t->hold(GET => '/held');
    wait_shown($command, qr/^default: paused, 1 held, .*, longest wait [1-9]\.\d s, until/m);
    $t->disable;
    $held->response;
    wait_shown($command, qr/longest wait [1-9].*\n(?:.*\n)*default: open, 0 held/);
});
my @lines = split /\n/, $command->out;
is_deeply [ grep { $lines[$_] eq $lines[ $_ - 1 ] } 1 .. $#lines ], [], 'no line is repeated';

# All apps, whatever they are called.
$t->must('enable', app => "a%0astate%3a+open");
$t->must('enable', app => "\%1b[31mred");
$command = watching(sub {
    my ($command) = @_;
    wait_for { 3 == (() = $command->out =~ /\n/g) } 'the lines of all apps';
}, '--app' => '*');
is_deeply [ sort split /\n/, $command->out ],
    [ sort map {"$_, 0 held, 0 in flight, longest wait 0.0 s"}
        'a?state: open: paused', '?[31mred: paused', 'default: open' ], 'all apps';

# JSON, for other programs.
$command = watching(sub {
    my ($command) = @_;
    wait_for { $command->out =~ /\n.*\n/ } 'another line';
}, '--json');
my @states = map { JSON::PP->new->decode($_)->{state} } split /\n/, $command->out;
is $states[1], 'open', 'JSON lines';

# A server that goes away and comes back.
$command = watching(sub {
    my ($command) = @_;
    $t->server->quit;
    wait_shown($command, qr/^\Q$url\E: nothing answers there/m);
    $t->server->start;
    wait_shown($command, qr/nothing answers.*\ndefault: open/);
});

# One that was never there.
my $none = intermission($t, 'watch', '--url' => 'unix:/nowhere');
is $none->status, 75, 'an address that does not answer at first';
like $none->said, qr/\Aintermission: .*there is no socket .*\n\z/, 'is told, and that is all';

$t->finish;
