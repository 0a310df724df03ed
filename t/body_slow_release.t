#!/usr/bin/env perl

# A release with a request whose body does not come: that one keeps nobody waiting, takes no place
# and is no canary. When its body has come it goes on; if its app is paused by then it is held
# again, in the place that it had.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Upload;

my $t = Intermission::Test->new;
my $origin = $t->origin('/slow' => { wait => 1 });
$t->start(default_server(<<'EOF'));
    listen 127.0.0.1:%%PORT_82%% http2;
    intermission_interval 1h;
    location /limited { intermission_max_time 300ms; proxy_pass http://%%ORIGIN%%; }
EOF

sub is_open { return $t->wait_state('open') }

# Pauses, and holds first an upload and then GETs.
sub hold {
    my ($kind, $uri, @gets) = @_;
    $origin->forget;
    $t->enable;
    my $upload = Intermission::Test::Upload->new($t, $kind, $uri);
    $t->wait_held(1);
    return ($upload, map { $t->hold(GET => $_) } @gets);
}

my ($held, $timed_out) = (0, 0);
for my $kind (Intermission::Test::Upload::KINDS) {
    # One place only.
    my ($upload, @clients) = hold($kind, '/upload', map {"/slow?$_"} 1 .. 3);
    $t->must('disable', concurrency => 1);
    for my $number (1 .. 3) {
        my @there = $origin->wait_requests($number);
        is scalar(@there), $number, "$kind: the first place is that of GET $number";
        is $t->status->{in_flight}, 1, 'it alone is in flight';
        $origin->answer;
    }
    is $_->response->status, 200, 'it is answered' for @clients;
    is_open();
    is $t->status->{in_flight}, 0, 'open, with nothing in flight';
    $upload->rest;
    is $upload->status, 200, 'the upload goes on when its body has come';
    is_deeply [ $origin->uris ], [ (map {"/slow?$_"} 1 .. 3), '/upload' ], 'in this order';
    $held += 4;

    # It comes to another pause.
    ($upload, @clients) = hold($kind, '/upload', '/1', '/2');
    $t->disable;
    is $_->response->status, 200, 'who was held behind it is answered' for @clients;
    is_open();
    is $t->control('enable', drain => '2s')->status, 200, 'a drain does not wait for it either';
    $t->enable;
    my @late = $t->hold(GET => '/3');
    $upload->rest;
    $t->wait_held(2);
    push @late, $t->hold(GET => '/4');
    is_deeply [ $origin->uris ], [qw(/1 /2)], 'its body has come: it is held again';
    $t->disable;
    is $_->status, 200, 'released again' for $upload, map { $_->response } @late;
    is_deeply [ $origin->uris ], [qw(/1 /2 /upload /3 /4)], 'before those that came after it';
    $held += 5;

    # The first one of a canary.
    ($upload, @clients) = hold($kind, '/upload', map {"/slow?$_"} 1 .. 3);
    my $caller = $t->call('disable', canary => 1);
    $origin->wait_requests(1);
    is_deeply [ $origin->uris ], ['/slow?1'], 'the canary is one whose body is there';
    $origin->answer;
    is $caller->response->status, 200, 'it is good';
    $origin->wait_requests(3);
    $origin->answer;
    is $_->response->status, 200, 'the rest follows' for @clients;
    is_open();
    $upload->rest;
    is $upload->status, 200, 'and at last the upload';
    $held += 4;

    # Held for as long as it may be.
    ($upload) = hold($kind, '/limited');
    $timed_out++;
    wait_for { $t->status->{totals}{timed_out} == $timed_out } 'its time to be up';
    is $t->control('enable', drain => '2s')->status, 200, 'its time is up: not in flight yet';
    is $t->status->{held}, 0, 'held no more';
    is_deeply [ $origin->uris ], [], 'nor at the origin';
    $upload->rest;
    is $upload->status, 200, 'it goes on when its body has come';
    is $t->status->{state}, 'paused', 'behind the closed gate';
    $t->disable;
    is_open();
    $held += 1;
}

my @requests = grep { $_->{method} eq 'POST' && $_->{length} != 20 } $origin->requests;
is_deeply \@requests, [], 'whole bodies, all of them';
my $totals = $t->status->{totals};
is $totals->{held}, $held, 'each was counted once that was held';
is $totals->{released} + $totals->{timed_out}, $held, 'and what became of it';
is $totals->{aborted}, 0, 'none has left';
$t->wait_in_flight(0);

$t->finish;
