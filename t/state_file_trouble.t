#!/usr/bin/env perl

# A state file that cannot be written or read: the call does what it says for the running nginx, and
# the log says, naming the file, that the pause would not outlive it. Nothing crashes, and what the
# file said before stays whole: a directory that belongs to another user, a file that may not be
# read, a disk that is full, a directory that goes away, and somebody who keeps the lock.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::StateFile qw(keep_lock state_file);

plan skip_all => 'needs root, so that workers run as another user' if $> != 0;

my $http = 'intermission_state_file %%FOLDER%%/state/file;' . default_server(<<'EOF');
    listen 127.0.0.1:%%PORT_80%%;
EOF

sub new_test {
    my ($mode) = @_;
    my $t = Intermission::Test->new(workers => 2, main => 'user nobody nogroup;');
    mkdir $t->folder . '/state';
    chmod $mode, $t->folder . '/state';
    $t->origin;
    return $t;
}

sub pauses_all_the_same {
    my ($t) = @_;
    $t->enable;
    my $held = $t->hold(GET => '/held');
    ok $held->silent, 'the pause holds';
    $t->disable;
    is $held->response->status, 200, 'and ends';
    return;
}

sub complaints {
    my ($t) = @_;
    my $file = $t->folder . '/state/file';
    return $t->server->logged(qr/\[error\] .* state file "\Q$file\E"/);
}

subtest 'a directory that workers cannot write to' => sub {
    my $t = new_test(0755);
    $t->start($http);
    pauses_all_the_same($t);
    my @lines = complaints($t);
    like $lines[0], qr/cannot be written, so that a pause would not outlive nginx: .*Permission denied/,
        'the log says so';
    cmp_ok scalar @lines, '<=', 3, 'once for each change';
    ok !-e $t->folder . '/state/file', 'there is no file';
    $t->stop;
};

subtest 'a file that workers cannot read' => sub {
    my $t = new_test(0777);
    my $paused = 'paused default rate=0 burst=0 concurrency=0 timeout=60000';
    my $file = $t->write_file('state/file', state_file(7, $paused));
    chmod 0600, $file;
    $t->start($http);
    is $t->status->{state}, 'paused', 'the master has read it: the app is paused';
    my $held = $t->hold(GET => '/held');
    $t->disable;
    is $held->response->status, 200, 'it can be resumed';
    like join("\n", complaints($t)), qr/cannot be read \(Permission denied/, 'the log says so';
    wait_for { slurp($file) =~ /\nend 0 / } 'a good file';
    pass 'a good one is in its place';
    $t->stop;
};

subtest 'a file that can be neither read nor replaced' => sub {
    my $t = new_test(0755);
    my $file = $t->write_file('state/file', 'x');
    chmod 0600, $file;
    $t->start($http);
    pauses_all_the_same($t);
    my @lines = complaints($t);
    like $lines[0], qr/is truncated: all apps are open/, 'the log says what the master read';
    like $lines[1], qr/cannot be written.*Permission denied/, 'and that it cannot be written';
    is slurp($file), 'x', 'the file is as it was';
    $t->stop;
};

subtest 'a disk that is full' => sub {
    my $t = new_test(0777);
    my $folder = $t->folder . '/state';
    system("mount -t tmpfs -o size=8k,mode=0777 none $folder 2>/dev/null") == 0
        or plan skip_all => 'nothing can be mounted here';
    my $unmount = Unmount->new($folder);
    $t->start($http);
    $t->enable;
    my $before = slurp("$folder/file");
    like $before, qr/paused default/, 'there is a file';
    open my $filler, '>', "$folder/filler" or die "filler: $!";
    $filler->autoflush;
    1 while print {$filler} 'x' x 512;
    close $filler;

    $t->must('enable', app => "another-$_") for 1 .. 40;
    $t->disable;
    is $t->status->{state}, 'open', 'calls do what they say';
    is slurp("$folder/file"), $before, 'the file is as it was';
    like join("\n", complaints($t)), qr/cannot be written.*No space left on device/,
        'the log says so';
    unlink "$folder/filler";
    $t->must('disable', app => '*');
    wait_for { slurp("$folder/file") =~ /\nend 0 / } 'a good file';
    pass 'with room again, it is written again';
    $t->stop;
};

subtest 'a directory that goes away' => sub {
    my $t = new_test(0777);
    my $folder = $t->folder . '/state';
    $t->start($http);
    $t->enable;
    unlink glob "$folder/*";
    rmdir $folder or die "rmdir: $!";
    $t->disable;
    pauses_all_the_same($t);
    like join("\n", complaints($t)), qr/cannot be written.*No such file or directory/,
        'the log says so';
    mkdir $folder;
    chmod 0777, $folder;
    $t->enable;
    like slurp("$folder/file"), qr/paused default/, 'with the directory back, it is written again';
    $t->disable;
    $t->stop;
};

subtest 'a lock that somebody keeps' => sub {
    my $t = new_test(0777);
    $t->start($http);
    $t->enable;
    my $file = $t->folder . '/state/file';
    my $lock = keep_lock($file);
    $t->disable;
    is $t->status->{state}, 'open', 'calls do what they say';
    like join("\n", complaints($t)), qr/cannot be written.*another process has its lock/,
        'the log says so';
    undef $lock;
    wait_for { slurp($file) =~ /\nend 0 / } 'the file to be written';
    pass 'it is written when the lock is free';
    $t->stop;
};

done_testing;

package Unmount;

sub new { my ($class, $folder) = @_; return bless \$folder, $class }

sub DESTROY { my ($self) = @_; system "umount -l $$self"; }
