package Intermission::Test::Load;

# Clients that come at a steady rate, whatever becomes of those before, from a process of its own.
#
#     my $load = Intermission::Test::Load->new($t, 50);    # a second
#     ...
#     my %status = $load->finish;                          # of each request, by its ref
#
# Each is a POST to /orders?ref=NUMBER on a connection of its own.

use strict;
use warnings;

use Carp qw(croak);
use POSIX ();
use Time::HiRes qw(sleep time);

use Intermission::Test::Client;

sub new {
    my ($class, $t, $rate) = @_;
    my $port = $t->port;
    pipe my $is_on, my $switch or croak "pipe: $!";
    pipe my $results, my $report or croak "pipe: $!";
    my $pid = fork // croak "fork: $!";
    if (!$pid) {
        $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP ALRM);
        close $_ for $switch, $results;
        my %status = eval { send_requests($port, $rate, $is_on) };
        print STDERR "load: $@" if $@;
        print {$report} map {"$_ $status{$_}\n"} keys %status;
        close $report;
        POSIX::_exit(0);
    }
    close $_ for $is_on, $report;
    return bless { pid => $pid, switch => $switch, results => $results }, $class;
}

# Lets the clients under way get their answers.
sub finish {
    my ($self) = @_;
    # To close it is not enough: what was started since, as another origin, has it as well.
    syswrite $self->{switch}, '.';
    close delete $self->{switch};
    my %status = map {split} readline $self->{results};
    waitpid $self->{pid}, 0;
    return %status;
}

sub send_requests {
    my ($port, $rate, $is_on) = @_;
    my $begin = time;
    my (%clients, %status);
    my $ref = 0;
    while (!is_closed($is_on)) {
        $ref++;
        my $wait = $begin + $ref / $rate - time;
        sleep $wait if $wait > 0;
        $clients{$ref} = eval {
            Intermission::Test::Client->new(port => $port)
                ->post("/orders?ref=$ref", "ref=$ref", headers => ['Connection: close']);
        };
        $status{$ref} = 0;
    }
    for my $ref (grep { $clients{$_} } keys %clients) {
        $status{$ref} = eval { $clients{$ref}->response->status } // 0;
    }
    return %status;
}

sub is_closed {
    my ($handle) = @_;
    vec(my $set = '', fileno $handle, 1) = 1;
    return select $set, undef, undef, 0;
}

1;
