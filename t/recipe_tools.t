#!/usr/bin/env perl

# The recipes for Capistrano, Ansible and Kamal: the traffic is held while they deploy, and goes on
# after that, also if the deployment fails. Capistrano and Ansible are real, if they are installed;
# Kamal, which is not packaged, is played by a few lines of shell.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Copy qw(copy);
use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Command;
use Intermission::Test::Files qw(program);

my $t = Intermission::Test->new;
$t->start(default_server(<<'EOC'));
    location / { return 200 "page\n"; }
EOC

my $folder = $t->folder;
my $url = control_url($t);
my $recipes = abs_path("$Bin/../docs/recipes");
my $commands = Intermission::Test::Command::program_folder();

# A step of the deployment: notes the state that the app has then, and fails if the test says so.
$t->write_file('bin/step', <<"EOC");
#!/bin/sh
intermission status --url $url | sed -n 's/^state: //p' >>$folder/states
[ ! -e $folder/fail ]
EOC
chmod 0755, "$folder/bin/step";

# Deploys: what it exits with, and the states in its steps.
sub deploy {
    my ($environment, $command) = @_;
    unlink "$folder/states";
    my %environment = (PATH => "$folder/bin:$commands:$ENV{PATH}", HOME => $folder, %$environment);
    my $run = Intermission::Test::Command->start(
        $t, \%environment, 'sh', '-c' => "cd $folder; $command 2>&1");
    my $status = $run->status;
    my @states = split /\n/, slurp("$folder/states");
    return ($status, "@states", $run);
}

sub deploys {
    my ($name, $environment, $command, %expected) = @_;
    unlink "$folder/fail";
    my ($status, $states, $run) = deploy($environment, $command);
    is $status, 0, "$name deploys" or diag $run->out;
    is $states, $expected{good}, 'the traffic is held while it does';
    is $t->status->{state}, 'open', 'and goes on after that';

    $t->write_file('fail', '');
    ($status, $states, $run) = deploy($environment, $command);
    isnt $status, 0, "$name fails";
    is $states, $expected{bad}, 'the traffic was held';
    is $t->status->{state}, 'open', 'and goes on' or diag $run->out;
}

subtest 'Capistrano' => sub {
    plan skip_all => 'it is not installed (package capistrano)' if !program('cap');
    $t->write_file('Capfile', <<'EOC');
require "capistrano/setup"
require "capistrano/framework"
require "sshkit/backends/local"
set :scm, nil
import "capistrano.rake"
EOC
    mkdir "$folder/config";
    $t->write_file('config/deploy/production.rb', '');
    $t->write_file('config/deploy.rb', <<"EOC");
set :application, "shop"
set :sshkit_backend, SSHKit::Backend::Local
server "localhost", roles: %w[web]
set :intermission_url, "$url"
set :intermission_disable, %w[--rate 500r/s]
task(:switch) { on(roles(:web)) { execute :step } }
after "deploy:publishing", "switch"
EOC
    copy "$recipes/capistrano.rake", $folder;
    deploys('Capistrano', {}, 'cap production deploy', good => 'paused', bad => 'paused');
};

subtest 'Ansible' => sub {
    plan skip_all => 'it is not installed (package ansible-core)' if !program('ansible-playbook');
    $t->write_file('inventory', "[shop]\nlocalhost ansible_connection=local\n");
    my $command = "ansible-playbook -i inventory $recipes/ansible.yml"
        . " -e intermission_url=$url -e migrate=step -e restart=step";
    my %environment = (ANSIBLE_LOCAL_TEMP => "$folder/ansible", LC_ALL => 'C.UTF-8');
    deploys('Ansible', \%environment, $command, good => 'paused paused', bad => 'paused');
};

subtest 'Kamal' => sub {
    mkdir "$folder/.kamal";
    mkdir "$folder/.kamal/hooks";
    for my $hook ('pre-deploy', 'post-deploy') {
        copy "$recipes/kamal/$hook", "$folder/.kamal/hooks";
        chmod 0755, "$folder/.kamal/hooks/$hook";
    }
    $t->write_file('bin/kamal', <<'EOC');
#!/bin/sh
set -e
[ "$*" = deploy ]
.kamal/hooks/pre-deploy
step
.kamal/hooks/post-deploy
EOC
    chmod 0755, "$folder/bin/kamal";
    my ($failed) = slurp("$recipes/kamal/post-deploy")
        =~ /^#     (kamal deploy \|\| .*)$/m
        or die;
    my $command = "[ ! -e fail ] || exec sh -c '$failed; exit 1'; kamal deploy";
    deploys('Kamal', { INTERMISSION_URL => $url }, $command, good => 'paused', bad => 'paused');

    my ($status) = deploy({ INTERMISSION_URL => 'unix:/nowhere' }, 'kamal deploy');
    is $status, 75, 'without a pause it does not deploy';
};

$t->finish;
