package Intermission::Test::Server;

# An nginx in the foreground, as a child of the test, or on request as a daemon: started, reloaded, stopped, and looked at
# through its logs and its workers. It never outlives the test.

use strict;
use warnings;

use Carp qw(croak);
use Exporter qw(import);
use POSIX qw(WNOHANG);

use Intermission::Test::Files qw(slurp);
use Intermission::Test::Wait qw(wait_for TIME_LIMIT);

our @EXPORT_OK = qw(children_of command_of is_running workers_of);

# new(binary => 'nginx', folder => '/tmp/…', workers => 1, daemon => 0)
sub new {
    my ($class, %self) = @_;
    return bless {%self}, $class;
}

sub command {
    my ($self, $configuration) = @_;
    my $folder = $self->{folder};
    return (
        $self->{binary},
        '-p' => "$folder/",
        '-c' => "$folder/$configuration",
        '-e' => "$folder/error.log",
    );
}

# nginx -t: whether it succeeds, and what it says.
sub check {
    my ($self, $configuration) = @_;
    my $pid = open my $output, '-|' // croak "fork: $!";
    if (!$pid) {
        open STDERR, '>&', \*STDOUT;
        my @command = $self->command($configuration);
        s/error\.log$/check.log/ for @command;
        exec @command, '-t' or POSIX::_exit(127);
    }
    my $said = join '', <$output>;
    return (close $output, $said);
}

sub start {
    my ($self) = @_;
    return $self->start_daemon if $self->{daemon};
    my $pid = fork // croak "fork: $!";
    if (!$pid) {
        open STDERR, '>>', "$self->{folder}/stderr.log";
        open STDOUT, '>&', \*STDERR;
        exec $self->command('nginx.conf') or POSIX::_exit(127);
    }
    $self->{pid} = $pid;
    wait_for { $self->is_over || $self->is_up } 'nginx to start';
    croak "nginx did not start:\n", $self->output if $self->is_over;
    return $self;
}

sub start_daemon {
    my ($self) = @_;
    system($self->command('nginx.conf')) == 0 or croak "nginx did not start:\n", $self->output;
    wait_for { $self->{pid} = pid_in("$self->{folder}/nginx.pid") } 'nginx to note its pid';
    wait_for { $self->is_up } 'nginx to start';
    return $self;
}

sub pid_in { slurp($_[0]) =~ /(\d+)/ ? $1 : undef }

# The master listens before it writes its pid, and starts its workers after that.
sub is_up {
    my ($self) = @_;
    return -s "$self->{folder}/nginx.pid" && $self->workers == $self->{workers};
}

# Whether the master has ended; it is reaped here.
sub is_over {
    my ($self) = @_;
    return 1 if !$self->{pid};
    return 0 if $self->{daemon} ? is_running($self->{pid}) : !waitpid $self->{pid}, WNOHANG;
    $self->{exit_status} = $self->{daemon} ? 0 : $?;
    delete $self->{pid};
    return 1;
}

sub signal {
    my ($self, $signal) = @_;
    kill $signal, $self->{pid} if $self->{pid};
}

