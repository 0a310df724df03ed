#!/usr/bin/env perl

# A call whose answer the state file keeps waiting, while calls to another worker end what it is about
# and begin the like anew: it is answered for its own pause or canary, and leaves the new one alone.
# A slow disk keeps a worker waiting for as long as the test needs.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::SlowDisk;

my $t = Intermission::Test->new(workers => 2);
my $origin = $t->origin(map { $_ => { wait => 1 } } qw(/slow /first /second));
my $folder = $t->shared_folder('state');
my $disk = Intermission::Test::SlowDisk->new($t->folder . '/disk')
    or plan skip_all => 'needs a C compiler';
$disk->start($t, 'intermission_state_file %%FOLDER%%/state/file;' . default_server(<<'EOC'));
    listen 127.0.0.1:%%PORT_80%%;
EOC

# The worker that is kept waiting, and the one that serves everybody else meanwhile.
my ($kept, $free) = $t->server->workers;
my %caller = map { $_ => $t->client_at($_) } $kept, $free;

sub call {
    my ($worker, $call) = @_;
    return $caller{$worker}->get("/intermission/$call");
}

sub called {
    my ($call) = @_;
    my $response = call($free, $call)->response;
    die "$call: ${\ $response->status} ${\ $response->body}" if $response->status != 200;
    return $response->body;
}

# Whether the worker is yet to try again to write a file that it could not write.
sub is_behind {
    my ($worker) = @_;
    my @lines = $t->server->logged(qr/\b$worker#.* (?:cannot|could) be written/);
    return @lines && $lines[-1] =~ /cannot be written/;
}

# Makes a call at the free worker, whose answer waits until the other one has written: the client that
# will get it.
sub begins {
    my ($call, $state) = @_;
    my $client = $t->client_at($free)->get("/intermission/$call");
    wait_for { state() eq $state } "$call to do what it says";
    return $client;
}

# From its next call on, the worker is kept waiting before it has the lock, or while it writes.
sub keep_at {
    my ($what) = @_;
    wait_for { !is_behind($kept) && !is_behind($free) } 'the state file to say what is so';
    return $disk->hold($what => $kept);
}

sub state { return called('status') =~ /^state: (\w+)$/m ? $1 : undef }

my $slow = $t->client->get('/slow');
$origin->wait_requests(1);

# A drain that is late, and finds another pause than its own.
my $drain = call($kept, 'enable?drain=5s');
wait_for { state() eq 'paused' } 'the first pause';
# Both have seen by then that the file was written, and do not look again.
$t->client_at($_)->get('/pid')->response for $kept, $free;
keep_at('flock');
$disk->wait_held(flock => $kept);
like called('disable'), qr/^Pause disabled\./, 'its pause is ended';
like called('enable'), qr/^Pause enabled\./, 'and another one begins';
$disk->let_go(flock => $kept);
my $late = $drain->response;
is $late->status, 409, 'a drain that is late';
like $late->body, qr/^The pause has ended meanwhile, with 1 still in flight\./, 'for its own pause';
is state(), 'paused', 'the other pause goes on';
called('disable');

# A pause that is over before its call has written it down.
keep_at('fsync');
$drain = call($kept, 'enable?drain=2s');
wait_for { state() eq 'paused' } 'the pause';
my @others = (begins('disable', 'open'), begins('enable', 'paused'));
ok $drain->silent, 'no call is answered before the file says so';
ok $disk->let_go(fsync => $kept), 'the call goes on';
my $early = $drain->response;
is $early->status, 409, 'a drain whose pause was over before that was written';
is $_->response->status, 200, 'the others are answered' for @others;
is state(), 'paused', 'the other pause goes on';

# A canary that is over before its call has written it down. To the state file it is a pause, so
# another pace makes it write.
called('enable');
my @held = map { $t->hold(GET => $_, client => $t->client_at($free)) } qw(/first /second);
keep_at('fsync');
my $canary = call($kept, 'disable?canary=1&concurrency=9');
wait_for { state() eq 'releasing' } 'the canary';
my $again = begins('enable', 'paused');
my $other = begins('disable?canary=1', 'releasing');
ok $disk->let_go(fsync => $kept), 'the call goes on';
my $answer = $canary->response;
is $answer->status, 409, 'a canary that was over before it was written';
is $again->response->status, 200, 'the call that ended it is answered';
like $answer->body, qr/^The canary was ended by another call/, 'by another one';
$origin->answer;
is $other->response->status, 200, 'which gets its verdict';
is $_->response->status, 200, 'what was held or in flight is answered' for $slow, @held;

$t->finish;
