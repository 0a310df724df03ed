#!/usr/bin/env perl

# Bad values of the directives about releases and limits fail `nginx -t` with the directive, the
# value and what was expected, and where. The edges of what is right are there as well.

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
    my @missing = grep { index($message, $_) < 0 } @named;
    ok !$ok && !@missing, "refused: $http" or diag "$message\nwithout: @missing";
    like $message, qr{ in .*/check\.conf:\d+$}, 'the message says where' or diag $said;
    return;
}

# Wrong values, as they are written, and what the message says is expected.
my $times = '0 0s 0ms -1 -1s x 1x 1.5s 1d1s 86401 25h 2d 1M 1y 1s1s 1s1m 99999999999999999999 '
    . '18446744073709551616s 213503982334d ""';
my $counts = '-1 x 1x 1.5 1e3 +1 0x10 18446744073709551617 ""';
my %wrong = (
    intermission_release_rate => [
        '0 0r/s -1 -1r/s x xr/s 1 100 r/s 1r/m 1r/h 1R/s 1r/s1 1.5r/s 1000001r/s 4294967297r/s '
            . '18446744073709551617r/s off ""',
        'a rate from 1r/s to 1000000r/s',
    ],
    intermission_release_concurrency => [
        "$counts 1000001 4294967296 4294967297 off",
        'a number from 1 to 1000000, or 0 for no limit',
    ],
    intermission_release_timeout => [ "$times off", 'a time above 0 and at most 1d' ],
    intermission_max_held => [ "$counts 4294967296 4294967297 off", 'a number', '0 for no cap' ],
    intermission_retry_after => [ "$times 999ms off", 'a time from 1s to 1d' ],
);
for my $directive (sort keys %wrong) {
    my ($values, @expected) = @{ $wrong{$directive} };
    for my $value (split / /, $values) {
        my $given = $value =~ s/^"|"$//gr;
        refused("$directive $value;", qq{"$directive"}, qq{"$given"}, @expected);
    }
}

# The burst of a rate.
my $count = 'a number from 1 to 1000000';
for my $burst (split / /, 'burst= burst=0 burst=-1 burst=x burst=1x burst=1.5 burst=1000001 '
    . 'burst=4294967297 burst 5 Burst=5 burst=5r/s nodelay') {
    refused("intermission_release_rate 10r/s $burst;", 'intermission_release_rate', "10r/s $burst",
        'burst=', $count);
}
for my $case ([ '1000000r/s', 999, 1000 ], [ '1001r/s', 1, 2 ], [ '5000r/s', 4, 5 ]) {
    my ($rate, $burst, $least) = @$case;
    refused("intermission_release_rate $rate burst=$burst;", 'intermission_release_rate',
        "$rate burst=$burst", "too small for $rate", "at least $least");
}
refused('intermission_release_rate 0 burst=5;', 'intermission_release_rate', '0 burst=5', 'rate');

# The number of values, the place, and repetition; inherited ones as well.
for my $directive (sort keys %wrong) {
    my $right = $directive =~ /rate/ ? '5r/s' : 5;
    my $more = $directive =~ /rate/ ? 'burst=5 burst=5' : 5;
    refused("$directive;", 'number of arguments', $directive);
    refused("$directive $right $more;", 'number of arguments', $directive);
    refused("$directive $right; $directive $right;", $directive, 'duplicate');
    refused("server { $directive $right; $directive $right; }", $directive, 'duplicate');
    refused("server { location / { $directive $right; $directive $right; } }", $directive,
        'duplicate');
    refused("server { location / { if (\$arg_x) { $directive $right; } } }", $directive,
        'not allowed here');
    refused("server { location / { $directive x; } }", $directive, '"x"');
}
refused('intermission_release_rate 5r/s burst=5; intermission_release_rate 6r/s;',
    'intermission_release_rate', 'duplicate');

# The edges of what is right, in each context and inherited by another.
my %right = (
    intermission_release_rate => [
        '1r/s', '1000000r/s', '1000000r/s burst=1000', '1000r/s burst=1', '1r/s burst=1000000',
    ],
    intermission_release_concurrency => [qw(0 1 1000000)],
    intermission_release_timeout => [qw(1ms 1s 1 24h 1d 86400s 23h59m60s), '"23h 59m"'],
    intermission_max_held => [qw(0 1 1000000 4294967295)],
    intermission_retry_after => [qw(1s 1000ms 90 1d), '"1h 30m"'],
);
for my $directive (sort keys %right) {
    my @values = @{ $right{$directive} };
    my $first = $values[0];
    for my $value (@values) {
        my ($ok, $said) = $t->check(<<"EOF");
            $directive $value;
            server {
                listen 127.0.0.1:%%PORT_80%%;
                $directive $first;
                location / { intermission on; $directive $value; }
                location /intermission/ { intermission_control; }
            }
EOF
        ok $ok, "$directive $value" or diag $said;
    }
}

done_testing;
