package Intermission::Test::Client;

# An HTTP/1.1 client on a bare socket that does exactly what it is told: sends a request or part of
# one, looks whether anything came back, reads one response, leaves in one of three ways. It blocks
# only where a method says that it waits, so a test can keep thousands of them open.

use strict;
use warnings;

use Carp qw(croak);
use Errno qw(EAGAIN EINTR EPIPE ECONNRESET);
use IO::Socket::INET;
use IO::Socket::IP;
use IO::Socket::UNIX;
use Scalar::Util qw(weaken);
use Socket qw(IPPROTO_TCP MSG_PEEK SOL_SOCKET SO_LINGER TCP_NODELAY);

use Intermission::Test::Response;
use Intermission::Test::Wait qw(readable writable TIME_LIMIT);

use constant READ_SIZE => 65_536;

my %open_clients;

# new(port => 8080, host => '127.0.0.1', from => '127.0.0.2'), an IPv6 address as host, or
# new(path => "/unix/socket")
sub new {
    my ($class, %to) = @_;
    my $self = bless {
        socket => socket_to(%to),
        host => name_of(%to),
        input => '',
        methods => [],    # of the requests that are not answered yet
    }, $class;
    weaken($open_clients{ 0 + $self } = $self);
    return $self;
}

sub socket_to {
    my (%to) = @_;
    my $host = $to{host} // '127.0.0.1';
    my $class = 'IO::Socket::' . ($host =~ /:/ ? 'IP' : 'INET');
    my $socket
        = defined $to{path}
        ? IO::Socket::UNIX->new(Peer => $to{path})
        : $class->new(
            PeerAddr => $host,
            PeerPort => $to{port},
            LocalAddr => $to{from},
            Timeout => TIME_LIMIT,
        );
    croak 'cannot connect to ' . ($to{path} // "$host:$to{port}") . ": $!" if !$socket;
    setsockopt $socket, IPPROTO_TCP, TCP_NODELAY, 1 if !defined $to{path};
    $socket->blocking(0);
    return $socket;
}

# What the client calls the server in its Host header.
sub name_of {
    my (%to) = @_;
    return 'localhost' if defined $to{path};
    my $host = $to{host} // '127.0.0.1';
    return ($host =~ /:/ ? "[$host]" : $host) . ":$to{port}";
}

sub DESTROY {
    my ($self) = @_;
    delete $open_clients{ 0 + $self };
}

sub close_all {
    $_->close for grep {defined} values %open_clients;
}

# Sending

# request('POST', '/x', headers => ['Name: value'], body => '...'): sends it as a whole.
sub request {
    my ($self, $method, $uri, %with) = @_;
    $self->send($self->head($method, $uri, %with) . ($with{body} // ''));
    return $self;
}

sub get {
    my ($self, $uri, %with) = @_;
    return $self->request('GET', $uri, %with);
}

sub post {
    my ($self, $uri, $body, %with) = @_;
    return $self->request('POST', $uri, %with, body => $body);
}

# The head alone, for requests that are sent in parts. `length` announces a body that comes later.
sub head {
    my ($self, $method, $uri, %with) = @_;
    my @headers = @{ $with{headers} // [] };
    my $length = $with{length} // (defined $with{body} ? length $with{body} : undef);
    unshift @headers, "Content-Length: $length" if defined $length;
    unshift @headers, "Host: $self->{host}" if !grep {/^Host:/i} @headers;
    push @{ $self->{methods} }, $method;
    return join "\r\n", "$method $uri HTTP/1.1", @headers, '', '';
}

# Sends everything and waits for the peer to take it; a peer that hung up is not an error here.
sub send {
    my ($self, $bytes) = @_;
    my $sent = 0;
    while ($sent < length $bytes) {
        my $count = $self->send_some(substr $bytes, $sent, READ_SIZE);
        return if !defined $count;
        $sent += $count;
        next if $count || writable($self->{socket}, TIME_LIMIT);
        croak "the server took $sent of ${\ length $bytes} bytes";
    }
    return;
}

# Sends what fits and returns how many bytes that were; nothing if the peer hung up.
sub send_some {
    my ($self, $bytes) = @_;
    my $sent = 0;
    local $SIG{PIPE} = 'IGNORE';
    while ($sent < length $bytes) {
        my $count = syswrite $self->{socket}, $bytes, length($bytes) - $sent, $sent;
        if (defined $count) { $sent += $count; next }
        next if $!{EINTR};
        last if $!{EAGAIN};
        return if $!{EPIPE} || $!{ECONNRESET};
        croak "cannot send: $!";
    }
    return $sent;
}

# Whether the connection takes more bytes within so many seconds.
sub can_send {
    my ($self, $seconds) = @_;
    return writable($self->{socket}, $seconds);
}

# Receiving

# Whether the connection is open and nothing has come back.
sub silent {
    my ($self) = @_;
    return 0 if length $self->{input};
    my $peer = recv $self->{socket}, my $byte, 1, MSG_PEEK;
    return !defined $peer && $!{EAGAIN} ? 1 : 0;
}

# Waits for the end of the connection: true if nothing came before it.
sub closed {
    my ($self) = @_;
    while ($self->read_more) { return 0 if length $self->{input} }
    return length $self->{input} ? 0 : 1;
}

# Waits for one response, an interim one (100, 101) included.
sub response {
    my ($self) = @_;
    my $head = $self->read_until("\r\n\r\n");
    return Intermission::Test::Response->new if !defined $head;

    my $response = Intermission::Test::Response->from_head($head);
    return $response if $response->status < 200;
    my $method = shift @{ $self->{methods} } // '';
    $response->{body} = $self->body_of($response) if $method ne 'HEAD';
    return $response;
}

sub body_of {
    my ($self, $response) = @_;
    return '' if $response->status == 204 || $response->status == 304;
    return $self->chunked_body if ($response->header('Transfer-Encoding') // '') eq 'chunked';
    my $length = $response->header('Content-Length');
    return $self->read_bytes($length) if defined $length;
    1 while $self->read_more;
    return $self->take(length $self->{input});
}

sub chunked_body {
    my ($self) = @_;
    my $body = '';
    while (1) {
        my $line = $self->read_until("\r\n") // last;
        my $size = hex $line or last;
        $body .= $self->read_bytes($size);
        $self->read_bytes(2);
    }
    $self->read_bytes(2);
    return $body;
}

# Waits for so many bytes; fewer if the connection ends before.
sub read_bytes {
    my ($self, $count) = @_;
    while (length $self->{input} < $count) { $self->read_more or last }
    return $self->take($count);
}

# Waits for the separator and returns what is before it; nothing if the connection ends before.
sub read_until {
    my ($self, $separator) = @_;
    my $at;
    while (($at = index $self->{input}, $separator) < 0) { $self->read_more or return }
    my $text = $self->take($at);
    $self->take(length $separator);
    return $text;
}

sub take {
    my ($self, $count) = @_;
    return substr $self->{input}, 0, $count, '';
}

# Waits for some bytes more; false at the end of the connection.
sub read_more {
    my ($self) = @_;
    return 0 if !$self->{socket};
    while (1) {
        my $count = sysread $self->{socket}, $self->{input}, READ_SIZE, length $self->{input};
        return $count if defined $count;
        next if $!{EINTR};
        return 0 if $!{ECONNRESET};
        croak "cannot read: $!" if !$!{EAGAIN};
        croak 'nothing came within ' . TIME_LIMIT . ' s' if !readable($self->{socket}, TIME_LIMIT);
    }
}

# Leaving

sub half_close { shutdown $_[0]{socket}, 1 }

sub reset {
    my ($self) = @_;
    setsockopt $self->{socket}, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0;
    $self->close;
}

sub close {
    my ($self) = @_;
    my $socket = delete $self->{socket} or return;
    CORE::close($socket);
}

1;
