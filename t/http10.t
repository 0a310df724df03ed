#!/usr/bin/env perl

# HTTP/1.0: requests are held and released as any others, with their bodies, and the connection
# ends behind the answer unless the client asked to keep it.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new;
my $origin = $t->origin;
$t->start;

my $held = 0;

sub hold {
    my ($client, $request) = @_;
    $client->send($request);
    $t->wait_held(++$held);
    return $client;
}

$t->enable;
my $bare = hold($t->client, "GET /bare HTTP/1.0\r\n\r\n");
my $post = hold($t->client, "POST /post HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello");
my $kept = hold($t->client, "GET /kept HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
my $gone = hold($t->client, "GET /gone HTTP/1.0\r\n\r\n");
ok $_->silent, 'nothing comes back while paused' for $bare, $post, $kept;
$gone->close;
$t->wait_held(--$held);

$t->disable;
is $bare->response->body, "/bare\n", 'without any header';
ok $bare->closed, 'its connection ends behind the answer';
is $post->response->status, 200, 'with a body';
ok $post->closed, 'its connection as well';
is $kept->response->status, 200, 'kept';

my @requests = $origin->requests;
is_deeply [ map { $_->{uri} } @requests ], [qw(/bare /post /kept)],
    'in order, and none of a client that left';
is $requests[1]{length}, 5, 'the body is whole';

# The kept connection is held a second time.
$t->enable;
$held = 0;
hold($kept, "GET /again HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
$t->disable;
is $kept->response->body, "/again\n", 'once more over the same connection';
ok $kept->silent, 'which stays open';
$t->wait_in_flight(0);

$t->finish;
