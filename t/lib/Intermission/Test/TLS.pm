package Intermission::Test::TLS;

# The client, over TLS. `available` says whether this can be had here.
#
#     plan skip_all => Intermission::Test::TLS->missing if Intermission::Test::TLS->missing;
#     Intermission::Test::TLS->certificate($t->folder);
#     my $client = Intermission::Test::TLS->new(port => $t->port(443), alpn => ['h2']);

use strict;
use warnings;

use Carp qw(croak);
use Errno qw(EAGAIN);
use parent 'Intermission::Test::Client';

# Why there is no TLS client, if there is none.
sub missing {
    return if eval { require IO::Socket::SSL; 1 };
    return 'there is no TLS client (package libio-socket-ssl-perl)';
}

# Makes a key and a certificate: cert.pem and key.pem in this folder.
sub certificate {
    my ($class, $folder) = @_;
    my @key = ('-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes');
    my @files = ('-keyout', "$folder/key.pem", '-out', "$folder/cert.pem");
    my @name = ('-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost', '-days', 2);
    my $pid = fork // croak "fork: $!";
    if (!$pid) {
        open STDERR, '>', "$folder/openssl.log";
        exec 'openssl', 'req', '-x509', @key, @files, @name or POSIX::_exit(127);
    }
    waitpid $pid, 0;
    croak 'openssl made no certificate' if $?;
}

sub new {
    my ($class, %to) = @_;
    my $self = $class->SUPER::new(%to);
    $self->{socket}->blocking(1);
    $self->send($to{before}) if defined $to{before};
    my @alpn = $to{alpn} ? (SSL_alpn_protocols => $to{alpn}) : ();
    IO::Socket::SSL->start_SSL($self->{socket}, SSL_verify_mode => 0, @alpn)
        or croak 'no TLS: ' . IO::Socket::SSL::errstr();
    $self->{socket}->blocking(0);
    return $self;
}

# What comes over the connection need not be for the client: there are tickets, too.
sub silent {
    my ($self) = @_;
    return 0 if length $self->{input};
    my $count = sysread $self->{socket}, $self->{input}, 1;
    return !defined $count && $!{EAGAIN} ? 1 : 0;
}

# Ends the connection without a word of TLS.
sub abandon {
    my ($self) = @_;
    my $socket = delete $self->{socket} or return;
    $socket->close(SSL_no_shutdown => 1, SSL_ctx_free => 1);
}

1;
