#!/usr/bin/env perl

# Expect: 100-continue: the client is told to send its body when somebody is going to read it,
# which is after the release, or at once where bodies are read while held.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new;
my $origin = $t->origin;
$t->start(default_server(<<'EOF'));
    location /held { intermission_read_body held; proxy_pass http://%%ORIGIN%%; }
    location /off { intermission_read_body off; proxy_pass http://%%ORIGIN%%; }
EOF

my $body = 'x' x 5000;

sub ask {
    my ($uri) = @_;
    my $client = $t->client;
    my $held = $t->status->{held};
    $client->send($client->head(POST => $uri, length => length $body,
        headers => ['Expect: 100-continue']));
    $t->wait_held($held + 1);
    return $client;
}

$t->enable;
my @waiting = map { ask($_) } qw(/release /off);
my $told = ask('/held');
my $leaving = ask('/gone');
my $leaving_later = ask('/gone-later');

is $told->response->status, 100, 'read while held: the client is told to go on';
$told->send($body);
ok $_->silent, 'read later: it is not told yet' for @waiting, $leaving;
$leaving->close;
$t->wait_held(4);

$t->disable;
for my $client (@waiting) {
    is $client->response->status, 100, 'after the release it is told';
    $client->send($body);
    is $client->response->status, 200, 'and answered';
}
is $told->response->status, 200, 'so is the one that was told before';

is $leaving_later->response->status, 100, 'one is told and leaves instead';
$leaving_later->close;
wait_for { scalar $t->server->accessed(qr{/gone-later}) } 'its request to end';

is_deeply [ sort $origin->uris ], [qw(/held /off /release)], 'the origin saw who stayed, once';
is $_->{length}, length $body, "$_->{uri}: the whole body" for $origin->requests;
is $t->status->{in_flight}, 0, 'nothing is in flight';

$t->finish;
