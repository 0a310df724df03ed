#!/usr/bin/env perl

# With a state file, what was paused is paused again when nginx is started again, however it ended:
# told to stop, told to quit, or all of it killed at once. Pause, deadline, pace of the release and
# maintenance are there before the first request is taken.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;
use Time::HiRes qw(time);

use lib "$Bin/lib";
use Intermission::Test;

use constant COUNT => 12;

my $t = Intermission::Test->new(workers => 2);
my $origin = $t->origin;
$t->shared_folder('state');
my $file = $t->folder . '/state/intermission';

$t->start('intermission_state_file %%FOLDER%%/state/intermission;' . default_server(<<'EOF'));
    listen 127.0.0.1:%%PORT_80%%;
    intermission_app_name $arg_app;
    location /intermission/ {
        intermission_control;
        intermission_release_rate 20r/s burst=2;
    }
EOF
like $t->server->log, qr{\[notice\] .* state file "\Q$file\E" is not there yet: all apps are open},
    'a state file that is not there yet is one line in the log';
ok !-e $file, 'and is not made before there is something to say';

sub start_again {
    my ($how) = @_;
    my @pids = ($t->server->{pid}, $t->server->workers);
    if ($how eq 'kill -9 of everything') { kill KILL => @pids }
    else { $t->server->signal($how) }
    wait_for { $t->server->is_over } "the end by $how";
    wait_for { !grep { kill 0 => $_ } @pids } 'its workers to end';
    unlink $t->folder . '/nginx.pid';
    $origin->forget;

    # A client that knocks all the time, from before nginx listens.
    my $eager;
    my $pid = fork // die "fork: $!";
    if (!$pid) { exec $t->server->command('nginx.conf') or POSIX::_exit(127) }
    $t->server->{pid} = $pid;
    wait_for { $eager = eval { $t->client->get('/eager?app=paused') } } 'nginx to listen';
    wait_for { $t->server->is_up } 'nginx to be up';
    return $eager;
}

$t->enable('paused');
$t->must('enable', app => 'deadline', for => '1h');
$t->must('maintenance', app => 'maintenance', retry_after => '77s');
$t->must('enable', app => 'odd%20n%C3%A4me');
$t->must('enable', app => 'resumed');
$t->disable('resumed');
my $resumes_at = $t->status('deadline')->{resumes_at};

for my $how ('TERM', 'QUIT', 'kill -9 of everything') {
    my $lost = $t->hold(GET => '/lost?app=paused', app => 'paused');
    my $eager = start_again($how);
    is $lost->response->status, $how eq 'QUIT' ? 200 : 0, "$how: what was held is over";

    wait_for { $t->status('paused')->{held} == 1 } 'the first request to be held';
    ok $eager->silent, 'the first request is held';
    is_deeply [ $origin->uris ], [], 'nothing went through';
    is $t->status('paused')->{state}, 'paused', 'the pause is there';
    my $status = $t->status('deadline');
    is $status->{state}, 'paused', 'the pause with a deadline as well';
    my $moved = abs(seconds($status->{resumes_at}) - seconds($resumes_at));
    cmp_ok $moved, '<=', 1, 'with its deadline';
    is $t->status('odd%20n%C3%A4me')->{state}, 'paused', 'and the one with an odd name';
    is $t->status('resumed')->{state}, 'open', 'what was resumed is open';
    my $answer = $t->get('/x?app=maintenance');
    is $answer->status . ' ' . $answer->header('Retry-After'), '503 77', 'maintenance as well';
    like $t->server->log, qr{\Q$file\E" says that app "paused" is paused}, 'the log says so';
    $eager->close;
    $t->wait_held(0, 'paused');
}

# A deadline that passes while nginx is down: the pause is over.
$t->must('enable', app => 'short', for => '300ms');
my $until = time + 0.4;
start_again('TERM')->close;
wait_for { time > $until } 'the deadline to pass';
$t->wait_state('open', 'short');
pass 'a deadline that has passed opens the app';

# The pace of the release is the one that was configured, over a restart.
$t->wait_held(0, 'paused');
$origin->forget;
my @clients = map { $t->hold(GET => "/$_?app=paused", app => 'paused') } 1 .. COUNT;
my $started = time;
$t->disable('paused');
is answered(@clients), COUNT, 'all are released';
cmp_ok time - $started, '>', 0.4, 'at the pace of the control location';
is_deeply [ $origin->uris ], [ map {"/$_?app=paused"} 1 .. COUNT ], 'in order';
$t->wait_state('open', 'paused');

# What is written at the end of a release is there as well.
start_again('kill -9 of everything')->response;
is $t->status('paused')->{state}, 'open', 'what was released stays open over a restart';

$t->finish;
