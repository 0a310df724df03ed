#!/usr/bin/env perl

# A call that a browser makes on behalf of another site is refused and changes nothing.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new;
$t->start(<<'EOF');
    server {
        listen 127.0.0.1:%%PORT_80%%;
        location /intermission/ { intermission_control; }
        location /any/ { intermission_control any; }
    }
EOF

my $port = $t->port;
my $host = "127.0.0.1:$port";

my @foreign = (
    ['Sec-Fetch-Site: cross-site'],
    ['Sec-Fetch-Site: same-site'],
    ['Sec-Fetch-Site: something-new'],
    ['Sec-Fetch-Site: '],
    ['Origin: http://evil.example'],
    ["Origin: http://evil.example:$port"],
    ["Origin: http://$host.evil.example"],
    ['Origin: http://127.0.0.1'],
    ['Origin: http://127.0.0.1:1'],
    ['Origin: null'],
    ["Origin: $host"],
    [ 'Sec-Fetch-Site: cross-site', "Origin: http://$host" ],
    [ 'Sec-Fetch-Site: same-origin', 'Origin: http://evil.example' ],
);
my @own = (
    ['Sec-Fetch-Site: same-origin'],
    ['Sec-Fetch-Site: none'],
    ["Origin: http://$host"],
    [ 'Sec-Fetch-Site: same-origin', "Origin: http://$host" ],
    [ 'Host: ops.example', 'Origin: https://ops.example' ],
    [ 'Host: Ops.Example:8443', 'Origin: https://ops.example:8443' ],
);

for my $place (qw(/intermission /any)) {
    for my $headers (@foreign) {
        for my $method (qw(GET POST)) {
            my $response = $t->request($method, "$place/enable", headers => $headers);
            is $response->status, 403, join ', ', "$method $place/enable", @$headers;
        }
        is $t->get("$place/status", headers => $headers)->status, 403, 'status as well';
        is $t->status->{state}, 'open', 'nothing has changed';
    }
    for my $headers (@own) {
        my $response = $t->post("$place/enable", '', headers => $headers);
        is $response->status, 200, join ', ', "POST $place/enable", @$headers;
        is $t->status->{state}, 'paused', 'the app is paused';
        $t->disable;
    }
}

$t->finish;
