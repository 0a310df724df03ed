#!/usr/bin/env perl

# The gate stands behind the body, where nginx waits for it anyway: a request whose body is still
# coming is not in flight, and a drain does not wait for it. When its body has come it is looked at
# once more, and held if its app is paused by then. Whatever kind of body, and wherever it goes.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Upload;

my $t = Intermission::Test->new;
my $origin = $t->origin;
$t->start(default_server(<<'EOF'));
    listen 127.0.0.1:%%PORT_82%% http2;
    location /held { intermission_read_body held; proxy_pass http://%%ORIGIN%%; }
    location /variable { set $backend %%ORIGIN%%; proxy_pass http://$backend; }
    location /tried { try_files /none @app; }
    location @app { proxy_pass http://%%ORIGIN%%; }
    location /mirrored { mirror /mirror; proxy_pass http://%%ORIGIN%%; }
    location = /mirror { internal; proxy_pass http://%%ORIGIN%%/copy; }
    location /streamed {
        intermission_read_body off;
        proxy_request_buffering off;
        proxy_http_version 1.1;
        proxy_pass http://%%ORIGIN%%;
    }
EOF

my @uris = map { my $place = $_; map {"$place/$_"} Intermission::Test::Upload::KINDS }
    qw(/plain /held /variable /tried /mirrored);

sub begin { return Intermission::Test::Upload->new($t, $_[0] =~ m{(\w+)$}, $_[0]) }
sub begin_all { return map { begin($_) } @uris }

sub ended {
    my ($count) = @_;
    return wait_for { $t->server->accessed(qr{ POST /}) == $count } 'them to end';
}

# What the origin got of them, each with its length.
sub arrived {
    return [ sort map {"$_->{uri} $_->{length}"} grep { $_->{uri} ne '/copy' } $origin->requests ];
}

# While the app is open, and then paused.
my @posts = begin_all();
$t->status for 1 .. 5;
is $t->status->{in_flight}, 0, 'with half of their bodies they are not in flight';
my $answer = $t->control('enable', drain => '2s');
is $answer->status, 200, 'a drain does not wait for them';
$t->enable;
$_->rest for @posts;
$t->wait_held(scalar @posts);
is_deeply arrived(), [], 'when the rest comes they are held';
$t->disable;
is_deeply [ map { $_->status } @posts ], [ (200) x @posts ], 'released, they are answered';
is_deeply arrived(), [ sort map {"$_ 20"} @uris ], 'and reach the origin whole, and once';
ended(scalar @posts);

# Without any pause, and with one that is over when the rest comes.
for my $what ('no pause', 'a pause meanwhile') {
    $origin->forget;
    @posts = begin_all();
    $t->status for 1 .. 5;
    if ($what ne 'no pause') { $t->enable; $t->disable }
    $_->rest for @posts;
    is_deeply [ map { $_->status } @posts ], [ (200) x @posts ], "$what: answered";
    is_deeply arrived(), [ sort map {"$_ 20"} @uris ], 'whole, and once';
}
my $held = $t->status->{totals}{held};
is $held, scalar @posts, 'only those were held whose body came in a pause';

# The client leaves in the middle: of an open app, and after a release.
$origin->forget;
@posts = begin_all();
$t->status for 1 .. 5;
$_->leave for @posts;
ended(4 * @posts);
$t->enable;
@posts = begin_all();
$t->wait_held(scalar @posts);
$t->disable;
$_->leave for @posts;
ended(5 * @posts);
is_deeply arrived(), [], 'nothing of those who leave reaches the origin';
my $status = $t->status;
is $status->{$_}, 0, "$_: none" for qw(held in_flight);
my $totals = $status->{totals};
is $totals->{held}, $totals->{released} + $totals->{aborted}, 'each that was held is accounted for';

# Where the backend sees the body as it comes, the request is in flight from the gate on.
my $streamed = begin('/streamed/length');
wait_for { $origin->requests == 1 } 'a request whose body is streamed';
is $t->status->{in_flight}, 1, 'streamed: it is in flight';
is $t->control('enable', drain => '200ms')->status, 504, 'and a drain waits for it';
$streamed->rest;
is $streamed->status, 200, 'it is answered';

$t->finish;
