#!/usr/bin/env perl

# Every change of state is one line in the error log at level notice: the app, from which state to
# which, who asked for it, how many are held. What changes nothing logs nothing.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new;
$t->origin;
$t->start;

my $seen = 0;

# The lines about states that are new since the last look.
sub new_lines {
    my @lines = grep {/\[notice\].*\b(?:open|paused|releasing)\b.*\b(?:open|paused|releasing)\b/}
        split /\n/, $t->server->log;
    my @new = @lines[ $seen .. $#lines ];
    $seen = @lines;
    return @new;
}

$t->status;
is_deeply [ new_lines() ], [], 'nothing to tell at first';

$t->enable;
my @lines = new_lines();
is scalar @lines, 1, 'enable: one line';
like $lines[0], qr/\bopen\b.*\bpaused\b/, 'from which state to which';
like $lines[0], qr/\bdefault\b/, 'the app';
like $lines[0], qr/\b127\.0\.0\.1\b/, 'who asked for it';
like $lines[0], qr/\b0 held|held:? 0\b/, 'how many are held';

$t->enable for 1 .. 3;
is_deeply [ new_lines() ], [], 'enable, repeated: nothing';

my @held = map { $t->hold(GET => "/$_") } 1 .. 3;
$t->disable;
$_->response for @held;
$t->wait_state('open');
@lines = new_lines();
is scalar @lines, 2, 'disable with a queue: two lines';
like $lines[0], qr/\bpaused\b.*\breleasing\b/, 'the release begins';
like $lines[0], qr/\b3 held|held:? 3\b/, 'with so many';
like $lines[1], qr/\breleasing\b.*\bopen\b/, 'and ends';

$t->disable for 1 .. 3;
is_deeply [ new_lines() ], [], 'disable, repeated: nothing';

$t->enable('shop');
$t->disable('shop');
@lines = new_lines();
like $lines[0], qr/\bshop\b/, 'another app by its name';
like $lines[-1], qr/\bshop\b.*\bopen\b/, 'until it is open';

# Whatever a name contains, it is one line, and looks like no other.
$t->enable('a%0Ab%22%20paused');
is scalar(grep {/^b"/m} $t->server->log), 0, 'a name cannot begin a line';

$t->control('enable', bogus => 1);
$t->request(HEAD => '/intermission/enable');
new_lines();
is $t->status->{state}, 'open', 'what is refused changes nothing';
is_deeply [ new_lines() ], [], 'and logs no change';

$t->finish;
