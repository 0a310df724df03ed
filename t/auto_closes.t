#!/usr/bin/env perl

# A backend that accepts connections and closes them, for ever: to a connect probe it looks as if it were back. Who is
# held for it gets the usual error in the end, with little work meanwhile, and it is served again when it is well.

use strict;
use warnings;

use FindBin qw($Bin);
use IO::Socket::INET;
use Test::More;
use Time::HiRes qw(time);

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Aside;

use constant { INTERVAL => 0.02, LONGEST => 2 };

my $t = Intermission::Test->new(workers => 2);
$t->start(default_server(<<'EOF'));
    intermission_auto on;
    intermission_auto_interval 20ms;
    intermission_auto_max_time 2s;
    location /connect/ { intermission_app_name connect; proxy_pass http://%%ORIGIN%%; }
    location /request/ {
        intermission_app_name request;
        intermission_auto_probe request;
        proxy_pass http://%%ORIGIN%%;
    }
    location /replay/ {
        intermission_app_name replay;
        intermission_auto_replay get;
        proxy_pass http://%%ORIGIN%%;
    }
EOF

# It notes how many it closes.
sub closer {
    my $listener = IO::Socket::INET->new(
        LocalAddr => '127.0.0.1',
        LocalPort => $t->port('ORIGIN'),
        Listen => 511,
        ReuseAddr => 1
    ) or die "listen: $!";
    my $file = $t->write_file('closed', '');
    my $aside = Intermission::Test::Aside->begin(sub {
        open my $note, '>>', $file or die "open: $!";
        $note->autoflush;
        while (my $peer = $listener->accept) {
            close $peer;
            print {$note} '.';
        }
    });
    return ($aside, $file);
}

for my $app (qw(connect request replay)) {
    my @clients = map { $t->hold($_ % 2 ? 'GET' : 'POST', "/$app/$_", app => $app) } 1 .. 6;
    my $began = time;
    my ($closer, $file) = closer();
    is_deeply [ map { $_->response->status } @clients ], [ (502) x 6 ], "$app: the usual error in the end";
    my $lasted = time - $began;
    cmp_ok $lasted, '<', LONGEST + 3, sprintf '%.1f s later', $lasted;
    $t->wait_state('open', $app);
    my $lines = () = $t->server->log =~ /app "$app" from /g;
    cmp_ok $lines, '<=', 4 + 2 * $lasted, "$lines lines of it";
    # A probe an interval at most, a connection for each who goes, and one more for who may be asked again.
    cmp_ok -s $file, '<=', 10 + 2 * $lasted / INTERVAL + 2 * @clients, 'and few connections: ' . -s $file;
    $closer->stop;
    $t->origin;
    is $t->get("/$app/well")->status, 200, 'it is served when it is well again';
    $t->end_origin;
}

done_testing;
