package Intermission::Test::Gateway;

# A backend that speaks FastCGI, uwsgi or SCGI: a process of its own, which answers with the URI and the length of the body, and
# adds a line of "PROTOCOL URI LENGTH" to backends.log in the test's folder.
#
#     my $backend = Intermission::Test::Gateway->new($t, 'fastcgi');    # at %%PORT_fastcgi%%
#     ...
#     $backend->stop;

use strict;
use warnings;

use Carp qw(croak);
use IO::Handle;
use IO::Socket::INET;

use parent qw(Intermission::Test::Aside);

my %READ = (fastcgi => \&read_fastcgi, uwsgi => \&read_uwsgi, scgi => \&read_scgi);
my %ANSWER = (fastcgi => \&answer_fastcgi, uwsgi => \&answer_cgi, scgi => \&answer_cgi);

sub new {
    my ($class, $t, $protocol) = @_;
    my $listener = IO::Socket::INET->new(
        LocalAddr => '127.0.0.1',
        LocalPort => $t->port($protocol),
        Listen => 100,
        ReuseAddr => 1,
    ) or croak "listen: $!";
    return $class->begin(sub {
        open my $log, '>>', $t->folder . '/backends.log';
        $log->autoflush(1);
        while (my $socket = $listener->accept) {
            my ($uri, $length) = $READ{$protocol}->($socket) or next;
            print {$log} "$protocol $uri $length\n";
            print {$socket} $ANSWER{$protocol}->("$uri $length");
        }
    });
}

sub bytes {
    my ($socket, $count) = @_;
    my $bytes = '';
    while (length $bytes < $count) {
        sysread($socket, $bytes, $count - length $bytes, length $bytes) or last;
    }
    return $bytes;
}

# FastCGI: records until the empty one of its input.
sub read_fastcgi {
    my ($socket) = @_;
    my ($parameters, $length) = ('', 0);
    while (length(my $head = bytes($socket, 8)) == 8) {
        my (undef, $type, undef, $size, $padding) = unpack 'CCnnC', $head;
        my $content = substr bytes($socket, $size + $padding), 0, $size;
        $parameters .= $content if $type == 4;
        next if $type != 5;
        return ($parameters =~ /REQUEST_URI(\/\w+)/, $length) if !$size;
        $length += $size;
    }
    return;
}

sub answer_fastcgi {
    my $content = "Content-Type: text/plain\r\n\r\n$_[0]";
    return pack('CCnnCC', 1, 6, 1, length $content, 0, 0) . $content
        . pack('CCnnCC NC3', 1, 3, 1, 8, 0, 0, 0, 0, 0, 0) . "\0";
}

# uwsgi: a size and pairs; SCGI: a netstring of them. The body is as long as they say.
sub read_uwsgi {
    my ($socket) = @_;
    my (undef, $size) = unpack 'Cv', bytes($socket, 4);
    my %value = unpack '(v/a*)*', bytes($socket, $size // 0);
    return ($value{REQUEST_URI} // return, length bytes($socket, $value{CONTENT_LENGTH} || 0));
}

sub read_scgi {
    my ($socket) = @_;
    my $size = '';
    while ((my $byte = bytes($socket, 1)) =~ /\d/) { $size .= $byte }
    my %value = bytes($socket, ($size || 0) + 1) =~ /([^\0]+)\0([^\0]*)\0/g;
    return ($value{REQUEST_URI} // return, length bytes($socket, $value{CONTENT_LENGTH} || 0));
}

sub answer_cgi { return "Status: 200 OK\r\nContent-Type: text/plain\r\n\r\n$_[0]" }

1;
