package Intermission::Test::ClosedLoop;

# Clients that each send the next request as soon as the last one is answered, so that however fast
# nginx is, as many are always there. They are driven from a process of its own.
#
#     my $request = sub { my ($client, $number, $round) = @_; $client->get("/?$number-$round") };
#     my $loop = Intermission::Test::ClosedLoop->new($request, @clients);
#     ...
#     my %count = $loop->finish;    # of answers, by their status
#
# Each client has sent its first request, which is round 0.

use strict;
use warnings;

use Carp qw(croak);
use IO::Select;
use POSIX ();

sub new {
    my ($class, $request, @clients) = @_;
    pipe my $is_on, my $switch or croak "pipe: $!";
    pipe my $results, my $report or croak "pipe: $!";
    my $pid = fork // croak "fork: $!";
    if (!$pid) {
        $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP ALRM);
        close $_ for $switch, $results;
        my %count = eval { drive($is_on, $request, @clients) };
        print STDERR "closed loop: $@" if $@;
        print {$report} map {"$_ $count{$_}\n"} keys %count;
        close $report;
        POSIX::_exit(0);
    }
    close $_ for $is_on, $report;
    $_->close for @clients;
    return bless { pid => $pid, switch => $switch, results => $results }, $class;
}

# Lets each client get its last answer.
sub finish {
    my ($self) = @_;
    close delete $self->{switch};
    my %count = map {split} readline $self->{results};
    waitpid $self->{pid}, 0;
    return %count;
}

sub drive {
    my ($is_on, $request, @clients) = @_;
    my %number_of = map { fileno($clients[$_]{socket}) => $_ } 0 .. $#clients;
    my $select = IO::Select->new($is_on, map { $_->{socket} } @clients);
    my ($on, %round, %count) = (1);
    while ($select->count) {
        for my $socket ($select->can_read) {
            my $number = $number_of{ fileno $socket };
            if (!defined $number) { $on = 0; $select->remove($socket); next }
            my $status = $clients[$number]->response->status;
            $count{$status}++;
            if ($on && $status) { $request->($clients[$number], $number, ++$round{$number}) }
            else { $select->remove($socket) }
        }
    }
    return %count;
}

1;
