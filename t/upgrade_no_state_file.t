#!/usr/bin/env perl

# A binary upgrade without a state file: the new nginx knows nothing of a pause, and is open. What
# the old one holds stays held as long as it has workers, and is let through when they are told to
# go; nobody is lost.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Server qw(workers_of);

use constant COUNT => 20;

my $t = Intermission::Test->new(workers => 2, daemon => 1);
my $origin = $t->origin;
$t->start(default_server(<<'EOF'));
    listen 127.0.0.1:%%PORT_80%%;
EOF
my $old = $t->server->{pid};

my $control = $t->client;
is $control->get('/intermission/enable')->response->status, 200, 'a pause';
my @clients = map { $t->hold(GET => "/$_") } 1 .. COUNT;

my ($worker) = workers_of($t->server->upgrade);
my $at_new = $t->client_at($worker);
is $at_new->get('/new')->response->status, 200, 'the new nginx is open';
ok !(grep { !$_->silent } @clients), 'the old one holds what it held';

kill WINCH => $old;
is answered(@clients), COUNT,
    'and lets it through when its workers are told to go';
is_deeply [ grep { $_ ne '/new' } $origin->uris ], [ map {"/$_"} 1 .. COUNT ], 'in order';

Intermission::Test::Client->close_all;
kill QUIT => $old;
wait_for { $t->server->is_over } 'the old nginx to end';
$t->server->quit_successor;
$t->finish;
