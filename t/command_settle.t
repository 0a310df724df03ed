#!/usr/bin/env perl

# `--settle`: the command goes on only when no request was abandoned by its client for that long, as
# the backend may still work on what nobody waits for.

use strict;
use warnings;

use FindBin qw($Bin);
use JSON::PP ();
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Command;

my $t = Intermission::Test->new;
my $origin = $t->origin('/slow' => { wait => 1 });
$t->start;

my $url = control_url($t);
my $asked = 0;

# A request whose client goes away while the backend works on it.
sub abandon {
    my $client = $t->client->get('/slow');
    $origin->wait_requests(++$asked);
    my $before = $t->status->{totals}{abandoned};
    $client->close;
    wait_for { $t->status->{totals}{abandoned} > $before } 'the request to be abandoned';
    return;
}

abandon();
my $enable = intermission($t, 'enable', '--url' => $url, '--drain' => '10s', '--settle' => '2500ms',
    '--json');
is $enable->status, 0, 'enable --settle';
my $answer = JSON::PP->new->decode($enable->out);
cmp_ok $answer->{drained_ms}, '>=', 1500, 'waits until that long after the last one';
like $enable->said, qr/waiting until it is quiet: 0 in flight, 0 held, 1 s/, 'and says so';
$t->disable;

is intermission($t, 'enable', '--url' => $url, '--drain' => '10s')->status, 0, 'without it:';
$t->disable;

abandon();
my $run = intermission($t, 'run', '--url' => $url, '--drain' => '1s', '--settle' => '1m', 'true');
is $run->status, 75, 'run --settle: it takes too long';
like $run->said, qr/nothing is in flight after 1s, but .* for 1m .* abandoned: wait for longer/,
    'which is told';
is $t->status->{state}, 'open', 'and the app is resumed';

$run = intermission($t, 'run', '--url' => $url, '--settle' => '1500ms', 'true');
is $run->status, 0, 'run --settle: it does not';
like $run->said, qr/paused, and quiet after [01]\.\d s: running true/, 'so the command is run';

my $alone = intermission($t, 'enable', '--url' => $url, '--settle' => '1s');
is $alone->status, 64, '--settle alone';
like $alone->said, qr/--settle goes with --drain/, 'is refused';

$t->finish;
