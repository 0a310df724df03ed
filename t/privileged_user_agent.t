#!/usr/bin/env perl

# intermission_privileged_user_agent: a substring, ~regex or ~*regex lets a client through.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new;
$t->origin;
$t->start(default_server(<<'EOF'));
    intermission_max_time 100ms;
    intermission_timeout_action 503;
    intermission_privileged_user_agent Deploy/1.0 "~^probe-[0-9]+$" ~*MONITOR;
    intermission_privileged_user_agent "two words";
    location /nobody/ {
        intermission_privileged_user_agent none-such;
        proxy_pass http://%%ORIGIN%%;
    }
EOF

my @through = (
    'Deploy/1.0',
    'Mozilla (Deploy/1.0; x)',
    'probe-17',
    'my monitor 2',
    'MoNiToR',
    'has two words in',
);
my @held = (
    'deploy/1.0',
    'Deploy/1x0',
    'Deploy/1',
    'Probe-17',
    'probe-17x',
    'a probe-17',
    'monit',
    'two  words',
    '',
);

sub status_for {
    my ($agent, $uri) = @_;
    return $t->get($uri // '/', headers => ["User-Agent: $agent"])->status;
}

$t->enable;

is status_for($_), 200, "'$_' goes through" for @through;
is status_for($_), 503, "'$_' is held" for @held;
is $t->get('/')->status, 503, 'no user agent at all is held';

is status_for('Deploy/1.0', '/nobody/'), 503, 'a location with patterns of its own has only these';
is status_for('none-such', '/nobody/'), 200, 'and lets those through';

is $t->status->{totals}{bypassed}, @through + 1, 'the total of bypassed requests';

$t->finish;
