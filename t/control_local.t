#!/usr/bin/env perl

# The control location answers local clients only, unless it says "any". Local is who is connected
# from a loopback address or through a unix socket, and has not come through a proxy. What realip
# makes of the address changes nothing about that.

use strict;
use warnings;

use FindBin qw($Bin);
use IO::Socket::INET;
use IO::Socket::IP;
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

# An address of this machine that is not loopback. Nothing is sent to find it.
sub outer_address {
    my $route = IO::Socket::INET->new(PeerAddr => '192.0.2.1', PeerPort => 9, Proto => 'udp');
    return $route && $route->sockhost !~ /^127\./ ? $route->sockhost : undef;
}

my $has_ipv6 = IO::Socket::IP->new(LocalHost => '::1', LocalPort => 0, Listen => 1);

my $t = Intermission::Test->new;
my $listen_ipv6 = $has_ipv6 ? 'listen [::]:%%PORT_86%% ipv6only=off;' : '';
$t->start(<<'EOF' =~ s/LISTEN_IPV6/$listen_ipv6/r);
    server {
        listen 0.0.0.0:%%PORT_80%%;
        listen unix:%%FOLDER%%/control.sock;
        LISTEN_IPV6
        location /intermission/ { intermission_control; }
        location /local/ { intermission_control local; }
        location /any/ { intermission_control any; }
        location /refused/ { intermission_control any; deny all; }
        location /realip/ {
            set_real_ip_from 0.0.0.0/0;
            real_ip_header X-Client;
            intermission_control;
        }
    }
EOF

my %from = (
    loopback => {},
    'another loopback address' => { host => '127.1.2.3' },
    'a unix socket' => { port => undef, path => $t->folder . '/control.sock' },
    $has_ipv6
    ? ( 'IPv6 loopback' => { host => '::1', port => $t->port(86) },
        'loopback, mapped to IPv6' => { port => $t->port(86) },
        )
    : (),
);

sub status_of {
    my ($from, $uri, @headers) = @_;
    return $t->client(%$from)->get($uri, headers => \@headers)->response->status;
}

# Who is connected locally.
for my $name (sort keys %from) {
    my $from = $from{$name};
    is status_of($from, '/intermission/enable'), 200, "from $name";
    is $t->status->{state}, 'paused', 'it does what it was asked to';
    is status_of($from, '/local/disable'), 200, 'the same where "local" is written out';
    is status_of($from, '/intermission/enable', 'X-Forwarded-For: 127.0.0.1'), 403,
        'not if it came through a proxy';
}
is $t->status->{state}, 'open', 'what was refused has changed nothing';

# Who came through a proxy.
for my $header (
    'X-Forwarded-For: 203.0.113.1',
    'X-Forwarded-For:',
    'x-forwarded-for: 127.0.0.1',
    'Forwarded: for=127.0.0.1',
    'X-Real-IP: 127.0.0.1',
    )
{
    is status_of({}, '/intermission/enable', $header), 403, "$header is not local";
    is status_of({}, '/intermission/status', $header), 403, 'not even for status';
    is $t->status->{state}, 'open', 'nothing has changed';
    is status_of({}, '/any/status', $header), 200, '"any" does not mind';
}
is status_of({}, '/refused/status'), 403, '"any" leaves access to the rules of nginx';

# realip, on a local connection.
is status_of({}, '/realip/status', 'X-Client: 203.0.113.1'), 200, 'the peer is what counts';

SKIP: {
    my $address = outer_address() or skip 'this machine has no address but loopback', 6;
    my $outer = { host => $address };
    is status_of($outer, '/intermission/enable'), 403, "from $address";
    is status_of($outer, '/local/enable'), 403, 'where "local" is written out';
    is status_of($outer, '/realip/enable', 'X-Client: 127.0.0.1'), 403, 'realip does not help';
    is $t->status->{state}, 'open', 'nothing has changed';
    is status_of($outer, '/any/enable'), 200, 'but with "any"';
    is $t->status->{state}, 'paused', 'it is done';
}

$t->finish;
