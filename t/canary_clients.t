#!/usr/bin/env perl

# A client of a canary who leaves says nothing about the backend: the next one is tried instead.
# And a canary that comes to no verdict ends with the release's timeout: it is bad if something is
# under way still, and good if all that was tried came back.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;
use Time::HiRes qw(time);

use lib "$Bin/lib";
use Intermission::Test;

use constant COUNT => 12;

my $t = Intermission::Test->new(workers => 2);
my $origin = $t->origin('/slow' => { wait => 1 });
$t->start(default_server(<<'EOF'));
    intermission_interval 1h;
    location /brief/ { intermission_control; intermission_release_timeout 2s; }
EOF

my @clients;

sub hold_all {
    my ($count, @slow) = @_;
    my %slow = map { $_ => 1 } @slow;
    $origin->forget;
    $t->enable;
    @clients = map { $t->hold(GET => $slow{$_} ? "/slow?$_" : "/$_") } 1 .. $count;
}

sub is_open { $t->wait_state('open') }

# Clients who leave while they are tried, one way or another.
hold_all(COUNT, 1 .. 4);
my $caller = $t->call('disable', canary => 2);
$origin->wait_requests(2);
$clients[0]->close;
$origin->wait_requests(3);
is_deeply [ $origin->uris ], [ map {"/slow?$_"} 1 .. 3 ], 'one leaves: the next is tried at once';
$clients[1]->reset;
$origin->wait_requests(4);
$t->status for 1 .. 5;
ok $caller->silent, 'another leaves: there is no verdict yet';
is $t->status->{held}, COUNT - 4, 'and no more than that is tried';
$origin->answer;
my $answer = $caller->response;
is $answer->status, 200, 'two have come back: the verdict';
like $answer->body, qr/^canary: 2\ncanary_failed: 0$/m, 'is about those two';
is $_->response->status, 200, 'all others are answered' for @clients[ 2 .. COUNT - 1 ];
is_open();

# All of them leave.
hold_all(3, 1 .. 3);
$caller = $t->call('disable', canary => 3);
$origin->wait_requests(3);
$_->close for @clients;
$t->wait_in_flight(0);
ok $caller->silent, 'all leave: the caller waits for others';
is $t->get("/next-$_")->status, 200, "the next one ($_)" for 1 .. 3;
is $caller->response->status, 200, 'who are then tried';
is_open();

# Clients who left while they were held are not tried at all.
hold_all(COUNT);
$clients[$_]->close for 0, 1, 3;
is $t->control('disable', canary => 3)->status, 200, 'who left before is not tried';
is $_->response->status, 200, 'all others are answered' for @clients[ 2, 4 .. COUNT - 1 ];
is_deeply [ $origin->uris ], [ map {"/$_"} 3, 5 .. COUNT ], 'in order';
is_open();

# The time is up: one hangs.
hold_all(COUNT, 2);
my $start = time;
$answer = $t->get('/brief/disable?canary=3');
my $took = time - $start;
is $answer->status, 409, 'one hangs until the time is up: bad';
cmp_ok $took, '>=', 1.95, 'not before';
cmp_ok $took, '<', 5, 'nor much later';
like $answer->body, qr/^The canary failed: 1 of 3, [^\n]*without an answer/, 'in words';
is $t->status->{state}, 'paused', 'the app is paused again';
is $t->status->{held}, COUNT - 3, 'with the rest';
$t->disable;
is $_->response->status, 200, 'which is released then' for @clients[ 3 .. COUNT - 1 ];
$origin->answer;
is $clients[1]->response->status, 200, 'as is, at last, the one that hung';
is_open();

# The time is up: too few have come, and they were good.
hold_all(2);
$answer = $t->get('/brief/disable?canary=3');
is $answer->status, 200, 'too few until the time is up: good, if they were';
like $answer->body, qr/^canary: 2\ncanary_failed: 0$/m, 'in numbers';
is_open();
hold_all(0);
is $t->get('/brief/disable?canary=3')->status, 200, 'nobody came: the app is open';
is_open();

$t->finish;
