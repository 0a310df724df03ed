package Intermission::Test::Etcd;

# An etcd of one member, on free ports of this machine, with its data in the test's folder.
#
#     my $etcd = Intermission::Test::Etcd->new($t) or plan skip_all => 'needs etcd (package etcd-server)';
#     $etcd->url;
#     $etcd->signal('STOP');
#     $etcd->stop;

use strict;
use warnings;

use IO::Socket::INET;
use POSIX ();

use Intermission::Test::Ports qw(take_port);
use Intermission::Test::Wait qw(wait_for);

sub new {
    my ($class, $t) = @_;
    return if !grep { -x "$_/etcd" } split /:/, "$ENV{PATH}:/usr/bin";
    my ($port, $peers) = map { take_port() } 1 .. 2;
    my ($url, $peer) = map {"http://127.0.0.1:$_"} $port, $peers;
    my $folder = $t->folder;
    my $self = bless { url => $url, owner => $$, log => "$folder/etcd.log" }, $class;
    $self->{command} = [
        'etcd', '--data-dir' => "$folder/etcd", '--name' => 'test',
        '--listen-client-urls' => $url, '--advertise-client-urls' => $url,
        '--listen-peer-urls' => $peer, '--initial-advertise-peer-urls' => $peer,
        '--initial-cluster' => "test=$peer", '--unsafe-no-fsync',
    ];
    $self->start;
    return $self;
}

sub start {
    my ($self) = @_;
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        open STDIN, '<', '/dev/null';
        open STDOUT, '>>', $self->{log};
        open STDERR, '>&', \*STDOUT;
        exec @{ $self->{command} } or POSIX::_exit(127);
    }
    $self->{pid} = $pid;
    wait_for { $self->serves } 'etcd to serve';
    return;
}

sub serves {
    my ($self) = @_;
    my $address = $self->{url} =~ s{http://}{}r;
    my $socket = IO::Socket::INET->new(PeerAddr => $address, Timeout => 1) or return;
    print {$socket} "GET /health HTTP/1.0\r\n\r\n";
    return join('', <$socket>) =~ /"health":\s*"true"/;
}

sub url { return $_[0]{url} }

sub signal {
    my ($self, $signal) = @_;
    return kill $signal => $self->{pid};
}

sub stop {
    my ($self) = @_;
    return if !$self->{pid} || $self->{owner} != $$;
    kill $_ => $self->{pid} for qw(CONT KILL);
    waitpid delete $self->{pid}, 0;
    return;
}

sub DESTROY {
    my ($self) = @_;
    local ($?, $!);
    $self->stop;
    return;
}

1;
