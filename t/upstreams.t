#!/usr/bin/env perl

# fastcgi_pass, uwsgi_pass, scgi_pass and grpc_pass beside the gate: held, released in order and
# with whole bodies, as with proxy_pass; nothing of a client that left reaches the backend.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Gateway;

my $t = Intermission::Test->new;

my @backends = map { Intermission::Test::Gateway->new($t, $_) } qw(fastcgi uwsgi scgi);
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
