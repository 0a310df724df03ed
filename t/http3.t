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
$t->start(default_server(<<'EOF'));
    listen 127.0.0.1:%%PORT_443%% quic reuseport;
    ssl_certificate %%FOLDER%%/cert.pem;
    ssl_certificate_key %%FOLDER%%/key.pem;
    ssl_protocols TLSv1.3;
    client_max_body_size 10m;
    location /held { intermission_read_body held; proxy_pass http://%%ORIGIN%%; }
EOF

sub connection { return Intermission::Test::HTTP3->new(port => $t->port(443), @_) }

# Of two or more, one stays.
sub leaves {
    my ($what) = @_;
    $t->wait_held(1);
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
        push @streams, [ $connection, $t->hold(@request, client => $connection) ];
    } else {
        push @clients, $t->hold(@request);
    }
}
ok $one->silent($streams[0][1]), 'nothing comes back while paused';
$t->disable;
is scalar(grep { $_->[0]->response($_->[1])->status == 200 } @streams), 8, 'streams are answered';
is answered(@clients), 4, 'and so are the others';
is_deeply [ $origin->uris ], [ map {"/$_"} 1 .. 12 ], 'in one order';

# Large bodies.
$origin->forget;
$t->wait_state('open');
$t->enable;
my $body = join ',', 1 .. 50_000;
my @large = map { $t->hold(POST => $_, body => $body, client => $one) } qw(/large /held);
$t->disable;
is $one->response($_)->status, 200, 'a large body' for @large;
is_deeply [ map { $_->{sha} } $origin->requests ], [ (sha256_hex($body)) x 2 ], 'arrives whole';

# What is cancelled.
$origin->forget;
$t->wait_state('open');
$t->enable;
my $stays = $t->hold(GET => '/stays', client => $one);
$one->cancel($t->hold(GET => '/gone', client => $one));
leaves('a GET that is cancelled');
$one->cancel($t->hold(POST => '/gone', body => 'x' x 1000, client => $one));
leaves('a POST that is cancelled');
$one->cancel($t->hold(POST => '/gone', body => 'x' x 1000, more => 1, client => $one));
leaves('half of a POST that is cancelled');
$one->cancel($t->hold(POST => '/held', body => 'x' x 1000, more => 1, client => $one));
leaves('half of a POST, read while held');

# Connections that end, and one that vanishes.
$t->hold(GET => '/gone', client => $two) for 1 .. 3;
$t->hold(POST => '/gone', body => 'x' x 1000, client => $two);
$two->close;
leaves('a connection that is closed');
my $brief = connection(idle => 2);
$t->hold(GET => '/gone', client => $brief);
$brief->vanish;
leaves('a connection that vanishes, when its idle timeout has passed');

$t->disable;
is $one->response($stays)->status, 200, 'who stayed is answered';
is_deeply [ $origin->uris ], ['/stays'], 'and alone reached the origin';
$t->wait_in_flight(0);

$t->finish;
