package Intermission::Test::HTTP2;

# An HTTP/2 client, cleartext and with prior knowledge, that writes its frames itself, so that a
# test can leave a stream open, reset it or break the connection at exactly the point it wants.
# Headers are sent as literals; of those that come back only the status is read.

use strict;
use warnings;

use Carp qw(croak);
use List::Util qw(min);

use Intermission::Test::Client;
use Intermission::Test::Response;

use constant PREFACE => "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
use constant {
    DATA => 0,
    HEADERS => 1,
    RST_STREAM => 3,
    SETTINGS => 4,
    PING => 6,
    GOAWAY => 7,
    WINDOW_UPDATE => 8,
};
use constant { END_STREAM => 1, ACK => 1, END_HEADERS => 4, PADDED => 8 };
use constant { CANCEL => 8, INITIAL_WINDOW_SIZE => 4 };
use constant { DEFAULT_WINDOW => 65_535, LARGEST_WINDOW => 2**31 - 1, FRAME_SIZE => 16_384 };

# The statuses that HPACK has an index for.
my %STATUS_OF = (8 => 200, 9 => 204, 10 => 206, 11 => 304, 12 => 400, 13 => 404, 14 => 500);

# new(port => 8080), or new(client => one that is connected)
sub new {
    my ($class, %to) = @_;
    my $client = $to{client} // Intermission::Test::Client->new(%to);
    my $self = bless {
        client => $client,
        last_stream => -1,
        streams => {},
        window => DEFAULT_WINDOW,
        first_window => DEFAULT_WINDOW,
    }, $class;
    $client->send(PREFACE . frame(SETTINGS, 0, 0, pack 'nN', INITIAL_WINDOW_SIZE, LARGEST_WINDOW));
    return $self;
}

