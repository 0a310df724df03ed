#!/usr/bin/env perl

# A request is refused whose body has not come yet, or not all of it: what comes then is the rest of
# that body, or comes to the end of its connection, and is never taken for another request.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Refusal;

my $t = Intermission::Test->new;
my $origin = $t->strict_origin;
$t->write_file('page', "sorry\n");
my $locations = locations(none => '', page => 'error_page 400 413 503 504 /page;');
$t->start(<<"EOF");
    upstream origin { server %%ORIGIN%%; keepalive 4; }
    server {
        listen 127.0.0.1:%%PORT_80%%;
        intermission on;
        proxy_http_version 1.1;
        proxy_set_header Connection "";

        $locations
        location = /page { internal; intermission off; alias %%FOLDER%%/page; }
        location /first { proxy_pass http://origin; }
        location /smuggled { intermission off; proxy_pass http://origin; }
        location /behind { intermission off; return 200 behind; }
        location /intermission/ { intermission_control; }
    }
EOF

sub begin {
    my ($uri, $body) = @_;
    my ($kind, $headers, $first) = @$body;
    my $client = $t->client;
    $client->send($client->head(POST => $uri, headers => $headers) . $first);
    return $client;
}

# Sends the rest, and another request behind it: what is answered until the connection ends.
sub end {
    my ($client, $body) = @_;
    $client->send($body->[3] . $client->head(GET => '/behind', headers => ['Connection: close']));
    my @answers;
    while (my $status = (my $response = $client->response)->status) {
        push @answers, $response->body eq 'behind' ? 'behind' : $status if $status >= 200;
    }
    return join ' ', @answers;
}

for my $way (ways()) {
    $t->enable('other');
    my @all;
    refuse($t, $way, sub {
        for my $place (places($way)) {
            my @bodies = bodies($way, scalar @all);
            push @all, map { [ "$place $_->[0]", begin($place, $_), $_ ] } @bodies;
        }
        return scalar @all;
    });
    my @wrong;
    for my $one (@all) {
        my ($what, $client, $body) = @$one;
        my $answers = end($client, $body);
        push @wrong, "$what: $answers" if $answers !~ /^(?:503|504|413|400)(?: behind)?$/;
    }
    is_deeply \@wrong, [], "$way: ${\ scalar @all} refusals, and nothing else";
    is $t->status('other')->{state}, 'paused', 'nobody made a call';
    $t->disable;
    $t->wait_state('open');
}

my $report = $origin->report;
is_deeply [ grep { $_ ne '/first' } map { $_->{uri} } @{ $report->{requests} } ], [],
    'nothing reached the origin';
is_deeply $report->{wrong}, [], 'nor any byte that does not belong there';
$t->wait_in_flight(0);

$t->finish;
