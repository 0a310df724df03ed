package Intermission::Test::Fleet;

# A few nginxes as a fleet: each with an origin, a control location behind a unix socket, and an agent.
#
#     my $fleet = Intermission::Test::Fleet->new(nodes => [qw(one two)]) or plan skip_all => $Intermission::Test::Fleet::NEEDS;
#     my $fleet = Intermission::Test::Fleet->new(nodes => [qw(one two)], hosts => [qw(etcd holder)]);
#     my $command = $fleet->begin('--drain' => '2s');   # `run`, with a command that lasts until go_on
#     $fleet->states;                                   # "paused open"
#     $fleet->finish;

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(sleep);
use Time::Local qw(timegm);

use Intermission::Test;
use Intermission::Test::Command ();
use Intermission::Test::Etcd;
use Intermission::Test::Hosts;

use constant BETWEEN_LOOKS => 0.05;

our $NEEDS = 'needs etcd (package etcd-server), and network namespaces';

use constant HTTP => <<'EOC';
    server {
        listen 127.0.0.1:%%PORT_80%%;
        listen unix:%%FOLDER%%/nginx.sock;
        intermission on;
        intermission_app_name shop;
        location / { proxy_pass http://BEHIND; }
        location /intermission/ { intermission_control; }
    }
EOC

# With `behind`, that is what is behind them all. With `hosts`, each node's agent is on a host of that name, and so are these; etcd is on those of `etcd`.
sub new {
    my ($class, %with) = @_;
    my @names = @{ $with{nodes} };
    return if !Intermission::Test::Etcd::is_here();
    my $self = bless { names => \@names, agents => {} }, $class;
    if ($with{hosts}) {
        $self->{hosts} = Intermission::Test::Hosts->new(@{ $with{hosts} }, @names) or return;
    }
    for my $name (@names) {
        my $t = $self->{node}{$name} = Intermission::Test->new(%{ $with{nginx} // {} });
        $t->origin('/slow' => { wait => 1 });
        my $behind = $with{behind} // '%%ORIGIN%%';
        $t->start(HTTP =~ s/BEHIND/$behind/r);
    }
    my ($first) = @names;
    $self->{t} = $self->{node}{$first};
    my @on = $self->{hosts} ? (hosts => $self->{hosts}, on => $with{etcd} // ['etcd']) : ();
    $self->{etcd} = Intermission::Test::Etcd->new($self->{t}, @on, %{ $with{with_etcd} // {} });
    return $self;
}

sub t { return $_[0]{t} }
sub etcd { return $_[0]{etcd} }
sub hosts { return $_[0]{hosts} }
sub node { return $_[0]{node}{ $_[1] } }
sub nodes { return @{ $_[0]{node} }{ @{ $_[0]{names} } } }

# A command line that begins with the name of this program's command, at that host, if there are hosts. What is to run it comes
# before that, as a list.
sub start {
    my ($self, $host, @words) = @_;
    my @before = map {@$_} grep {ref} @words;
    @words = grep { !ref } @words;
    my @at = $self->{hosts} && $host ? $self->{hosts}->at($host) : ();
    return Intermission::Test::Command->start($self->t, {}, @at, @before,
        Intermission::Test::Command::program(), @words);
}

sub socket_of { return 'unix:' . $_[0]->node($_[1])->folder . '/nginx.sock:/intermission' }

sub agent {
    my ($self, $name, @before) = @_;
    my @at = $self->{hosts} ? $self->{hosts}->at($name) : ();
    my $agent = Intermission::Test::Command->start($self->t, {}, @at, @before,
        Intermission::Test::Command::program(), 'agent', $self->etcd->options, '--node' => $name,
        '--url' => $self->socket_of($name));
    $agent->wait_said(qr/node $name is part of the fleet/);
    $self->{agents}{$name} = $agent;
    return $agent;
}

sub agents { return map { $_[0]->agent($_) } @{ $_[0]{names} } }
sub agent_of { return $_[0]{agents}{ $_[1] } }

# `run`, at the host `holder` if there are hosts.
sub begin {
    my ($self, @options) = @_;
    my $folder = $self->t->folder;
    unlink map {"$folder/$_"} qw(pid go);
    my $until_told = "echo \$\$ >$folder/pid; until [ -e $folder/go ]; do sleep 0.02; done; exit 4";
    my @for = grep({ $_ eq '--for' } @options) ? () : ('--for' => '15s');
    return $self->start('holder', 'run', '--fleet' => 'shop', $self->etcd->options, @for, @options,
        'sh', '-c' => $until_told);
}

# A run whose command is over, and which resumes behind a canary of one. What is held then, NAME => [URI...] for each node,
# comes behind it.
sub behind_canary {
    my ($self, $held, @options) = @_;
    $_->{origin}->forget for $self->nodes;
    my $command = $self->begin('--canary' => 1, @options);
    ok $self->wait_running($command), 'the command runs';
    my @clients;
    while (my ($name, $uris) = splice @$held, 0, 2) {
        push @clients, map { $self->node($name)->hold(GET => $_) } @$uris;
    }
    $self->go_on;
    return ($command, @clients);
}

# Waits until the canary has reached the backend, from that node.
sub wait_canary {
    my ($self, $command, $name) = @_;
    $command->wait_said(qr/resuming: waiting for the canary \(1 request\) at node $name\n/);
    $self->node($name)->{origin}->wait_requests(1);
    return;
}

sub is_running { return -s $_[0]->t->folder . '/pid' }

# The command that is run goes on.
sub is_alive { return kill 0, int Intermission::Test::Server::slurp($_[0]->t->folder . '/pid') }

sub wait_running {
    my ($self, $command) = @_;
    wait_for { $self->is_running || $command->is_over } 'the command to run';
    return $self->is_running || (diag($command->said), 0);
}

sub go_on { return $_[0]->t->write_file('go', '') }

sub states {
    my ($self) = @_;
    return join ' ', map { $_->status('shop')->{state} } $self->nodes;
}

# What lasts for seconds is not looked at all the time.
sub states_next {
    my ($self) = @_;
    sleep BETWEEN_LOOKS;
    return $self->states;
}

sub wait_states {
    my ($self, $states, $what, $limit) = @_;
    my $seen = '';
    my $came = eval {
        wait_for { ($seen = $self->states_next) eq $states } $what, $limit;
    };
    ok $came, $what or diag "they are: $seen";
    return;
}

# No node is seen open before the holder is told this. What is seen between two looks at both is not known to be before.
sub none_opens_before {
    my ($self, $command, $pattern, $what) = @_;
    my $early;
    wait_for {
        my $states = $self->states_next;
        my $is_told = $command->said =~ $pattern;
        $early = $states if !$is_told && $states =~ /open|releasing/;
        $is_told || $early;
    } "the holder to be told: $pattern", 40;
    return is $early, undef, $what;
}

# All of these nodes, or of all there are, stay paused, and their deadlines (15 s) are moved on by renewals that began at
# least 3 s from now.
sub goes_on {
    my ($self, $what, @nodes) = @_;
    @nodes = $self->nodes if !@nodes;
    my $late = time + 15 + 4;
    my @states;
    my $came = eval {
        wait_for {
            sleep BETWEEN_LOOKS;
            @states = map { $_->status('shop') } @nodes;
            grep({ $_->{state} ne 'paused' } @states) || !grep { deadline($_) < $late } @states;
        } 'the pauses to be renewed', 40;
    };
    return is $came && join(' ', map { $_->{state} } @states), join(' ', map {'paused'} @states), $what;
}

# In seconds since the epoch.
sub deadline {
    my ($status) = @_;
    return 0 if !$status->{resumes_at};
    my ($year, $month, $day, $hour, $minute, $second) = $status->{resumes_at} =~ /(\d+)/g;
    return timegm($second, $minute, $hour, $day, $month - 1, $year);
}

sub finish {
    my ($self) = @_;
    $_->signal('TERM') for values %{ $self->{agents} };
    $_->status for values %{ $self->{agents} };
    $self->etcd->stop;
    $_->stop for $self->nodes;
    $self->hosts->remove if $self->hosts;
    return done_testing;
}

1;
