#!/usr/bin/env perl

# Which failures are taken back: those that show that nothing was sent to any server. All others end in the usual error, and no
# server gets a request twice.

use strict;
use warnings;

use FindBin qw($Bin);
use IO::Socket::INET;
use POSIX ();
use Socket qw(SOL_SOCKET SO_LINGER);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::TLS;
use Intermission::Test::Wait qw(writable);

my $t = Intermission::Test->new;
my $origin = $t->origin(
    '/closed' => { drop => 1 },
    '/late' => { wait => 1 },
    '/own-502' => { status => 502, body => 'its own' },
    '/own-503' => { status => 503, body => 'its own' },
);
my $conf = <<'EOC';
    upstream taken_by_the_first { server 127.0.0.1:%%PORT_taker%% max_fails=0; server 127.0.0.1:%%PORT_nobody%% backup; }
    upstream no_live { server 127.0.0.1:%%PORT_nobody%%; server 127.0.0.1:%%PORT_2%%; }
    intermission on;
    intermission_auto on;
    intermission_auto_interval 20ms;
    server {
        listen 127.0.0.1:%%PORT_80%%;
        intermission_app_name app-$uri;
        location / { proxy_read_timeout 200ms; proxy_pass http://%%ORIGIN%%; }
        location /refused { proxy_pass http://127.0.0.1:%%PORT_nobody%%; }
        location /reset { proxy_pass http://127.0.0.1:%%PORT_taker%%; }
        location /taken { proxy_pass http://taken_by_the_first; }
        location /no-live { proxy_pass http://no_live; }
        location /fails { intermission_auto off; proxy_pass http://no_live; }
        location /slow { proxy_connect_timeout 200ms; proxy_pass http://127.0.0.1:%%PORT_slow%%; }
        location /limited {
            intermission_max_held 1;
            proxy_connect_timeout 1s;
            proxy_pass http://127.0.0.1:%%PORT_slow%%;
        }
        location /abrupt { proxy_pass http://127.0.0.1:%%PORT_abrupt%%; }
        location /tls-refused { proxy_pass https://127.0.0.1:%%PORT_tls%%; }
        location /tls-broken { proxy_pass https://127.0.0.1:%%PORT_taker%%; }
        location /intermission/ { intermission_control; }
    }
EOC
$t->start($conf);

sub listener {
    my ($name) = @_;
    my %to = (LocalAddr => '127.0.0.1', LocalPort => $t->port($name), ReuseAddr => 1);
    return IO::Socket::INET->new(%to, Listen => 1) // die "listen: $!";
}

# A server that reads what comes and resets the connection.
my $taker = do {
    my $listener = listener('taker');
    defined(my $pid = fork) or die "fork: $!";
    if (!$pid) {
        @SIG{qw(INT TERM ALRM)} = ('DEFAULT') x 3;
        alarm 300;
        open my $log, '>>', $t->folder . '/taker.log';
        $log->autoflush(1);
        while (my $socket = $listener->accept) {
            sysread $socket, my $bytes, 65_536 or next;
            my ($what) = $bytes =~ /^([A-Z]+ \S+)/;
            print {$log} ($what // 'no request') . "\n";
            reset_connection($socket);
        }
        POSIX::_exit(0);
    }
    $pid;
};
END { kill 'TERM', $taker if $taker }

sub reset_connection {
    my ($socket) = @_;
    setsockopt $socket, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0;
    close $socket;
}

sub taken { return split /\n/, Intermission::Test::Server::slurp($t->folder . '/taker.log') }

# What a server answers whom nobody else takes requests from: to the first connection that brings one.
sub serve {
    my ($listener) = @_;
    while (my $socket = $listener->accept) {
        my $line = readline $socket // next;
        print {$socket} "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nyes";
        return $line;
    }
    die "accept: $!";
}

sub hold { my ($uri) = @_; return $t->hold(GET => $uri, app => "app-$uri") }

sub is_usual {
    my ($uri, $status, $what) = @_;
    my $response = $t->get($uri);
    is $response->status, $status, $what;
    my $app = $t->status("app-$uri");
    is "$app->{state} $app->{totals}{held}", 'open 0', 'nobody is held';
    return $response;
}

# Something was sent, or may have been.
is_usual('/closed', 502, 'a connection that is closed behind the request');
is_usual('/late', 504, 'an answer that takes too long');
is is_usual('/own-502', 502, 'a 502')->body, 'its own', 'that is the own one of the backend';
is is_usual('/own-503', 503, 'a 503')->body, 'its own', 'as well';
is_deeply [ $origin->uris ], [qw(/closed /late /own-502 /own-503)], 'each is asked for once';
is_usual('/reset', 502, 'a connection that is reset behind the request');
is_usual('/taken', 502, 'a first server that got bytes, and a second one that is not there');
is_deeply [taken()], [ 'GET /reset', 'GET /taken' ], 'each is asked for once';
is_usual('/tls-broken', 502, 'TLS that breaks off');
is scalar(taken()), 3, 'there is no second try';

# No server that nginx would ask.
is $t->get('/fails')->status, 502, 'off: both servers have failed';
my $client = hold('/no-live');
my $second = Intermission::Test::Origin->new(port => $t->port(2), answers => {});
is $client->response->status, 200, 'no live server: held until one is there';
is_deeply [ $second->uris ], ['/no-live'], 'asked once';
$second->stop;

# A server whose queue of connections is full: nobody answers to the wish for a connection.
sub fill {
    my ($name) = @_;
    my @clients;
    while (1) {
        my %to = (PeerAddr => '127.0.0.1', PeerPort => $t->port($name), Blocking => 0);
        my $client = IO::Socket::INET->new(%to) or die "connect: $!";
        return @clients if !writable($client, 0.3);
        push @clients, $client;
    }
}

my $slow = listener('slow');
my @others = fill('slow');
my @limited = map { $t->client->get('/limited') } 1, 2;
# That of the gate, if it came too late to be on its way when the first one was taken back.
like $limited[1]->response->status, qr/^50[34]$/, 'one more than may be held: the usual error';
is $t->status('app-/limited')->{held}, 1, 'and the other one is held';
$limited[0]->close;
$t->wait_held(0, 'app-/limited');
$client = hold('/slow');
is $t->status('app-/slow')->{state}, 'down', 'a connection that takes too long to be made: held';
close $_ for @others;
like serve($slow), qr{^GET /slow }, 'and sent when there is a connection';
my $answer = $client->response;
is $answer->body, 'yes', 'and answered';
is $answer->header('Content-Type'), undef, 'with nothing of the error that nginx would have shown';

# A connection that is made, and reset before nginx has looked: the worker stands still meanwhile.
my $abrupt = listener('abrupt');
@others = fill('abrupt');
$client = $t->client->get('/abrupt');
my $begun = sprintf '0100007F:%04X 02 ', $t->port('abrupt');
wait_for { Intermission::Test::Server::slurp('/proc/net/tcp') =~ /$begun/ } 'the wish for a connection';
my ($worker) = $t->server->workers;
$t->stop_process($worker);
close $_ for @others;
$abrupt->accept for @others;
my $made = $abrupt->accept or die "accept: $!";
reset_connection($made);
kill CONT => $worker;
like serve($abrupt), qr{^GET /abrupt }, 'reset before anything was written: sent anew';
is $client->response->body, 'yes', 'and answered';
is $t->status('app-/abrupt')->{totals}{held}, 1, 'it was held';

SKIP: {
    my $missing = Intermission::Test::TLS->missing;
    skip $missing, 2 if $missing;
    Intermission::Test::TLS->certificate($t->folder);
    $client = hold('/tls-refused');
    my $plain = listener('tls');
    my %files = map { ("SSL_${_}_file" => $t->folder . "/$_.pem") } qw(cert key);
    my $line;
    while (!$line) {
        my $socket = $plain->accept or die "accept: $!";
        # A probe brings no TLS.
        IO::Socket::SSL->start_SSL($socket, SSL_server => 1, %files) or next;
        $line = readline $socket // next;
        print {$socket} "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nyes";
        close $socket;
    }
    like $line, qr{^GET /tls-refused }, 'TLS to nobody: held, and sent when somebody is there';
    is $client->response->body, 'yes', 'and answered';
}

$client = hold('/refused');
$t->must('disable', app => 'app-/refused');
$client->close;
$t->wait_held(0, 'app-/refused');
$t->finish;
