#!/usr/bin/env perl

# All workers of the newest configuration are killed in the moment in which nginx is told to quit. Its
# master replaces nobody then, and tells nothing to the workers of an earlier configuration. These
# find out that nginx ends as they see nobody else for five seconds, and let go what they hold, in
# order. They do not where the master replaces who was killed.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;
use Time::HiRes qw(time);

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Server qw(is_running);

use constant { WORKERS => 2, EACH => 20, ABANDONED => 5, SOON => 10 };

my $t = Intermission::Test->new(workers => WORKERS);
my $origin = $t->origin;
$t->start(default_server(<<'EOF_HTTP'));
    intermission_interval 1h;
EOF_HTTP

my $master = $t->server->{pid};
END { kill CONT => $master if $master }

my @old = $t->server->workers;

sub newest {
    my %old = map { $_ => 1 } @old;
    return grep { !$old{$_} } $t->server->workers;
}

$t->enable;
my @uris = map {"/$_"} 1 .. EACH;
my @clients = map { $t->hold(GET => $uris[$_], client => $t->client_at($old[$_ % 2])) } 0 .. $#uris;
$t->reload;
$t->expect_kill;

my @killed = newest();
kill KILL => @killed;
wait_for {
    my @there = newest();
    @there == WORKERS && !grep { my $pid = $_; grep { $_ == $pid } @killed } @there;
} 'others in their place';
is $t->status->{held}, EACH, 'workers that are killed and replaced: old ones go on holding';

$t->stop_process($master);
@killed = newest();
my $started = time;
kill KILL => @killed;
wait_for { !grep { is_running($_) } @killed } 'the newest workers to die';
$t->server->signal('QUIT');
$t->server->signal('CONT');
is answered(@clients), EACH,
    'workers that are killed as nginx quits: old ones let go what they hold';
my $waited = time - $started;
note sprintf 'after %.2f s', $waited;
cmp_ok $waited, '>=', ABANDONED - 0.1, 'when nobody came for long enough';
cmp_ok $waited, '<', SOON, 'and not much later, however seldom they look otherwise';
is_deeply [ $origin->uris ], \@uris, 'in the order in which they came';
is scalar $t->server->logged(qr/nginx ends, and nobody is left to resume/), WORKERS,
    'each of them says why';

$t->finish;
