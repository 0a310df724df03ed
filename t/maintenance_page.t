#!/usr/bin/env perl

# The page of the maintenance state is nginx's own error_page, for what was held as for what is new.
# Where that leads back under the gate the request stays refused: however pages are chained, nothing
# of it reaches the backend.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new(workers => 2);
my $origin = $t->origin;
$t->write_file('pages/sorry.html', "Back soon.\n");
$t->start(<<'EOF');
    server {
        listen 127.0.0.1:%%PORT_80%% reuseport;
        root %%FOLDER%%/pages;
        intermission on;

        location /plain { proxy_pass http://%%ORIGIN%%; }
        location /page { error_page 503 /sorry.html; proxy_pass http://%%ORIGIN%%; }
        location /nice { error_page 503 =200 /sorry.html; proxy_pass http://%%ORIGIN%%; }
        location /named { error_page 503 @sorry; proxy_pass http://%%ORIGIN%%; }
        location /elsewhere {
            error_page 503 =302 http://status.example/;
            proxy_pass http://%%ORIGIN%%;
        }
        location = /sorry.html { intermission off; }
        location @sorry { intermission off; return 503 "Back soon.\n"; }

        # Back under the gate.
        location /gated { error_page 503 /backend; proxy_pass http://%%ORIGIN%%; }
        location /gated-nice { error_page 503 =200 /backend; proxy_pass http://%%ORIGIN%%; }
        location /gated-named { error_page 503 @backend; proxy_pass http://%%ORIGIN%%; }
        location /gated-tried { error_page 503 /tries; proxy_pass http://%%ORIGIN%%; }
        location /gated-up { error_page 503 /up; proxy_pass http://%%ORIGIN%%; }
        location /gated-shop { error_page 503 /shop; proxy_pass http://%%ORIGIN%%; }
        location /after { post_action @backend; proxy_pass http://%%ORIGIN%%; }
        location /copied {
            satisfy any;
            allow all;
            mirror /copy;
            proxy_pass http://%%ORIGIN%%;
        }
        location = /copy { internal; proxy_pass http://%%ORIGIN%%; }
        location /itself { error_page 503 /itself; proxy_pass http://%%ORIGIN%%; }
        location /looped {
            recursive_error_pages on;
            error_page 503 /looped/again;
            proxy_pass http://%%ORIGIN%%;
        }
        location /chain {
            recursive_error_pages on;
            error_page 503 /chain/1;
            proxy_pass http://%%ORIGIN%%;

            location /chain/1 { error_page 503 /chain/2; proxy_pass http://%%ORIGIN%%; }
            location /chain/2 { error_page 503 @backend; proxy_pass http://%%ORIGIN%%; }
        }
        location /backend { proxy_pass http://%%ORIGIN%%; }
        location /tries { try_files /none @backend; }
        location /up { proxy_pass http://%%ORIGIN%%; }
        location /shop { intermission_app_name shop; proxy_pass http://%%ORIGIN%%; }
        location @backend { proxy_pass http://%%ORIGIN%%; }

        location /intermission/ { intermission_control; }
    }
EOF

# What a client gets: new ones at once, held ones when maintenance begins.
my $page = "Back soon.\n";
my %gets = (
    '/plain' => [503],
    '/page' => [ 503, $page ],
    '/nice' => [ 200, $page ],
    '/named' => [ 503, $page ],
    '/elsewhere' => [302],
    '/gated' => [503],
    '/gated-nice' => [503],
    '/gated-named' => [503],
    '/gated-tried' => [503],
    '/gated-up' => [503],
    '/gated-shop' => [503],
    '/after' => [503],
    '/copied' => [503],
    '/itself' => [503],
    '/looped' => [500],
    '/chain' => [503],
);

$t->enable;
my %held = map { $_ => $t->hold(GET => $_) } sort keys %gets;
my $posted = $t->client->post('/page', 'x' x 50_000);
$t->wait_held(1 + keys %gets);
$t->must('maintenance', retry_after => '2m');

for my $uri (sort keys %gets) {
    my ($status, $body) = @{ $gets{$uri} };
    for my $who ('held', 'new', 'new, with a body') {
        my $response
            = $who eq 'held' ? $held{$uri}->response
            : $who eq 'new' ? $t->get($uri)
            : $t->post($uri, 'x' x 50_000);
        is $response->status, $status, "$uri, $who: $status";
        is $response->body, $body, 'and its page' if defined $body;
        is $response->header('Retry-After'), 120, 'with Retry-After, once' if $status == 503;
    }
}
is $posted->response->body, $page, 'the page for a POST that was held';
is_deeply [ $origin->uris ], [], 'nothing of all that has reached the backend';

# A connection is good for more afterwards.
my $client = $t->client;
is $client->get('/page')->response->status, 503, 'one after the other';
is $client->get('/sorry.html')->response->status, 200, 'on a connection';
is $client->get('/up')->response->status, 200, 'that stays open';
$t->disable;
is $client->get('/page')->response->body, "/page\n", 'until the backend is back';
$t->wait_in_flight(0);

$t->finish;
