#!/usr/bin/env perl

# Bodies that nginx refuses while the gate reads them: the error page stands under the gate as well,
# and is answered.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new;
my $origin = $t->origin;
$t->write_file('file', 'a page');
$t->start(default_server(<<'EOF'));
    client_max_body_size 10;
    error_page 413 /sorry;
    error_page 400 /file;
    location /held { intermission_read_body held; proxy_pass http://%%ORIGIN%%; }
    location /file { alias %%FOLDER%%/file; }
EOF

sub begin {
    my ($uri, $body) = @_;
    my $client = $t->client;
    $client->send($client->head(POST => $uri, headers => ['Transfer-Encoding: chunked']) . $body);
    return $client;
}

my $too_large = "14\r\n" . 'x' x 20 . "\r\n0\r\n\r\n";

# After the release the page is asked for as any other.
$t->enable;
my $large = begin('/large', $too_large);
my $broken = begin('/broken', "5\r\nab");
$t->wait_held(2);
$t->disable;
is $large->response->status, 413, 'too large: answered after the release';
is_deeply [ $origin->uris ], ['/sorry'], 'with the page';
$broken->send('cde no chunk');
my $response = $broken->response;
is $response->status, 400, 'broken: answered after the release';
is $response->body, 'a page', 'with the page';
$_->close for $large, $broken;

# While the app is paused nothing goes to its backend for it.
$origin->forget;
$t->enable;
my $early = begin('/held', $too_large);
is $early->response->status, 413, 'too large: answered while paused';
my $late = begin('/held', "5\r\nab");
$t->wait_held(1);
$late->send('cde no chunk');
is $late->response->status, 400, 'broken: answered while paused';
is_deeply [ $origin->uris ], [], 'without a word to the origin';
is $t->status->{held}, 0, 'and nothing is held any more';

$t->disable;
$t->wait_in_flight(0);
is $t->status->{totals}{aborted}, 4, 'each is counted as aborted';

$t->finish;
