#!/usr/bin/env perl

# A binary upgrade (USR2, WINCH, QUIT) with requests held in the old nginx and the new one, forward
# and back. With the state file both agree within a second about what is paused, whichever of them
# is called. Nothing leaks and nobody is lost.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;
use Time::HiRes qw(time);

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Server qw(command_of workers_of);
use Intermission::Test::StateFile qw(keep_lock);

use constant { EACH => 10, SOON => 1 };

my $t = Intermission::Test->new(workers => 2, daemon => 1);
my $origin = $t->origin;
$t->shared_folder('state');
my $http = 'intermission_state_file %%FOLDER%%/state/file;' . default_server(<<'EOF');
    listen 127.0.0.1:%%PORT_80%%;
EOF
$t->start($http);
my $old = $t->server->{pid};

# Workers that have not been told to go.
sub fresh_workers_of {
    my ($master) = @_;
    return grep { command_of($_) !~ /shutting down/ } workers_of($master);
}

# A kept connection to each of the two, for calls.
sub control_at {
    my ($master) = @_;
    my ($worker) = fresh_workers_of($master);
    return $t->client_at($worker);
}

sub state_at {
    my ($control) = @_;
    my $status = $control->get('/intermission/status?format=json')->response->json;
    return "$status->{state} $status->{held}";
}

sub reaches {
    my ($control, $state, $what, $soon) = (@_, SOON);
    my ($started, $seen) = time;
    eval {
        wait_for { ($seen = state_at($control)) =~ /^$state/ } $state;
    };
    like $seen, qr/^$state/, $what;
    cmp_ok time - $started, '<=', $soon, '... in time';
    return;
}

sub hold_at {
    my ($master, $name) = @_;
    my $control = control_at($master);
    my ($worker) = fresh_workers_of($master);
    my ($held) = state_at($control) =~ / (\d+)/;
    my @clients;
    for my $number (1 .. EACH) {
        push @clients, $t->client_at($worker)->get("/$name-$number");
        wait_for { state_at($control) =~ / ${\ ($held + $number)}$/ } 'a request to be held';
    }
    return @clients;
}

sub are_released {
    my ($what, @clients) = @_;
    is answered(@clients), scalar @clients, $what;
    return;
}

sub in_order {
    my ($name) = @_;
    is_deeply [ grep {m{^/$name-}} $origin->uris ], [ map {"/$name-$_"} 1 .. EACH ],
        "$name: in order";
    return;
}

# Forward.
$t->enable;
my @old = hold_at($old, 'old');
my $new = $t->server->upgrade;
my ($at_old, $at_new) = map { control_at($_) } $old, $new;
is state_at($at_new), 'paused 0', 'the new nginx begins with the pause';
my @new = hold_at($new, 'new');
is state_at($at_old) . ', ' . state_at($at_new), "paused ${\ EACH}, paused ${\ EACH}",
    'both hold requests';

$at_new->get('/intermission/disable')->response;
reaches($at_old, 'open', 'a call to the new one reaches the old one');
are_released('both release', @old, @new);
in_order('old');
in_order('new');
$at_old->get('/intermission/enable')->response;
reaches($at_new, 'paused', 'a call to the old one reaches the new one');
$at_old->get('/intermission/maintenance?retry_after=9s')->response;
reaches($at_new, 'maintenance', 'maintenance as well');
$at_new->get('/intermission/enable?for=1h')->response;
reaches($at_old, 'paused', 'and back');

# A call that cannot be written at once is not undone by what the other one writes meanwhile.
my $lock = keep_lock($t->folder . '/state/file');
$at_old->get('/intermission/disable')->response;
undef $lock;
$at_new->get('/intermission/enable?app=other')->response;
reaches($at_new, 'open', 'a call that was written late arrives as well', 3);
like state_at($at_old), qr/^open/, 'and is not undone';
is $at_old->get('/intermission/status?app=other&format=json')->response->json->{state}, 'paused',
    'nor is the other call';
$at_old->get("/intermission/$_")->response for 'disable?app=other', 'enable';
reaches($at_new, 'paused', 'both agree again', 3);
$origin->forget;

# The old one's workers go, and hold on to what they hold as long as the new one says so.
@old = hold_at($old, 'old');
@new = hold_at($new, 'new');
kill WINCH => $old;
wait_for { !fresh_workers_of($old) } 'the old workers to be told to go';
is state_at($at_new), 'paused ' . EACH, 'without the old workers, the new one is paused';
wait_for { workers_of($old) == 1 } 'the old worker that holds nothing to go';
ok !(grep { !$_->silent } @old, @new), 'all is still held, in both';
is_deeply [ $origin->uris ], [], 'nothing leaks';

# Back: the old one gets workers again, and the new one goes.
kill HUP => $old;
wait_for { fresh_workers_of($old) == 2 } 'the old nginx to have workers again';
$at_old = control_at($old);
like state_at($at_old), qr/^paused/, 'they are paused';
push @old, hold_at($old, 'again');
kill QUIT => $new;
wait_for { !fresh_workers_of($new) } 'its workers to be told to go';
my $passed = time + 0.6;
wait_for { time > $passed } 'workers to have looked';
ok !(grep { !$_->silent } @old, @new), 'all is held, by the workers of before, between and after';
is_deeply [ $origin->uris ], [], 'nothing leaks';
like state_at($at_old), qr/^paused/, 'the old one is paused as it was';
$at_old->get('/intermission/disable')->response;
are_released('all are released when the old one is resumed', @old, @new);
$t->server->wait_successor;
wait_for { (slurp($t->folder . '/nginx.pid') || 0) == $old } 'the old one to take its name back';
in_order('new');
in_order('old');
in_order('again');
is_deeply [ grep { !/^\/new/ } $origin->uris ], [ map { my $name = $_; map {"/$name-$_"} 1 .. EACH } 'old', 'again' ],
    'in one order';

# Forward for good.
$origin->forget;
$at_old->get('/intermission/enable')->response;
@old = hold_at($old, 'old');
$new = $t->server->upgrade;
@new = hold_at($new, 'new');
kill WINCH => $old;
wait_for { !fresh_workers_of($old) } 'the old workers to be told to go';
kill QUIT => $old;
$at_new = control_at($new);
$passed = time + 0.6;
wait_for { time > $passed } 'workers to have looked';
ok !(grep { !$_->silent } @old, @new), 'the old one is told to quit: all is held, in both';
$at_new->get('/intermission/disable')->response;
are_released('both release when the new one is resumed', @old, @new);
in_order('old');
in_order('new');
wait_for { $t->server->is_over } 'the old nginx to end';
wait_for { state_at($at_new) =~ /^open/ } 'the release to end';
is $t->get('/after')->status, 200, 'the new one serves';

Intermission::Test::Client->close_all;
$t->server->quit_successor;
$t->finish;
