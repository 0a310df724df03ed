#!/usr/bin/env perl

# intermission_read_body: when the gate reads the body of what it holds. After the release and
# before the backend is asked, while it is held, or not at all. The body arrives whole and once.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new;
my $origin = $t->origin;
$t->start(default_server(<<'EOF'));
    client_max_body_size 20m;
    client_body_buffer_size 16k;
    proxy_http_version 1.1;
    location /release/ { intermission_read_body release; proxy_pass http://%%ORIGIN%%; }
    location /held/ { intermission_read_body held; proxy_pass http://%%ORIGIN%%; }
    location /off/ { intermission_read_body off; proxy_pass http://%%ORIGIN%%; }
    location /release-streaming/ {
        proxy_request_buffering off;
        proxy_pass http://%%ORIGIN%%;
    }
    location /held-streaming/ {
        intermission_read_body held;
        proxy_request_buffering off;
        proxy_pass http://%%ORIGIN%%;
    }
    location /off-streaming/ {
        intermission_read_body off;
        proxy_request_buffering off;
        proxy_pass http://%%ORIGIN%%;
    }
EOF

my @modes = map { ($_, "$_-streaming") } qw(release held off);
my $body = join ',', 1 .. 500_000;
my $half = length($body) / 2;

sub in_chunks {
    return join '', map { sprintf "%x\r\n%s\r\n", length, $_ } $_[0] =~ /.{1,50000}/gs;
}

sub begin {
    my ($uri, @head) = @_;
    my $client = $t->client;
    $client->send($client->head(POST => $uri, @head));
    return $client;
}

# Everything arrives, with a length and in chunks, before and after the release.
$t->enable;
my (%client_of, @rest);
for my $mode (@modes) {
    my $sized = $client_of{"/$mode/sized"} = begin("/$mode/sized", length => length $body);
    my $chunked = $client_of{"/$mode/chunked"}
        = begin("/$mode/chunked", headers => ['Transfer-Encoding: chunked']);
    push @rest, [ $sized, $body ], [ $chunked, in_chunks($body) . "0\r\n\r\n" ];
}
$client_of{"/$_/small"} = $t->client->post("/$_/small", 'small') for @modes;
$t->wait_held(3 * @modes);
substr $_->[1], 0, $_->[0]->send_some($_->[1]), '' for @rest;
is_deeply [ $origin->uris ], [], 'nothing reaches the origin while paused';
$t->disable;
$_->[0]->send($_->[1]) for @rest;

is $client_of{$_}->response->status, 200, "$_ is answered" for sort keys %client_of;
my %sha_of = map { $_->{uri} => $_->{sha} } $origin->requests;
is scalar($origin->uris), scalar keys %client_of, 'each came to the origin once';
for my $uri (sort keys %client_of) {
    is $sha_of{$uri}, sha256_hex($uri =~ /small/ ? 'small' : $body), "$uri: whole";
}

# What of a body of 16 MB is taken while the request is held.
$t->enable;
my $size = 16_000_000;
my $unread = begin('/release/', length => $size);
my $read = begin('/held/', length => $size);
$t->wait_held(2);
$read->send('x' x $size);
pass 'held: the whole body is taken in while the request is held';
my $sent = 0;
while ($unread->can_send(0.3)) { $sent += $unread->send_some('x' x ($size - $sent)) }
cmp_ok $sent, '<', $size, 'release: it is left with the client';
$t->disable;
$unread->send('x' x ($size - $sent));
is $_->response->status, 200, 'both are answered' for $read, $unread;

# Whether the backend is asked before the body is there.
$origin->forget;
$t->enable;
my %slow = map { $_ => begin("/$_/slow", length => 10) } @modes;
$t->wait_held(scalar @modes);
$t->disable;
is $t->get('/next')->status, 200, 'bodies that have not come keep nobody waiting';
my @seen = sort grep {/slow/} $origin->uris;
is_deeply \@seen, ['/off-streaming/slow'], 'only "off" with unbuffered proxying starts without';
$_->send('0123456789') for values %slow;
is $slow{$_}->response->status, 200, "$_: answered when the body is there" for @modes;
is scalar(grep { $_->{length} == 10 } $origin->requests), scalar @modes, 'whole';

$t->finish;
