#!/usr/bin/env perl

# The recipes for a fleet: a playbook of Ansible, and a switch-over by a real Patroni, each skipped if it is
# not installed. The traffic is held at all nodes meanwhile, and no order is lost.

use strict;
use warnings;

use Cwd qw(abs_path);
use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Command;
use Intermission::Test::Files qw(program);
use Intermission::Test::Fleet;
use Intermission::Test::Load;
use Intermission::Test::Patroni;
use Intermission::Test::Ports qw(take_port);

use constant RATE => 40;

my $app_port = take_port();
my $fleet = Intermission::Test::Fleet->new(nodes => [qw(one two)], behind => "127.0.0.1:$app_port")
    or plan skip_all => 'needs etcd (package etcd-server)';
my ($one, $two) = $fleet->nodes;
my $folder = $one->folder;
my $recipes = abs_path("$Bin/../docs/recipes");
my $path = Intermission::Test::Command::program_folder() . ":$ENV{PATH}";
$fleet->agents;
# This takes a while.
my $patroni = Intermission::Test::Patroni::is_here() && Intermission::Test::Patroni->new($one, $fleet->etcd, qw(a b));

subtest 'Ansible' => sub {
    plan skip_all => 'it is not installed (package ansible-core)' if !program('ansible-playbook');
    $one->write_file('inventory', "[shop]\nlocalhost ansible_connection=local\n");
    my $states = join '; ', map { 'intermission status --app shop --url ' . $fleet->socket_of($_) } qw(one two);
    my %environment = (PATH => $path, HOME => $folder, ANSIBLE_LOCAL_TEMP => "$folder/ansible", LC_ALL => 'C.UTF-8');
    for my $status (0, 3) {
        $one->write_file('deploy', "#!/bin/sh\n{ $states; } >$folder/states\nexit $status\n");
        chmod 0755, "$folder/deploy";
        my $run = Intermission::Test::Command->start(
            $one, \%environment, 'ansible-playbook', '-i' => "$folder/inventory", "$recipes/ansible-fleet.yml",
            '-e' => 'etcd=' . $fleet->etcd->url, '-e' => 'nodes=2', '-e' => "deploy=$folder/deploy",
        );
        is !!$run->status, !!$status, "a deployment that ends with $status" or diag $run->out;
        is_deeply [ slurp("$folder/states") =~ /^state: (.*)$/mg ], [qw(paused paused)], 'both are held meanwhile';
        is $fleet->states, 'open open', 'and go on after that';
    }
};

subtest 'Patroni' => sub {
    plan skip_all => $Intermission::Test::Patroni::NEEDS if !$patroni;
    $patroni->complete;
    $patroni->ask('a', 'CREATE TABLE orders (ref integer)');
    my $app = Intermission::Test::Command->start(
        $one, {}, Intermission::Test::Patroni::python(), "$Bin/recipes/app.py", '--port' => $app_port,
        '--database' => $patroni->primary,
    );
    wait_for { eval { $one->get('/up')->status == 200 } } 'the application';
    my $load = Intermission::Test::Load->new($one, RATE);
    my $orders = sub { $patroni->ask($_[0], 'SELECT count(*) FROM orders') };
    wait_for { $orders->('a') > RATE / 2 } 'orders';

    my %environment = (PATH => $path, NEW => $patroni->where('b'), CANDIDATE => 'b', $patroni->environment);
    my $run = Intermission::Test::Command->start(
        $one, \%environment, 'intermission', 'run', '--fleet' => 'shop', $fleet->etcd->options,
        '--nodes' => 2, '--drain' => '20s', '--for' => '60s', "$recipes/patroni-switchover",
    );
    is eval { wait_for { $run->is_over } 'the switch-over', 60; $run->status }, 0, 'it is done' or diag $run->said;
    like $run->said, qr/b is the primary\n.*resumed at 2 nodes, [1-9]\d* requests held/s, 'and told';
    my $before = $orders->('b');
    wait_for { $orders->('b') > $before + RATE / 2 } 'orders there';
    my %status = $load->finish;
    my @sent = sort { $a <=> $b } keys %status;
    is_deeply [ grep { $status{$_} != 200 } @sent ], [], 'no request failed' or diag $app->out;
    is_deeply [ split /\n/, $patroni->ask('b', 'SELECT ref FROM orders ORDER BY ref') ], \@sent,
        'each order is there exactly once';
    $app->signal('TERM');
    $app->status;
    $patroni->stop;
};

$fleet->finish;
