#!/usr/bin/env perl

# `fleet watch`: the nodes of a fleet, again and again, through a pause and an outage of the store.

use strict;
use warnings;

use FindBin qw($Bin);
use JSON::PP qw(decode_json);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Command;
use Intermission::Test::Fleet;

my $fleet = Intermission::Test::Fleet->new(nodes => [qw(one two)])
    or plan skip_all => 'needs etcd (package etcd-server)';
my ($one, $two) = $fleet->nodes;
$fleet->agents;

my @watches = map { $fleet->start(undef, 'fleet', 'watch', '--app' => 'shop', $fleet->etcd->options, @$_) }
    [], ['--json'];
my ($lines, $json) = @watches;

# What it has told last, whole.
sub latest { return (reverse grep {/\}\n\z/} split /^/, $json->out)[0] // '{}' }

sub shows {
    my ($what, $line, $states) = @_;
    my $told = '';
    my $came = eval {
        wait_for {
            my $nodes = decode_json($told = latest())->{nodes} // [];
            $lines->out =~ $line && $states eq join ' ', map {"$_->{node}:$_->{state}"} @$nodes;
        } $what;
    };
    ok $came, $what or diag $lines->out, $told;
    return;
}

shows('a fleet that is open', qr/^total: 2 nodes, .*; not held$/m, 'one:open two:open');
my $command = $fleet->begin;
ok $fleet->wait_running($command), 'a command runs';
my $client = $two->hold(GET => '/held');
shows('its pause, and who has it', qr/^two: paused, 1 held.*^total: 2 nodes, .*held by \S/ms, 'one:paused two:paused');
$fleet->go_on;
is $command->status, 4, 'the command ends';
is $client->response->status, 200, 'who was held goes on';
my $seen = length $lines->out;
wait_for { substr($lines->out, $seen) =~ /; not held$/m } 'what is shown last';
pass 'its end';

ok !$_->is_over, 'it goes on until it is ended' for @watches;
$_->signal('TERM') for @watches;
is $_->died_of, 15, 'by a signal' for @watches;

my $nowhere = $fleet->start(undef, 'fleet', 'watch', '--app' => 'shop', '--etcd' => 'http://127.0.0.1:1');
is $nowhere->status, 75, 'a store that is not there';
like $nowhere->said, qr/\Aintermission: [^\n]*127\.0\.0\.1:1[^\n]*\n\z/, 'is told in a line';

$fleet->finish;