# Starts a request and returns its stream. The body goes out as far as the windows allow, the rest
# when the server opens them while a response is waited for.
sub request {
    my ($self, $method, $uri, %with) = @_;
    my $stream = $self->{last_stream} += 2;
    my $body = $with{body} // '';
    my $more = $with{more} || length $body;    # `more`: the body is left unfinished
    my $headers = block(
        [ ':method', $method ],
        [ ':scheme', 'http' ],
        [ ':authority', $self->{client}{host} ],
        [ ':path', $uri ],
        map { [ /^([^:]+):\s*(.*)$/ ] } @{ $with{headers} // [] },
    );
    $self->{streams}{$stream} = {
        window => $self->{first_window},
        unsent => $body,
        more => $with{more},
        status => 0,
        body => '',
        over => 0,
    };
    my $flags = END_HEADERS | ($more ? 0 : END_STREAM);
    $self->{client}->send(frame(HEADERS, $flags, $stream, $headers));
    $self->send_body($stream) if $more;
    return $stream;
}

sub get {
    my ($self, $uri, %with) = @_;
    return $self->request('GET', $uri, %with);
}

sub post {
    my ($self, $uri, $body, %with) = @_;
    return $self->request('POST', $uri, %with, body => $body);
}

# Sends the rest of a body that was left unfinished, and its end unless there is `more`.
sub send_rest {
    my ($self, $stream, $rest, %with) = @_;
    my $state = $self->{streams}{$stream};
    $state->{unsent} .= $rest;
    $state->{more} = $with{more};
    return $self->send_body($stream) if length $state->{unsent} || $with{more};
    return $self->{client}->send(frame(DATA, END_STREAM, $stream, ''));
}

# Waits for the end of a stream. The status is 0 if the stream was reset or the connection ended.
sub response {
    my ($self, $stream) = @_;
    my $state = $self->{streams}{$stream} // croak "no stream $stream";
    while (!$state->{over}) { $self->read_frame or last }
    return Intermission::Test::Response->new(map { $_ => $state->{$_} } qw(status body));
}

# Whether nothing has come back on the stream and the connection is open.
sub silent {
    my ($self, $stream) = @_;
    my $state = $self->{streams}{$stream};
    $self->read_frame or return 0 while !$self->{client}->silent;
    return !$state->{over} && !$state->{status} ? 1 : 0;
}

sub reset {
    my ($self, $stream) = @_;
    $self->{streams}{$stream}{over} = 1;
    $self->{client}->send(frame(RST_STREAM, 0, $stream, pack 'N', CANCEL));
}

sub go_away { $_[0]{client}->send(frame(GOAWAY, 0, 0, pack 'NN', 0, 0)) }
sub close { $_[0]{client}->close }
sub abort { $_[0]{client}->reset }

# Frames

sub frame {
    my ($type, $flags, $stream, $payload) = @_;
    my $length = length $payload;
    return pack('CnCCN', $length >> 16, $length & 0xffff, $type, $flags, $stream) . $payload;
}

sub block {
    return join '', map { "\0" . text($_->[0]) . text($_->[1]) } @_;
}

# A string as HPACK has it: the length in a prefix of 7 bits, the bytes as they are.
sub text {
    my ($string) = @_;
    my $length = length $string;
    return pack('C', $length) . $string if $length < 127;
    my $bytes = pack 'C', 127;
    $length -= 127;
    while ($length > 127) {
        $bytes .= pack 'C', $length & 127 | 128;
        $length >>= 7;
    }
    return $bytes . pack('C', $length) . $string;
}

sub send_body {
    my ($self, $stream) = @_;
    my $state = $self->{streams}{$stream};
    while (length $state->{unsent}) {
        my $size = min FRAME_SIZE, $self->{window}, $state->{window}, length $state->{unsent};
        return if $size <= 0;
        my $part = substr $state->{unsent}, 0, $size, '';
        $_ -= $size for $self->{window}, $state->{window};
        my $last = !$state->{more} && !length $state->{unsent};
        $self->{client}->send(frame(DATA, $last ? END_STREAM : 0, $stream, $part));
    }
    return;
}

# Waits for a frame and does what it asks for; false at the end of the connection.
sub read_frame {
    my ($self) = @_;
    my $client = $self->{client};
    my $head = $client->read_bytes(9);
    return 0 if length $head < 9;
    my ($high, $low, $type, $flags, $stream) = unpack 'CnCCN', $head;
    my $payload = $client->read_bytes($high << 16 | $low);

    if ($type == SETTINGS && !($flags & ACK)) { $self->on_settings($payload) }
    if ($type == PING && !($flags & ACK)) { $client->send(frame(PING, ACK, 0, $payload)) }
    if ($type == WINDOW_UPDATE) { $self->on_window($stream, unpack 'N', $payload) }
    my $state = $self->{streams}{$stream} or return 1;
    if ($type == HEADERS && !$state->{status}) { $state->{status} = status_in($payload) }
    if ($type == DATA) { $self->on_data($stream, $flags, $payload) }
    # Behind a whole answer it says no more than that the rest of the body is not wanted.
    if ($type == RST_STREAM && !$state->{over}) { @$state{qw(status over)} = (0, 1) }
    if (($type == HEADERS || $type == DATA) && $flags & END_STREAM) { $state->{over} = 1 }
    return 1;
}

sub on_settings {
    my ($self, $payload) = @_;
    my %value_of = unpack '(nN)*', $payload;
    my $window = $value_of{ INITIAL_WINDOW_SIZE() };
    if (defined $window) {
        $_->{window} += $window - $self->{first_window} for values %{ $self->{streams} };
        $self->{first_window} = $window;
    }
    $self->{client}->send(frame(SETTINGS, ACK, 0, ''));
    $self->send_bodies;
}

sub on_window {
    my ($self, $stream, $more) = @_;
    my $target = $stream ? $self->{streams}{$stream} : $self;
    $target->{window} += $more if $target;
    $self->send_bodies;
}

sub send_bodies {
    my ($self) = @_;
    my $streams = $self->{streams};
    $self->send_body($_) for grep { !$streams->{$_}{over} } sort { $a <=> $b } keys %$streams;
}

sub on_data {
    my ($self, $stream, $flags, $payload) = @_;
    croak 'padding is not read here' if $flags & PADDED;
    $self->{streams}{$stream}{body} .= $payload;
    return if !length $payload;
    $self->{client}->send(frame(WINDOW_UPDATE, 0, 0, pack 'N', length $payload));
}

# The status is the first field of a block, behind what may be said about the table's size.
sub status_in {
    my ($block) = @_;
    $block =~ s/^[\x20-\x3f]+//;
    my $first = ord $block;
    return $STATUS_OF{ $first & 127 } if $first & 128;
    return $block =~ /^[\x08\x48]\x03(\d{3})/ ? $1 + 0 : croak 'cannot read the status';
}

1;
