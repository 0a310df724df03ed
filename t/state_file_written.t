#!/usr/bin/env perl

# The state file is whole at any moment: many callers at all workers, workers killed while they
# write, and the file is always the old or the new one. In the end it says what is so.

use strict;
use warnings;

use FindBin qw($Bin);
use List::Util qw(shuffle);
use Test::More;
use Time::HiRes qw(sleep time);

use lib "$Bin/lib";
use Intermission::Test;

use constant { WORKERS => 3, CALLERS => 4, KILLS => 12, APPS => 30 };

my $seed = $ENV{INTERMISSION_SEED} // time ^ $$;
srand $seed;
note "INTERMISSION_SEED=$seed";

my $t = Intermission::Test->new(workers => WORKERS);
$t->shared_folder('state');
my $file = $t->folder . '/state/file';
$t->expect_kill;
$t->start('intermission_state_file %%FOLDER%%/state/file;' . default_server(<<'EOF'));
    location / { return 200 "ok\n"; }
EOF

sub start_caller {
    my ($number) = @_;
    my $pid = fork // die "fork: $!";
    return $pid if $pid;
    $SIG{$_} = 'DEFAULT' for qw(TERM ALRM);
    srand $seed + $number;
    while (1) {
        my $call = rand() < 0.6 ? 'enable' : 'disable';
        eval { $t->control($call, app => 'app-' . int rand APPS) };
    }
}

sub is_whole {
    my $text = slurp($file);
    return $text =~ /\Aintermission 2\nserial \d+\n(?:paused app-\d+ .*\n)*end \d+ [0-9a-f]{16}\n\z/;
}

sub apps_in_file {
    return sort(slurp($file) =~ /^paused (\S+)/mg);
}

sub apps_paused {
    my $all = $t->must('status', app => '*', format => 'json')->json;
    return sort map { $_->{state} eq 'paused' ? $_->{app} : () } @$all;
}

# Without accidents: nobody may find the file locked for so long that it is not written.
my @callers = map { start_caller($_) } 1 .. CALLERS;
my $end = time + 1;
my ($looks, $whole) = (0, 0);
wait_for { -e $file } 'the file';
while (time < $end) { $looks++; $whole++ if is_whole(); sleep 0.001 }
is $whole, $looks, "the file is whole each time, $looks times";
kill STOP => @callers;

# Workers die while they write.
kill CONT => @callers;
for (1 .. KILLS) {
    sleep rand 0.03;
    my ($victim) = shuffle($t->server->workers);
    kill KILL => $victim if $victim;
    $looks++;
    $whole++ if is_whole();
}
is $whole, $looks, 'also when workers are killed';
kill TERM => @callers;
waitpid $_, 0 for @callers;
wait_for { $t->server->workers == WORKERS } 'all workers to be there';
is_deeply [ $t->server->logged(qr/state file .*(?:corrupt|truncated|empty)/) ], [],
    'nobody found a broken one';

wait_for { $t->control('enable', app => 'app-0')->status == 200 } 'a call to be answered';
# What could not be written at once, as somebody who died had the lock, is written soon after.
eval { wait_for { join(' ', apps_in_file()) eq join ' ', apps_paused() } 'it' };
is_deeply [ apps_in_file() ], [ apps_paused() ], 'in the end it says what is so';
note scalar $t->server->logged(qr/cannot be written/), ' writes were put off';

my $expected = join ' ', apps_paused();
$t->server->terminate;
unlink $t->folder . '/nginx.pid';
$t->server->start;
is join(' ', apps_paused()), $expected, 'and that is so after a restart';

$t->finish;
