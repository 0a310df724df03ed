package Intermission::Test::HTTP3;

# An HTTP/3 client: a Python process with aioquic, which is told what to do line by line. The Python
# is INTERMISSION_PYTHON, or that of target/http3, a virtual environment with aioquic in it.

use strict;
use warnings;

use Carp qw(croak);
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use IPC::Open2 qw(open2);
use JSON::PP ();

use Intermission::Test::Response;

use constant LIB => abs_path(dirname(__FILE__) . '/../..');
use constant PYTHON => $ENV{INTERMISSION_PYTHON} // LIB . '/../../target/http3/bin/python';

my $json = JSON::PP->new->utf8->allow_nonref;

# Why it cannot be had, if so.
sub missing {
    my ($class, $nginx) = @_;
    return 'this nginx has no HTTP/3' if `$nginx -V 2>&1` !~ /with-http_v3_module/;
    return if -x PYTHON && !system PYTHON, '-c', 'import aioquic';
    return 'there is no HTTP/3 client (scripts/test makes one, from PyPI)';
}

# new(port => 8443, idle => 60): connected; `idle` are the seconds after which silence ends it.
sub new {
    my ($class, %to) = @_;
    my $pid = open2 my $out, my $in, PYTHON, LIB . '/http3.py', $to{port}, $to{idle} // 60;
    my $self = bless { pid => $pid, in => $in, out => $out }, $class;
    croak 'no HTTP/3 connection' if ($self->answer // '') ne 'connected';
    return $self;
}

sub ask {
    my ($self, @call) = @_;
    local $SIG{PIPE} = 'IGNORE';
    print { $self->{in} } $json->encode(\@call), "\n";
    $self->{in}->flush;
    return $self->answer;
}

sub answer {
    my ($self) = @_;
    my $line = readline $self->{out} // croak 'the HTTP/3 client has died';
    return $json->decode($line);
}

# request('POST', '/x', body => '...', more => 1, authority => 'shop.example', headers => [...]): the
# stream. `more`: the body is left unfinished. `authority`: undef for none.
sub request {
    my ($self, $method, $uri, %with) = (shift, shift, shift, authority => 'localhost', @_);
    my $more = $with{more} ? JSON::PP::true : JSON::PP::false;
    my @headers = map { [ /^([^:]+):\s*(.*)$/ ] } @{ $with{headers} // [] };
    return $self->ask('request', $method, $uri, $with{body} // '', $more, $with{authority}, \@headers);
}

sub response {
    my ($self, $stream) = @_;
    return Intermission::Test::Response->new(%{ $self->ask('response', $stream) });
}

sub silent { return $_[0]->ask('silent', $_[1]) }
sub cancel { return $_[0]->ask('cancel', $_[1]) }
sub close { return $_[0]->ask('close') }
sub is_ended { return $_[0]->ask('is_ended') }

# Without a word to the server.
sub vanish {
    my ($self) = @_;
    my $pid = delete $self->{pid} or return;
    kill 'KILL', $pid;
    waitpid $pid, 0;
}

sub DESTROY {
    my ($self) = @_;
    local ($?, $!);
    $self->vanish;
}

1;
