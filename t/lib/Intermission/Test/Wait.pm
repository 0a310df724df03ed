package Intermission::Test::Wait;

# Waiting for a condition instead of sleeping: every wait ends as soon as its condition holds, and
# a condition that never holds ends the test with a message that says what was waited for.

use strict;
use warnings;

use Carp qw(croak);
use Exporter qw(import);
use Time::HiRes qw(sleep time);

our @EXPORT_OK = qw(wait_for readable writable TIME_LIMIT);

# Seconds that a wait may take. Generous, as a loaded machine is no reason to fail; raised further
# through the environment where everything is slow (sanitizers, valgrind).
use constant TIME_LIMIT => $ENV{INTERMISSION_TIME_LIMIT} || 20;

use constant { FIRST_PAUSE => 0.001, LONGEST_PAUSE => 0.02 };

# wait_for { condition } 'what for', seconds: the true value that the condition came to.
sub wait_for(&$;$) {
    my ($condition, $what, $limit) = @_;
    my $end = time + ($limit // TIME_LIMIT);
    my $pause = FIRST_PAUSE;

    while (1) {
        my $value = $condition->();
        return $value if $value;
        croak "gave up waiting for $what" if time > $end;
        sleep $pause;
        $pause = $pause * 2 < LONGEST_PAUSE ? $pause * 2 : LONGEST_PAUSE;
    }
}

# Whether the socket becomes readable (data, end or error) within so many seconds.
sub readable {
    my ($socket, $seconds) = @_;
    my $set = '';
    vec($set, fileno $socket, 1) = 1;
    return (select $set, undef, undef, $seconds)[0] > 0;
}

# Whether the socket becomes writable within so many seconds.
sub writable {
    my ($socket, $seconds) = @_;
    my $set = '';
    vec($set, fileno $socket, 1) = 1;
    return (select undef, $set, undef, $seconds)[0] > 0;
}

1;
