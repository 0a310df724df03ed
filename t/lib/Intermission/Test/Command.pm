package Intermission::Test::Command;

# The command `intermission` as a process of its own, without a terminal, in a session of its own.
#
#     my $command = Intermission::Test::Command->new($t, 'run', '--url' => $url, '--', 'true');
#     $command->signal('TERM');
#     is $command->status, 0;          # waits for the end
#     like $command->said, qr/quiet/;  # stderr; `out` is stdout

use strict;
use warnings;

use Carp qw(croak);
use Cwd qw(abs_path);
use Exporter qw(import);
use File::Basename qw(dirname);
use POSIX qw(WNOHANG);

use Intermission::Test::Files qw(slurp);
use Intermission::Test::Wait qw(wait_for);

our @EXPORT = qw(control_url go_on intermission last_line patient wait_begun);

use constant COMMAND => abs_path(dirname(__FILE__) . '/../../../../target/bin/intermission');

my $count = 0;
my %running;

# The address of the control location that the tests have.
sub control_url {
    my ($t, $port) = @_;
    return 'http://127.0.0.1:' . $t->port($port) . '/intermission';
}

# Runs it to its end.
sub intermission {
    my ($t, @arguments) = @_;
    my $command = __PACKAGE__->new($t, @arguments);
    $command->status;
    return $command;
}

# What `run` can run: a command that notes its pid in the file `pid` of the test's folder, and ends when it is told to go on, with
# this status.
sub patient {
    my ($t, $status) = (@_, 0);
    my $folder = $t->folder;
    unlink map {"$folder/$_"} qw(pid go);
    return ('sh', '-c' =>
            "echo \$\$ >$folder/pid; until [ -e $folder/go ]; do sleep 0.02; done; exit $status");
}

# Waits until it runs.
sub wait_begun {
    my ($t) = @_;
    my $file = $t->folder . '/pid';
    return wait_for { -s $file } 'the command to run';
}

# Tells it to.
sub go_on { $_[0]->write_file('go', '') }

sub program { return COMMAND }

# For a PATH that it is found in.
sub program_folder { return dirname(COMMAND) }

# Arguments that are a hash are for the environment.
sub new {
    my ($class, $t, @arguments) = @_;
    my %environment = map {%$_} grep {ref} @arguments;
    return $class->start($t, \%environment, program(), grep { !ref } @arguments);
}

# The same for any command line.
sub start {
    my ($class, $t, $environment, @command) = @_;
    my $file = $t->folder . '/command-' . ++$count;
    my $pid = fork // croak "fork: $!";
    if (!$pid) {
        POSIX::setsid();
        @SIG{qw(INT QUIT TERM HUP ALRM PIPE)} = ('DEFAULT') x 6;
        @ENV{ keys %$environment } = values %$environment;
        open STDIN, '<', $ENV{TEST_STDIN} // '/dev/null' or POSIX::_exit(99);
        open STDOUT, '>', "$file.out" or POSIX::_exit(99);
        open STDERR, '>', $ENV{TEST_STDERR} // "$file.err" or POSIX::_exit(99);
        exec { $command[0] } @command or POSIX::_exit(99);
    }
    my $self = bless { pid => $pid, file => $file }, $class;
    $running{$pid} = 1;
    return $self;
}

sub pid { $_[0]{pid} }
sub out { slurp("$_[0]{file}.out") }
sub said { slurp("$_[0]{file}.err") }

sub signal {
    my ($self, $signal) = @_;
    kill $signal, $self->{pid} if !defined $self->{wait_status};
}

# To everything in the session that has not left its process group.
sub signal_group {
    my ($self, $signal) = @_;
    kill $signal, -$self->{pid} if !defined $self->{wait_status};
}

sub is_over {
    my ($self) = @_;
    return 1 if defined $self->{wait_status};
    return 0 if waitpid($self->{pid}, WNOHANG) == 0;
    $self->{wait_status} = $?;
    delete $running{ $self->{pid} };
    return 1;
}

# Waits for the end: the exit status as a shell shows it.
sub status {
    my ($self) = @_;
    eval { wait_for { $self->is_over } 'it' }
        or croak 'gave up waiting for the command to end; it said: ' . $self->said;
    my $status = $self->{wait_status};
    return $status & 127 ? 128 + ($status & 127) : $status >> 8;
}

# The signal that ended it, or 0.
sub died_of {
    my ($self) = @_;
    $self->status;
    return $self->{wait_status} & 127;
}

# Waits until it says this.
sub wait_said {
    my ($self, $pattern) = @_;
    eval {
        wait_for { $self->said =~ $pattern } 'it'
    } or croak "gave up waiting for $pattern; it said: " . $self->said;
    return;
}

sub last_line { return (split /\n/, $_[0])[-1] // '' }

END {
    my $status = $?;
    kill 'KILL', -$_ for keys %running;
    $? = $status;
}

1;
