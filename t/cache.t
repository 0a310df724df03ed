#!/usr/bin/env perl

# proxy_cache and slice beside the gate. What is cached is held as everything else is: the gate
# stands before the cache. A cache lock still lets one of many through to the origin, who come
# together after a release. Slices and background updates belong to a request that went through.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new(main => 'worker_shutdown_timeout 10s;');
my $file = join '', map { sprintf '%09d,', $_ } 1 .. 20;

# One slice of it, as an answer to its range.
sub slice {
    my ($first) = @_;
    my $last = $first + 49;
    return {
        status => 206,
        headers => [ "Content-Range: bytes $first-$last/200", 'ETag: "x"' ],
        body => substr($file, $first, 50),
    };
}

my $origin = $t->origin(
    '/locked' => { wait => 1 },
    '/stale' => { headers => ['Cache-Control: max-age=1'] },
    (map { ("/sliced/bytes=$_-" . ($_ + 49) => slice($_)) } 0, 50, 100),
    '/sliced/bytes=150-199' => { %{ slice(150) }, wait => 1 },
);
my $cache = 'proxy_cache_path %%FOLDER%%/cache keys_zone=cache:1m use_temp_path=off;';
$t->start($cache . default_server(<<'EOF'));
    proxy_cache cache;
    proxy_cache_valid 200 206 1h;
    proxy_http_version 1.1;
    add_header X-Cache $upstream_cache_status;
    location /locked {
        proxy_cache_lock on;
        proxy_cache_lock_age 60s;
        proxy_cache_lock_timeout 60s;
        proxy_pass http://%%ORIGIN%%;
    }
    location /stale {
        proxy_cache_use_stale updating;
        proxy_cache_background_update on;
        proxy_pass http://%%ORIGIN%%;
    }
    location /sliced {
        slice 50;
        proxy_cache_key $uri$slice_range;
        proxy_pass http://%%ORIGIN%%/sliced/$slice_range;
    }
EOF

sub caches { return join ' ', map { $_->response->header('X-Cache') } @_ }

is $t->get('/page')->header('X-Cache'), 'MISS', 'a page comes into the cache';
is $t->get('/page')->header('X-Cache'), 'HIT', 'and out of it';

# A hit is held.
$t->enable;
my @held = ($t->hold(GET => '/page'), $t->hold(GET => '/other'), $t->hold(GET => '/page'));
ok $_->silent, 'a hit is held as a miss is' for @held;
$t->disable;
is caches(@held), 'HIT MISS HIT', 'and answered out of the cache after the release';
is_deeply [ $origin->uris ], [qw(/page /other)], 'the origin was asked for the misses alone';

# The lock of the cache.
$origin->forget;
$t->enable;
my @locked = map { $t->hold(GET => '/locked') } 1 .. 20;
$t->disable;
$origin->wait_requests(1);
$t->wait_in_flight(20);
$origin->answer;
is caches(@locked), join(' ', 'MISS', ('HIT') x 19), 'the others get what it brought';
is_deeply [ $origin->uris ], ['/locked'], 'the origin was asked once';

# A pause while others wait for the lock: they had gone through.
$origin->forget;
my $first = $t->client->get('/locked?2');
$origin->set('/locked' => { wait => 1 });
$origin->wait_requests(1);
my $second = $t->client->get('/locked?2');
$t->wait_in_flight(2);
$t->enable;
$origin->answer;
is caches($first, $second), 'MISS HIT', 'who went through before the pause is answered in it';
is $t->status->{held}, 0, 'and not held';
$t->disable;

# A background update.
is $t->get('/stale')->header('X-Cache'), 'MISS', 'a page that is stale soon';
my $stale_at = time + 3;
$origin->forget;
$t->enable;
my $stale = $t->hold(GET => '/stale');
wait_for { time > $stale_at } 'it to be stale';
is_deeply [ $origin->uris ], [], 'while its request is held nothing is updated';
$t->disable;
is caches($stale), 'STALE', 'after the release it is answered';
$origin->wait_requests(1);
$t->wait_in_flight(0);

# Slices: the gate closes while the last one is still to come.
$origin->forget;
$t->enable;
my $sliced = $t->hold(GET => '/sliced');
is_deeply [ $origin->uris ], [], 'no slice is fetched while its request is held';
$t->disable;
wait_for { 4 == grep { $_->{complete} } $origin->requests } 'the last slice';
$t->enable;
$origin->answer;
is $sliced->response->body, $file, 'slices go through a closed gate with their request';
is $t->status->{held}, 0, 'none of them is held';
$t->disable;

$t->finish;
