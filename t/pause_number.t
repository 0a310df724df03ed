#!/usr/bin/env perl

# A pause has a number. `pause=` in a call makes it act on that pause only, in one step: what another
# call has paused meanwhile is left alone. Numbers outlive a reload, and with a state file a restart;
# without one, none comes again.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Command;

my $t = Intermission::Test->new(workers => 2);
my $origin = $t->origin('/slow' => { wait => 1 });
my $without = default_server('listen 127.0.0.1:%%PORT_80%%;');
$t->shared_folder('state');
my $with = "intermission_state_file %%FOLDER%%/state/file;\n$without";
$t->start($with);

sub enable { return $t->control('enable', format => 'json', @_) }
sub disable { return $t->control('disable', format => 'json', @_) }

my $pause = enable()->json->{pause};
like $pause, qr/\A\d+\z/, 'enable answers a number';
is $t->status->{pause}, $pause, 'status as well';
like $t->control('enable')->body, qr/^pause: $pause$/m, 'in text, and a further enable has the same';

# A renewal.
my $renewed = enable(for => '1h', pause => $pause);
is $renewed->status, 200, 'a call for that pause';
is $renewed->json->{message}, 'Pause already enabled.', 'finds it';
my $deadline = $renewed->json->{resumes_at};
ok $deadline, 'and moves the deadline';
my $other = $pause + 1;
my $refused = enable(for => '2h', pause => $other);
is $refused->status, 409, 'a call for another one';
is $refused->json->{error}, 'That pause is over, so nothing was done.', 'is told';
is $refused->json->{resumes_at}, $deadline, 'and has done nothing';
is disable(pause => $other)->status, 409, 'a resume for another one';
is disable(pause => $other, canary => 1)->status, 409, 'a canary as well';
is $t->status->{state}, 'paused', 'has done nothing either';

# Over a reload and a restart.
$t->reload($with);
is $t->status->{pause}, $pause, 'a reload keeps the number';
$t->server->quit;
$t->server->start;
is $t->status->{pause}, $pause, 'a restart with a state file as well';

# The end of it.
my $held = $t->hold(GET => '/held');
is disable(pause => $pause)->status, 200, 'a resume for that pause';
is $held->response->status, 200, 'lets go what is held';
$t->wait_state('open');
is $t->status->{pause}, undef, 'there is none then';
is enable(for => '1h', pause => $pause)->status, 409, 'a renewal that comes late';
is disable(pause => $pause)->status, 409, 'or a resume';
is $t->status->{state}, 'open', 'does nothing';
is enable(for => '1h', pause => $pause, app => 'unknown')->status, 409, 'so with an app nobody knows';
is disable(pause => $pause, app => 'unknown')->status, 409, 'and a resume of it';
my $known = $t->control('status', app => '*', format => 'json')->json;
is_deeply [ grep { $_->{app} eq 'unknown' } @$known ], [], 'which is not known for that';

# Somebody else's pause is another one.
my $next = enable()->json->{pause};
cmp_ok $next, '>', $pause, 'the next pause has a greater number';
is enable(for => '1s', pause => $pause)->status, 409, 'a call for the one before';
is $t->status->{resumes_at}, undef, 'leaves it alone';

# A drain for a pause.
my $slow = $t->disable && $t->client->get('/slow');
$origin->wait_requests(2);
$pause = enable()->json->{pause};
is enable(drain => '1s', pause => $next)->status, 409, 'a drain for one that is over';
my $caller = $t->call('enable', drain => '20s', pause => $pause);
$origin->answer;
is $caller->response->status, 200, 'a drain for that pause';
is $slow->response->status, 200, 'waits for what is in flight';

$t->disable;
$t->wait_state('open');

# Bad numbers.
for my $bad ('', 0, 'x', '-1', '1e9', '9' x 30) {
    is enable(pause => $bad)->status, 400, "\"$bad\" is no number of a pause";
    is disable(pause => $bad)->status, 400, 'nor for a resume';
}
is disable(app => '*', pause => $pause)->status, 400, 'one number is not for all apps';
is $t->status->{state}, 'open', 'nothing was paused';

# Without a state file a restart ends the pause, and the next one has another number.
$t->reload($without);
$pause = enable()->json->{pause};
$t->server->quit;
$t->server->start;
is $t->status->{state}, 'open', 'without a state file the pause ends';
cmp_ok enable()->json->{pause}, '>', $pause, 'its number does not come again';

# The command leaves the pause of somebody else alone, though the app is paused whenever it looks.
$t->disable;
my $command = Intermission::Test::Command->new($t, 'run', '--url' => control_url($t), '--for' => '3s',
    patient($t));
wait_begun($t);
$t->disable;
$next = enable()->json->{pause};
$command->wait_said(qr/the pause was ended by another call or its deadline \(the app is paused\)/);
go_on($t);
is $command->status, 0, 'the command ends';
is $t->status->{pause}, $next, 'the pause of somebody else goes on';
is $t->status->{resumes_at}, undef, 'as it was';
$t->disable;

# The same where it ends before it was to be renewed.
$command = Intermission::Test::Command->new($t, 'run', '--url' => control_url($t),
    patient($t));
wait_begun($t);
$t->disable;
$next = enable()->json->{pause};
go_on($t);
is $command->status, 0, 'the command ends, before a renewal';
like $command->said, qr/it was resumed in the meantime/, 'and says that its pause was over';
is $t->status->{pause}, $next, 'the pause of somebody else goes on';
$t->disable;

$t->finish;
