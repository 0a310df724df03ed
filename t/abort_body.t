#!/usr/bin/env perl

# The end of a client can hide behind a body that nobody has read yet. Such a request is found out
# at its release at the latest, and never reaches the origin; with intermission_read_body held it
# is found out at once, as nothing is left unread.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new;
my $origin = $t->origin;
$t->start(default_server(<<'EOF'));
    client_max_body_size 20m;

    location /release { proxy_pass http://%%ORIGIN%%; }
    location /release-unbuffered {
        proxy_request_buffering off;
        proxy_pass http://%%ORIGIN%%;
    }
    location /held { intermission_read_body held; proxy_pass http://%%ORIGIN%%; }
EOF

my %leave = (close => sub { $_[0]->close }, half_close => sub { $_[0]->half_close });

# So much of the body as the server takes, or nothing is left to be taken.
sub send_what_fits {
    my ($client, $body) = @_;
    my $sent = 0;
    while ($sent < length $body) {
        $sent += $client->send_some(substr $body, $sent);
        return $sent if !$client->can_send(0.3);
    }
    return $sent;
}

sub begin_post {
    my ($uri, $size) = @_;
    my $client = $t->client;
    my $held = $t->status->{held};
    $client->send($client->head(POST => $uri, length => $size));
    $t->wait_held($held + 1);
    return $client;
}

sub ended { return scalar $t->server->accessed(qr{ POST /}) }

# Read after the release, which is the default.
my @left;    # kept, as a half-closed connection would end with its variable
for my $uri ('/release', '/release-unbuffered') {
    $t->enable;
    for my $way (sort keys %leave) {
        for my $size (200_000, 1_000_000, 16_000_000) {
            my $client = begin_post("$uri-$way-$size", $size);
            send_what_fits($client, 'x' x $size);
            $leave{$way}->($client);
            push @left, $client;
        }
    }
    my $last = $t->hold(GET => '/last');
    $t->disable;
    is $last->response->status, 200, "$uri: who stayed is answered";
    wait_for { ended() == @left } 'the requests of those who left to end';
}
is_deeply [ $origin->uris ], [ '/last', '/last' ], 'the origin saw nobody who had left';
is $t->status->{held}, 0, 'nothing is held';
is $t->status->{in_flight}, 0, 'nothing is in flight';
is $t->status->{totals}{aborted}, scalar @left, 'all of them count as aborted';

# The client leaves in the middle of its body, after the release.
$t->enable;
my $client = begin_post('/release', 200_000);
$client->send('x' x 1000);
$t->disable;
is $t->get('/next')->status, 200, 'a body that is slow to come keeps nobody waiting';
$client->close;
wait_for { ended() == @left + 1 } 'the request to end';
is scalar(grep {/release/} $origin->uris), 0, 'nor did half a body reach the origin';

# Read while held.
$origin->forget;
$t->enable;
for my $way (sort keys %leave) {
    for my $size (1000, 200_000, 16_000_000) {
        my $client = begin_post('/held', $size);
        $client->send('x' x $size);
        $leave{$way}->($client);
        $t->wait_held(0);
        pass "read while held, $size, then $way: out of the queue";
    }
}
$t->disable;
is $t->get('/next')->status, 200, 'the app is open';
is_deeply [ $origin->uris ], ['/next'], 'the origin saw none of them';
is $t->status->{in_flight}, 0, 'nothing is in flight';

$t->finish;
