#!/usr/bin/env perl

# The state file's lock is a file that only the workers' user can open. So another user of the
# machine can lock the folder, and try to get at the lock: no call waits for that, and what is paused
# is kept. A lock that others can open is not used, and the log says so: they could keep it.

use strict;
use warnings;

use Fcntl qw(:DEFAULT :flock :mode);
use FindBin qw($Bin);
use POSIX ();
use Test::More;
use Time::HiRes qw(time);

use lib "$Bin/lib";
use Intermission::Test;

# The other user, and for how long a worker waits for a lock that somebody has, in seconds.
use constant { OTHER => 4321, PATIENCE => 0.1, CALLS => 10 };

plan skip_all => 'needs root, so that there are other users' if $> != 0;

my $nobody = getpwnam 'nobody';

sub new_test {
    my ($mode) = @_;
    my $t = Intermission::Test->new(workers => 2, main => 'user nobody nogroup;');
    my $folder = $t->folder . '/state';
    mkdir $folder;
    chown $nobody, 0, $folder;
    chmod $mode, $folder;
    return ($t, "$folder/file");
}

sub start {
    my ($t) = @_;
    return $t->start('intermission_state_file %%FOLDER%%/state/file;' . default_server(<<'EOF'));
        listen 127.0.0.1:%%PORT_80%%;
        location / { return 200 "ok\n"; }
EOF
}

# Has the other user do this; what it opened stays open until what is returned is let go.
sub as_other {
    my ($do) = @_;
    pipe my $stay, my $leave or die "pipe: $!";
    pipe my $hear, my $say or die "pipe: $!";
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        close $leave;
        $) = OTHER . ' ' . OTHER;
        POSIX::setgid(OTHER);
        POSIX::setuid(OTHER);
        syswrite $say, eval { $do->() } // $@;
        close $say;
        sysread $stay, my $end, 1;
        POSIX::_exit(0);
    }
    close $say;
    return ($leave, join '', <$hear>);
}

# Opens a file and locks it, however that can be done.
sub lock_file {
    my ($file) = @_;
    our @kept;
    my $said = '';
    for my $how (O_RDONLY, O_WRONLY, O_RDWR) {
        if (!sysopen my $handle, $file, $how) { $said .= "$!, " }
        elsif (!flock $handle, LOCK_EX | LOCK_NB) { $said .= "opened, $!, " }
        else { push @kept, $handle; $said .= 'locked, ' }
    }
    return $said;
}

# The shortest time that a call takes, in seconds. Each of them is in the file when it is answered.
sub quickest_call {
    my ($t, $file) = @_;
    my ($quickest, $kept) = (1e9, 0);
    for my $number (1 .. CALLS) {
        my $started = time;
        $t->enable("app-$number");
        my $took = time - $started;
        $quickest = $took if $took < $quickest;
        $kept++ if slurp($file) =~ /^paused app-$number /m;
    }
    return ($quickest, $kept);
}

subtest 'a user who locks all that can be locked' => sub {
    my ($t, $file) = new_test(0755);
    start($t);
    $t->enable;
    my ($folder_kept, $folder) = as_other(sub { lock_file($t->folder . '/state') });
    like $folder, qr/^locked, /, 'the folder can be locked by another user';
    my ($file_kept) = as_other(sub { lock_file($file) });
    my ($lock_kept, $lock) = as_other(sub { lock_file("$file.lock") });
    is $lock, 'Permission denied, ' x 3, 'the lock cannot';
    my ($quickest, $kept) = quickest_call($t, $file);
    cmp_ok $quickest, '<', PATIENCE, 'no call waits for that user';
    is $kept, CALLS, 'and each one is in the file when it is answered';
    my @status = stat "$file.lock";
    ok S_ISREG($status[2]), 'the lock is a file';
    is S_IMODE($status[2]), 0600, 'for one user alone';
    is $status[4], $nobody, "the workers'";
    unlike $t->server->log, qr/\[error\]/, 'the log has no complaint';

    $t->server->terminate;
    unlink $t->folder . '/nginx.pid';
    $t->server->start;
    is $t->status('app-1')->{state}, 'paused', 'what was paused is paused after a restart';
    $t->disable('app-1');
    is scalar(() = slurp($file) =~ /^paused app-/mg), CALLS - 1, 'the lock that was left is used again';
    $t->stop;
};

sub owned {
    my ($file, $mode, $user) = @_;
    open my $handle, '>', $file or die "$file: $!";
    close $handle;
    chmod $mode, $file;
    chown $user, $user, $file;
    return;
}

# A lock that is there before nginx starts, in a folder that everybody can write to.
my @locks = (
    [ 'of another user, for everybody', 0666, OTHER ],
    [ "of the workers' user, which others can read", 0644, $nobody ],
    [ "of the workers' user, which a group can write to", 0620, $nobody ],
    [ 'of another user alone', 0600, OTHER ],
);
for my $case (@locks) {
    my ($what, $mode, $user) = @$case;
    subtest "a lock $what" => sub {
        my ($t, $file) = new_test(01777);
        owned("$file.lock", $mode, $user);
        my ($lock_kept, $said) = as_other(sub { lock_file("$file.lock") });
        start($t);
        my ($quickest) = quickest_call($t, $file);
        cmp_ok $quickest, '<', PATIENCE, 'no call waits for it';
        is $t->status('app-1')->{state}, 'paused', 'calls do what they say';
        my $why = $mode == 0600 ? 'Permission denied.*' : 'others can open it';
        my $line = qr/state file "\Q$file\E" cannot be written.*"\Q$file\E.lock" cannot be used/;
        $t->logs(qr/\[error\] .*$line \($why\): remove it/,
            'the log says that nothing is kept, and what to remove');
        ok !-e $file, 'it is not used';

        unlink "$file.lock";
        wait_for { slurp($file) =~ /^end ${\ CALLS} /m } 'the file to be written';
        $t->logs(qr/"\Q$file\E" could be written again/, 'removed, it is made anew');
        $t->stop;
    };
}

done_testing;
