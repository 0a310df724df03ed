#!/usr/bin/env perl

# A drain does not call the backend quiet while processes serve requests that nobody counts: workers
# from before a reload that put the gate where it is, and the other nginx of a binary upgrade. When
# they are gone, it does.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Server qw(workers_of);

my $t = Intermission::Test->new(daemon => 1);
my $origin = $t->origin('/slow' => { wait => 1 });

sub with {
    my ($more, $gate) = @_;
    $gate //= 'on';
    return <<"EOF";
    server {
        listen 127.0.0.1:%%PORT_80%%;
        intermission $gate;
        intermission_interval 1h;
        location / { proxy_pass http://%%ORIGIN%%; }
        location /pid { intermission off; return 200 \$pid; }
        location /more { intermission $more; proxy_pass http://%%ORIGIN%%/slow; }
        location /intermission/ { intermission_control; }
    }
EOF
}

my $slow;

sub begin_slow {
    my ($uri) = @_;
    $origin->forget;
    $slow = $t->client->get($uri);
    $origin->wait_requests(1);
    return;
}

sub end_slow {
    my ($what) = @_;
    $origin->answer;
    is $slow->response->status, 200, "$what: the request is answered";
    $slow->close;
    return;
}

sub unsure {
    my ($what) = @_;
    my $answer = $t->control('enable', drain => '300ms');
    is $answer->status, 504, "$what: a drain is not sure";
    like $answer->body, qr/^The drain took too long: 1 other processes of nginx/, 'and says why';
    like $answer->body, qr/^uncounted_processes: 1$/m, 'in numbers, too';
    $t->wait_state('open');
    return $t->call('enable', drain => '20s');
}

$t->start(with('off'));

# All that is covered now was covered before.
begin_slow('/slow');
$t->reload(with('off'));
is $t->status->{uncounted_processes}, 0, 'a reload that covers no more than before';
is $t->status->{in_flight}, 1, 'what its old worker has is counted';
end_slow('the same gate');

# The gate is put over one more location.
begin_slow('/more');
$t->reload(with('on'));
my $caller = unsure('a gate over one more location');
ok $caller->silent, 'another one waits';
end_slow('a gate over one more location');
is $caller->response->status, 200, 'until the old worker is gone';
$t->disable;

# The gate is taken away and put back.
$t->reload(with('off', 'off'));
begin_slow('/slow');
$t->reload(with('on'));
$caller = unsure('a gate that was away');
end_slow('a gate that was away');
is $caller->response->status, 200, 'until the old worker is gone';
$t->disable;

# A binary upgrade.
my $old = $t->server->{pid};
begin_slow('/slow');
my ($worker) = workers_of($t->server->upgrade);
my $at_new = sub { $t->client_at($worker)->get('/intermission/' . shift) };
is $at_new->('enable?drain=300ms')->response->status, 504, 'a drain at the new nginx is not sure';
kill WINCH => $old;
$caller = $at_new->('enable?drain=20s');
$at_new->('status')->response for 1 .. 5;
ok $caller->silent, 'as long as the old one has workers';
end_slow('a binary upgrade');
is $caller->response->status, 200, 'and then it is';

Intermission::Test::Client->close_all;
kill QUIT => $old;
wait_for { $t->server->is_over } 'the old nginx to end';
$t->server->quit_successor;
$t->finish;
