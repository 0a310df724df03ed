#!/usr/bin/env perl

# fastcgi_pass, uwsgi_pass, scgi_pass and grpc_pass beside the gate: held, released in order and
# with whole bodies, as with proxy_pass; nothing of a client that left reaches the backend.

use strict;
use warnings;

use FindBin qw($Bin);
use IO::Socket::INET;
use POSIX ();
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new;

# A backend for one protocol: for each connection, `read_request` returns the URI and the length of
# the body, and `answer` what goes back. Its log is a file, a line for each request.
sub backend {
    my ($name, $read_request, $answer) = @_;
    my $listener = IO::Socket::INET->new(
        LocalAddr => '127.0.0.1', LocalPort => $t->port($name), Listen => 100, ReuseAddr => 1,
    ) or die "listen: $!";
    defined(my $pid = fork) or die "fork: $!";
    return $pid if $pid;

    @SIG{qw(INT TERM ALRM)} = ('DEFAULT') x 3;
    alarm 300;
    open my $log, '>>', $t->folder . '/backends.log';
    $log->autoflush(1);
    while (my $socket = $listener->accept) {
        my ($uri, $length) = $read_request->($socket) or next;
        print {$log} "$name $uri $length\n";
        print {$socket} $answer->("$uri $length");
    }
    POSIX::_exit(0);
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

my @backends = (
    backend(fastcgi => \&read_fastcgi, \&answer_fastcgi),
    backend(uwsgi => \&read_uwsgi, \&answer_cgi),
    backend(scgi => \&read_scgi, \&answer_cgi),
);
END { kill 'TERM', @backends if @backends }
my $origin = $t->origin;

$t->start(<<'EOF');
    intermission on;
    client_max_body_size 2m;
    server {
        listen 127.0.0.1:%%PORT_80%%;
        location /fastcgi {
            fastcgi_param REQUEST_URI $request_uri;
            fastcgi_param CONTENT_LENGTH $content_length;
            fastcgi_pass 127.0.0.1:%%PORT_fastcgi%%;
        }
        location /uwsgi {
            uwsgi_param REQUEST_URI $request_uri;
            uwsgi_param CONTENT_LENGTH $content_length;
            uwsgi_pass 127.0.0.1:%%PORT_uwsgi%%;
        }
        location /scgi {
            scgi_param REQUEST_URI $request_uri;
            scgi_param CONTENT_LENGTH $content_length;
            scgi_pass 127.0.0.1:%%PORT_scgi%%;
        }
        location /grpc { grpc_pass grpc://127.0.0.1:%%PORT_grpc%%; }
        location /intermission/ { intermission_control; }
    }
    server {
        listen 127.0.0.1:%%PORT_grpc%% http2;
        intermission off;
        location / { proxy_pass http://%%ORIGIN%%; }
    }
EOF

sub seen {
    my ($name) = @_;
    # Those of gRPC go through a second nginx, which has an order of its own.
    return sort map { $_->{uri} } $origin->requests if $name eq 'grpc';
    my @lines = split /\n/, slurp($t->folder . '/backends.log');
    return map {/^$name (\S+)/} @lines;
}

for my $name (qw(fastcgi uwsgi scgi grpc)) {
    is $t->get("/$name")->status, 200, "$name works";
    $t->enable;
    my @bodies = map { 'x' x ($_ * 10_000) } 1 .. 5;
    my @clients = map { $t->hold(POST => "/$name$_", body => $bodies[ $_ - 1 ]) } 1 .. 5;
    my $gone = $t->hold(POST => "/${name}9", body => 'x' x 100_000);
    $gone->close;
    $t->wait_held(5);
    is_deeply [ seen($name) ], ["/$name"], "$name: nothing reaches the backend while paused";
    $t->disable;
    is answered(@clients), 5, "$name: all are answered";
    is_deeply [ seen($name) ], [ map {"/$name$_"} '', 1 .. 5 ], "$name: in order";
    wait_for { my $now = $t->status; $now->{state} eq 'open' && !$now->{in_flight} } 'the end';
}
my @lengths = slurp($t->folder . '/backends.log') =~ /[1-5] (\d+)$/mg;
is_deeply \@lengths, [ (map { $_ * 10_000 } 1 .. 5) x 3 ], 'the bodies are whole';
is_deeply [ sort { $a <=> $b } map { $_->{length} } $origin->requests ],
    [ 0, map { $_ * 10_000 } 1 .. 5 ],
    'those of gRPC as well';

$t->finish;