# Reloads and waits until the new workers run and the old ones take no new connection.
sub reload {
    my ($self) = @_;
    my @old = $self->workers;
    $self->signal('HUP');
    wait_for {
        my $log = $self->log;
        my @left = grep { $log =~ /\b$_#\d+: (?:gracefully shutting down|exiting)/ } @old;
        @left == @old;
    } 'the old workers to go';
    return;
}

# Kills a worker without any warning and waits until the master has another one in its place.
sub kill_worker {
    my ($self, $pid) = @_;
    kill KILL => $pid;
    wait_for { $self->log =~ /worker process $pid exited on signal 9/ } "worker $pid to die";
    wait_for { $self->workers == $self->{workers} } 'another worker in its place';
    return;
}

# A binary upgrade: a new nginx runs beside this one. Its master.
sub upgrade {
    my ($self) = @_;
    my $file = "$self->{folder}/nginx.pid";
    my $new;
    $self->signal('USR2');
    wait_for {
        $new = pid_in($file);
        $new && $new != $self->{pid} && (pid_in("$file.oldbin") // 0) == $self->{pid};
    } 'the new nginx';
    $self->{successor} = $new;
    wait_for { workers_of($new) == $self->{workers} } 'its workers';
    return $new;
}

# Tells the nginx of an upgrade to quit, and waits until it has ended.
sub quit_successor {
    my ($self) = @_;
    kill QUIT => $self->{successor};
    return $self->wait_successor;
}

# Waits until the nginx of an upgrade has ended, whoever told it to.
sub wait_successor {
    my ($self) = @_;
    wait_for { !is_running($self->{successor}) } 'the new nginx to end';
    return delete $self->{successor};
}

# Graceful: true if nginx ended in time and without an error.
sub quit {
    my ($self) = @_;
    return 1 if $self->is_over;
    $self->signal('QUIT');
    my $ended = eval { wait_for { $self->is_over } 'nginx to quit' };
    $self->terminate;
    return $ended && !$self->{exit_status};
}

# At once, by all means.
sub terminate {
    my ($self) = @_;
    my $successor = delete $self->{successor};
    kill KILL => $successor, workers_of($successor) if $successor;
    return if $self->is_over;
    my @workers = $self->workers;
    $self->signal('TERM');
    return if eval { wait_for { $self->is_over } 'nginx to end' };
    $self->signal('KILL');
    kill 'KILL', @workers;
    waitpid delete $self->{pid}, 0;
    return;
}

# The workers that run now, those of an earlier configuration included, oldest first.
sub workers { workers_of($_[0]{pid}) }

# The same of any nginx, by its master.
sub workers_of {
    my ($master) = @_;
    my @workers = grep { command_of($_) =~ /worker process/ } children_of($master);
    my %started = map { $_ => start_of($_) } @workers;
    @workers = sort { $started{$a} <=> $started{$b} || $a <=> $b } @workers;
    return @workers;
}

sub children_of {
    my ($parent) = @_;
    return grep { (parent_of($_) // 0) == $parent } map {m{(\d+)}} glob '/proc/[0-9]*';
}

sub parent_of {
    my ($pid) = @_;
    return (stat_of($pid))[1];
}

# When it was started, in clock ticks since the system was. Its id says nothing about that: ids begin
# anew when all have been used.
sub start_of {
    my ($pid) = @_;
    return (stat_of($pid))[19] // 0;
}

# Whether there is such a process, and it has not ended.
sub is_running { ((stat_of($_[0]))[0] // 'X') =~ /[ZX]/ ? 0 : 1 }

sub is_stopped { ((stat_of($_[0]))[0] // 'X') eq 'T' }

# What the system says of a process, from its state on; nothing if there is none.
sub stat_of { split ' ', slurp("/proc/$_[0]/stat") =~ s/^.*\) //sr }

sub command_of { slurp("/proc/$_[0]/cmdline") }

# What a process has cost so far: clock ticks of CPU time, and how often it woke up.
sub cost_of {
    my ($pid) = @_;
    my ($user, $system) = (stat_of($pid))[ 11, 12 ];
    my ($wakes) = slurp("/proc/$pid/status") =~ /^voluntary_ctxt_switches:\s*(\d+)/m;
    return ($user + $system, $wakes);
}

# The same of all workers together.
sub cost {
    my ($self) = @_;
    my @sum = (0, 0);
    for my $worker ($self->workers) {
        my @cost = cost_of($worker);
        $sum[$_] += $cost[$_] for 0, 1;
    }
    return @sum;
}

# Until no worker has woken up for a moment.
sub wait_asleep {
    my ($self) = @_;
    return wait_for {
        my $wakes = ($self->cost)[1];
        select undef, undef, undef, 0.1;
        ($self->cost)[1] == $wakes;
    } 'the workers to sleep';
}

# Logs

sub log { slurp("$_[0]{folder}/error.log") }
sub access_log { slurp("$_[0]{folder}/access.log") }

# The lines of the error log that match, or how many they are. The same of the access log.
sub logged { my ($self, $pattern) = @_; return grep {/$pattern/} split /\n/, $self->log }
sub accessed { my ($self, $pattern) = @_; return grep {/$pattern/} split /\n/, $self->access_log }

# Waits until there is such a line in the error log.
sub wait_logged {
    my ($self, $pattern) = @_;
    return wait_for { scalar $self->logged($pattern) } "$pattern in the log";
}

sub output { slurp("$_[0]{folder}/stderr.log") . $_[0]->log }

# The lines that no healthy run has.
sub accidents {
    my ($self) = @_;
    return grep {
        /\[(?:alert|crit|emerg)\]/ || /exited on signal/ || /panicked|Sanitizer|runtime error/
    } split /\n/, $self->output;
}

1;
