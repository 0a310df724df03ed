#!/usr/bin/env perl

# The state file is waited for, but not by the worker: while its disk hangs (fsync), or somebody has its
# lock, the worker serves others, and a call has done what it says. Its answer comes when the file has
# been written; after three seconds it comes all the same, and the log says that the file is behind.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::SlowDisk;
use Intermission::Test::StateFile qw(keep_lock);

my $http = <<'EOF';
    intermission_state_file %%FOLDER%%/state/file;
    server {
        listen 127.0.0.1:%%PORT_80%%;
        listen 127.0.0.1:%%PORT_82%% http2;
        intermission on;
        intermission_app_name $arg_app;
        location / { proxy_pass http://%%ORIGIN%%; }
        location = /pid { intermission off; return 200 $pid; }
        location /intermission/ { intermission_control; }
    }
EOF

my ($t, $disk, $file);

sub start {
    $t = Intermission::Test->new;
    $file = $t->folder . '/state/file';
    $t->origin;
    mkdir $t->folder . '/state';
    chmod 0777, $t->folder . '/state';
    $disk = Intermission::Test::SlowDisk->new($t->folder . '/disk')
        or plan skip_all => 'needs a C compiler';
    $disk->start($t, $http);
    return;
}

sub worker { return ($t->server->workers)[0] }
sub state { return $t->status(shift)->{state} }

sub in_file {
    my @apps = Intermission::Test::Server::slurp($file) =~ /^paused (\w+) /mg;
    return join ' ', @apps;
}

# From the next write on, the disk hangs; the call that finds it so.
sub call_at_slow_disk {
    my (@what) = @_;
    $disk->hold(fsync => worker());
    my $call = $t->call(@what);
    $disk->wait_held(fsync => worker());
    return $call;
}

sub serves_others {
    my ($when) = @_;
    is $t->get('/pid')->body, worker(), "$when: the worker serves others";
    return;
}

start();

subtest 'a disk that hangs' => sub {
    my $slow = call_at_slow_disk('enable', app => 'slow');
    serves_others('the disk hangs');
    is state('slow'), 'paused', 'the call has done what it says';
    my $next = $t->call('enable', app => 'next');
    wait_for { state('next') eq 'paused' } 'the next call to do so as well';
    my $held = $t->hold(GET => '/?app=next', app => 'next');
    my $none = $t->call('disable', app => 'none');
    ok $_->silent, 'no call is answered' for $slow, $next, $none;
    ok !-e $file, 'as the file is not there';

    $disk->let_go(fsync => worker());
    is $_->response->status, 200, 'all are answered' for $slow, $next, $none;
    is in_file(), 'next slow', 'when both pauses are in the file';
    $t->disable('next');
    is $held->response->status, 200, 'what was held goes through';
    is in_file(), 'slow', 'and the file says so';
    $t->disable('slow');
};

subtest 'a client that does not wait for its answer' => sub {
    my $gone = call_at_slow_disk('enable', app => 'gone');
    $gone->close;
    serves_others('the client has left');
    $disk->let_go(fsync => worker());
    wait_for { in_file() eq 'gone' } 'the file to be written';
    $t->disable('gone');
};

subtest 'streams of one connection' => sub {
    my $http2 = $t->http2(port => $t->port(82));
    $disk->hold(fsync => worker());
    my ($first, $reset, $last) =
        map { $http2->request(POST => "/intermission/enable?app=stream$_", body => 'x') } 1 .. 3;
    $disk->wait_held(fsync => worker());
    is $http2->response($http2->request(GET => '/pid'))->body, worker(), 'another stream is answered';
    wait_for { state('stream3') eq 'paused' } 'all calls to do what they say';
    ok $http2->silent($_), 'none is answered' for $first, $last;
    $http2->reset($reset);
    $disk->let_go(fsync => worker());
    is $http2->response($_)->status, 200, 'they are now' for $first, $last;
    is in_file(), 'stream1 stream2 stream3', 'and all is in the file, also what a client gave up';
    $t->disable("stream$_") for 1 .. 3;
};

subtest 'a drain' => sub {
    my $drain = call_at_slow_disk('enable', app => 'drain', drain => '1s');
    is state('drain'), 'paused', 'the pause begins';
    ok $drain->silent, 'though nothing is in flight, there is no answer';
    $disk->let_go(fsync => worker());
    is $drain->response->status, 200, 'before the file has been written';
    is in_file(), 'drain', 'as it is now';
    $t->disable('drain');
};

subtest 'a lock that somebody has' => sub {
    my $lock = keep_lock($file);
    my $call = $t->call('enable', app => 'locked');
    serves_others('the lock is not to be had');
    is state('locked'), 'paused', 'the call has done what it says';
    ok $call->silent, 'it is not answered';
    undef $lock;
    is $call->response->status, 200, 'it is when the lock is free';
    is in_file(), 'locked', 'and the file has been written';
    $t->disable('locked');
};
unlike $t->server->log, qr/\[error\]/, 'the log has no complaint';

subtest 'a disk that hangs for too long' => sub {
    my $slow = call_at_slow_disk('enable', app => 'slow');
    is $slow->response->status, 200, 'the call is answered';
    like $t->server->log, qr/\[error\] .*state file .* cannot be written, .*: its disk is slow/,
        'and the log says that the file is behind';
    is $t->call('enable', app => 'next')->response->status, 200, 'the next call is answered as well';
    serves_others('the disk still hangs');
    is in_file(), '', 'nothing is in the file';
    $disk->let_go(fsync => worker());
    wait_for { in_file() eq 'next slow' } 'the file to be written';
    wait_for { $t->server->log =~ /could be written again, and says what is so/ } 'the log to say so';
    pass 'the file is written when the disk goes on, and the log says so';
    $t->disable($_) for qw(next slow);
};

subtest 'a worker that is killed meanwhile' => sub {
    my $call = call_at_slow_disk('enable', app => 'killed');
    my $killed = worker();
    $t->kill_worker($killed);
    wait_for { (worker() // $killed) != $killed && in_file() eq 'killed' } 'the file to be written';
    pass 'the one in its place writes the file';
    ok $call->closed, 'its client is cut off';
    $t->disable('killed');
};

subtest 'the end of nginx meanwhile' => sub {
    my $call = call_at_slow_disk('enable', app => 'quit');
    my $worker = worker();
    $t->server->signal('QUIT');
    wait_for { $t->server->log =~ /gracefully shutting down/ } 'nginx to be told';
    ok $call->silent, 'the call waits';
    $disk->let_go(fsync => $worker);
    is $call->response->status, 200, 'and is answered';
    $t->stop;
    is in_file(), 'quit', 'the file has been written';
};

subtest 'the end of nginx while nobody waits for the file' => sub {
    start();
    $t->must('enable', app => 'timed', for => '1s');
    $disk->hold(fsync => worker());
    $disk->wait_held(fsync => worker());
    is in_file(), 'timed', 'the pause has ended by itself, the file does not know yet';
    my $worker = worker();
    $t->server->signal('QUIT');
    wait_for { $t->server->log =~ /gracefully shutting down/ } 'nginx to be told';
    $disk->let_go(fsync => $worker);
    $t->stop;
    is in_file(), '', 'it ends when the file has been written';
};

done_testing;
