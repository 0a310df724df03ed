#!/usr/bin/env perl

# Any value of any directive is taken or refused: `nginx -t` never crashes over one, and what it
# refuses it refuses with the directive's name, or as nginx does what is no configuration at all.

use strict;
use warnings;

use FindBin qw($Bin);
use Time::HiRes qw(time);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

use constant { SECONDS => 5, LEAST => 40 };

# Each with something that it takes, to be changed a little.
my %taken = (
    intermission => 'on',
    intermission_zone => '128k',
    intermission_app_name => '$host-${uri}x',
    intermission_max_time => '1m30s',
    intermission_timeout_action => '503',
    intermission_health_check_path => '/up /healthy',
    intermission_privileged_user_agent => '~*(Pingdom|^kube-[a-z]+/1\.\d) curl',
    intermission_bypass => '$cookie_preview $arg_x',
    intermission_max_held => '10000',
    intermission_retry_after => '120s',
    intermission_read_body => 'release',
    intermission_interval => '250ms',
    intermission_auto => 'on',
    intermission_auto_max_time => '30s',
    intermission_auto_interval => '250ms',
    intermission_auto_probe => '/up',
    intermission_auto_replay => 'get',
    intermission_state_file => 'state',
    intermission_control => 'local',
    intermission_release_rate => '500r/s burst=20',
    intermission_release_concurrency => '64',
    intermission_release_timeout => '60s',
);
my @pieces = (
    qw{0 -1 1 18446744073709551615 18446744073709551616 1e9 0x10 . / // % $ ~ ~* ( [ \\ = r/s r/m},
    qw{burst= ms h d y k m g on off any *}, '', ' ', ' ', '${', '$1', "\x{80}", "\x{ff}\x{fe}", '../',
    'x' x 300, 'x' x 5000,
);

my $seed = $ENV{INTERMISSION_SEED} // time ^ $$;
srand $seed;
note "INTERMISSION_SEED=$seed";

sub one_of { $_[ int rand @_ ] }

sub changed {
    my ($value) = @_;
    for (0 .. int rand 3) {
        my $at = int rand 1 + length $value;
        my $end = substr $value, $at;
        $value = substr($value, 0, $at) . one_of(@pieces, chr 1 + int rand 255)
            . substr $end, int rand 1 + length $end;
    }
    return $value;
}

# As nginx quotes it; sometimes not at all.
sub written {
    my ($value) = @_;
    return $value if rand() < 0.3;
    return '"' . $value =~ s/(["\\])/\\$1/gr . '"';
}

my $t = Intermission::Test->new;

my ($tried, $refused) = (0, 0);
my $until = time + SECONDS;
while (time < $until || $tried < LEAST) {
    my $directive = one_of(sort keys %taken);
    my $text = "$directive " . written(changed($taken{$directive})) . ';';
    my $in_http = $directive =~ /_(?:zone|state_file)$/;
    my ($ok, $said) = $t->check($in_http ? $text : "server { location / { $text } }");
    $tried++;
    next if $ok;
    $refused++;
    my $exit = $?;
    my $named = qr/\Q$directive\E|unknown ".*| in \S+check\.conf:\d+$/m;
    next if $exit == 256 && $said =~ /\[emerg\].*$named/;
    fail "INTERMISSION_SEED=$seed: refused properly";
    diag "$text\nstatus $exit\n$said";
    last;
}
ok $refused && $refused < $tried, 'some were taken and some were refused';
note "$tried tried, $refused refused";

$t->finish;
