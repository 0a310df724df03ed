package Intermission::Test::Aside;

# What runs beside a test, in a process of its own: until it is stopped or forgotten, and for five minutes at the most.
#
#     my $aside = Intermission::Test::Aside->begin(sub { ... });
#     ...
#     $aside->stop;

use strict;
use warnings;

use Carp qw(croak);
use POSIX ();

use constant LONGEST_LIFE => 300;

# Of a class, or of what is to have it.
sub begin {
    my ($self, $work) = @_;
    defined(my $pid = fork) or croak "fork: $!";
    if (!$pid) {
        @SIG{qw(INT TERM ALRM)} = ('DEFAULT') x 3;
        $SIG{PIPE} = 'IGNORE';
        alarm LONGEST_LIFE;
        $work->();
        POSIX::_exit(0);
    }
    $self = bless {}, $self if !ref $self;
    $self->{pid} = $pid;
    return $self;
}

sub stop {
    my ($self) = @_;
    my $pid = delete $self->{pid} or return;
    kill 'TERM', $pid;
    local ($?, $!);
    waitpid $pid, 0;
    return;
}

sub DESTROY { $_[0]->stop }

1;
