package Intermission::Test::SlowDisk;

# A disk that is as slow as a test wants: a library that nginx is started with, in which a worker waits
# before it locks a file (flock) or syncs one (fsync), the next time that it does, until it is let go.
#
#     my $disk = Intermission::Test::SlowDisk->new($folder) or plan skip_all => 'needs a C compiler';
#     $disk->start($t, $http);
#     $disk->hold(fsync => $worker);
#     ...
#     $disk->wait_held(fsync => $worker);
#     $disk->let_go(fsync => $worker);

use strict;
use warnings;

use Carp qw(croak);
use File::Basename qw(dirname);

use Intermission::Test::Wait qw(wait_for);

use constant SOURCE => dirname(__FILE__) . '/../../slow_disk.c';

# Nothing if there is no compiler.
sub new {
    my ($class, $folder) = @_;
    mkdir $folder;
    chmod 0777, $folder;
    my $library = "$folder/slow_disk.so";
    system('cc', '-shared', '-fPIC', '-o', $library, SOURCE) == 0 or return;
    return bless { folder => $folder, library => $library }, $class;
}

sub start {
    my ($self, $t, $http) = @_;
    local $ENV{LD_PRELOAD} = $self->{library};
    local $ENV{SLOW_DISK} = $self->{folder};
    # AddressSanitizer wants to be loaded first, and has no interest in these two calls.
    local $ENV{ASAN_OPTIONS} = "$ENV{ASAN_OPTIONS}:verify_asan_link_order=0" if $ENV{ASAN_OPTIONS};
    return $t->start($http);
}

sub hold {
    my ($self, $call, $worker) = @_;
    my $file = "$self->{folder}/$call-$worker";
    open my $handle, '>', $file or croak "$file: $!";
    return close $handle;
}

sub wait_held {
    my ($self, $call, $worker) = @_;
    return wait_for { -e "$self->{folder}/$call-$worker.waits" } "worker $worker to come to its $call";
}

sub let_go {
    my ($self, $call, $worker) = @_;
    $self->wait_held($call, $worker);
    return unlink "$self->{folder}/$call-$worker.waits";
}

1;
