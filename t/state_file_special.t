#!/usr/bin/env perl

# Something else in the place of the state file, or of what stands beside it: a FIFO, a socket, a
# device, a directory, a symbolic link. Nothing waits for it or writes to it: nginx starts, calls are
# answered, the log says what is in the way, and what is paused is kept as soon as it is not.

use strict;
use warnings;

use FindBin qw($Bin);
use IO::Socket::UNIX;
use POSIX qw(mkfifo);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $http = 'intermission_state_file %%FOLDER%%/state/file;' . default_server(<<'EOF');
    listen 127.0.0.1:%%PORT_80%%;
    location / { return 200 "ok\n"; }
EOF

sub new_test {
    my $t = Intermission::Test->new(workers => 2);
    $t->shared_folder('state');
    return ($t, $t->folder . '/state/file');
}

sub fifo {
    my ($name) = @_;
    mkfifo $name, 0666 or die "$name: $!";
    return chmod 0666, $name;
}

# The workers may open and write to each of these, so that nothing keeps them from it but what it is.
my %make = (
    'a FIFO' => \&fifo,
    'a socket' => sub {
        IO::Socket::UNIX->new(Local => $_[0], Listen => 1) or die "$_[0]: $!";
        chmod 0777, $_[0];
    },
    'a directory' => sub { mkdir $_[0]; chmod 0777, $_[0] },
    'a link to a FIFO' => sub { fifo("$_[0]-elsewhere"); symlink "$_[0]-elsewhere", $_[0] },
    'a link to a file' => sub {
        open my $handle, '>', "$_[0]-elsewhere" or die "$_[0]-elsewhere: $!";
        close $handle;
        chmod 0666, "$_[0]-elsewhere";
        symlink "$_[0]-elsewhere", $_[0];
    },
    'a link to nothing' => sub { symlink "$_[0]-elsewhere", $_[0] },
);
# One whose content never ends: /dev/zero.
$make{'a device'} = sub { system('mknod', '-m', 666, $_[0], 'c', 1, 5) == 0 or die "$_[0]: mknod" }
    if $> == 0;

sub remove { return -d $_[0] && !-l $_[0] ? rmdir $_[0] : unlink $_[0] }

sub is_kept {
    my ($t, $file) = @_;
    wait_for { slurp($file) =~ /^paused default /m } 'the file to be written';
    pass 'what is paused is kept';
    my $elsewhere = (glob "$file*-elsewhere")[0];
    is -s $elsewhere // 0, 0, 'nothing was written to what a link leads to' if $elsewhere;
    $t->stop;
    return;
}

for my $what (grep { $_ ne 'a directory' } sort keys %make) {
    subtest "$what in the place of the state file" => sub {
        my ($t, $file) = new_test();
        $make{$what}->($file);
        ok +($t->check($http))[0], 'nginx -t does not wait for it';
        $t->start($http);
        is $t->get('/')->status, 200, 'nor does nginx';
        $t->logs(qr/"\Q$file\E" cannot be read \(it is no regular file\): all apps are open/,
            'the log says why all apps are open');
        $t->enable;
        $t->logs(qr/"\Q$file\E" cannot be used, and is put aside/, 'it is put aside');
        ok -l "$file.bad" || -e "$file.bad", 'beside the file';
        is_kept($t, $file);
    };

    subtest "$what that comes to its place" => sub {
        my ($t, $file) = new_test();
        $t->start($http);
        $t->enable('other');
        $make{$what}->("$file.come");
        rename "$file.come", $file or die "rename: $!";
        $t->enable;
        $t->logs(qr/"\Q$file\E" cannot be used, and is put aside: .*it is no regular file/,
            'the log says that it is put aside');
        is_kept($t, $file);
    };

    subtest "$what in the place of the new one" => sub {
        my ($t, $file) = new_test();
        $make{$what}->("$file.new");
        $t->start($http);
        $t->enable;
        unlike $t->server->log, qr/\[error\]/, 'nothing is said: it is removed';
        is_kept($t, $file);
    };

    subtest "$what where a damaged file is put" => sub {
        my ($t, $file) = new_test();
        $t->write_file('state/file', 'x');
        $make{$what}->("$file.bad");
        $t->start($http);
        $t->enable;
        $t->logs(qr/"\Q$file\E" cannot be used, and is put aside: is truncated/, 'it is replaced');
        is slurp("$file.bad"), 'x', 'by the damaged file';
        is_kept($t, $file);
    };
}

for my $what (sort keys %make) {
    subtest "$what in the place of the lock" => sub {
        my ($t, $file) = new_test();
        $make{$what}->("$file.lock");
        $t->start($http);
        $t->enable;
        is $t->status->{state}, 'paused', 'calls do what they say';
        my $line = qr/"\Q$file\E" cannot be written.*"\Q$file\E.lock" cannot be used/;
        $t->logs(qr/$line \(it is no regular file\): remove it/, 'the log says what to remove');
        ok !-e $file, 'nothing is written without the lock';
        remove("$file.lock") or die "$file.lock: $!";
        is_kept($t, $file);
    };
}

subtest 'a directory in the place of the state file' => sub {
    my ($t, $file) = new_test();
    mkdir $file;
    my ($ok, $said) = $t->check($http);
    ok !$ok, 'nginx does not take that configuration';
    like $said, qr/expected the path of a file/, 'and says why';
    rmdir $file;
    $t->start($http);
    mkdir $file;
    $t->enable;
    $t->logs(qr/"\Q$file\E" cannot be used, and is put aside/, 'later it is put aside');
    is_kept($t, $file);
};

subtest 'a directory in the place of the new one' => sub {
    my ($t, $file) = new_test();
    mkdir "$file.new";
    $t->start($http);
    $t->enable;
    is $t->status->{state}, 'paused', 'calls do what they say';
    $t->logs(qr/"\Q$file\E" cannot be written.*"\Q$file\E.new": Is a directory/,
        'the log says what is in the way');
    rmdir "$file.new";
    is_kept($t, $file);
};

subtest 'a directory where a damaged file is put' => sub {
    my ($t, $file) = new_test();
    $t->write_file('state/file', 'x');
    mkdir "$file.bad";
    $t->start($http);
    $t->enable;
    $t->logs(qr/"\Q$file\E" cannot be used, nor put aside as "\Q$file\E.bad": is truncated/,
        'the log says so');
    is_kept($t, $file);
};

done_testing;
