#!/usr/bin/env perl

# A request is refused whose body has not come yet, or not all of it, and the page for that comes
# from a backend, over kept connections: what goes there has a whole body or none, so that the
# requests of other clients, which come behind it, are read as what they are.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Refusal;

my $t = Intermission::Test->new;
my $origin = $t->strict_origin;
my $locations = locations(
    uri => 'error_page 400 413 503 504 /sorry?$args;',
    named => 'error_page 400 413 503 504 @sorry;',
);
$t->start(<<"EOF");
    upstream origin { server %%ORIGIN%%; keepalive 4; }
    server {
        listen 127.0.0.1:%%PORT_80%%;
        listen 127.0.0.1:%%PORT_82%% http2;
        intermission on;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_read_timeout 2s;

        $locations
        location /sorry { intermission off; proxy_pass http://origin; }
        location \@sorry { intermission off; proxy_pass http://origin; }
        location /first { proxy_pass http://origin; }
        location /mine { intermission off; proxy_pass http://origin; }
        location /smuggled { intermission off; proxy_pass http://origin; }
        location /behind { intermission off; return 200 behind; }
        location /intermission/ { intermission_control; }
    }
EOF

my $number = 0;
my %body_of;

# Requests of HTTP/1.1 to a place, with what each does once it is refused: what it is answered then.
sub requests {
    my ($way, $place) = @_;
    return map { my $body = $_; one_request($place, $body) } bodies($way, ++$number);
}

sub one_request {
    my ($place, $body) = @_;
    my ($kind, $headers, $first, $rest, $whole) = @$body;
    my $uri = "$place?n=" . ++$number;
    $body_of{$uri} = $whole;
    my $client = $t->client;
    $client->send($client->head(POST => $uri, headers => $headers) . $first);
    return [ "$uri, $kind", sub {
        $client->send($rest . $client->head(GET => '/behind', headers => ['Connection: close']));
        my @statuses;
        while (my $status = $client->response->status) { push @statuses, $status }
        return join ' ', grep { $_ != 100 } @statuses;
    } ];
}

# The same as streams of one connection.
sub streams_to {
    my ($way, $place) = @_;
    my $connection = $t->http2(port => $t->port(82));
    my @streams;
    for my $body (streams($way, ++$number)) {
        my ($kind, $headers, $first, $rest, $whole) = @$body;
        my $uri = "$place?n=" . ++$number;
        $body_of{$uri} = $whole;
        my $stream = $connection->post($uri, $first, headers => $headers, more => length $rest);
        push @streams, [ "$uri, stream, $kind", sub {
            $connection->send_rest($stream, $rest) if length $rest;
            my $behind = $connection->get('/behind');
            return join ' ', map { $connection->response($_)->status } $stream, $behind;
        } ];
    }
    return @streams;
}

for my $way (ways()) {
    my @all;
    refuse($t, $way, sub {
        @all = map { (requests($way, $_), streams_to($way, $_)) } places($way);
        return scalar @all;
    });
    my @others = map { [ "/mine?$_", $t->client->get("/mine?$_") ] } 1 .. 10;
    my @mixed = grep { $_->[1]->response->body ne "$_->[0]\n" } @others;
    is_deeply [ map { $_->[0] } @mixed ], [], 'other clients get their own answers';

    my @wrong;
    for my $one (@all) {
        my ($what, $end) = @$one;
        my $answers = $end->();
        push @wrong, "$what: $answers" if $answers !~ /^(?:503|504|413|400)(?: 200)?$/;
    }
    is_deeply \@wrong, [], "$way: ${\ scalar @all} refusals, and nothing else";
    $t->disable;
    $t->wait_state('open');
}

my $report = $origin->report;
is_deeply $report->{wrong}, [], 'every byte at the origin belongs to a request, and all are whole';
my @foreign;
for my $request (@{ $report->{requests} }) {
    my ($uri, $body) = @$request{qw(uri body)};
    my ($n) = $uri =~ /\?n=(\d+)$/;
    my ($own) = grep { defined $n && /\?n=$n$/ } keys %body_of;
    next if $body eq '' && $uri =~ m{^/(?:mine\?|first$|sorry\?)};
    next if defined $own && ($body eq '' || $body eq ($body_of{$own} // ''));
    push @foreign, "$uri '$body'";
}
is_deeply \@foreign, [], 'with its own body or none';
$t->wait_in_flight(0);

$t->finish;
