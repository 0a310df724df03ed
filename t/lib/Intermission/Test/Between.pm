package Intermission::Test::Between;

# Something between a client and nginx, as a proxy is: it accepts connections, and gives each to what the test says, in a process of
# its own that ends when that is done.
#
#     my $between = Intermission::Test::Between->new(sub { my ($from) = @_; ... });
#     my $url = 'http://127.0.0.1:' . $between->port;
#     ...
#     $between->stop;

use strict;
use warnings;

use Carp qw(croak);
use IO::Socket::INET;
use POSIX ();

use constant LONGEST_LIFE => 300;

sub new {
    my ($class, $serve) = @_;
    my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 16, ReuseAddr => 1)
        or croak "cannot listen: $!";
    my $pid = fork // croak "fork: $!";
    if (!$pid) {
        $SIG{$_} = 'DEFAULT' for qw(TERM ALRM);
        $SIG{CHLD} = $SIG{PIPE} = 'IGNORE';
        alarm LONGEST_LIFE;
        while (my $from = $listener->accept) {
            next if fork;
            eval { $serve->($from); 1 } or print STDERR "between: $@";
            POSIX::_exit(0);
        }
        POSIX::_exit(0);
    }
    return bless { pid => $pid, port => $listener->sockport }, $class;
}

sub port { $_[0]{port} }

sub stop {
    my ($self) = @_;
    kill TERM => $self->{pid};
    waitpid $self->{pid}, 0;
    return;
}

1;
