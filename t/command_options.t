#!/usr/bin/env perl

# What is wrong with the options is said in one line, with exit status 64, before anything is
# called. Every command explains itself.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Command;

my $t = Intermission::Test->new;
$t->start;

my @url = ('--url' => control_url($t));
my @run = ('run', @url);

my @wrong = (
    [ [] => 'there is nothing to do' ],
    [ ['pause'] => 'the first argument is to be one of: run, status, ' ],
    [ ["x\e[31m\n"] => 'the first argument' ],
    [ [ 'help', 'pause' ] => 'there is no help on pause' ],
    [ ['status'] => '--url is missing' ],
    [ [ 'status', '--url' ] => '--url needs a value' ],
    [ [ 'status', '--url=' ] => '--url is ' ],
    [ [ 'status', '--url' => 'example.org/x' ] => '--url is example.org/x: expected http://' ],
    [ [ 'status', '--url' => 'ftp://example.org/x' ] => 'expected http://' ],
    [ [ 'status', '--url' => 'http://' ] => 'expected http://' ],
    [ [ 'status', '--url' => 'unix:' ] => 'expected http://' ],
    [ [ 'status', '--url' => 'http://example.org/?x' ] => 'expected http://' ],
    [ [ 'status', '--url' => 'http://example.org/a b' ] => 'expected http://' ],
    [ [ 'status', '--url' => "http://example.org/\n" ] => 'expected http://' ],
    [ [ 'status', '--url' => 'http://me:secret@example.org/x' ] => 'expected http://' ],
    [ [ 'status', @url, @url ] => 'is given twice' ],
    [ [ 'status', @url, '--for' => '1s' ] => 'there is no option --for' ],
    [ [ 'status', @url, '-x' ] => 'there is no option -x' ],
    [ [ 'status', @url, 'more' ] => 'there is something behind the options: more' ],
    [ [ 'enable', @url, '--canary' => 1 ] => 'there is no option --canary' ],
    [ [ 'enable', @url, '--keep' ] => '--keep goes with --drain' ],
    [ [ 'disable', @url, '--burst' => 5 ] => '--burst goes with --rate' ],
    [ [ 'disable', @url, '--drain' => '1s' ] => 'there is no option --drain' ],
    [ [ 'maintenance', @url, '--retry-after' => 'soon' ] => '--retry-after is soon: expected' ],
    [ [ 'watch', @url, '--for' => '1s' ] => 'there is no option --for' ],
    [ [@run] => 'there is no command to run' ],
    [ [ @run, '--' ] => 'there is no command to run' ],
    [ [ @run, '--json', 'true' ] => 'there is no option --json' ],
    [ [ @run, '--keep', 'true' ] => 'there is no option --keep' ],
    [ [ @run, '--app' => '*', 'true' ] => '--app is *: expected one app' ],
    [ [ @run, '--for' => '2s', 'true' ] => '--for is 2s: expected at least 3s' ],
    [ [ @run, '--for' => '', 'true' ] => '--for is empty' ],
);
for my $option (qw(for drain)) {
    push @wrong, [ [ 'enable', @url, "--$option" => $_ ] => "--$option is $_: expected a time" ]
        for '0', '0s', 'x', '-1s', '1 s', '1s1m', '5sx', '2d', '1w', '1.5s', '30S', '1s2s', ' 1s';
}
push @wrong, [ [ 'disable', @url, '--rate' => $_ ] => "--rate is $_: expected a rate" ]
    for qw(500 r/s 0r/s -5r/s 5r/m 1000001r/s 05r/s 1e3r/s);
push @wrong, [ [ 'disable', @url, '--canary' => $_ ] => "--canary is $_: expected a number" ]
    for '0', '-1', 'x', '1000001', '9' x 20, '1.5', '1+1';

for my $case (@wrong) {
    my ($arguments, $expected) = @$case;
    my $command = intermission($t, @$arguments);
    my $title = join(' ', grep { !/^http:/ } @$arguments) =~ s/[^ -~]/?/gr;
    is $command->status, 64, "intermission $title";
    like $command->said, qr/\Aintermission: .*\Q$expected\E.* See intermission.* --help\.\n\z/,
        'is answered with one line';
    is $command->out, '', 'on stderr';
}
unlike $t->server->access_log, qr/intermission/, 'nothing was called';

# What the server finds wrong is no better later, either.
my $long = intermission($t, 'run', @url, '--app' => 'x' x 300, 'true');
is $long->status, 64, 'a name that is too long for the server';
like $long->said, qr/longer than \d+ bytes/, 'is said';

# The good ones, to be sure that the bad ones are seen for what they are.
for my $time ('1', '250ms', '1m30s', '1m 30s', '1h', '1d', '05s', '0h5s') {
    is intermission($t, 'enable', @url, '--for' => $time)->status, 0, "--for '$time'";
}
is intermission($t, 'disable', @url, '--rate' => '1000000r/s', '--burst' => 1000,
    '--concurrency' => 1000000)->status, 0, 'the largest pace';

# Help.
for my $command (qw(run status enable disable maintenance watch)) {
    my @ways = map { intermission($t, @$_)->out } [ $command, '--help' ], [ 'help', $command ],
        [ $command, @url, '-h' ];
    like $ways[0], qr/\Aintermission $command - .*\n\nusage:\n.*^options:\n/ms, "$command --help";
    is_deeply \@ways, [ ($ways[0]) x 3 ], 'however it is asked for';
}
my $help = intermission($t, '--help');
is $help->status, 0, '--help succeeds';
like $help->out, qr/^  $_ /m, "it names $_"
    for qw(run status enable disable maintenance watch 64 69 75);

$t->finish;
