#!/usr/bin/env perl

# A request that one app has released turns out to have a bad body, and the page for that is at a
# place of another app, which is paused and drained: it meets that one's gate. Nothing reaches the
# backend behind it.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new;
my $origin = $t->origin;
$t->start(<<'EOF');
    server {
        listen 127.0.0.1:%%PORT_80%%;
        listen 127.0.0.1:%%PORT_82%% http2;
        client_max_body_size 10;
        intermission on;
        intermission_app_name web;

        location /uri { error_page 400 413 /sorry; proxy_pass http://%%ORIGIN%%; }
        location /named { error_page 400 413 @sorry; proxy_pass http://%%ORIGIN%%; }
        location /held {
            intermission_read_body held;
            error_page 400 413 /sorry;
            proxy_pass http://%%ORIGIN%%;
        }
        location /sorry { intermission_app_name app; proxy_pass http://%%ORIGIN%%; }
        location @sorry {
            intermission_app_name app;
            rewrite ^ /sorry break;
            proxy_pass http://%%ORIGIN%%;
        }
        location /intermission/ { intermission_control; }
    }
EOF

sub post {
    my ($uri, $body) = @_;
    my $client = $t->client;
    $client->send($client->head(POST => $uri, headers => ['Transfer-Encoding: chunked']) . $body);
    return { is_silent => sub { $client->silent }, status => sub { $client->response->status } };
}

my %bad = (
    'too large' => sub { post($_[0], "14\r\n" . 'x' x 20 . "\r\n0\r\n\r\n") },
    'too large, and half' => sub { post($_[0], "ff\r\n" . 'x' x 20) },
    'broken' => sub { post($_[0], "5\r\nabcde no chunk\r\n") },
    'a stream, too large' => sub {
        my $connection = $t->http2(port => $t->port(82));
        my $stream = $connection->post($_[0], 'x' x 20);
        return {
            is_silent => sub { $connection->silent($stream) },
            status => sub { $connection->response($stream)->status },
        };
    },
);

sub counts_are_right {
    my ($what) = @_;
    my @counts;
    my $right = eval {
        wait_for {
            @counts = map { @{ $t->status($_) }{qw(held in_flight)} } qw(web app);
            "@counts" eq '0 0 0 0';
        } 'all counts to be 0';
    };
    ok $right, "$what: nothing is counted any more" or diag "@counts";
}

for my $uri (qw(/uri /named /held)) {
    for my $bad (sort keys %bad) {
        $origin->forget;
        is $t->control('enable', app => 'app', drain => '5s')->status, 200, "$uri, $bad: quiet";
        $t->enable('web');
        my $totals = $t->status('web')->{totals};
        my $request = $bad{$bad}->($uri);
        wait_for {
            my $now = $t->status('web')->{totals};
            $now->{held} > $totals->{held};
        } 'it to come';
        $t->disable('web');

        # Held by the other app, or refused.
        wait_for { $t->status('app')->{held} || !$request->{is_silent}->() || $origin->requests }
            'what becomes of it';
        $t->status for 1 .. 5;
        is_deeply [ $origin->uris ], [], 'nothing reaches the backend of the app that is paused'
            or next;
        my $in_flight = $t->status('app')->{in_flight};
        is $in_flight, 0, 'nor is it in flight there';
        $t->disable('app');
        like $request->{status}->(), qr/^(?:400|413|503)$/, 'it is answered at last';
        counts_are_right("$uri, $bad");
    }
}

# The other app is open: the page is given.
for my $uri (qw(/uri /named)) {
    $origin->forget;
    $t->enable('web');
    my $request = $bad{'too large'}->($uri);
    $t->wait_held(1, 'web');
    $t->disable('web');
    is $request->{status}->(), 413, "$uri: the other app is open";
    is_deeply [ $origin->uris ], ['/sorry'], 'and its page is asked for';
    undef $request;    # nginx waits a few seconds for who is refused to close
    counts_are_right($uri);
}

$t->finish;
