#!/usr/bin/env perl

# A release under saturation: there are always clients who send the next request as soon as the last
# one is answered, and more of them than nginx can serve at once. It ends nevertheless, and what was
# held goes before what came later.

use strict;
use warnings;

use FindBin qw($Bin);
use List::Util qw(sum uniq);
use Test::More;
use Time::HiRes qw(time);

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::ClosedLoop;
use Intermission::Test::Wait qw(TIME_LIMIT);

use constant { COUNT => 250, ROUNDS => 3 };

sub uri { return "/work?client=$_[0]&round=$_[1]" }

my @gzip = (headers => ['Accept-Encoding: gzip']);

sub request {
    my ($client, $number, $round) = @_;
    return $client->get(uri($number, $round), @gzip);
}

for my $workers (1, 2) {
    my $t = Intermission::Test->new(workers => $workers);
    # It takes nginx a few milliseconds to make an answer of that.
    $t->write_file('work', join ' ', map { $_ * $_ } 1 .. 2000);
    $t->start(<<'EOF');
        log_format gate '$request_uri $intermission_status';
        server {
            listen 127.0.0.1:%%PORT_80%% reuseport;
            keepalive_requests 1000000;
            intermission on;
            location /work {
                gzip on;
                gzip_types *;
                gzip_comp_level 9;
                gzip_http_version 1.0;
                access_log %%FOLDER%%/gate.log gate;
                alias %%FOLDER%%/work;
            }
            location /intermission/ { intermission_control; }
        }
EOF
    my $released = sub {
        my $log = slurp($t->folder . '/gate.log');
        return $log =~ /^(\S+) RELEASED$/mg;
    };

    $t->enable;
    my @clients = map { $t->client } 1 .. COUNT;
    for my $number (0 .. COUNT - 1) {
        $t->hold(GET => uri($number, 0), client => $clients[$number], @gzip);
    }
    my $loop = Intermission::Test::ClosedLoop->new(\&request, @clients);
    my @before;
    for my $round (1 .. ROUNDS) {
        $t->disable;
        my $start = time;
        wait_for { $t->status->{state} eq 'open' } 'the release to end', TIME_LIMIT / 2;
        note sprintf '%d workers: open after %.2f s', $workers, time - $start;
        my @uris;
        wait_for { @uris = $released->(); @uris >= @before + COUNT } 'all that was held';
        my @first = @uris[ @before .. @before + COUNT - 1 ];
        if ($round == 1) {
            is_deeply \@first, [ map { uri($_, 0) } 0 .. COUNT - 1 ], 'what was held goes in order';
        }
        is scalar(uniq map {/client=(\d+)/} @first), COUNT, 'each goes before any comes again';
        $t->enable;
        $t->wait_held(COUNT);
        @before = $released->();
    }
    $t->disable;
    my %count = $loop->finish;
    is_deeply [ keys %count ], [200], "$workers workers: all requests are answered";
    cmp_ok sum(values %count), '>=', (ROUNDS + 1) * COUNT, 'many';
    $t->wait_state('open');
    $t->stop;
}

done_testing;
