#!/usr/bin/env perl

# intermission_auto_probe: how it is seen that a backend is back, which may accept connections before it can serve.
# intermission_auto_replay: what broke off on its way is asked again, once, if it changes nothing.

use strict;
use warnings;

use FindBin qw($Bin);
use IO::Socket::INET;
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new(workers => 2);
$t->start(default_server(<<'EOF'));
    intermission_auto on;
    intermission_auto_interval 20ms;
    intermission_interval 50ms;
    proxy_read_timeout 500ms;
    location /path/ {
        intermission_app_name path;
        intermission_auto_probe /ready?deep=1;
        proxy_pass http://%%ORIGIN%%;
    }
    location /request/ {
        intermission_app_name request;
        intermission_auto_probe request;
        intermission_auto_max_time 10s;
        proxy_pass http://%%ORIGIN%%;
    }
    location /replay/ {
        intermission_app_name replay;
        intermission_auto_replay get;
        proxy_pass http://%%ORIGIN%%;
    }
    location /half {
        intermission_auto_replay get;
        proxy_pass http://127.0.0.1:%%PORT_half%%;
    }
EOF

my $asked = sub { scalar grep { $_ eq $_[1] } $_[0]->uris };

# A path.
my $client = $t->hold(GET => '/path/1', app => 'path');
my $ready = '/ready?deep=1';
my $origin = $t->origin('/ready' => { status => 503 });
for my $answer ({ status => 302 }, { status => 100 }, { status => 404 }, { drop => 1 }) {
    $origin->forget;
    wait_for { $asked->($origin, $ready) >= 2 } 'probes';
    ok $client->silent, 'no good answer: it waits';
    is $asked->($origin, '/path/1'), 0, 'and is not sent';
    $origin->set('/ready' => $answer);
}
my ($probe) = grep { $_->{uri} eq $ready } $origin->requests;
is "$probe->{method} $probe->{headers}{host} $probe->{headers}{'user-agent'}",
    "GET 127.0.0.1:${\ $t->port('ORIGIN')} intermission", 'what a probe is';
$origin->set('/ready' => { wait => 1 });
$origin->forget;
wait_for { $asked->($origin, $ready) >= 2 } 'another probe after one without an answer';
cmp_ok scalar(grep { $_->{uri} eq $ready && !$_->{gone} } $origin->requests), '<=', 1, 'one at a time';
ok $client->silent, 'no answer: it waits';
$origin->set('/ready' => { status => 204 });
is $client->response->status, 200, 'a good answer: it goes';
$t->wait_state('open', 'path');
$t->end_origin;

# One that says what is no HTTP, without an end.
$client = $t->hold(GET => '/path/2', app => 'path');
my $strange = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $t->port('ORIGIN'), Listen => 5, ReuseAddr => 1)
    or die "listen: $!";
for (1 .. 3) {
    my $peer = $strange->accept or die "accept: $!";
    local $SIG{PIPE} = 'IGNORE';
    $peer->blocking(0);
    syswrite $peer, 'x' x 100_000;
}
ok $client->silent, 'an answer that is none: it waits';
close $strange;
$origin = $t->origin;
is $client->response->status, 200, 'until there is one';
$t->wait_state('open', 'path');

# The first of those who are held.
$t->end_origin;
my @clients = map { $t->hold(POST => "/request/$_", app => 'request', body => $_) } 1 .. 3;
$origin = $t->origin;
is $_->response->status, 200, 'the first is the probe' for @clients;
is_deeply [ $origin->uris ], [ map {"/request/$_"} 1 .. 3 ], 'nobody else asked, each came once, in order';
$t->wait_state('open', 'request');

# What broke off.
my $sent = sub {
    my ($uri) = @_;
    return grep { $_->{uri} eq $uri } $origin->requests;
};
for my $case ([ GET => 2 ], [ HEAD => 2 ], [ POST => 1 ], [ GET => 1, body => 'x' ], [ GET => 1, place => '' ]) {
    my ($method, $times, %with) = @$case;
    my $place = delete $with{place} // '/replay';
    my $uri = "$place/" . join '-', lc $method, %with;
    $origin->set($uri => { drop => 1 });
    my $response = $t->request($method => $uri, %with);
    is $response->status, 502, "$method $uri, of which nothing comes back: the usual error";
    is scalar($sent->($uri)), $times, "asked $times times";
    $t->wait_state('open', $_) for qw(replay default);
}
$origin->set('/replay/cut' => { cut => 1 }, '/replay/hangs' => { wait => 1 }, '/replay/502' => { status => 502 });
is $t->get("/replay/$_->[0]")->status, $_->[1], "$_->[0]: $_->[1]" for [ cut => 200 ], [ hangs => 504 ], [ 502 => 502 ];
is scalar($sent->("/replay/$_")), 1, "$_: asked once" for qw(cut hangs 502);

my $half = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $t->port('half'), ReuseAddr => 1, Listen => 5) or die "listen: $!";
$client = $t->client->get('/half');
my $answers = $half->accept or die "accept: $!";
# All of it, so that what it is answered is not lost.
{ local $/ = "\r\n\r\n"; readline $answers }
print {$answers} "HTTP/1.1 200 OK\r\nServ";
close $answers;
is $client->response->status, 502, 'of whose answer some came: the usual error';
is $t->status->{state}, 'open', 'and nobody waits';

$origin->set('/replay/lost' => { wait => 1 });
$client = $t->client;
$client->send("GET /replay/lost HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
push @{ $client->{methods} }, 'GET';
wait_for { $sent->('/replay/lost') } 'it to be on its way';
my $abandoned = sub { $t->control('metrics')->body =~ /abandoned_requests_total\{app="replay"\} (\d+)$/m ? $1 : 0 };
my $before = $abandoned->();
$t->end_origin;
$t->wait_held(1, 'replay');
$origin = $t->origin;
is $client->response->status, 200, 'a backend that dies: asked again when it is back';
is scalar($sent->('/replay/lost')), 1, 'of the new one';
is $abandoned->(), $before + 1, 'and the old one is one whose answer was not awaited';

$t->finish;
