#!/usr/bin/env perl

# Order with one worker: several hundred held requests, GET and POST, arrive at the origin in
# exactly the order in which they reached the gate, also when some of the clients have left.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

use constant COUNT => 400;

my $t = Intermission::Test->new(connections => 4096);
my $origin = $t->origin;
$t->start;

$t->enable;
my %client_of = map {
    my $body = $_ % 3 ? '' : 'x' x $_;
    $_ => $t->hold($body ? 'POST' : 'GET', "/$_", body => $body);
} 1 .. COUNT;

my @leaving = grep { $_ % 7 == 0 } 1 .. COUNT;
my @staying = grep { $_ % 7 != 0 } 1 .. COUNT;
$_->reset for @client_of{@leaving};
$t->wait_held(scalar @staying);

$t->disable;
my @answered = grep { $_->response->status == 200 } @client_of{@staying};
is scalar @answered, scalar @staying, 'everybody who stayed is answered';
is_deeply [ $origin->uris ], [ map {"/$_"} @staying ], 'in order, and nobody else';

my $totals = $t->status->{totals};
is $totals->{released}, scalar @staying, 'the total of released requests';
is $totals->{aborted}, scalar @leaving, 'the total of aborted requests';

$t->finish;
