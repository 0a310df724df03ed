#!/usr/bin/env perl

# The probe for a backend that is down, and the first request that goes there: what happens when their worker stands still or is
# reloaded, when that client leaves, when the outage is longer than anybody waits; and that waiting costs the same at its end as at
# its beginning.

use strict;
use warnings;

use FindBin qw($Bin);
use IO::Socket::INET;
use Test::More;
use Time::HiRes qw(time);

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Wait qw(writable);

my $t = Intermission::Test->new(workers => 2);
$t->start(default_server(<<'EOF'));
    intermission_auto on;
    intermission_auto_interval 10ms;
    intermission_interval 50ms;
    location /brief { intermission_app_name brief; intermission_auto_max_time 200ms; proxy_pass http://%%ORIGIN%%; }
    location /trial { intermission_app_name trial; intermission_auto_interval 1h; proxy_pass http://127.0.0.1:%%PORT_trial%%; }
EOF

my $origin;
sub up { return $origin = $t->origin }

sub probes { return $t->control('metrics')->body =~ /^intermission_probes_total\{app="default"\} (\d+)$/m ? $1 : 0 }

# A worker that stands still, whichever of the two probes.
for my $still (0, 1) {
    my @workers = $t->server->workers;
    my @callers = map { $t->client_at($_) } @workers;
    my @clients = map { $t->client_at($_) } @workers;
    $clients[$_]->get("/$_") for 0, 1;
    $t->wait_held(2);
    my $call = sub { $callers[ !$still ]->get('/intermission/status?format=json')->response->json };
    $t->stop_process($workers[$still]);
    up();
    is $clients[ !$still ]->response->status, 200, "worker $still stands still: the other one goes on";
    kill CONT => $workers[$still];
    is $clients[$still]->response->status, 200, 'and it does as well, when it may';
    is_deeply [ sort $origin->uris ], [qw(/0 /1)], 'each was asked for once';
    $t->wait_state('open');
    $t->end_origin;
}

# Reloads, on top of each other.
my @clients = ($t->hold(GET => '/0'));
for my $number (1 .. 3) {
    $t->reload;
    push @clients, $t->hold(GET => "/$number");
}
up();
is $_->response->status, 200, 'held over reloads' for @clients;
is_deeply [ $origin->uris ], [ map {"/$_"} 0 .. 3 ], 'each once, in order';
$t->wait_state('open');
$t->end_origin;

# Longer than anybody waits.
for my $round (1 .. 3) {
    my @late = map { $t->client->post('/brief', $_) } 1 .. 3;
    is $_->response->status, 502, "round $round: the usual error in the end" for @late;
}
is $t->status('brief')->{totals}{held}, 9, 'all of them were held, the later ones as the first';
is $t->status('brief')->{totals}{timed_out}, 9, 'until their time was up';
up();
$t->wait_state('open', 'brief');
is $t->get('/brief')->status, 200, 'and it is over when the backend is there';
$t->end_origin;

# The first request is on its way to a server that does not answer to the wish for a connection, and its client leaves.
my %to = (LocalAddr => '127.0.0.1', LocalPort => $t->port('trial'), ReuseAddr => 1);
my @trial = map { $t->hold(GET => "/trial/$_", app => 'trial') } 1 .. 3;
my $listener = IO::Socket::INET->new(%to, Listen => 1) or die "listen: $!";
my @others;
while (1) {
    my $other = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $t->port('trial'), Blocking => 0) or die "connect: $!";
    last if !writable($other, 0.3);
    push @others, $other;
}
# No probe is due, which could have found it before it was full.
$t->must('disable', app => 'trial');
wait_for { $t->status('trial')->{held} == 2 } 'it to be on its way';
$trial[0]->close;
close $_ for @others;
my @asked;
while (@asked < 2) {
    my $socket = $listener->accept or die "accept: $!";
    my $line = readline $socket // next;
    push @asked, $line =~ m{^GET (\S+)};
    print {$socket} "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nyes";
}
is $trial[$_]->response->body, 'yes', 'the first leaves during its trial: the next one is tried' for 1, 2;
is_deeply \@asked, [qw(/trial/2 /trial/3)], 'in order, and none of who left';
$t->wait_state('open', 'trial');
close $listener;

# What it costs to wait.
my @waiting = map { $t->hold(GET => "/$_") } 1 .. 20;

sub memory {
    my @kb = map { Intermission::Test::Server::slurp("/proc/$_/status") =~ /^VmRSS:\s*(\d+)/m } $t->server->workers;
    return $kb[0] + $kb[1];
}

sub files { return scalar map { glob "/proc/$_/fd/*" } $t->server->workers }

sub probed { my ($count) = @_; my $until = probes() + $count; return wait_for { probes() >= $until } "$count probes" }

probed(50);
my ($memory, $files) = (memory(), files());
my ($began, $before) = (time, probes());
probed(300);
cmp_ok probes() - $before, '<=', (time - $began) / 0.01 + 2, 'one probe an interval, whatever the number of workers';
SKIP: {
    skip 'a sanitizer takes memory of its own', 1 if $ENV{ASAN_OPTIONS};
    cmp_ok memory() - $memory, '<', 200, '300 probes: no pool grows';
}
cmp_ok files() - $files, '<=', 4, 'and no descriptor is left';
up();
is $_->response->status, 200, 'and all are answered' for @waiting;
is_deeply [ $origin->uris ], [ map {"/$_"} 1 .. 20 ], 'in order';

$t->finish;
