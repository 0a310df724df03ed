package Intermission::Test::Patroni;

# A cluster of Patroni, with its PostgreSQLs on loopback and its state in the etcd of the test. The first of
# the names is its primary.
#
#     my $patroni = Intermission::Test::Patroni->new($t, $etcd, qw(a b));    # begins
#     $patroni->complete;       # it is all there
#     $patroni->where('a');     # for libpq; `primary` is for whichever takes writes
#     $patroni->ask('a', 'SELECT 1');
#     $patroni->stop;

use strict;
use warnings;

use Carp qw(croak);

use Intermission::Test::Command ();
use Intermission::Test::Files qw(program);
use Intermission::Test::Ports qw(take_port);
use Intermission::Test::Postgres;
use Intermission::Test::Wait qw(wait_for);

our $NEEDS = 'needs PostgreSQL, psycopg2 and Patroni (packages postgresql, python3-psycopg2, patroni)';

my @running;

sub is_here {
    return Intermission::Test::Postgres::programs() && python() && program('patroni') && program('patronictl');
}

# One that has psycopg2.
sub python {
    my ($python) = grep { !system "$_ -c 'import psycopg2' 2>/dev/null" } qw(python3 /usr/bin/python3);
    return $python;
}

sub new {
    my ($class, $t, $etcd, @names) = @_;
    my $self = bless { t => $t, etcd => $etcd, names => \@names }, $class;
    $self->{port}{$_} = take_port() for @names;
    $self->begin($names[0]);
    return $self;
}

# Waits for the primary, and has the others follow it.
sub complete {
    my ($self) = @_;
    my ($first, @others) = @{ $self->{names} };
    wait_for { $self->state_of($first) eq 'primary' } 'the primary', 60;
    $self->begin($_) for @others;
    for my $name (@others) {
        wait_for { $self->state_of($name) eq 'replica' } "the replica $name", 60;
    }
    return;
}

sub begin {
    my ($self, $name) = @_;
    my $folder = $self->{t}->folder . "/patroni-$name";
    mkdir $folder or croak "$folder: $!";
    if (!$>) {
        my (undef, undef, $uid, $gid) = getpwnam 'postgres' or croak 'there is no user postgres';
        chown $uid, $gid, $folder;
    }
    chmod 0700, $folder;
    my ($port, $api) = ($self->{port}{$name}, take_port());
    my $bin = Intermission::Test::Postgres::programs();
    my $etcd = $self->{etcd}->url =~ s{https?://}{}r;
    $self->{t}->write_file("patroni-$name.yml", <<"EOC");
scope: cluster
name: $name
restapi: {listen: "127.0.0.1:$api", connect_address: "127.0.0.1:$api"}
etcd3: {host: "$etcd"}
bootstrap:
  dcs: {ttl: 20, loop_wait: 1, retry_timeout: 3}
  initdb: [{auth: trust}, {encoding: UTF8}, {locale: C}, no-sync]
postgresql:
  listen: "127.0.0.1:$port"
  connect_address: "127.0.0.1:$port"
  data_dir: $folder/data
  bin_dir: $bin
  pgpass: $folder/pgpass
  authentication:
    superuser: {username: postgres}
    replication: {username: postgres}
  pg_hba: [host all all 127.0.0.1/32 trust, host replication all 127.0.0.1/32 trust]
  parameters: {unix_socket_directories: '', fsync: 'off'}
EOC
    my $config = $self->{t}->folder . "/patroni-$name.yml";
    my $patroni = Intermission::Test::Command->start(
        $self->{t}, {}, Intermission::Test::Postgres::user(), program('patroni'), $config);
    push @running, [ $patroni, "$folder/data" ];
    return;
}

# What patronictl needs.
sub environment {
    my ($self) = @_;
    return (CONFIG => $self->{t}->folder . "/patroni-$self->{names}[0].yml", CLUSTER => 'cluster', LC_ALL => 'C.UTF-8');
}

sub where { return "host=127.0.0.1 port=$_[0]{port}{ $_[1] } user=postgres dbname=postgres" }

sub primary {
    my ($self) = @_;
    my $hosts = join ',', map {'127.0.0.1'} @{ $self->{names} };
    my $ports = join ',', map { $self->{port}{$_} } @{ $self->{names} };
    return "host=$hosts port=$ports user=postgres dbname=postgres target_session_attrs=read-write";
}

# The answer to a query, as text; nothing if it fails.
sub ask {
    my ($self, $name, $query) = @_;
    my $psql = Intermission::Test::Postgres::programs() . '/psql';
    my $answer = `$psql -XAtq -d '${\ $self->where($name)}' -c "$query" 2>/dev/null`;
    chomp $answer;
    return $answer;
}

sub state_of {
    my ($self, $name) = @_;
    my $is_replica = $self->ask($name, 'SELECT pg_is_in_recovery()');
    return { t => 'replica', f => 'primary', '' => 'down' }->{$is_replica};
}

# Patroni takes its PostgreSQL with it, if it is given the time.
sub stop {
    for my $running (splice @running) {
        my ($patroni, $data) = @$running;
        $patroni->signal('TERM');
        eval { $patroni->status };
        my $pg_ctl = join ' ', Intermission::Test::Postgres::user(), Intermission::Test::Postgres::programs() . '/pg_ctl';
        system "$pg_ctl -D $data stop -m immediate >/dev/null 2>&1";
    }
    return;
}

END {
    local ($?, $!);
    stop();
}

1;
