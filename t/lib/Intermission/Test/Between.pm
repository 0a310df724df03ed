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

use parent qw(Intermission::Test::Aside);

sub new {
    my ($class, $serve) = @_;
    my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 16, ReuseAddr => 1)
        or croak "cannot listen: $!";
    my $self = bless { port => $listener->sockport }, $class;
    return $self->begin(sub {
        $SIG{CHLD} = 'IGNORE';
        while (my $from = $listener->accept) {
            next if fork;
            eval { $serve->($from); 1 } or print STDERR "between: $@";
            POSIX::_exit(0);
        }
    });
}

sub port { $_[0]{port} }

1;
