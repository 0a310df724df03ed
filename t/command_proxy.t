#!/usr/bin/env perl

# The command goes through the HTTP proxy that the environment names, but not to what is here.

use strict;
use warnings;

use FindBin qw($Bin);
use IO::Select;
use IO::Socket::INET;
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Between;
use Intermission::Test::Command;

my $t = Intermission::Test->new;
$t->start;

my ($folder, $port) = ($t->folder, $t->port);

# Knows the way to one host only.
my $proxy = Intermission::Test::Between->new(\&forward);

sub forward {
    my ($from) = @_;
    my $head = '';
    while ($head !~ /\r\n\r\n/) { sysread $from, $head, 4096, length $head or return }
    my ($line) = $head =~ /^(.*)\r\n/;
    open my $log, '>>', "$folder/proxied" or return;
    print {$log} "$line\n";
    close $log;
    if ($line !~ /^CONNECT shop\.test:\d+ /) {
        syswrite $from, "HTTP/1.1 403 Forbidden\r\n\r\n";
        return;
    }
    my $to = IO::Socket::INET->new("127.0.0.1:$port") or return;
    syswrite $from, "HTTP/1.1 200 OK\r\n\r\n";
    my $both = IO::Select->new($from, $to);
    while (1) {
        for my $ready ($both->can_read) {
            sysread $ready, my $bytes, 65_536 or return;
            syswrite $ready == $from ? $to : $from, $bytes;
        }
    }
}

sub proxied { return scalar split /\n/, slurp("$folder/proxied") }

my %proxy = (http_proxy => 'http://127.0.0.1:' . $proxy->port);
my $run = intermission($t, 'run', '--url' => "http://shop.test:$port/intermission", \%proxy, 'true');
is $run->status, 0, 'through the proxy' or diag $run->said;
cmp_ok proxied(), '>', 2, 'which is asked';

my $before = proxied();
is intermission($t, 'status', '--url' => control_url($t), \%proxy)->status, 0,
    'what is here is called directly';
is intermission($t, 'status', '--url' => "http://localhost:$port/intermission", \%proxy)->status, 0,
    'whatever it is called';
like intermission($t, 'status', '--url' => "http://a.shop.invalid/x",
    { %proxy, no_proxy => 'other, .shop.invalid' })->said,
    qr/the name of the host is not known/, 'so is what no_proxy names';
is proxied(), $before, 'the proxy is not asked';

my $refused = intermission($t, 'status', '--url' => 'http://elsewhere.test/x', \%proxy);
is $refused->status, 75, 'a proxy that refuses';
like $refused->said, qr/: the proxy does not lead there: .*403/, 'is told';
my $socks = intermission($t, 'status', '--url' => 'http://elsewhere.test/x',
    { all_proxy => 'socks5://127.0.0.1:1' });
is $socks->status, 75, 'a proxy of another kind';
like $socks->said, qr/: all_proxy names no HTTP proxy: set no_proxy to elsewhere\.test/, 'is told';

$proxy->stop;
$t->finish;
