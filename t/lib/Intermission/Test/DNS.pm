package Intermission::Test::DNS;

# A name server: a process of its own, at 127.0.0.1, for the names of a file. They are good for no time, so that nginx asks again.
#
#     my $dns = Intermission::Test::DNS->new($t, 'dns');    # at %%PORT_dns%%
#     $dns->names(app => ['127.0.0.1']);                    # others do not exist
#     ...
#     $dns->stop;

use strict;
use warnings;

use Carp qw(croak);
use IO::Socket::INET;
use Socket qw(inet_aton);

use parent qw(Intermission::Test::Aside);

use constant { ANSWER => 0x8180, NO_SUCH_NAME => 0x8183, A => 1 };

sub new {
    my ($class, $t, $port) = @_;
    my $self = bless { file => $t->folder . "/$port.names" }, $class;
    $self->names;
    my $socket = IO::Socket::INET->new(
        LocalAddr => '127.0.0.1',
        LocalPort => $t->port($port),
        Proto => 'udp',
    ) or croak "udp: $!";
    return $self->begin(sub {
        while (defined(my $from = $socket->recv(my $question, 512))) {
            $socket->send(answer($self->{file}, $question), 0, $from);
        }
    });
}

# What there is from now on: names, and the addresses of each.
sub names {
    my ($self, %addresses) = @_;
    open my $file, '>', "$self->{file}.new" or croak "$self->{file}: $!";
    print {$file} map {"$_ @{ $addresses{$_} }\n"} sort keys %addresses;
    close $file or croak "$self->{file}: $!";
    rename "$self->{file}.new", $self->{file} or croak "$self->{file}: $!";
}

sub answer {
    my ($file, $question) = @_;
    my ($id) = unpack 'n', $question;
    my $asked = substr $question, 12;
    my ($name, $type) = $asked =~ /^(.*?)\0(..)../s or return '';
    open my $names, '<', $file or return '';
    my %addresses = map { split / /, $_, 2 } map { chomp; $_ } <$names>;
    my $found = $addresses{ join '.', unpack '(C/a)*', $name };
    my @found = unpack('n', $type) == A ? split / /, $found // '' : ();
    my $records = join '', map { pack 'n n n N n/a', 0xc00c, A, 1, 0, inet_aton($_) } @found;
    return pack('n n n n n n', $id, defined $found ? ANSWER : NO_SUCH_NAME, 1, scalar @found, 0, 0)
        . substr($asked, 0, length($name) + 5) . $records;
}

1;
