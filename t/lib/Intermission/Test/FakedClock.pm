package Intermission::Test::FakedClock;

# A wall clock that is set for some programs alone, by the library of Debian's package libfaketime. Without that, the test is
# skipped.
#
#     my $clock = Intermission::Test::FakedClock->new($file);
#     my %environment = $clock->environment;    # of these programs
#     $clock->set(3600);                        # seconds from the right time

use strict;
use warnings;

use Test::More;

sub new {
    my ($class, $file) = @_;
    my ($library) = glob '/usr/lib/*/faketime/libfaketime.so.1';
    plan skip_all => 'needs libfaketime' if !$library;
    plan skip_all => 'libfaketime and AddressSanitizer both want to be loaded first' if $ENV{ASAN_OPTIONS};
    my $self = bless { file => $file, library => $library }, $class;
    $self->set(0);
    return $self;
}

sub environment {
    my ($self) = @_;
    return (
        LD_PRELOAD => $self->{library},
        FAKETIME_TIMESTAMP_FILE => $self->{file},
        FAKETIME_NO_CACHE => 1,
        FAKETIME_DONT_FAKE_MONOTONIC => 1,
        DONT_FAKE_MONOTONIC => 1,
    );
}

# Each process looks at the file again at every call.
sub set {
    my ($self, $by) = @_;
    open my $new, '>', "$self->{file}.new" or die "open: $!";
    printf {$new} "%+d\n", $by;
    close $new or die "close: $!";
    rename "$self->{file}.new", $self->{file} or die "rename: $!";
    return;
}

1;
