#!/usr/bin/env perl

# intermission_bypass: a request goes through if one of the values is not empty and not "0".

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new;
$t->origin;
$t->start('map $remote_addr $always { default 1; }' . default_server(<<'EOF'));
    intermission_max_time 300ms;
    intermission_timeout_action 503;
    intermission_bypass $cookie_operator;
    intermission_bypass $arg_through$http_x_through;
    location /held { intermission_max_time 1h; proxy_pass http://%%ORIGIN%%; }
    location /always/ {
        intermission_bypass $always;
        proxy_pass http://%%ORIGIN%%;
    }
EOF

my @through = (
    [ '/', 'Cookie: operator=yes' ],
    [ '/', 'Cookie: operator=00' ],
    [ '/', 'Cookie: a=b; operator=1' ],
    [ '/?through=1', 'X: y' ],
    [ '/?through=0', 'X-Through: 0' ],    # together they are "00"
    [ '/', 'X-Through: true' ],
    [ '/always/', 'X: y' ],
);
my @held = (
    [ '/', 'X: y' ],
    [ '/', 'Cookie: operator=0' ],
    [ '/', 'Cookie: operator=' ],
    [ '/', 'Cookie: operators=1' ],
    [ '/?through=0', 'X: y' ],
    [ '/?through=', 'X-Through: 0' ],
);

$t->enable;

for my $request (@through) {
    my ($uri, $header) = @$request;
    is $t->get($uri, headers => [$header])->status, 200, "$uri with '$header' goes through";
}
for my $request (@held) {
    my ($uri, $header) = @$request;
    is $t->get($uri, headers => [$header])->status, 503, "$uri with '$header' is held";
}
is $t->status->{totals}{bypassed}, scalar @through, 'the total of bypassed requests';

my $held = $t->hold(GET => '/held');
is $t->get('/', headers => ['Cookie: operator=1'])->status, 200, 'a bypass goes past the queue';
ok $held->silent, 'and lets nobody else through';
$t->disable;
is $held->response->status, 200, 'until the end of the pause';

$t->finish;
