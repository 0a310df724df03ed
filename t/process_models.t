#!/usr/bin/env perl

# The gate works in every way in which nginx can run: one process, one worker, one for each core,
# as a daemon, with all ways to share the listening sockets, with threads, with every event method,
# and with a debug log. Where there is no doorbell (poll, select), the interval has to do.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

use constant { COUNT => 60, LARGE => 100_000 };

my $cores = () = slurp('/proc/cpuinfo') =~ /^processor\s*:/mg;

my %models = (
    'worker_processes 1' => {},
    'worker_processes auto' => { workers => $cores || 1, set => { worker_processes => 'auto' } },
    'master_process off' => { workers => 0, main => 'master_process off;' },
    'daemon on' => { workers => 2, daemon => 1 },
    'reuseport' => { workers => 3, listen => 'reuseport' },
    'accept_mutex on' => { workers => 3, events => 'accept_mutex on; accept_mutex_delay 20ms;' },
    'multi_accept on' => { workers => 2, events => 'multi_accept on;' },
    'aio threads' => { workers => 2, http => 'aio threads; aio_write on;' },
    'use poll' => { workers => 2, events => 'use poll;' },
    'use select' => { workers => 2, events => 'use select;', connections => 400 },
    'a debug log' => { workers => 2, log_level => 'debug' },
    'a buffered access log' => {
        workers => 2,
        http => 'access_log %%FOLDER%%/buffered.log test buffer=64k flush=5s;',
    },
);

my $nginx = Intermission::Test::nginx();
delete $models{'aio threads'} if `$nginx -V 2>&1` !~ /--with-threads/;

sub http {
    my ($model) = @_;
    my $listen = $model->{listen} // '';
    my $lines = $model->{http} // '';
    return $lines . default_server(<<"EOF");
        client_max_body_size 1m;
        listen 127.0.0.1:%%PORT_80%% $listen;
        location /file { alias %%FOLDER%%/file; }
EOF
}

# What the test library has no words for.
sub rewrite {
    my ($t, $model) = @_;
    my $file = $t->folder . '/nginx.conf';
    my $text = slurp($file);
    $text =~ s/^worker_processes \K\d+/auto/m if $model->{set};
    $t->write_file('nginx.conf', $text);
    return;
}

for my $name (sort keys %models) {
    my $model = $models{$name};
    subtest $name => sub {
        my $t = Intermission::Test->new(workers => 1, %$model);
        $t->configure(http($model));
        rewrite($t, $model);
        my ($works, $says) = $t->server->check('nginx.conf');
        plan skip_all => "not in this nginx" if !$works && $says =~ /invalid event type/;
        my $origin = $t->origin;
        $t->write_file('file', 'x' x LARGE);
        $t->server->start;

        for my $round (1 .. 2) {
            $origin->forget;
            is $t->get('/before')->status, 200, 'requests go through';
            $t->enable;
            my @clients;
            for my $number (1 .. COUNT) {
                my $body = $number % 7 ? undef : 'x' x LARGE;
                push @clients, $t->hold(($body ? 'POST' : 'GET'), "/$number", body => $body);
            }
            my $file = $t->hold(GET => '/file');
            ok !(grep { !$_->silent } @clients), 'all are held';
            $t->disable;
            my @answers = map { $_->response->status } @clients;
            is_deeply \@answers, [ (200) x COUNT ], 'and released';
            is length $file->response->body, LARGE, 'a file as well';
            my @uris = grep { $_ ne '/before' } $origin->uris;
            is_deeply \@uris, [ map {"/$_"} 1 .. COUNT ], 'in order';
            $t->wait_state('open');
            $t->wait_in_flight(0);
        }

        # Who leaves is noticed, and a call that waits is answered.
        $t->enable;
        my $leaving = $t->hold(GET => '/leaving');
        $leaving->close;
        $t->wait_held(0);
        is $t->must('enable', drain => '5s')->status, 200, 'a drain ends';
        $t->disable;
        $t->stop;
    };
}

done_testing;
