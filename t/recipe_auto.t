#!/usr/bin/env perl

# The recipe of a service that is restarted without a call, with nginx-conf/auto.conf, under load: whatever could not be sent waits,
# and each order is there once. A connection that the system has made, and that the service closes with its queue, can be lost:
# that takes some microseconds, so it may come to pass once. systemd is played by a few lines of shell.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Load;
use Intermission::Test::Sample qw(settled);

use constant RATE => 20;

plan skip_all => 'there is no python3' if system 'python3 -c "" 2>/dev/null';

my $t = Intermission::Test->new(workers => 2, connections => 4096);
my ($folder, $port) = ($t->folder, $t->port('APP'));
my $sample = settled($t, Intermission::Test::Server::slurp("$Bin/../nginx-conf/auto.conf"));
$sample =~ s/^(\s+server 127\.0\.0\.1:)8000;$/$1$port;/m or die $sample;
$t->start(<<"EOF");
    # These clients read nothing before the end: nginx would wait for them, and count that as in flight.
    lingering_close off;
    log_format sent '\$request_uri \$status [\$upstream_bytes_sent]';
    access_log %%FOLDER%%/sent.log sent;
$sample
EOF

my $recipes = Intermission::Test::Server::slurp("$Bin/../docs/recipes.md");
my ($command) = $recipes =~ /^    (systemctl restart shop)$/m or die;
my $app = "python3 $Bin/recipes/app.py --port $port --file $folder/orders --startup 0.7 --graceful";
$t->write_file('bin/systemctl', <<"EOF");
#!/bin/sh
[ "\$*" = 'restart shop' ] || exit 64
if [ -e $folder/shop.pid ]; then
    read -r pid <$folder/shop.pid
    kill \$pid
    while kill -0 \$pid 2>/dev/null; do sleep 0.02; done
fi
$app >>$folder/shop.log 2>&1 &
echo \$! >$folder/shop.pid
EOF
chmod 0755, "$folder/bin/systemctl";
local $ENV{PATH} = "$folder/bin:$ENV{PATH}";

is system($command), 0, 'the service starts';
# Not `/up`: what asks whether the service is up is not held.
is $t->get('/')->status, 200, 'who comes while it does waits for it';
my $outages = $t->status->{totals}{outages};

sub orders { return sort { $a <=> $b } split /\n/, Intermission::Test::Server::slurp("$folder/orders") }

my $load = Intermission::Test::Load->new($t, RATE);
for my $restart (1 .. 3) {
    my $before = my @before = orders();
    wait_for { (my @now = orders()) > $before + 10 } 'the load';
    is system($command), 0, "restart $restart";
    wait_for { $t->status->{totals}{outages} > $outages } 'somebody to notice';
    $outages++;
    wait_for { $t->status->{state} =~ /open|releasing/ } 'the service to be back';
}

my %status = $load->finish;
my @sent = sort { $a <=> $b } keys %status;
cmp_ok scalar(@sent), '>', RATE, 'there was load';
my @failed = grep { $status{$_} != 200 } @sent;
my %sent = Intermission::Test::Server::slurp("$folder/sent.log") =~ m{^/orders\?ref=(\d+) 502 \[(.*)\]$}mg;
is_deeply [ grep { !$sent{$_} } @failed ], [], scalar(@failed) . ' failed, and was on its way';
cmp_ok scalar(@failed), '<=', 1, 'once at most';
my %failed = map { $_ => 1 } @failed;
is_deeply [ grep { !$failed{$_} } orders() ], [ grep { !$failed{$_} } @sent ], 'each order is there exactly once';
my $totals = $t->status->{totals};
is $totals->{outages}, $outages, 'three outages more';
is $totals->{expired}, 0, 'and nobody waited for too long';

END {
    my $status = $?;
    # Also one that ends gracefully, and waits for whoever is there.
    kill 'KILL', Intermission::Test::Server::slurp("$folder/shop.pid") || () if $folder;
    $? = $status;
}

$t->finish;
