#!/usr/bin/env perl

# enable?for= resumes by itself when the time is up, whether anybody is held or not. A further
# enable moves the deadline or takes it away, and so does every other change. The log says that it
# was the deadline.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;
use Time::HiRes qw(time);

use lib "$Bin/lib";
use Intermission::Test;

use constant { COUNT => 40, SLACK => 5 };

my $t = Intermission::Test->new(workers => 2);
my $origin = $t->origin('/slow' => { wait => 1 });
$t->start(default_server(<<'EOF'));
    intermission_interval 1h;
    location /shop { intermission_app_name shop; proxy_pass http://%%ORIGIN%%; }
EOF

sub deadlines { return scalar $t->server->logged(qr/by deadline/) }

sub pass_time {
    my ($seconds) = @_;
    my $until = time + $seconds;
    wait_for { time > $until } 'time to pass';
}

# Waits for the app to be open; when that was.
sub opens_after {
    my ($start, $seconds, $what) = @_;
    $t->wait_state('open');
    my $took = time - $start;
    cmp_ok $took, '>=', $seconds - 0.01, "$what: not before $seconds s";
    cmp_ok $took, '<=', $seconds + SLACK, 'and soon after';
}

# Nobody held.
my $start = time;
my $answer = $t->control('enable', for => '300ms');
like $answer->body, qr/^Pause enabled\.$/m, 'a pause with a deadline';
like $answer->body, qr/^resumes_at: \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/m, 'which the state shows';
opens_after($start, 0.3, 'nobody held');
is $t->status->{resumes_at}, undef, 'no deadline is left';
is $t->get('/')->status, 200, 'requests go through';
wait_for { deadlines() } 'the log';
is deadlines(), 1, 'a line in the log';
like $t->server->log, qr/app "default" from paused to open by deadline, 0 held/, 'in full';

# Somebody held; nobody calls anything until they are answered.
$origin->forget;
$t->enable;
my @clients = map { $t->hold(GET => "/$_") } 1 .. COUNT;
$start = time;
$t->must('enable', for => '1s');
is answered(@clients), COUNT, 'some held: all are answered';
cmp_ok time - $start, '>=', 0.99, 'not before the deadline';
is_deeply [ $origin->uris ], [ map {"/$_"} 1 .. COUNT ], 'in order';
opens_after($start, 1, 'some held');
wait_for { deadlines() == 2 } 'the log';
like $t->server->log, qr/from paused to releasing by deadline, 40 held/, 'in the log';

# Moved further away, and nearer.
$t->must('enable', for => '2s');
$start = time;
$answer = $t->control('enable', for => '5s');
like $answer->body, qr/^Pause already enabled\.$/m, 'a further enable';
my $held = $t->hold(GET => '/held');
pass_time(2.1);
is $t->status->{state}, 'paused', 'moves the deadline';
ok $held->silent, 'and keeps what is held';
opens_after($start, 5, 'further away');
is $held->response->status, 200, 'the held one is answered';

$t->must('enable', for => '1h');
$start = time;
$t->must('enable', for => '200ms');
opens_after($start, 0.2, 'nearer');

# Taken away.
wait_for { deadlines() == 4 } 'the log';
my $before = deadlines();
my %take_away = (
    'enable' => sub { $t->enable(@_) },
    'disable and enable' => sub { $t->disable(@_); $t->enable(@_) },
    'maintenance and enable' => sub { $t->must('maintenance', app => @_); $t->enable(@_) },
    'maintenance' => sub { $t->must('maintenance', app => @_) },
    'a canary' => sub { $t->call('disable', app => @_, canary => 1) },
    'disable' => sub { $t->disable(@_) },
);
my (%app_of, %kept, %state);
for my $way (sort keys %take_away) {
    my $app = $app_of{$way} = 'app-' . keys %kept;
    $t->must('enable', app => $app, for => '2s');
    $kept{$way} = $take_away{$way}->($app);
    wait_for { !defined $t->status($app)->{resumes_at} } "$way to take the deadline away";
    $state{$way} = $t->status($app)->{state};
}
pass_time(2.1);
for my $way (sort keys %take_away) {
    is $t->status($app_of{$way})->{state}, $state{$way},
        "$way: $state{$way}, also when the deadline would have come";
}
is deadlines(), $before, 'no line in the log for those';

# Each app has its own; a drain may have one as well.
my $slow = $t->client->get('/slow');
$origin->wait_requests(COUNT + 2);
$t->must('enable', for => '1h', app => 'shop');
$start = time;
my $caller = $t->call('enable', for => '300ms', drain => '20s');
is $caller->response->status, 409, 'a drain that takes longer than its pause';
opens_after($start, 0.3, 'a drain');
is $t->status('shop')->{state}, 'paused', 'other apps have their own';
$t->disable('shop');
$origin->answer;
is $slow->response->status, 200, 'what was in flight is answered';

# The longest there is.
$answer = $t->control('enable', for => '1d', format => 'json');
is $answer->status, 200, 'a day';
like $answer->json->{resumes_at}, qr/^\d{4}-/, 'is a deadline';
$t->disable;

$t->finish;
