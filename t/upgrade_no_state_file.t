#!/usr/bin/env perl

# A binary upgrade without a state file: the new nginx knows nothing of a pause, and is open. What
# the old one holds stays held as long as it has workers, and is let through when they are told to
# go; nobody is lost.

use strict;
use warnings;

use Cwd qw(abs_path);
use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

use constant COUNT => 20;

my ($binary) = grep { -x && m{^/} }
    map { my $name = $ENV{INTERMISSION_NGINX} || 'nginx'; $name =~ m{/} ? $name : "$_/$name" }
    split /:/, "$ENV{PATH}:/usr/sbin:/sbin";
local $ENV{INTERMISSION_NGINX} = abs_path($binary);

my $t = Intermission::Test->new(workers => 2, daemon => 1);
my $origin = $t->origin;
$t->start(<<'EOF');
    server {
        listen 127.0.0.1:%%PORT_80%%;
        intermission on;
        location / { proxy_pass http://%%ORIGIN%%; }
        location /pid { intermission off; return 200 $pid; }
        location /intermission/ { intermission_control; }
    }
EOF
my $old = $t->server->{pid};
my $new;
END { kill KILL => $new, Intermission::Test::Server::children_of($new) if $new }

my $control = $t->client;
is $control->get('/intermission/enable')->response->status, 200, 'a pause';
my @clients = map { $t->hold(GET => "/$_") } 1 .. COUNT;

kill USR2 => $old;
my $file = $t->folder . '/nginx.pid';
wait_for {
    my ($pid) = Intermission::Test::Server::slurp($file) =~ /(\d+)/;
    $new = $pid if $pid && $pid != $old;
} 'the new nginx';
wait_for { Intermission::Test::Server::children_of($new) == 2 } 'its workers';
my ($worker) = Intermission::Test::Server::children_of($new);
my $at_new = $t->client_at($worker);
is $at_new->get('/new')->response->status, 200, 'the new nginx is open';
ok !(grep { !$_->silent } @clients), 'the old one holds what it held';

kill WINCH => $old;
is scalar(grep { $_->response->status == 200 } @clients), COUNT,
    'and lets it through when its workers are told to go';
is_deeply [ grep { $_ ne '/new' } $origin->uris ], [ map {"/$_"} 1 .. COUNT ], 'in order';

Intermission::Test::Client->close_all;
kill QUIT => $old;
wait_for { $t->server->is_over } 'the old nginx to end';
kill QUIT => $new;
wait_for { !Intermission::Test::Server::is_running($new) } 'the new nginx to end';
undef $new;
$t->finish;
