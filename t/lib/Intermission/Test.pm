package Intermission::Test;

# One test: a temporary folder, ports of its own, an nginx with the module, an origin behind it.
#
#     use Test::More;
#     use FindBin qw($Bin);
#     use lib "$Bin/lib";
#     use Intermission::Test;
#
#     my $t = Intermission::Test->new(workers => 4);
#     $t->origin('/slow' => { wait => 1 });
#     $t->start(default_server(<<'EOF'));
#         intermission_max_held 10;
#     EOF
#     $t->enable;
#     my $client = $t->hold(GET => '/page');
#     ...
#     $t->finish;
#
# What is given to `start` is the inside of the http block. If nothing is, that is the default server, as it stands in
# DefaultServer.pm, which also says how to add to it. In all files,
#     %%PORT_n%%       is a free port, the same for the same n; clients go to 80 unless told otherwise,
#     %%ORIGIN%%       the address and port of the origin,
#     %%FOLDER%%       the temporary folder,
#     %%REUSEPORT%%    `reuseport` where there are several workers.
#
# `finish` stops nginx and fails on every line of its error log that reports an accident, unless
# `expect_accident` announced it. Environment:
#     INTERMISSION_NGINX         the nginx to test, "nginx" if not set
#     INTERMISSION_MODULE        the module, target/modules/… if not set; empty to go without
#     INTERMISSION_TIME_LIMIT    seconds that a single wait may take
#     INTERMISSION_KEEP          leave the folder behind, and say where it is

use strict;
use warnings;

use Carp qw(croak);
use Cwd qw(abs_path);
use Exporter qw(import);
use File::Basename qw(dirname);
use File::Temp qw(tempdir);
use POSIX ();
use Time::Piece ();
use Test::More;

use Intermission::Test::Client;
use Intermission::Test::DefaultServer qw(default_server);
use Intermission::Test::Files qw(program slurp);
use Intermission::Test::HTTP2;
use Intermission::Test::Origin;
use Intermission::Test::Ports qw(take_port);
use Intermission::Test::Server;
use Intermission::Test::StrictOrigin;
use Intermission::Test::Wait qw(wait_for TIME_LIMIT);
use parent 'Intermission::Test::Control';

our @EXPORT = qw(answered becomes default_server seconds slurp wait_for);
our @CARP_NOT = map {"Intermission::Test::$_"} qw(Client Control HTTP2 Origin Server Wait);

use constant WHOLE_TEST_LIMIT => 15 * TIME_LIMIT;
use constant ROOT => abs_path(dirname(__FILE__) . '/../../..');
use constant MODULE => ROOT . '/target/modules/ngx_http_intermission_module.so';

my @running;

# A process that the test has just forked ends alone: what is cleaned up at the end is not its own.
my $own = $$;
$SIG{$_} = sub { $$ == $own ? exit 1 : POSIX::_exit(1) } for qw(INT TERM HUP);
$SIG{ALRM} = sub { die 'the whole test took more than ' . WHOLE_TEST_LIMIT . " s\n" };
alarm WHOLE_TEST_LIMIT;

# What has not been finished, because the test died, ends here.
END {
    my $status = $?;
    for my $t (@running) {
        $t->{server}->terminate;
        $_->stop for grep {defined} $t->{origin};
        diag last_lines($t->{server}->output) if $status;
    }
    $? = $status;
}

sub last_lines {
    my @lines = split /^/, shift;
    splice @lines, 0, @lines - 40 if @lines > 40;
    return join '', @lines;
}

# new(workers => 1, connections => 1024, daemon => 0, main => 'directives outside of http',
#     first => 'the same, before the module is loaded', events => 'directives of its events block')
sub new {
    my ($class, %self) = @_;
    my $folder = tempdir('intermission-XXXXXX', TMPDIR => 1, CLEANUP => !$ENV{INTERMISSION_KEEP});
    chmod 0755, $folder;    # workers do not run as the user who started the test
    diag "folder: $folder" if $ENV{INTERMISSION_KEEP};

    my $self = bless {
        workers => 1,
        connections => 1024,
        first => '',
        main => '',
        events => '',
        %self,
        folder => $folder,
        expected => [],
    }, $class;
    $self->{server} = Intermission::Test::Server->new(
        binary => nginx(),
        folder => $folder,
        workers => $self->{workers},
        daemon => $self->{daemon},
    );
    push @running, $self;
    return $self;
}

