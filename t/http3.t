#!/usr/bin/env perl

# HTTP/3: held and released in order with whole bodies, in one order with HTTP/1.1; a request that
# is cancelled, or whose connection ends, never reaches the origin. A connection that is silent for
# longer than its idle timeout ends, and what it held is given up.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::HTTP3;
use Intermission::Test::TLS;

my $missing = Intermission::Test::HTTP3->missing($ENV{INTERMISSION_NGINX} || 'nginx');
plan skip_all => $missing if $missing;

my $t = Intermission::Test->new;
my $origin = $t->origin;
Intermission::Test::TLS->certificate($t->folder);
$t->start(<<'EOF');
    intermission on;
    client_max_body_size 10m;
    server {
        listen 127.0.0.1:%%PORT_80%%;
        location / { proxy_pass http://%%ORIGIN%%; }
        location /intermission/ { intermission_control; }
    }
    server {
        listen 127.0.0.1:%%PORT_443%% quic reuseport;
        ssl_certificate %%FOLDER%%/cert.pem;
        ssl_certificate_key %%FOLDER%%/key.pem;
        ssl_protocols TLSv1.3;
        location / { proxy_pass http://%%ORIGIN%%; }
        location /held { intermission_read_body held; proxy_pass http://%%ORIGIN%%; }
    }
EOF

sub connection { return Intermission::Test::HTTP3->new(port => $t->port(443), @_) }

my $held = 0;

sub hold {
    my ($connection, @request) = @_;
    my $stream = $connection->request(@request);
    $t->wait_held(++$held);
    return $stream;
}

sub leaves {
    my ($count, $what) = @_;
    $t->wait_held($held -= $count);
    return pass "$what: out of the queue";
}

# Held and released, on two connections and beside HTTP/1.1.
my ($one, $two) = (connection(), connection());
$t->enable;
my (@streams, @clients);
for my $number (1 .. 12) {
    my @request = $number % 4 ? (GET => "/$number") : (POST => "/$number", body => 'x' x 3000);
    if ($number % 3) {
        my $connection = $number % 2 ? $one : $two;
        push @streams, [ $connection, hold($connection, @request) ];
    } else {
        push @clients, $t->hold(@request);
        $held++;
    }
}
ok $one->silent($streams[0][1]), 'nothing comes back while paused';
$t->disable;
is scalar(grep { $_->[0]->response($_->[1])->status == 200 } @streams), 8, 'streams are answered';
is scalar(grep { $_->response->status == 200 } @clients), 4, 'and so are the others';
is_deeply [ $origin->uris ], [ map {"/$_"} 1 .. 12 ], 'in one order';

# Large bodies.
$origin->forget;
wait_for { $t->status->{state} eq 'open' } 'the app to be open';
$t->enable;
$held = 0;
my $body = join ',', 1 .. 50_000;
my @large = map { hold($one, POST => $_, body => $body) } qw(/large /held);
$t->disable;
is $one->response($_)->status, 200, 'a large body' for @large;
is_deeply [ map { $_->{sha} } $origin->requests ], [ (sha256_hex($body)) x 2 ], 'arrives whole';

# What is cancelled.
$origin->forget;
wait_for { $t->status->{state} eq 'open' } 'the app to be open';
$t->enable;
$held = 0;
my $stays = hold($one, GET => '/stays');
$one->cancel(hold($one, GET => '/gone'));
leaves(1, 'a GET that is cancelled');
$one->cancel(hold($one, POST => '/gone', body => 'x' x 1000));
leaves(1, 'a POST that is cancelled');
$one->cancel(hold($one, POST => '/gone', body => 'x' x 1000, more => 1));
leaves(1, 'half of a POST that is cancelled');
$one->cancel(hold($one, POST => '/held', body => 'x' x 1000, more => 1));
leaves(1, 'half of a POST, read while held');

# Connections that end, and one that vanishes.
hold($two, GET => '/gone') for 1 .. 3;
hold($two, POST => '/gone', body => 'x' x 1000);
$two->close;
leaves(4, 'a connection that is closed');
my $brief = connection(idle => 2);
hold($brief, GET => '/gone');
$brief->vanish;
leaves(1, 'a connection that vanishes, when its idle timeout has passed');

$t->disable;
is $one->response($stays)->status, 200, 'who stayed is answered';
is_deeply [ $origin->uris ], ['/stays'], 'and alone reached the origin';
wait_for { $t->status->{in_flight} == 0 } 'nothing to be in flight';

$t->finish;
