#!/usr/bin/env perl

# Connections that nginx watches for being writable, as an earlier answer did not fit into their
# sockets: each byte that such a client sends makes nginx call its held request, also in the moment
# in which a batch is let go. It gains no place by that.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

use constant { COUNT => 40, ROUNDS => 3 };

my %models = (
    'accept_mutex off' => '',
    'accept_mutex on' => 'accept_mutex on; accept_mutex_delay 20ms;',
);

# What lets the held requests go while their worker stands still.
my %triggers = (
    'a call at another worker' => sub {
        my ($t, $origin, $caller) = @_;
        $caller->get('/intermission/disable');
        is $caller->response->status, 200, 'resumed';
    },
    'the end of a canary' => sub { my ($t, $origin) = @_; $origin->answer },
);

for my $model (sort keys %models) {
    my $t = Intermission::Test->new(workers => 2, events => $models{$model});
    my $origin = $t->origin('/slow' => { wait => 1 });
    $t->write_file('large', 'x' x 8_000_000);
    $t->start(default_server(<<'EOF'));
        listen 127.0.0.1:%%PORT_80%% reuseport sndbuf=64k;
        location /large { intermission off; alias %%FOLDER%%/large; }
EOF
    my ($worker, $other) = $t->server->workers;
    my $caller = $t->client_at($other);

    # One whose answer nginx could not send at once.
    my $writable = sub {
        my $client = $t->client_at($worker)->get('/large');
        wait_for { !$client->silent } 'the beginning of an answer';
        $t->client_at($worker);
        is length $client->response->body, 8_000_000, 'the rest of it' or die;
        return $client;
    };
    my @writable = map { $writable->() } 1 .. 4;

    for my $trigger (map { ($_) x ROUNDS } sort keys %triggers) {
        $origin->forget;
        $t->enable;
        my @uris = ($trigger =~ /canary/ ? '/slow' : '/0', map {"/$_"} 1 .. COUNT);
        my @hasty = @writable;
        my @clients;
        for my $at (0 .. COUNT) {
            my $client = $at % 10 == 9 ? shift @hasty : $t->client_at($worker);
            push @clients, $t->hold(GET => $uris[$at], client => $client);
        }
        my $verdict;
        if ($trigger =~ /canary/) {
            $verdict = $t->call('disable', canary => 1);
            $origin->wait_requests(1);
        }

        $t->stop_process($worker);
        $triggers{$trigger}->($t, $origin, $caller);
        $_->send("\r\n") for reverse @writable;
        kill CONT => $worker;

        is $verdict->response->status, 200, 'the canary is good' if $verdict;
        is answered(@clients), COUNT + 1, 'all are answered';
        is_deeply [ $origin->uris ], \@uris, "$model, $trigger: in order";
        $t->wait_state('open');
    }
    $t->stop;
}

done_testing;