# By a name that it can start a successor by, from wherever it is then.
sub nginx {
    my $name = $ENV{INTERMISSION_NGINX} || 'nginx';
    return abs_path(program($name) // croak "there is no $name");
}

sub folder { $_[0]{folder} }
sub server { $_[0]{server} }

sub port {
    my ($self, $name) = @_;
    return $self->{ports}{ $name // 80 } //= take_port();
}

# Configuration

sub expand {
    my ($self, $text) = @_;
    $text =~ s/%%PORT_(\w+)%%/$self->port($1)/ge;
    $text =~ s/%%ORIGIN%%/'127.0.0.1:' . $self->port('ORIGIN')/ge;
    $text =~ s/%%FOLDER%%/$self->{folder}/g;
    $text =~ s/%%REUSEPORT%%/$self->{workers} > 1 ? 'reuseport' : ''/ge;
    return $text;
}

sub write_file {
    my ($self, $name, $text) = @_;
    my $file = "$self->{folder}/$name";
    mkdir dirname($file);
    open my $handle, '>', $file or croak "$file: $!";
    print {$handle} $self->expand($text);
    close $handle or croak "$file: $!";
    return $file;
}

# A folder that workers can write to, whoever they are: its path.
sub shared_folder {
    my ($self, $name) = @_;
    my $folder = "$self->{folder}/$name";
    mkdir $folder or croak "$folder: $!";
    chmod 0777, $folder;
    return $folder;
}

sub configure {
    my ($self, $http, $file) = @_;
    $self->write_file($file // 'nginx.conf', $self->wrapped($http));
    return $self;
}

# A whole configuration around the inside of its http block.
sub wrapped {
    my ($self, $http) = @_;
    my $load = join '', $self->{first}, map {"load_module $_;\n"} module_file();
    # A binary upgrade hands on only what nginx is told to keep.
    $load .= "env ASAN_OPTIONS;\n" if defined $ENV{ASAN_OPTIONS};
    my $folder = $self->{folder};
    my $temp = join "\n    ",
        map {"${_}_temp_path $folder/${_}_temp;"} qw(client_body proxy fastcgi uwsgi scgi);
    return <<"END";
${load}daemon ${\ ($self->{daemon} ? 'on' : 'off')};
pid $folder/nginx.pid;
error_log $folder/error.log ${\ ($self->{log_level} // 'notice')};
worker_processes $self->{workers};
$self->{main}
events { worker_connections $self->{connections}; $self->{events} }
http {
    $temp
    log_format test '\$status \$request_method \$request_uri';
    access_log $folder/access.log test;
    default_type text/plain;
$http
}
END
}

sub module_file {
    my $file = $ENV{INTERMISSION_MODULE} // MODULE;
    return if $file eq '';
    -e $file or croak "there is no module at $file: build it first (scripts/build)";
    return abs_path($file);
}

# nginx -t on this inside of the http block: whether it succeeds, and what it says.
sub check {
    my ($self, $http) = @_;
    $self->configure($http, 'check.conf');
    return $self->{server}->check('check.conf');
}

# Running

sub start {
    my ($self, $http) = @_;
    $self->configure($http // default_server());
    $self->{server}->start;
    return $self;
}

sub reload {
    my ($self, $http) = @_;
    $self->configure($http) if defined $http;
    $self->{server}->reload;
}

sub kill_worker {
    my ($self, $pid) = @_;
    $self->expect_kill($pid);
    $self->{server}->kill_worker($pid);
}

# A time as `status` writes it, in seconds since 1970.
sub seconds { return Time::Piece->strptime(shift, '%Y-%m-%dT%H:%M:%SZ')->epoch }

# A worker, or the master, stands still until it gets a CONT.
sub stop_process {
    my ($self, $pid) = @_;
    kill STOP => $pid;
    wait_for { Intermission::Test::Server::is_stopped($pid) } "process $pid to stop";
}

# The origin, started at the first call; what it answers to a path can be given.
sub origin {
    my ($self, %answers) = @_;
    return $self->{origin} //= Intermission::Test::Origin->new(
        port => $self->port('ORIGIN'), answers => \%answers);
}

# It goes away; `origin` brings it back.
sub end_origin {
    my ($self) = @_;
    (delete $self->{origin})->stop;
    return;
}

# One that notes every byte that does not belong where it comes, instead.
sub strict_origin {
    my ($self) = @_;
    return $self->{origin} //= Intermission::Test::StrictOrigin->new(port => $self->port('ORIGIN'));
}

# Clients

sub client {
    my ($self, %to) = @_;
    return Intermission::Test::Client->new(port => $self->port, %to);
}

sub http2 {
    my ($self, %to) = @_;
    return Intermission::Test::HTTP2->new(port => $self->port, %to);
}

# A client whose connection this worker has accepted, as /pid says, which the default server has.
sub client_at {
    my ($self, $worker) = @_;
    return wait_for {
        my $client = $self->client;
        $client->get('/pid')->response->body == $worker && $client;
    } "worker $worker to accept a connection";
}

# One request on a connection of its own, and its response.
sub request {
    my ($self, $method, $uri, %with) = @_;
    my @headers = (@{ $with{headers} // [] }, 'Connection: close');
    return $self->client->request($method, $uri, %with, headers => \@headers)->response;
}

sub get {
    my ($self, $uri, %with) = @_;
    return $self->request('GET', $uri, %with);
}

sub post {
    my ($self, $uri, $body, %with) = @_;
    return $self->request('POST', $uri, %with, body => $body);
}

# Sends a request and waits until it is held: the client that sent it. Called one after the other, the requests come to the gate
# in this order. `app` is the app that it belongs to, `client` the connection to use; over HTTP/2 or 3 the stream is returned.
sub hold {
    my ($self, $method, $uri, %with) = @_;
    my ($app, $client) = delete @with{qw(app client)};
    my $held = $self->status($app)->{held};
    $client //= $self->client;
    my $sent = $client->request($method, $uri, %with);
    $self->wait_held($held + 1, $app);
    return $sent;
}

# How many of these clients are answered with 200, once all have their answer.
sub answered { return scalar grep { $_->response->status == 200 } @_ }

# Tests that a line of the log says so, sooner or later.
sub logs {
    my ($self, $pattern, $what) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    eval { $self->{server}->wait_logged($pattern) };
    return like $self->{server}->log, $pattern, $what;
}

# becomes { $t->status->{state} } 'open', 'what is tested': waits for that, and tests that it came.
sub becomes(&$$) {
    my ($look, $expected, $what) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $is;
    eval { wait_for { ($is = $look->()) eq $expected } $what };
    die $@ if $@ && $@ !~ /^gave up/;
    return is $is, $expected, $what;
}

# The end

# Announces lines of the error log that would otherwise fail the test.
sub expect_accident {
    my ($self, @patterns) = @_;
    push @{ $self->{expected} }, @patterns;
}

# Announces that the test kills this worker, or any: if that has the zone's lock, the master opens it.
sub expect_kill {
    my ($self, $pid) = @_;
    $pid //= '\d+';
    return $self->expect_accident(
        qr/worker process $pid exited on signal 9/,
        qr/shared memory zone "intermission" was locked by $pid\b/,
    );
}

# Stops nginx, as gently as it can be done, and looks for accidents in its log.
sub stop {
    my ($self) = @_;
    Intermission::Test::Client->close_all;
    ok $self->{server}->quit, 'nginx ends gracefully';
    $self->{origin}->stop if $self->{origin};
    my @accidents = grep { !$self->is_expected($_) } $self->{server}->accidents;
    is_deeply \@accidents, [], 'no accidents in the error log';
    @running = grep { $_ != $self } @running;
    return;
}

sub is_expected {
    my ($self, $line) = @_;
    return scalar grep { $line =~ $_ } @{ $self->{expected} };
}

sub finish {
    my ($self) = @_;
    $self->stop;
    done_testing;
}

1;
