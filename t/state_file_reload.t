#!/usr/bin/env perl

# A reload that brings a state file, or another one, to an nginx that runs: what is so in the running
# nginx is written to the file, whatever an old file of that name says.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new(workers => 2);
$t->origin;
$t->shared_folder($_) for 'one', 'two';

sub configuration {
    my ($file) = @_;
    my $line = defined $file ? "intermission_state_file %%FOLDER%%/$file;" : '';
    return $line . default_server(<<'EOF');
        listen 127.0.0.1:%%PORT_80%%;
EOF
}

sub file_says { slurp($t->folder . '/' . shift) }

# Two files of earlier days: one says that the app is open, one that it is paused, and both have
# high serial numbers.
$t->start(configuration('one/file'));
for (1 .. 5) { $t->enable; $t->disable }
$t->reload(configuration('two/file'));
for (1 .. 9) { $t->enable; $t->disable }
$t->enable;
$t->server->terminate;
unlink $t->folder . '/nginx.pid';
like file_says('one/file'), qr/^end 0 /m, 'one file says that all is open';
like file_says('two/file'), qr/^paused default /m, 'the other that the app is paused';

# A running pause against a file that says "open".
$t->configure(configuration());
$t->server->start;
is $t->status->{state}, 'open', 'without a state file the app is open';
$t->enable;
my $held = $t->hold(GET => '/held');
$t->reload(configuration('one/file'));
wait_for { file_says('one/file') =~ /^paused default /m } 'the file to say what is so';
is $t->status->{state}, 'paused', 'a pause stays when a file is brought in that says "open"';
ok $held->silent, 'and what it holds is held';

# An open app against a file that says "paused".
$t->disable;
is $held->response->status, 200, 'it is released';
$t->wait_state('open');
$t->reload(configuration('two/file'));
wait_for { file_says('two/file') =~ /^end 0 /m } 'the file to say what is so';
is $t->status->{state}, 'open', 'an open app stays open when a file says "paused"';
is $t->get('/')->status, 200, 'and serves';

# Without the file again: nothing changes.
$t->enable;
$t->reload(configuration());
is $t->status->{state}, 'paused', 'a pause stays when the file is taken away';
$t->disable;

$t->finish;
