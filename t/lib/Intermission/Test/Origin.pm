package Intermission::Test::Origin;

# The application behind nginx: a process of its own that keeps a log of what reached it, and
# answers as the test said, at once or when told to. Asking for the log first takes in all that has
# already arrived, so what nginx sent before the question is in the answer.
#
# What it answers to a path is a hash: status, headers, body, and
#     wait    => 1    only when the test calls `answer`
#     upgrade => 1    with 101, and from then on it sends back what it gets
#     drop    => 1    not at all: it closes the connection instead
#     cut     => 1    with half of the body, and closes the connection then
# Any other path is answered 200 with its URI as the body.

use strict;
use warnings;

use Carp qw(croak);
use Digest::SHA ();
use Errno qw(EAGAIN EINTR);
use IO::Handle;
use IO::Socket::INET;
use POSIX ();
use Socket qw(AF_UNIX PF_UNSPEC SHUT_RDWR SOCK_STREAM);
use Storable qw(nfreeze thaw);

use Intermission::Test::Wait qw(wait_for writable);

use constant { BACKLOG => 4096, READ_SIZE => 65_536 };

# The test's side

# new(port => 8081, answers => { '/slow' => { wait => 1 } })
sub new {
    my ($class, %self) = @_;
    my $listener = IO::Socket::INET->new(
        LocalAddr => '127.0.0.1',
        LocalPort => $self{port},
        Listen => BACKLOG,
        ReuseAddr => 1,
        Blocking => 0,
    ) or croak "cannot listen on port $self{port}: $!";
    socketpair my $ours, my $its, AF_UNIX, SOCK_STREAM, PF_UNSPEC or croak "socketpair: $!";

    my $pid = fork // croak "fork: $!";
    if (!$pid) {
        close $ours;
        @SIG{qw(INT TERM HUP ALRM)} = ('IGNORE', ('DEFAULT') x 3);
        eval { serve($listener, $its, $self{answers} // {}); 1 } or print STDERR "origin: $@";
        POSIX::_exit(0);
    }
    close $its;
    return bless { pid => $pid, channel => $ours, port => $self{port} }, $class;
}

# The requests that have arrived, in the order in which nginx connected. Each one is a hash:
# method, uri, headers (names in lower case), length and sha of the body, complete (the whole
# request is there), gone (nginx left before the answer), connection (its number).
sub requests {
    my ($self) = @_;
    return @{ $self->ask('requests') };
}

sub uris { map { $_->{uri} } $_[0]->requests }

# Waits until so many requests have arrived whole.
sub wait_requests {
    my ($self, $count) = @_;
    wait_for { $count <= grep { $_->{complete} } $self->requests } "$count requests at the origin";
    return $self->requests;
}

# Answers all that wait, or so many of them, those that came first.
sub answer { my ($self, $count) = @_; $self->ask('answer', $count) }

# Sets what is answered from now on.
sub set { my ($self, %answers) = @_; $self->ask('set', \%answers) }

sub forget { $_[0]->ask('forget') }

sub stop {
    my ($self) = @_;
    my $channel = delete $self->{channel} or return;
    # To close it is not enough: what was started since, as another origin, has it as well.
    shutdown $channel, SHUT_RDWR;
    close $channel;
    waitpid $self->{pid}, 0;
}

sub ask {
    my ($self, @question) = @_;
    put($self->{channel}, \@question);
    return get($self->{channel}) // croak 'the origin has died';
}

# Messages between the two: a length and a frozen value.

sub put {
    my ($channel, $value) = @_;
    my $message = pack 'N/a*', nfreeze($value);
    my $sent = 0;
    while ($sent < length $message) {
        my $count = syswrite $channel, $message, length($message) - $sent, $sent;
        return if !defined $count && !$!{EINTR};
        $sent += $count // 0;
    }
    return;
}

sub get {
    my ($channel) = @_;
    my $length = get_bytes($channel, 4) // return;
    return thaw(get_bytes($channel, unpack 'N', $length) // return);
}

sub get_bytes {
    my ($channel, $count) = @_;
    my $bytes = '';
    while (length $bytes < $count) {
        my $got = sysread $channel, $bytes, $count - length $bytes, length $bytes;
        next if !defined $got && $!{EINTR};
        return if !$got;
    }
    return $bytes;
}

# The process's side

my ($listener, $answers, %connections, $accepted, @log);

sub serve {
    ($listener, my $channel, $answers) = @_;
    local $SIG{PIPE} = 'IGNORE';
    while (1) {
        my $ready = ready(undef, $listener, $channel);
        take_in($ready);
        next if !vec $ready, fileno $channel, 1;
        while (1) {
            my $rest = ready(0, $listener) // last;
            take_in($rest);
        }
        my $question = get($channel) // return;
        put($channel, reply_to(@$question));
    }
}

# The set of what can be read, among these handles and all connections.
sub ready {
    my ($seconds, @handles) = @_;
    my $set = '';
    vec($set, $_, 1) = 1 for (map { fileno $_ } @handles), keys %connections;
    while (1) {
        my $count = select my $ready = $set, undef, undef, $seconds;
        return $count ? $ready : undef if $count >= 0;
        die "select: $!" if !$!{EINTR};
    }
}

sub take_in {
    my ($ready) = @_;
    for my $fd (keys %connections) {
        receive($connections{$fd}) if vec $ready, $fd, 1;
    }
    return if !vec $ready, fileno $listener, 1;
    while (my $socket = $listener->accept) {
        $socket->blocking(0);
        $connections{ fileno $socket }
            = { socket => $socket, number => ++$accepted, input => '', request => undef };
    }
    return;
}

sub reply_to {
    my ($what, $value) = @_;
    if ($what eq 'requests') { return [ map { report_of($_) } by_connection(@log) ] }
    if ($what eq 'answer') { answer_waiting($value) }
    if ($what eq 'set') { $answers = { %$answers, %$value } }
    if ($what eq 'forget') { @log = () }
    return [];
}

sub by_connection {
    my @requests = sort { $a->{connection} <=> $b->{connection} } @_;
    return @requests;
}

sub report_of {
    my ($request) = @_;
    my $sha = $request->{digest}->clone->hexdigest;
    return { %$request, sha => $sha, digest => undef };
}

sub answer_waiting {
    my ($count) = @_;
    my @waiting = grep { $_->{waiting} } values %connections;
    @waiting = sort { $a->{number} <=> $b->{number} } @waiting;
    splice @waiting, $count if defined $count && $count < @waiting;
    respond($_, delete $_->{waiting}) for @waiting;
    return;
}

sub receive {
    my ($connection) = @_;
    my $had = length $connection->{input};
    my $count = sysread $connection->{socket}, $connection->{input}, READ_SIZE, $had;
    return if !defined $count && ($!{EAGAIN} || $!{EINTR});
    return hang_up($connection) if !$count;
    return echo($connection) if $connection->{upgraded};
    1 while $connection->{socket} && !$connection->{waiting} && read_request($connection);
}

# One step on the way through a request: true if there may be another one.
sub read_request {
    my ($connection) = @_;
    my $request = $connection->{request} // return read_head($connection);
    read_body($connection, $request);
    return 0 if !$request->{complete};
    $connection->{request} = undef;
    answer_to($connection, $request);
    return 1;
}

sub read_head {
    my ($connection) = @_;
    my $end = index $connection->{input}, "\r\n\r\n";
    return 0 if $end < 0;
    my $head = substr $connection->{input}, 0, $end + 4, '';
    my ($line, @lines) = split /\r\n/, $head;
    my ($method, $uri, $version) = split / /, $line;
    my %headers = map { /^([^:]+):\s*(.*)$/ ? (lc $1 => $2) : () } @lines;
    my $request = {
        method => $method,
        uri => $uri,
        version => $version,
        headers => \%headers,
        length => 0,
        digest => Digest::SHA->new(256),
        complete => 0,
        gone => 0,
        connection => $connection->{number},
    };
    $connection->{request} = $request;
    $connection->{left} = $headers{'content-length'} // 0;
    $connection->{chunked} = ($headers{'transfer-encoding'} // '') eq 'chunked';
    push @log, $request;
    return 1;
}

sub read_body {
    my ($connection, $request) = @_;
    return read_chunks($connection, $request) if $connection->{chunked};
    my $part = substr $connection->{input}, 0, $connection->{left}, '';
    add_to_body($request, $part);
    $connection->{left} -= length $part;
    $request->{complete} = 1 if !$connection->{left};
    return;
}

sub read_chunks {
    my ($connection, $request) = @_;
    while ($connection->{input} =~ /^([0-9a-f]+)\r\n/i) {
        my ($start, $size) = ($+[0], hex $1);
        return if length $connection->{input} < $start + $size + 2;
        add_to_body($request, substr $connection->{input}, $start, $size);
        substr $connection->{input}, 0, $start + $size + 2, '';
        $request->{complete} = 1 if !$size;
    }
    return;
}

sub add_to_body {
    my ($request, $part) = @_;
    $request->{length} += length $part;
    $request->{digest}->add($part);
}

sub answer_to {
    my ($connection, $request) = @_;
    my ($path) = split /\?/, $request->{uri};
    my $answer = $answers->{$path} // {};
    $connection->{answering} = $request;
    if ($answer->{wait}) { $connection->{waiting} = $answer }
    else { respond($connection, $answer) }
}

sub respond {
    my ($connection, $answer) = @_;
    my $request = delete $connection->{answering};
    return upgrade($connection) if $answer->{upgrade};
    return drop($connection) if $answer->{drop};

    my $status = $answer->{status} // 200;
    my $body = $answer->{body} // "$request->{uri}\n";
    my $keep = may_keep($request);
    my @head = (
        "HTTP/1.1 $status Answer",
        "Content-Length: ${\ length $body}",
        'Connection: ' . ($keep ? 'keep-alive' : 'close'),
        @{ $answer->{headers} // [] },
    );
    $body = '' if $request->{method} eq 'HEAD';
    $body = substr $body, 0, length($body) / 2 if $answer->{cut};
    write_all($connection, join "\r\n", @head, '', $body);
    drop($connection) if !$keep || $answer->{cut};
}

sub may_keep {
    my ($request) = @_;
    return $request->{version} eq 'HTTP/1.1' && ($request->{headers}{connection} // '') ne 'close';
}

sub upgrade {
    my ($connection) = @_;
    my @head = ('HTTP/1.1 101 Switching Protocols', 'Upgrade: echo', 'Connection: upgrade');
    write_all($connection, join "\r\n", @head, '', '');
    $connection->{upgraded} = 1;
    echo($connection) if length $connection->{input};
}

sub echo {
    my ($connection) = @_;
    write_all($connection, substr $connection->{input}, 0, length $connection->{input}, '');
}

sub write_all {
    my ($connection, $bytes) = @_;
    my $sent = 0;
    while ($sent < length $bytes) {
        my $count = syswrite $connection->{socket}, $bytes, length($bytes) - $sent, $sent;
        if (defined $count) { $sent += $count; next }
        return if !$!{EAGAIN} && !$!{EINTR};
        writable($connection->{socket}, 1);
    }
    return;
}

# nginx closed the connection.
sub hang_up {
    my ($connection) = @_;
    my $request = $connection->{request} // $connection->{answering};
    $request->{gone} = 1 if $request;
    drop($connection);
}

sub drop {
    my ($connection) = @_;
    my $socket = delete $connection->{socket} or return;
    delete $connections{ fileno $socket };
    delete $connection->{waiting};
    close $socket;
}

1;
