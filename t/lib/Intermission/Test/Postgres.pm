package Intermission::Test::Postgres;

# A PostgreSQL of its own in the folder of the test, on loopback, as a user who is not root.
#
#     my $primary = Intermission::Test::Postgres->new($t, 'primary')->create;
#     my $replica = Intermission::Test::Postgres->new($t, 'replica')->follow($primary);

use strict;
use warnings;

use Carp qw(croak);

use Intermission::Test::Wait qw(wait_for);

my @running;

# The folder of the newest programs that are installed; nothing if there are none.
sub programs {
    my @found = sort { ($a =~ /(\d+)/)[0] <=> ($b =~ /(\d+)/)[0] } glob '/usr/lib/postgresql/*/bin';
    return (grep { -x "$_/initdb" && -x "$_/pg_basebackup" } @found)[-1];
}

# What goes before a command so that it does not run as root, which PostgreSQL refuses.
sub user {
    return () if $>;
    return qw(setpriv --reuid=postgres --regid=postgres --clear-groups --reset-env);
}

sub new {
    my ($class, $t, $name) = @_;
    my $folder = $t->folder . "/$name";
    mkdir $folder or croak "$folder: $!";
    if (!$>) {
        my (undef, undef, $uid, $gid) = getpwnam 'postgres' or croak 'there is no user postgres';
        chown $uid, $gid, $folder;
    }
    chmod 0700, $folder;
    my %self = (folder => "$folder/data", log => "$folder/log", port => $t->port($name));
    return bless \%self, $class;
}

sub port { $_[0]{port} }
sub where { "host=127.0.0.1 port=$_[0]{port} user=postgres dbname=postgres" }

sub create {
    my ($self) = @_;
    $self->program('initdb', '--no-sync', '--auth=trust', '--username=postgres', '--encoding=UTF8',
        '--locale=C', $self->{folder});
    return $self->begin;
}

sub follow {
    my ($self, $primary) = @_;
    $self->program('pg_basebackup', '--no-sync', '--checkpoint=fast', '--write-recovery-conf',
        '--create-slot', '--slot=replica', "--dbname=${\ $primary->where}",
        "--pgdata=$self->{folder}");
    return $self->begin;
}

sub begin {
    my ($self) = @_;
    system $self->start_command;
    croak 'PostgreSQL does not start' if $?;
    push @running, $self;
    return $self;
}

# For a shell.

sub start_command {
    my ($self) = @_;
    my $options = "-p $self->{port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=";
    return $self->pg_ctl("start -w -l $self->{log} -o '$options -c fsync=off'");
}

sub stop_command { $_[0]->pg_ctl('stop -w -m fast') }

sub pg_ctl {
    my ($self, $what) = @_;
    my $pg_ctl = programs() . '/pg_ctl';
    return join ' ', user(), $pg_ctl, "-D $self->{folder} $what >/dev/null </dev/null";
}

sub program {
    my ($self, $program, @arguments) = @_;
    open my $output, '-|', join ' ', user(), programs() . "/$program",
        (map {"'$_'"} @arguments), '2>&1'
        or croak "$program: $!";
    my $said = join '', <$output>;
    close $output or croak "$program: $said";
    return $said;
}

# The answer to a query, as text; nothing if it fails.
sub ask {
    my ($self, $query) = @_;
    my $psql = programs() . '/psql';
    my $where = $self->where;
    my $answer = `$psql -XAtq -d '$where' -c "$query" 2>/dev/null`;
    chomp $answer;
    return $answer;
}

sub is_up { $_[0]->ask('SELECT 1') eq '1' }

END {
    my $status = $?;
    system $_->stop_command . ' 2>&1' for @running;
    $? = $status;
}

1;
