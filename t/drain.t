#!/usr/bin/env perl

# enable?drain= answers when nothing is in flight any more. What counts is what went through the
# gate: not what is held, not idle connections, not calls, not other apps.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new(workers => 2);
my $origin = $t->origin('/slow' => { wait => 1 });
$t->start(default_server(<<'EOF'));
    intermission_privileged_user_agent tester;
    location /shop { intermission_app_name shop; proxy_pass http://%%ORIGIN%%/slow; }
    location /ungated { intermission off; proxy_pass http://%%ORIGIN%%/slow; }
EOF

# The caller is there, and gets no answer although other calls go on.
sub still_waits {
    my ($caller, $what) = @_;
    $t->status for 1 .. 10;
    return ok $caller->silent, $what;
}

sub in_flight { return $t->status->{in_flight} }

# Nothing to wait for.
my $answer = $t->control('enable', drain => '10s');
is $answer->status, 200, 'nothing in flight: an answer at once';
like $answer->body, qr/^Pause enabled\.\ndrained_ms: \d+\n/, 'with how long it took';
like $answer->body, qr/^state: paused$/m, 'paused';
is $t->control('enable', drain => '10s', format => 'json')->json->{message},
    'Pause already enabled.', 'once more, as JSON';
$t->disable;

# Twenty in flight in both workers, and all that must not matter.
my $idle = $t->client->get('/');
is $idle->response->status, 200, 'a connection that stays open';
my @slow = map { $t->client->get('/slow') } 1 .. 20;
$origin->wait_requests(21);

my $caller = $t->call('enable', drain => '20s');
$t->wait_state('paused');
my $held = $t->hold(GET => '/held');
still_waits($caller, 'the caller waits while requests are in flight');
is in_flight(), 20, 'it is not in flight itself';

$origin->answer(10);
wait_for { 10 == grep { !$_->silent } @slow } 'half of them to be answered';
@slow = grep { $_->silent } @slow;
my @others = map { $t->client->get($_) } qw(/shop /ungated);
$origin->wait_requests(23);
wait_for { in_flight() == 10 } 'their end to be counted';
still_waits($caller, 'it waits on');
my $status = $t->call('status', format => 'json')->response->json;
is_deeply [ @$status{qw(state held in_flight)} ], [ 'paused', 1, 10 ], 'and others can ask';

# Clients that leave end their requests.
$_->close for @slow[ 0 .. 4 ];
$_->reset for @slow[ 5 .. 8 ];
wait_for { in_flight() == 1 } 'their requests to end';
still_waits($caller, 'one is left');

# Those who go by a closed gate are in flight as well.
my $tester = $t->client->get('/slow', headers => ['User-Agent: tester']);
wait_for { in_flight() == 2 } 'a privileged client';
$slow[9]->close;
wait_for { in_flight() == 1 } 'only that';
still_waits($caller, 'a privileged client is waited for');

my @uris = map { $_->{uri} } grep { !$_->{gone} } $origin->wait_requests(24);
is scalar(grep { $_ eq '/held' } @uris), 0, 'what is held has not reached the origin';
$tester->close;
$answer = $caller->response;
is $answer->status, 200, 'the last one is over: an answer';
like $answer->body, qr/^Pause enabled\.$/m, 'the pause is that of this call';
my ($ms) = $answer->body =~ /^drained_ms: (\d+)$/m;
cmp_ok $ms, '<', 20_000, "after $ms ms";
is $t->status->{in_flight}, 0, 'nothing is in flight';
ok $held->silent, 'what is held stays held';
ok $_->silent, 'other apps and what is not under the gate go on' for @others;

$origin->answer;
is $_->response->status, 200, 'to their end' for @others;
$t->disable;
is $held->response->status, 200, 'after the release: what was held';

# The client of the only request in flight goes while nothing else happens at all.
$origin->forget;
my $last = $t->client->get('/slow');
$origin->wait_requests(1);
$caller = $t->call('enable', drain => '20s');
$t->wait_state('paused');
$last->close;
is $caller->response->status, 200, 'a client that leaves ends the drain';

$t->finish;
