#!/usr/bin/env perl

# Callers of a canary: one who hangs up changes nothing, and one whose canary is ended by another
# call gets 409. What an earlier canary let go has no say in the next one.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

use constant { COUNT => 12, CANARY => 2 };

my $t = Intermission::Test->new(workers => 2);
my $origin = $t->origin;
$t->start(default_server(<<'EOF'));
    intermission_interval 1h;
EOF

my (@clients, $caller);

# Holds requests and begins a canary whose requests the origin answers with that, when told to.
sub begin {
    my ($status) = @_;
    $origin->forget;
    $origin->set(map { ("/$_" => { wait => 1, status => $status }) } 1 .. COUNT);
    $t->enable;
    @clients = map { $t->hold(GET => "/$_") } 1 .. COUNT;
    $caller = $t->call('disable', canary => CANARY);
    $origin->wait_requests(CANARY);
    $t->status for 1 .. 5;
    return ok $caller->silent, 'a canary is under way, and its caller waits';
}

# From now on all are answered at once.
sub calm { $origin->set(map { ("/$_" => {}) } 1 .. COUNT) }

sub end {
    $origin->answer;
    my $answered = grep { $_->response->status } @clients;
    is $answered, @clients, 'all are answered';
    $t->wait_state('open');
    $t->wait_in_flight(0);
}

# The caller hangs up.
begin(200);
$caller->close;
wait_for { $t->server->accessed(qr/^499 /) } 'it to be noticed';
calm();
$origin->answer;
is $clients[-1]->response->status, 200, 'a caller hangs up: a good canary lets the rest go';
pop @clients;
end();

begin(500);
$caller->reset;
$origin->answer;
$t->wait_state('paused');
is $t->status->{held}, COUNT - CANARY, 'the rest is held';
calm();
$t->disable;
end();

# Another call ends it.
my %ends = (
    'enable' => 'paused',
    'disable' => 'open',
    'maintenance' => 'maintenance',
);
for my $end (sort keys %ends) {
    begin(200);
    calm();
    $t->must($end);
    my $answer = $caller->response;
    is $answer->status, 409, "$end: 409 to the caller of the canary";
    like $answer->body, qr/^The canary was ended by another call/, 'saying why';
    $t->wait_state($ends{$end});
    $t->disable;
    end();
}

# Another canary ends it, and has a caller of its own.
begin(200);
my $second = $t->call('disable', canary => 1);
is $caller->response->status, 409, 'another canary: 409 to the first caller';
$origin->wait_requests(CANARY + 1);
$t->status for 1 .. 5;
ok $second->silent, 'the second waits for its own';
calm();
$origin->answer;
is $second->response->status, 200, 'and has its verdict';
end();

# What the first canary let go fails or hangs after the second began.
for my $status (500, 200) {
    begin($status);
    $t->enable;
    is $caller->response->status, 409, "a canary that comes back in $status is given up";
    $origin->set(map { ("/$_" => { wait => 1 }) } 1 .. COUNT);
    $second = $t->call('disable', canary => CANARY);
    $origin->wait_requests(2 * CANARY);
    $origin->answer(CANARY);
    $t->wait_in_flight(CANARY);
    $t->status for 1 .. 5;
    ok $second->silent, 'the next canary is not judged by it';
    is $t->status->{held}, COUNT - 2 * CANARY, 'nor does it let anybody go';
    calm();
    $origin->answer;
    is $second->response->status, 200, 'but by its own requests';
    end();
}

begin(200);
$t->enable;
$caller->response;
calm();
is $t->control('disable', canary => CANARY)->status, 200, 'nor need it wait for one that hangs';
$t->wait_in_flight(CANARY);
end();

$t->finish;
