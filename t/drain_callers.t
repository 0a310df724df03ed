#!/usr/bin/env perl

# Callers that wait for a drain: any number of them at the same time, at any worker. One who hangs
# up changes nothing. When the pause ends first, by whatever, all get 409.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

use constant CALLERS => 12;

my $t = Intermission::Test->new(workers => 3);
my $origin = $t->origin('/slow' => { wait => 1 });
$t->start(default_server(<<'EOF'));
    intermission_max_time 1h;
EOF

my ($slow, $held, @callers);

# Somebody in flight, somebody held, and callers at all workers.
sub begin {
    $origin->forget;
    $slow = $t->client->get('/slow');
    $origin->wait_requests(1);
    @callers = map { $t->call('enable', drain => '20s', @_) } 1 .. CALLERS;
    $t->wait_state('paused');
    $held = $t->hold(GET => '/held');
    $t->status for 1 .. 10;
    is scalar(grep { $_->silent } @callers), CALLERS, 'all callers wait';
}

sub statuses {
    my %count;
    $count{ $_->response->status }++ for @callers;
    return \%count;
}

sub end_slow { $origin->answer; is $slow->response->status, 200, 'what was in flight is answered' }

sub end { $t->disable; is $held->response->status, 200, 'and what was held' }

# All of them are answered.
begin();
end_slow();
is_deeply statuses(), { 200 => CALLERS }, 'all callers are answered';
my $changes = $t->server->logged(qr/from open to paused/);
is $changes, 1, 'one change of state';
end();

# Callers who hang up.
begin();
$_->close for splice @callers, 0, 4;
(pop @callers)->reset;
$_->close for splice @callers, 0, 2;
is $t->status->{state}, 'paused', 'callers who hang up: still paused';
is $t->status->{in_flight}, 1, 'and one in flight';
is scalar(grep { $_->silent } @callers), @callers, 'the others wait on';
end_slow();
is_deeply statuses(), { 200 => scalar @callers }, 'and are answered';
end();

begin();
$_->close for splice @callers;
end_slow();
$t->wait_in_flight(0);
is $t->status->{state}, 'paused', 'all hang up: the pause stays';
ok $held->silent, 'and what is held';
end();

# The pause is ended before.
my %ends = (
    'disable' => sub { $t->disable },
    'disable with a pace' => sub { $t->must('disable', rate => '10r/s') },
    'disable of all apps' => sub { $t->must('disable', app => '*') },
    'maintenance' => sub { $t->must('maintenance') },
    'the deadline' => sub { $t->must('enable', for => '20ms') },
);
for my $end (sort keys %ends) {
    begin();
    $ends{$end}->();
    my @answers = map { $_->response } @callers;
    is_deeply [ map { $_->status } @answers ], [ (409) x CALLERS ], "$end: 409 to all callers";
    like $answers[0]->body, qr/^The pause has ended meanwhile, with [12] still in flight/,
        'saying why';
    is $held->response->status, $end eq 'maintenance' ? 503 : 200, 'what was held';
    end_slow();
    $t->disable;
    $t->wait_state('open');
}

# Ended, and begun anew by somebody else at once: the callers' own pause has ended.
begin();
$t->disable;
$t->enable;
is_deeply statuses(), { 409 => CALLERS }, 'a pause after that is another one';
$t->disable;
is $held->response->status, 200, 'what was held';
end_slow();

# enable, repeated, keeps the pause that they wait for.
begin();
$t->enable;
$t->must('enable', for => '1h');
$t->status for 1 .. 10;
is scalar(grep { $_->silent } @callers), CALLERS, 'enable, repeated: they wait on';
end_slow();
is_deeply statuses(), { 200 => CALLERS }, 'and are answered';
end();

$t->finish;
