package Intermission::Test::Etcd;

# An etcd of one member or several, on free ports of this machine, or on hosts of the test.
#
#     my $etcd = Intermission::Test::Etcd->new($t) or plan skip_all => 'needs etcd (package etcd-server)';
#     my $etcd = Intermission::Test::Etcd->new($t, hosts => $hosts, on => [qw(a b c)]);
#     $etcd->urls;                   # one for each member
#     $etcd->call('kv/put', { … });  # its interface in JSON
#     $etcd->signal('STOP', $member);
#     $etcd->stop;

use strict;
use warnings;

use HTTP::Tiny;
use IO::Socket::INET;
use JSON::PP qw(decode_json encode_json);
use MIME::Base64 qw(encode_base64);
use POSIX ();

use Intermission::Test::Ports qw(take_port);
use Intermission::Test::Wait qw(wait_for);

sub is_here { return scalar grep { -x "$_/etcd" } split /:/, "$ENV{PATH}:/usr/bin" }

# `options` are for each member; `scheme` and `client` say how this test calls them.
sub new {
    my ($class, $t, %with) = @_;
    return if !is_here();
    my $self = bless { owner => $$, folder => $t->folder, scheme => 'http', %with }, $class;
    my $count = 0;
    for my $host (@{ $with{on} // [undef] }) {
        my ($port, $peers) = map { $host ? $_ : take_port() } 2379, 2380;
        my $address = $host ? $with{hosts}->address($host) : '127.0.0.1';
        push @{ $self->{members} }, {
            name => 'm' . $count++,
            at => [ $host ? $with{hosts}->at($host) : () ],
            url => "$self->{scheme}://$address:$port",
            peer => "http://$address:$peers",
        };
    }
    $self->start($_) for 0 .. $count - 1;
    wait_for { $self->is_up } 'etcd to serve';
    return $self;
}

sub start {
    my ($self, $number) = @_;
    my $member = $self->{members}[$number];
    my ($url, $peer) = @$member{qw(url peer)};
    my $all = join ',', map {"$_->{name}=$_->{peer}"} @{ $self->{members} };
    my @command = (
        @{ $member->{at} }, 'etcd', '--data-dir' => "$self->{folder}/etcd-$member->{name}",
        '--name' => $member->{name}, '--listen-client-urls' => $url, '--advertise-client-urls' => $url,
        '--listen-peer-urls' => $peer, '--initial-advertise-peer-urls' => $peer,
        '--initial-cluster' => $all, '--unsafe-no-fsync', @{ $self->{options} // [] },
    );
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        open STDIN, '<', '/dev/null';
        open STDOUT, '>>', "$self->{folder}/$member->{name}.log";
        open STDERR, '>&', \*STDOUT;
        exec @command or POSIX::_exit(127);
    }
    $member->{pid} = $pid;
    return;
}

# With `answers => 0` it is enough that it listens.
sub is_up {
    my ($self) = @_;
    return $self->leader(0) if $self->{answers} // 1;
    return IO::Socket::INET->new(PeerAddr => $self->url =~ s{https?://}{}r, Timeout => 1);
}

sub urls { return map { $_->{url} } @{ $_[0]{members} } }
sub url { return $_[0]{members}[0]{url} }

# As options of the command.
sub options { return map { ('--etcd' => $_) } $_[0]->urls }

# The number of the member that leads, as this one sees it.
sub leader {
    my ($self, $asked) = @_;
    my $status = $self->call('maintenance/status', {}, $asked) or return;
    return if !$status->{leader} || $status->{leader} eq '0';
    my $members = $self->call('cluster/member/list', {}, $asked) or return;
    my ($leader) = grep { $_->{ID} eq $status->{leader} } @{ $members->{members} };
    return $leader->{name};
}

# The answer of a member, or nothing. Hosts that this machine does not reach are asked from within.
sub call {
    my ($self, $call, $question, $number) = @_;
    my $member = $self->{members}[ $number // 0 ];
    my ($url, $text) = ("$member->{url}/v3/$call", encode_json($question));
    my $answer;
    if (@{ $member->{at} }) {
        open my $curl, '-|', @{ $member->{at} }, qw(curl -s -m 3 -d), $text, $url or return;
        $answer = join '', <$curl>;
        close $curl;
    }
    else {
        my $client = HTTP::Tiny->new(timeout => 3, verify_SSL => 0, %{ $self->{client} // {} });
        $answer = $client->post($url, { content => $text })->{content};
    }
    return eval { decode_json($answer) };
}

sub put {
    my ($self, $key, $value) = @_;
    return $self->call('kv/put', { key => encode_base64($key, ''), value => encode_base64($value, '') });
}

# The keys of what is held.
sub holders {
    my ($self) = @_;
    my ($key, $end) = map { encode_base64($_, '') } '/intermission/apps/', '/intermission/apps0';
    my $found = $self->call('kv/range', { key => $key, range_end => $end }) // return ['?'];
    return $found->{kvs} // [];
}

sub remove {
    my ($self, $key) = @_;
    return $self->call('kv/deleterange', { key => encode_base64($key, '') });
}

sub signal {
    my ($self, $signal, $number) = @_;
    return kill $signal => $self->{members}[ $number // 0 ]{pid};
}

sub stop {
    my ($self, @numbers) = @_;
    return if $self->{owner} != $$;
    @numbers = 0 .. $#{ $self->{members} } if !@numbers;
    for my $member (grep { $_->{pid} } @{ $self->{members} }[@numbers]) {
        kill $_ => $member->{pid} for qw(CONT KILL);
        waitpid delete $member->{pid}, 0;
    }
    return;
}

sub DESTROY {
    my ($self) = @_;
    local ($?, $!);
    $self->stop;
    return;
}

1;
