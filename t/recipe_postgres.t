#!/usr/bin/env perl

# The recipe postgres-switchover: under load, a replica becomes the primary, no request fails, and
# each order that was answered is in the new primary exactly once.

use strict;
use warnings;

use Cwd qw(abs_path);
use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Command;
use Intermission::Test::Load;
use Intermission::Test::Postgres;

use constant RATE => 40;

my ($python) = grep { !system "$_ -c 'import psycopg2' 2>/dev/null" } qw(python3 /usr/bin/python3);
plan skip_all => 'PostgreSQL is not installed (package postgresql)'
    if !Intermission::Test::Postgres::programs();
plan skip_all => 'psycopg2 is not installed (package python3-psycopg2)' if !$python;

my $t = Intermission::Test->new(workers => 2, connections => 4096);
$t->start(default_server(<<'EOC'));
    listen 127.0.0.1:%%PORT_80%%;
    location / { proxy_pass http://127.0.0.1:%%PORT_APP%%; }
EOC

my $primary = Intermission::Test::Postgres->new($t, 'primary')->create;
$primary->ask('CREATE TABLE orders (ref integer)');

# libpq looks for the one of the two that takes writes.
my $ports = join ',', $primary->port, $t->port('replica');
my $app = Intermission::Test::Command->start(
    $t, {}, $python, "$Bin/recipes/app.py", '--port' => $t->port('APP'),
    '--database' => "host=127.0.0.1,127.0.0.1 port=$ports user=postgres dbname=postgres"
        . ' target_session_attrs=read-write',
);
wait_for { eval { $t->get('/up')->status == 200 } } 'the application';

my $replica = Intermission::Test::Postgres->new($t, 'replica');

sub switch_over {
    my (%environment) = @_;
    return intermission(
        $t, 'run', '--url' => control_url($t), '--drain' => '20s',
        abs_path("$Bin/../docs/recipes/postgres-switchover"),
        {   OLD => $primary->where,
            NEW => $replica->where,
            STOP_OLD => $primary->stop_command,
            START_OLD => $primary->start_command,
            PATIENCE => 15,
            %environment,
        },
    );
}

my $load = Intermission::Test::Load->new($t, RATE);

# Without a replica that follows, nothing is changed.
my $refused = switch_over();
is $refused->status, 1, 'without a replica: refused';
is $primary->ask('SELECT pg_is_in_recovery()'), 'f', 'the primary goes on';

$replica->follow($primary);
wait_for {
    $primary->ask('SELECT state FROM pg_stat_replication') eq 'streaming'
} 'the replica to follow';

# If the old primary cannot be stopped as it should be, it goes on.
my $back = switch_over(STOP_OLD => $primary->stop_command . '; false');
is $back->status, 1, 'the old primary cannot be stopped';
like $back->said, qr/it could not be stopped: going back to the old primary/, 'told';
is $primary->ask('SELECT pg_is_in_recovery()'), 'f', 'it goes on';
wait_for {
    $primary->ask('SELECT state FROM pg_stat_replication') eq 'streaming'
} 'the replica to follow again';

my $before = $primary->ask('SELECT count(*) FROM orders');
wait_for { $primary->ask('SELECT count(*) FROM orders') > $before + RATE / 2 } 'more orders';

my $switched = switch_over();
is $switched->status, 0, 'with a replica: done' or diag $switched->said;
like $switched->said, qr/is the primary\n.* resumed, [1-9]\d* requests held/s, 'and told';
ok !$primary->is_up, 'the old primary is down';
is $replica->ask('SELECT pg_is_in_recovery()'), 'f', 'the replica is the primary';

$before = $replica->ask('SELECT count(*) FROM orders');
wait_for { $replica->ask('SELECT count(*) FROM orders') > $before + RATE / 2 } 'orders there';
my %status = $load->finish;
my @sent = sort { $a <=> $b } keys %status;
cmp_ok scalar(@sent), '>', 2 * RATE, 'there was load';
is_deeply [ grep { $status{$_} != 200 } @sent ], [], 'no request failed'
    or diag $app->out;
is_deeply [ split /\n/, $replica->ask('SELECT ref FROM orders ORDER BY ref') ], \@sent,
    'each order is there exactly once';

$app->signal('TERM');
$app->status;
$t->finish;
