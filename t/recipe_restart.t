#!/usr/bin/env perl

# The recipe of a service that is restarted, as it is written in docs/recipes.md: under load, no
# request fails. systemd is played by a few lines of shell.

use strict;
use warnings;

use Cwd qw(abs_path);
use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Command;
use Intermission::Test::Load;

use constant RATE => 50;

plan skip_all => 'there is no python3' if system 'python3 -c "" 2>/dev/null';

my $t = Intermission::Test->new(workers => 2, connections => 4096);
my ($folder, $port) = ($t->folder, $t->port('APP'));
$t->start(default_server(<<'EOC'));
    listen 127.0.0.1:%%PORT_80%%;
    location / { proxy_pass http://127.0.0.1:%%PORT_APP%%; }
EOC

my $recipes = slurp("$Bin/../docs/recipes.md");
my ($command) = $recipes =~ /^    (intermission run .* systemctl restart shop)$/m or die;
my ($start) = $recipes =~ /^ExecStart=(.*)$/m or die;
my ($started) = $recipes =~ /^ExecStartPost=(.*)$/m or die;

# What is different here: where the application is, and the addresses.
my $app = "python3 $Bin/recipes/app.py --port $port --file $folder/orders --startup 0.7";
$start =~ s{^/srv/shop/bin/server --port 8000$}{$app} or die $start;
$started =~ s{^/usr/bin/(curl .* http://127\.0\.0\.1:)8000/}{$1$port/} or die $started;
$command =~ s{http://127\.0\.0\.1/_intermission}{control_url($t)}e or die $command;

$t->write_file('bin/systemctl', <<"EOC");
#!/bin/sh
[ "\$*" = 'restart shop' ] || exit 64
if [ -e $folder/shop.pid ]; then
    read -r pid <$folder/shop.pid
    kill \$pid
    while kill -0 \$pid 2>/dev/null; do sleep 0.02; done
fi
$start >>$folder/shop.log 2>&1 &
echo \$! >$folder/shop.pid
$started
EOC
chmod 0755, "$folder/bin/systemctl";

my $path = join ':', "$folder/bin", Intermission::Test::Command::program_folder(), $ENV{PATH};
sub shell { return Intermission::Test::Command->start($t, { PATH => $path }, 'sh', '-c' => @_) }

sub is_up { return eval { $t->get('/up')->status == 200 } }

is shell('systemctl restart shop 2>&1')->status, 0, 'the service starts';
ok is_up(), 'and answers then';

my $load = Intermission::Test::Load->new($t, RATE);
wait_for { -s "$folder/orders" } 'the load';
for my $restart (1 .. 3) {
    my $run = shell($command);
    is $run->status, 0, "restart $restart" or diag $run->said;
    like $run->said, qr/: resumed, [1-9]\d* requests held/, 'requests were held for it';
    ok is_up(), 'the service answers';
}

my %status = $load->finish;
my @sent = sort { $a <=> $b } keys %status;
cmp_ok scalar(@sent), '>', RATE, 'there was load';
is_deeply [ grep { $status{$_} != 200 } @sent ], [], 'no request failed';
my @orders = sort { $a <=> $b } split /\n/, slurp("$folder/orders");
is_deeply \@orders, \@sent, 'each order is there exactly once';

END {
    my $status = $?;
    kill 'TERM', slurp("$folder/shop.pid") || () if $folder;
    $? = $status;
}

$t->finish;
