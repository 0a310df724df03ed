package Intermission::Test::StrictOrigin;

# An origin that trusts nobody: it reads what a connection brings as requests, one after the other,
# and notes every byte that belongs to none, and every request that does not come to its end. It
# answers when it has a request's head, as servers do that do not care for a body: so nginx keeps a
# connection on which a body is unfinished, and the next request would be read as the rest of it.

use strict;
use warnings;

use Carp qw(croak);
use IO::Select;
use IO::Socket::INET;
use JSON::PP ();
use POSIX ();

use Intermission::Test::Client;

# new(port => 8081)
sub new {
    my ($class, %self) = @_;
    my $listener = IO::Socket::INET->new(
        LocalAddr => '127.0.0.1',
        LocalPort => $self{port},
        Listen => 1024,
        ReuseAddr => 1,
        Blocking => 0,
    ) or croak "cannot listen on port $self{port}: $!";
    pipe my $is_on, my $switch or croak "pipe: $!";
    my $pid = fork // croak "fork: $!";
    if (!$pid) {
        close $switch;
        @SIG{qw(INT TERM HUP ALRM)} = ('IGNORE', ('DEFAULT') x 3);
        eval { serve($listener, $is_on); 1 } or print STDERR "origin: $@";
        POSIX::_exit(0);
    }
    return bless { pid => $pid, switch => $switch, port => $self{port} }, $class;
}

# What has come so far: `requests`, each with method, uri and body, and `wrong`, a list of lines.
sub report {
    my ($self) = @_;
    my $client = Intermission::Test::Client->new(port => $self->{port});
    return $client->get('/report')->response->json;
}

sub stop {
    my ($self) = @_;
    close delete $self->{switch} or return;
    waitpid $self->{pid}, 0;
}

# The process's side

my ($listener, $select, %connections, @requests, @wrong, $asker);

sub serve {
    ($listener, my $is_on) = @_;
    local $SIG{PIPE} = 'IGNORE';
    $select = IO::Select->new($listener, $is_on);
    while (1) {
        take_in(undef, $is_on) // return;
        next if !$asker;
        1 while take_in(0, $is_on);
        my @unfinished = map { unfinished($_) } values %connections;
        my %report = (requests => \@requests, wrong => [ @wrong, @unfinished ]);
        answer($asker, JSON::PP->new->utf8->encode(\%report));
        drop($asker);
        $asker = undef;
    }
}

# Takes in what is there: how many sockets had something, or undef if the test is over.
sub take_in {
    my ($seconds, $is_on) = @_;
    my @ready = $select->can_read($seconds);
    for my $socket (@ready) {
        return undef if $socket == $is_on;
        if ($socket == $listener) { accept_all() }
        else { receive($connections{$socket}) }
    }
    return scalar @ready;
}

sub accept_all {
    while (my $socket = $listener->accept) {
        $socket->blocking(1);
        $select->add($socket);
        $connections{$socket} = { socket => $socket, input => '', left => '' };
    }
}

sub receive {
    my ($connection) = @_;
    my $had = length $connection->{input};
    sysread $connection->{socket}, $connection->{input}, 65_536, $had or return drop($connection);
    while (length $connection->{input}) {
        if ($connection->{request}) { read_body($connection) or last }
        else { read_head($connection) or last }
    }
}

sub read_head {
    my ($connection) = @_;
    $connection->{input} =~ s/\A(.*?\r\n)\r\n//s or return 0;
    my ($line, @headers) = split /\r\n/, $1;
    my ($method, $uri) = $line =~ m{\A([A-Z]+) (/\S*) HTTP/1\.[01]\z}
        or return wrong($connection, "no request: $line");
    return wrong($connection, "header: $_") for grep { !/\A[\w-]+: [^\n]*\z/ } @headers;
    my @lengths = map {/\AContent-Length: (.*)/i} @headers;
    my @chunked = grep {/\ATransfer-Encoding: /i} @headers;
    return wrong($connection, "two lengths: @lengths @chunked") if @lengths + @chunked > 1;
    if ($uri eq '/report') { $asker = $connection; return 0 }

    $connection->{request} = { method => $method, uri => $uri, body => '' };
    $connection->{chunked} = @chunked;
    $connection->{left} = $lengths[0] // 0;
    push @requests, $connection->{request};
    answer($connection, "$uri\n");
    return read_body($connection);
}

# True if the body is complete.
sub read_body {
    my ($connection) = @_;
    my $complete = $connection->{chunked} ? read_chunks($connection) : read_bytes($connection);
    return 0 if !$complete;
    delete $connection->{request};
    # nginx sends one request at a time.
    my $rest = $connection->{input};
    return length $rest ? wrong($connection, "behind a request: $rest") : 1;
}

sub read_bytes {
    my ($connection) = @_;
    my $part = substr $connection->{input}, 0, $connection->{left}, '';
    $connection->{request}{body} .= $part;
    return !($connection->{left} -= length $part);
}

sub read_chunks {
    my ($connection) = @_;
    while ($connection->{input} =~ /\A([0-9a-f]+)\r\n/i) {
        my ($start, $size) = ($+[0], hex $1);
        return 0 if length $connection->{input} < $start + $size + 2;
        $connection->{request}{body} .= substr $connection->{input}, $start, $size;
        substr $connection->{input}, 0, $start + $size + 2, '';
        return 1 if !$size;
    }
    return 0;
}

sub answer {
    my ($connection, $body) = @_;
    syswrite $connection->{socket},
        "HTTP/1.1 200 OK\r\nContent-Length: ${\ length $body}\r\n\r\n$body";
}

sub unfinished {
    my ($connection) = @_;
    my $request = $connection->{request};
    return "unfinished: $request->{uri} with '$request->{body}'" if $request;
    return length $connection->{input} ? "unfinished: $connection->{input}" : ();
}

sub wrong {
    my ($connection, $what) = @_;
    push @wrong, $what;
    $connection->{input} = '';
    drop($connection);
    return 0;
}

sub drop {
    my ($connection) = @_;
    push @wrong, unfinished($connection);
    $select->remove($connection->{socket});
    delete $connections{ $connection->{socket} };
    close $connection->{socket};
}

1;
