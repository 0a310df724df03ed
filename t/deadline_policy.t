#!/usr/bin/env perl

# The release that a deadline brings has the policy that was in force at the call: that of the
# control location which took the last enable, whatever the configuration says by then.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;
use Time::HiRes qw(time);

use lib "$Bin/lib";
use Intermission::Test;

use constant { COUNT => 60, RATE => 25 };

my $t = Intermission::Test->new(workers => 2);
my $origin = $t->origin('/slow' => { wait => 1 });

sub configuration {
    my ($of_control) = @_;
    return default_server(<<"EOF");
        intermission_interval 1h;
        intermission_max_time 1h;
        proxy_set_header X-At \$msec;
        location /intermission/ { intermission_control; $of_control }
        location /paced/ { intermission_control; intermission_release_rate 25r/s; }
        location /placed/ { intermission_control; intermission_release_concurrency 3; }
        location /brief/ {
            intermission_control;
            intermission_release_rate 1r/s;
            intermission_release_timeout 300ms;
        }
EOF
}

# Pauses by these calls, and waits for the deadline and the answers: how long they took to go, from
# the first to the last. What the last call says comes when all are held, so that a slow machine does
# not come too late.
sub release {
    my ($what, @calls) = @_;
    $origin->forget;
    my $last = pop @calls;
    @calls = $last =~ s/\?.*//r if !@calls;
    is $t->get($_)->status, 200, $_ for @calls;
    my @clients = map { $t->hold(GET => "/$_") } 1 .. COUNT;
    is $t->get($last)->status, 200, $last;
    is answered(@clients), COUNT, "$what: all are answered";
    my @requests = $origin->requests;
    is_deeply [ map { $_->{uri} } @requests ], [ map {"/$_"} 1 .. COUNT ], 'in order';
    $t->wait_state('open');
    return $requests[-1]{headers}{'x-at'} - $requests[0]{headers}{'x-at'};
}

my $paced = (COUNT - 1) / RATE * 0.95;
$t->start(configuration(''));

my $took = release('a location with a rate', '/paced/enable?for=300ms');
cmp_ok $took, '>=', $paced, sprintf 'they go at its rate: %.2f s', $took;

$took = release('one without', '/intermission/enable?for=300ms');
cmp_ok $took, '<', $paced / 2, sprintf 'they go at once: %.2f s', $took;

$took = release('the last call counts', '/intermission/enable', '/paced/enable?for=300ms');
cmp_ok $took, '>=', $paced, sprintf 'they go at its rate: %.2f s', $took;
$took = release('it does', '/paced/enable?for=1h', '/intermission/enable?for=300ms');
cmp_ok $took, '<', $paced / 2, sprintf 'they go at once: %.2f s', $took;

$took = release('a rate with a timeout', '/brief/enable?for=300ms');
cmp_ok $took, '>=', 0.25, 'the rest waits for it';
cmp_ok $took, '<', 5, 'and goes then, not in a minute';

# A concurrency.
$origin->forget;
$t->enable;
my @clients = map { $t->hold(GET => "/slow?$_") } 1 .. 10;
is $t->get('/placed/enable?for=300ms')->status, 200, 'a location with a concurrency';
$origin->wait_requests(3);
is $t->status->{in_flight}, 3, 'three at a time';
$t->disable;
$origin->wait_requests(10);
$origin->answer;
is $_->response->status, 200, 'all are answered' for @clients;

# A reload between the call and the deadline.
$t->enable;
@clients = map { $t->hold(GET => "/$_") } 1 .. COUNT;
$origin->forget;
is $t->get('/intermission/enable?for=6s')->status, 200, 'a call without a rate';
$t->reload(configuration('intermission_release_rate 10r/s;'));
push @clients, map { $t->hold(GET => '/' . (COUNT + $_)) } 1 .. 10;
is answered(@clients), COUNT + 10, 'all are answered';
my @requests = $origin->requests;
$took = $requests[-1]{headers}{'x-at'} - $requests[0]{headers}{'x-at'};
cmp_ok $took, '<', (COUNT + 9) / 10 / 2,
    'as it was said at the call, not as the configuration says now';
is_deeply [ map { $_->{uri} } @requests ], [ map {"/$_"} 1 .. COUNT + 10 ],
    'old and new workers in order';

$t->finish;
