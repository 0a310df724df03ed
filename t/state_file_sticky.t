#!/usr/bin/env perl

# A state file that can be written but not put in its place, as it is another user's in a folder
# like /tmp, whose files only their owners may replace. What one nginx could not tell the other in
# that way does not make it deaf: it takes up what the other does to other apps, and undoes nothing.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;
use Time::HiRes qw(stat);

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::StateFile qw(try_lock);

plan skip_all => 'needs root, so that workers run as another user' if $> != 0;

my ($one, $two) = map { Intermission::Test->new(main => 'user nobody nogroup;') } 1 .. 2;
my $folder = $one->shared_folder('state');
for my $t ($one, $two) {
    $t->start("intermission_state_file $folder/file;" . default_server);
}

sub become {
    my ($t, $app, $state, $what) = @_;
    return becomes { $t->status($app)->{state} } $state, $what;
}

# A worker that was stopped while it writes would keep the lock.
sub stop_between_tries {
    my ($pid) = @_;
    $one->stop_process($pid);
    return 1 if try_lock("$folder/file");
    kill CONT => $pid;
    return 0;
}

sub complaints { scalar $_[0]->server->logged(qr/cannot be written, so that a pause/) }

$one->enable('first');
become($two, 'first', 'paused', 'both follow the file');

chmod 01777, $folder;
chown 0, 0, "$folder/file";
$one->enable('second');
is complaints($one), 1, 'a file that cannot be replaced is reported';
my %tries;
wait_for { $tries{ (stat "$folder/file.new")[9] // 0 }++; keys %tries > 3 } 'further tries';

my ($worker) = $one->server->workers;
wait_for { stop_between_tries($worker) } 'the worker to stop between two tries';
chmod 0777, $folder;
$two->enable('third');
is complaints($two), 0, 'the other nginx can write it by now';
kill CONT => $worker;

become($one, 'third', 'paused', 'the first one takes up what it did');
become($two, 'second', 'paused', 'and writes what it could not write before');
is $two->status('third')->{state}, 'paused', 'nothing is undone';
become($_, 'first', 'paused', 'and all the rest is as it was') for $one, $two;

$_->stop for $one, $two;
done_testing;
