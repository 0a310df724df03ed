#!/usr/bin/env perl

# A backend that goes down and comes back many times in a second: at most one line a second in the log says so, with how many
# changes have none, and the last one always has. Nothing is sent twice meanwhile.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;
use Time::HiRes qw(sleep time);

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Load;

use constant SECONDS => 4;

my $t = Intermission::Test->new(workers => 2);
$t->start(default_server(<<'EOF'));
    intermission_auto on;
    intermission_auto_interval 10ms;
    intermission_interval 50ms;
EOF

sub lines { return grep {/intermission: app "default" from/} split /\n/, $t->server->log }

my $load = Intermission::Test::Load->new($t, 80);
my ($began, %sent, $origin) = (time);
while (time < $began + SECONDS) {
    $origin = $t->origin;
    sleep 0.05;
    $sent{$_}++ for $origin->uris;
    $t->end_origin;
    sleep 0.05;
}
$origin = $t->origin;
$t->wait_state('open');
my $took = time - $began;
my $outages = $t->status->{totals}{outages};
my @lines = lines();
cmp_ok $outages, '>', SECONDS, "$outages outages";
cmp_ok scalar(@lines), '<=', $took + 2, scalar(@lines) . ' lines in ' . sprintf '%.1f s', $took;
like join("\n", @lines), qr/\(left out before: [1-9]\d*\)/, 'which say what was left out';

my %status = $load->finish;
$sent{$_}++ for $origin->uris;
is_deeply [ grep { $sent{$_} > 1 } sort keys %sent ], [], 'nothing was sent twice';
my @lost = grep { !$status{$_} } keys %status;
is scalar(@lost), 0, 'and all are answered';
wait_for { my $said = lines(); sleep 1.2; $said == lines() } 'all to be said';
like((lines())[-1], qr/ to open by /, 'what came of it is said in the end');

# A call has its line whatever was said.
my $count = lines();
$t->enable;
$t->disable;
wait_for { lines() >= $count + 2 } 'the lines of calls';
pass 'the lines of calls';

$t->finish;
