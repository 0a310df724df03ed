#!/usr/bin/env perl

# Bad values fail `nginx -t` with the directive, the value and what was expected, and where.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new;

# The message names all that is given.
sub refused {
    my ($http, @named) = @_;
    my ($ok, $said) = $t->check($http);
    my ($message) = $said =~ /\[emerg\] (?:\d+#\d+: )?(.*)/;
    $message //= '';
    ok !$ok, "refused: $http";
    like $message, qr/\Q$_\E/, "the message names $_" for @named;
    like $message, qr{ in .*/check\.conf:\d+$}, 'and the line' or diag $said;
    return;
}

# Wrong values, as they are written, and what the message says is expected.
my %wrong = (
    intermission => ['yes 1 ""', qw(on off)],
    intermission_zone => ['0 1 1k 4k -1 x 1x 1025m 2g 1184467440737095 ""', qw(64k 1024m)],
    intermission_max_time => ['0 0s -1 x 1x 86401s 25h 2d 1y ""', 'time'],
    intermission_timeout_action =>
        ['200 302 399 600 99 0 -1 444 499 503x passed "" 4294967799', 'pass'],
    intermission_health_check_path => ['up ""', '/'],
    intermission_privileged_user_agent => ['"~(" "~*[a" ""'],
    intermission_read_body => ['on yes ""', qw(release held off)],
    intermission_interval => ['0 0ms -1 x ""', 'time'],
    intermission_auto => ['yes 1 ""', qw(on off)],
    intermission_auto_max_time => ['0 0s -1 x 25h ""', 'time'],
    intermission_auto_interval => ['0 9ms -1 x 25h ""', 'time'],
    intermission_auto_probe => ['up GET ""', qw(connect request /up)],
    intermission_auto_replay => ['on all post ""', qw(none get)],
);
for my $directive (sort keys %wrong) {
    my ($values, @expected) = @{ $wrong{$directive} };
    for my $value (split / /, $values) {
        refused("$directive $value;", $directive, $value =~ s/^"|"$//gr, @expected);
    }
}
refused('server { location / { intermission_control remote; } }',
    qw(intermission_control remote local any));

refused('intermission_auto_probe "/a b";', 'intermission_auto_probe', '/a b', 'plain characters');
refused(
    'server { intermission_auto on; intermission_auto_probe request; intermission_auto_max_time 1h; }',
    qw(intermission_auto_probe intermission_auto_interval intermission_auto_max_time 1000));

# One wrong value among right ones.
refused('intermission_health_check_path /up down;', 'intermission_health_check_path', 'down');
refused('intermission_privileged_user_agent a "~*(" b;', 'intermission_privileged_user_agent', '(');

# The number of values, the place, and repetition.
my @single = grep { !/health|agent/ } keys %wrong;
refused("$_;", $_) for sort(keys %wrong), 'intermission_app_name', 'intermission_bypass';
refused("$_ 1s 1s;", $_) for sort(@single), 'intermission_app_name';
refused('server { intermission_zone 1m; }', 'intermission_zone');
refused('intermission_control;', 'intermission_control');
refused('server { intermission_control; }', 'intermission_control');

my @twice = (
    'intermission on',
    'intermission_zone 1m',
    'intermission_app_name a',
    'intermission_max_time 1s',
    'intermission_timeout_action pass',
    'intermission_health_check_path /up',
    'intermission_read_body off',
    'intermission_interval 1s',
);
for my $directive (@twice) {
    my ($name) = split / /, $directive;
    refused("$directive; $directive;", $name, 'duplicate');
}
refused('server { location / { intermission_control; intermission_control; } }',
    'intermission_control', 'duplicate');

# What cannot work together.
my @together = (
    [ 'intermission on', 'intermission_control' ],
    [ 'proxy_pass http://127.0.0.1:1', 'intermission_control' ],
    [ 'stub_status', 'intermission_control' ],
    [ 'fastcgi_pass 127.0.0.1:1', 'intermission_control' ],
);
for my $pair (@together) {
    for my $order ([ @$pair ], [ reverse @$pair ]) {
        my $both = join ' ', map {"$_;"} @$order;
        refused("server { location / { $both } }", 'intermission_control');
    }
}

done_testing;
