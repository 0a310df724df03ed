#!/usr/bin/env perl

# A reload that nginx refuses changes nothing: the pause, what is held, and the release that is
# under way stay as they were, with the workers that were there.

use strict;
use warnings;

use FindBin qw($Bin);
use IO::Socket::INET;
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

use constant COUNT => 60;

my $t = Intermission::Test->new(workers => 2);
my $origin = $t->origin;
my $http = default_server(<<'EOF');
    listen 127.0.0.1:%%PORT_80%%;
EOF
$t->start($http);
my @workers = $t->server->workers;

my $taken = IO::Socket::INET->new(
    LocalAddr => '127.0.0.1',
    LocalPort => $t->port('taken'),
    Listen => 1,
    ReuseAddr => 1
) or die "listen: $!";

my %broken = (
    'an unknown directive' => ['nonsense;', qr/unknown directive "nonsense"/],
    'a bad value of ours' => ['intermission_max_time soon;', qr/"soon" in "intermission_max_time"/],
    'a port in use' => [
        'server { listen 127.0.0.1:%%PORT_taken%%; }',
        qr/bind\(\) to .* failed/,
        qr/still could not bind\(\)/,
    ],
    'a missing file' => ['include %%FOLDER%%/missing;', qr/missing" failed/],
    'a state file nowhere' => [
        'intermission_state_file %%FOLDER%%/nowhere/state;',
        qr{nowhere/state" in "intermission_state_file": .* a directory that exists}
    ],
);

sub times_logged {
    my ($line) = @_;
    return scalar $t->server->logged(qr/$line/);
}

sub fail_to_reload {
    my ($what) = @_;
    my ($line, $says, $end) = @{ $broken{$what} };
    $end //= $says;
    my $before = times_logged($end);
    $t->expect_accident($says, $end);
    $t->configure("$line\n$http");
    $t->server->signal('HUP');
    wait_for { times_logged($end) > $before } "$what to be refused";
    is_deeply [ $t->server->workers ], \@workers, "$what: the workers are the same";
    return;
}

$t->enable;
my @clients = map { $t->hold(GET => "/$_") } 1 .. COUNT;
for my $what (grep { $_ ne 'a port in use' } sort keys %broken) {
    fail_to_reload($what);
    my $status = $t->status;
    is "$status->{state} $status->{held}", 'paused ' . COUNT, 'the pause and the queue as well';
}

# nginx tries for 2.5 s to bind the port; a release goes on meanwhile.
$t->must('disable', rate => '25r/s');
fail_to_reload('a port in use');
is answered(@clients), COUNT, 'a release goes on';
is_deeply [ $origin->uris ], [ map {"/$_"} 1 .. COUNT ], 'in order';

$t->configure($http);
$t->reload;
is $t->get('/after')->status, 200, 'a good configuration is taken up afterwards';

$t->finish;
