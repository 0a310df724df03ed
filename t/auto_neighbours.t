#!/usr/bin/env perl

# intermission_auto beside what else asks a backend: a cache, which is neither filled with errors nor passed by; copies, parts and
# questions, which are made once; an answer that leads elsewhere.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new;
$t->write_file('behind', 'a file');
$t->start(<<'EOF');
    proxy_cache_path %%FOLDER%%/cache keys_zone=cache:1m use_temp_path=off;
    intermission on;
    intermission_auto on;
    intermission_auto_interval 20ms;
    server {
        listen 127.0.0.1:%%PORT_80%%;
        ssi_types *;
        add_header X-Cache $upstream_cache_status;
        proxy_cache_valid any 1h;
        proxy_cache_lock_timeout 60s;
        proxy_cache_lock_age 60s;
        location / { proxy_pass http://%%ORIGIN%%; }
        location /cached { proxy_cache cache; proxy_cache_lock on; proxy_pass http://%%ORIGIN%%; }
        location /locked { proxy_cache cache; proxy_cache_lock on; proxy_pass http://%%ORIGIN%%; }
        location /stale {
            proxy_cache cache;
            proxy_cache_use_stale error;
            proxy_pass http://%%ORIGIN%%;
        }
        location /background {
            proxy_cache cache;
            proxy_cache_use_stale updating;
            proxy_cache_background_update on;
            proxy_pass http://%%ORIGIN%%;
        }
        location /mirrored { mirror /copy; proxy_pass http://%%ORIGIN%%; }
        location /copy { proxy_pass http://127.0.0.1:%%PORT_other%%; }
        location /page { ssi on; proxy_pass http://%%ORIGIN%%; }
        location /part { proxy_pass http://127.0.0.1:%%PORT_nobody%%; }
        location /asked { auth_request /question; proxy_pass http://%%ORIGIN%%; }
        location /asks-nobody { auth_request /part; proxy_pass http://127.0.0.1:%%PORT_other%%; }
        location /question { proxy_pass http://127.0.0.1:%%PORT_other%%; }
        location /behind { post_action /after; root %%FOLDER%%; }
        location /after { proxy_pass http://127.0.0.1:%%PORT_nobody%%; }
        location /led { proxy_pass http://127.0.0.1:%%PORT_other%%; }
        location /there { internal; intermission_app_name there; proxy_pass http://127.0.0.1:%%PORT_nobody%%; }
        location /intermission/ { intermission_control; }
    }
EOF

my %answers = (
    '/page' => { body => '<!--#include virtual="/part" -->[end]' },
    '/stale' => { headers => ['Cache-Control: max-age=1'] },
    '/background' => { headers => ['Cache-Control: max-age=1'] },
);
my $other = Intermission::Test::Origin->new(
    port => $t->port('other'),
    answers => { '/led' => { headers => ['X-Accel-Redirect: /there'] } },
);
my $origin;
sub up { return $origin = $t->origin(%answers) }

# A cache.
my @clients = map { $t->hold(GET => $_) } qw(/cached /cached /other);
up();
is join(' ', map { $_->response->header('X-Cache') // '-' } @clients), 'MISS HIT -', 'no error came into the cache';
is_deeply [ $origin->uris ], [qw(/cached /other)], 'and the backend was asked once';
$t->wait_state('open');
$t->end_origin;
is $t->get('/cached')->header('X-Cache'), 'HIT', 'what is cached is answered while the backend is away';
is $t->status->{state}, 'open', 'and nobody notices';

# Many for one page: one of them asks, the others wait for it.
my @locked = map { $t->client->get('/locked') } 1 .. 5;
$t->wait_held(5);
up();
is $_->response->status, 200, 'the lock of a cache does not stay' for @locked;
is_deeply [ $origin->uris ], ['/locked'], 'and one of them has asked';
$t->wait_state('open');

# What is stale.
is $t->get($_)->status, 200, "$_ comes into the cache" for qw(/stale /background);
$t->end_origin;
my $held = $t->status->{totals}{held};
my $stale;
wait_for { ($stale = $t->get('/stale'))->header('X-Cache') ne 'HIT' } 'it to be stale';
is $stale->header('X-Cache'), 'STALE', 'what may be stale is answered so';
is $t->status->{totals}{held}, $held, 'and not held';
wait_for { $t->get('/background')->header('X-Cache') eq 'STALE' } 'what is updated behind an answer';
pass 'what is updated behind an answer is answered as well';
is $t->status->{state}, 'open', 'nobody waits for that';

# Copies, questions.
$other->forget;
@clients = map { $t->hold(GET => $_) } qw(/mirrored /asked);
up();
is $_->response->status, 200, 'held behind its copy, or its question' for @clients;
is_deeply [ $origin->uris ], [qw(/mirrored /asked)], 'sent once';
is_deeply [ sort $other->uris ], [qw(/copy /question)], 'and so was that';
$t->wait_state('open');

# Parts of a page, which are not held by themselves.
$t->end_origin;
my $page = $t->hold(GET => '/page');
up();
like $page->response->body, qr/502 Bad Gateway.*\[end\]/s, 'a page is held, and no part of it';
$t->wait_state('open');
is $t->get('/asks-nobody')->status, 500, 'a question that nobody answers: the usual error';

# An answer that leads to a place whose backend is down: something was sent already.
is $t->get('/led')->status, 502, 'X-Accel-Redirect: the usual error';
is $t->status('there')->{totals}{held}, 0, 'and nobody is held';

# What runs behind an answer.
$held = $t->status->{totals}{held};
is $t->get('/behind')->status, 200, 'an answer with something behind it';
$t->logs(qr{connect\(\) failed.* upstream: "http://[^/]+/after"}, 'that finds nobody');
is $t->status->{state}, 'open', 'which is no outage';
is $t->status->{totals}{held}, $held, 'and not held';

# A copy to nobody.
$other->stop;
is $t->get('/mirrored')->status, 200, 'a copy to nobody is no reason to wait';
is $t->status->{state}, 'open', 'nor is that an outage';

$t->finish;
