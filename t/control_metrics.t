#!/usr/bin/env perl

# Whose metrics the call shows: those of all apps, or of the one that is named, whatever app is the
# control location's own.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new;
$t->start(<<'EOC');
    server {
        listen 127.0.0.1:%%PORT_80%%;
        location /intermission/ { intermission_control; }
        location /shop/ { intermission_control; intermission_app_name shop; }
    }
EOC

sub apps {
    my ($uri) = @_;
    return join ' ', sort $t->get($uri)->body =~ /^intermission_held_requests\{app="(.*)"\}/gm;
}

$t->enable($_) for qw(blog shop);
is apps('/intermission/metrics'), 'blog shop', 'all that are known';
is apps('/shop/metrics'), 'blog shop', 'whatever the location';
is $t->get('/intermission/metrics?app=*')->status, 200, 'app=*';
is apps('/intermission/metrics?app=*'), 'blog shop', 'is the same as none';

is apps('/shop/metrics?app=blog'), 'blog', 'one by its name';
my $one = $t->get('/intermission/metrics?app=blog')->body;
like $one, qr/^intermission_state\{app="blog",state="paused"\} 1$/m, 'with its state';
like $one, qr/^intermission_zone_size_bytes \d+$/m, 'and the zone, which is of all';

my $unknown = $t->get('/intermission/metrics?app=nobody')->body;
like $unknown, qr/^intermission_state\{app="nobody",state="open"\} 1$/m, 'one that nobody used is open';
like $unknown, qr/^intermission_wait_seconds_count\{app="nobody"\} 0$/m, 'and has counted nothing';
is apps('/intermission/metrics'), 'blog shop', 'nor is it known from now on';
is $t->get('/intermission/metrics?app=' . 'x' x 300)->status, 400, 'a name that is too long';

$t->finish;
