#!/usr/bin/env perl

# A state file among other files that come and go: workers read it when it is replaced, and for
# nothing else. Where so much happens in the folder that the system cannot tell all of it, they look.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;
use Time::HiRes qw(sleep);

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::StateFile qw(keep_lock);

use constant { APPS => 60, OTHERS => 50 };

my ($one, $two) = map { Intermission::Test->new } 1 .. 2;
my $folder = $one->shared_folder('state');
for my $t ($one, $two) {
    $t->start("intermission_state_file $folder/file;" . default_server);
}

# How many bytes the worker has read so far, of whatever.
sub bytes_read {
    my ($worker) = $two->server->workers;
    return slurp("/proc/$worker/io") =~ /^rchar: (\d+)/m ? $1 : undef;
}

sub become {
    my ($app, $state, $what) = @_;
    return becomes { $two->status($app)->{state} } $state, $what;
}

sub replace {
    my (@names) = @_;
    for my $name (@names) {
        open my $file, '>', "$folder/other" or die "other: $!";
        close $file;
        rename "$folder/other", "$folder/$name" or die "$name: $!";
        sleep 0.002;
    }
}

$one->enable("app-$_") for 1 .. APPS;
become('app-' . APPS, 'paused', 'the other nginx follows the file');

SKIP: {
    my $before = bytes_read() // skip 'the system does not tell what a process reads', 1;
    my @names = ('a', 'fil', 'file2', 'file.bad', 'file.new', 'a name that is much longer than that of the file');
    replace(map { $names[ $_ % @names ] } 1 .. OTHERS);
    for (1 .. OTHERS) { undef(my $lock = keep_lock("$folder/file")) }
    sleep 0.1;
    cmp_ok bytes_read() - $before, '<', 2 * -s "$folder/file", 'it reads it for no other one';
}
$one->disable('app-1');
become('app-1', 'open', 'it still follows the file');

# More than the system keeps for a worker that does not look.
my $most = slurp('/proc/sys/fs/inotify/max_queued_events');
SKIP: {
    skip 'the system keeps too many events', 1 if $most > 100_000;
    my ($worker) = $two->server->workers;
    kill STOP => $worker;
    my @names = ("$folder/b", "$folder/a");
    for (0 .. $most) {
        rename $names[1], $names[0] or die "rename: $!";
        @names = reverse @names;
    }
    $one->disable('app-2');
    kill CONT => $worker;
    become('app-2', 'open', 'what it could not be told it finds');
}

$_->stop for $one, $two;
done_testing;
