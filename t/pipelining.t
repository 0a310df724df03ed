#!/usr/bin/env perl

# Keep-alive and pipelining: of the requests that one connection sends at once, one is held at a
# time, those behind it come to the gate when it is answered, and each is answered in its turn.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

use constant { CONNECTIONS => 10, DEPTH => 20 };

my $t = Intermission::Test->new;
my $origin = $t->origin;
$t->start;

sub all_of {
    my ($number) = @_;
    return map {"/$number-$_"} 1 .. DEPTH;
}

# GET and POST, all in one piece.
sub pipeline {
    my ($client, @uris) = @_;
    my $sent = '';
    for my $at (0 .. $#uris) {
        my @body = $at % 3 ? () : (body => "body of $uris[$at]");
        $sent .= $client->head(@body ? 'POST' : 'GET', $uris[$at], @body) . ($body[1] // '');
    }
    return $client->send($sent);
}

# Kept connections, each with many requests.
my @clients = map { $t->client->get("/warm-$_") } 1 .. CONNECTIONS;
$_->response for @clients;
$origin->forget;

$t->enable;
for my $number (1 .. CONNECTIONS) {
    pipeline($clients[ $number - 1 ], all_of($number));
    $t->wait_held($number);
}
is scalar(grep { $_->silent } @clients), CONNECTIONS, 'nothing comes back while paused';
is $t->status->{totals}{held}, CONNECTIONS, 'one of each connection is held';
$t->disable;
for my $number (1 .. CONNECTIONS) {
    my @bodies = map { $clients[ $number - 1 ]->response->body } 1 .. DEPTH;
    is_deeply \@bodies, [ map {"$_\n"} all_of($number) ],
        "connection $number: each answer in its turn";
}

my @requests = $origin->requests;
is scalar(@requests), CONNECTIONS * DEPTH, 'each reached the origin once';
my @first = grep {/-1$/} map { $_->{uri} } @requests;
is_deeply \@first, [ map {"/$_-1"} 1 .. CONNECTIONS ], 'those that were held, in order';
for my $number (1 .. CONNECTIONS) {
    my @uris = grep {m{^/$number-}} map { $_->{uri} } @requests;
    is_deeply \@uris, [ all_of($number) ], "connection $number: in order at the origin";
}
my @torn = grep { $_->{method} eq 'POST' && $_->{length} != length "body of $_->{uri}" } @requests;
is_deeply \@torn, [], 'the bodies are whole';

# A pause in the middle of a pipeline holds the rest of it.
$origin->forget;
$origin->set('/1-1' => { wait => 1 });
pipeline($clients[0], all_of(1));
$origin->wait_requests(1);
$t->enable;
$origin->answer;
is $clients[0]->response->body, "/1-1\n", 'the first one went through before the pause';
$t->wait_held(1);
is_deeply [ $origin->uris ], ['/1-1'], 'the second one is held';

# A client that leaves takes the whole rest with it.
$clients[0]->close;
$t->wait_held(0);
$t->disable;
$t->wait_state('open');
is_deeply [ $origin->uris ], ['/1-1'], 'nothing of a client that left reaches the origin';

$t->finish;
