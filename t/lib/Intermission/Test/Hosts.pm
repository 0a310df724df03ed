package Intermission::Test::Hosts;

# Hosts of a network of their own, which can be cut off: network namespaces at one bridge. They share
# everything else with this machine, so what is in one reaches an nginx of the test through a unix socket.
#
#     my $hosts = Intermission::Test::Hosts->new(qw(etcd one two)) or plan skip_all => 'needs network namespaces';
#     $hosts->address('etcd');
#     system $hosts->at('one'), 'ping', ...;
#     $hosts->cut('one');      # nothing gets through any more, and nobody is told
#     $hosts->mend('one');

use strict;
use warnings;

use POSIX ();

my %alive;

sub new {
    my ($class, @names) = @_;
    return if $> != 0 || !quietly(qw(ip netns list)) || !quietly(qw(unshare -n true));
    my $id = $$ % 100_000;
    # A network of the range for tests of devices between networks, by the process.
    my $network = join '.', 198, 18 + $$ % 2, ($$ >> 1) % 256;
    my $self = bless { id => $id, network => $network, owner => $$, number => {} }, $class;
    my $bridge = "imb$id";
    quietly(qw(ip link add), $bridge, qw(type bridge)) or return;
    $alive{$self} = $self;
    must(qw(ip link set), $bridge, 'up');
    $self->add($_) for @names;
    return $self;
}

sub add {
    my ($self, $name) = @_;
    my $number = 1 + keys %{ $self->{number} };
    $self->{number}{$name} = $number;
    my ($space, $out, $in) = ($self->space($name), $self->link_of($name), "imi$self->{id}n$number");
    must(qw(ip netns add), $space);
    must(qw(ip link add), $out, qw(type veth peer name), $in);
    must(qw(ip link set), $in, 'netns', $space);
    must(qw(ip link set), $out, 'master', "imb$self->{id}");
    must(qw(ip link set), $out, 'up');
    must(qw(ip -n), $space, qw(address add), $self->address($name) . '/24', 'dev', $in);
    must(qw(ip -n), $space, qw(link set), $_, 'up') for 'lo', $in;
    return;
}

sub space { return "im-$_[0]{id}-$_[1]" }
sub link_of { return "imo$_[0]{id}n$_[0]{number}{$_[1]}" }
sub address { return "$_[0]{network}.$_[0]{number}{$_[1]}" }
sub at { return (qw(ip netns exec), $_[0]->space($_[1])) }
sub cut { return must(qw(ip link set), $_[0]->link_of($_[1]), 'down') }
sub mend { return must(qw(ip link set), $_[0]->link_of($_[1]), 'up') }

sub remove {
    my ($self) = @_;
    return if !delete $alive{$self} || $self->{owner} != $$;
    for my $name (keys %{ $self->{number} }) {
        quietly(qw(ip link del), $self->link_of($name));
        quietly(qw(ip netns del), $self->space($name));
    }
    quietly(qw(ip link del), "imb$self->{id}");
    return;
}

sub quietly {
    my $pid = fork // return;
    if (!$pid) {
        open STDOUT, '>', '/dev/null';
        open STDERR, '>&', \*STDOUT;
        exec { $_[0] } @_ or POSIX::_exit(127);
    }
    local ($!, $?);
    waitpid $pid, 0;
    return $? == 0;
}

sub must { return system({ $_[0] } @_) == 0 || die "@_ failed\n" }

END {
    local ($?, $!);
    $_->remove for values %alive;
}

1;
