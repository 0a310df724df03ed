#!/usr/bin/env perl

# A call that a browser makes on behalf of another site is refused and changes nothing. So is a change
# by a browser that does not say on whose behalf, as it says to plain http.

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
    server {
        listen 127.0.0.1:%%PORT_82%% http2;
        location /intermission/ { intermission_control; }
    }

    # By name.
    server {
        listen 127.0.0.1:%%PORT_81%% default_server;
        return 403;
    }
    server {
        listen 127.0.0.1:%%PORT_81%%;
        server_name ops.internal;
        location /intermission/ { intermission_control; }
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

# Other ways to say what host a call is for.
sub raw {
    my ($head) = @_;
    my $client = $t->client;
    $client->send("POST $head\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    return $client->response->status;
}
my $absolute = 'http://ops.internal:81/intermission/enable';
is raw("$absolute HTTP/1.1\r\nHost: $host\r\nOrigin: http://$host"), 200, 'an absolute address';
is raw("$absolute HTTP/1.1\r\nHost: $host\r\nOrigin: http://ops.internal:81"), 403,
    'counts less than Host';
is raw("$absolute HTTP/1.0\r\nOrigin: http://evil.example"), 403, 'and without Host';
is raw("/intermission/enable HTTP/1.0\r\nOrigin: http://evil.example"), 403, 'no host at all';
is raw("/intermission/enable HTTP/1.0"), 200, 'but for a script that is fine';

my $http2 = $t->http2(port => $t->port(82));
my $address = '127.0.0.1:' . $t->port(82);
for ([ $address, 200 ], [ "$address.evil.example", 403 ], [ '127.0.0.1', 403 ]) {
    my ($page, $status) = @$_;
    my $stream = $http2->post('/intermission/disable', '', headers => ["origin: http://$page"]);
    is $http2->response($stream)->status, $status, "HTTP/2, Origin: http://$page";
}

# Who is a browser, and says nothing.
my $browser = 'User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/126.0.0.0';
for my $call (qw(enable disable maintenance)) {
    for my $method (qw(GET POST PUT)) {
        my $before = $t->status->{state};
        my $response = $t->request($method, "/intermission/$call", headers => [$browser]);
        is $response->status, 403, "$method $call by a browser that says nothing";
        like $response->body, qr/the dashboard .* press the button .* from a script/,
            'the answer says what to do';
        is $t->status->{state}, $before, 'nothing has changed';
    }
    my @says = ($browser, $call eq 'enable' ? 'Sec-Fetch-Site: none' : "Origin: http://$host");
    is $t->post("/intermission/$call", '', headers => \@says)->status, 200, "$call by one that does";
}
is $t->get("/intermission/$_", headers => [$browser])->status, 200, "a look: '$_'"
    for '', 'status', 'metrics';
is $t->get('/intermission/disable', headers => ["User-Agent: $_"])->status, 200, "a script: $_"
    for 'curl/8.5.0', 'deploy (Mozilla/5.0 is not what it is)';

# A name of the foreign site's own that leads here (DNS rebinding) is a site of its own to a browser:
# only a server that answers to its name alone tells the two apart.
my @rebound = ($browser, 'Host: evil.example', 'Origin: http://evil.example');

sub at_name {
    my @headers = @_;
    return $t->client(port => $t->port(81))->post('/intermission/enable', '', headers => \@headers)
        ->response;
}

is $t->post('/intermission/enable', '', headers => \@rebound)->status, 200,
    'any name will do where no server has one';
$t->disable;
is at_name(@rebound)->status, 403, 'where the server has a name, another one is refused';
is $t->status->{state}, 'open', 'and nothing has changed';
is at_name($browser, 'Host: ops.internal', 'Origin: http://ops.internal')->status, 200,
    'its own is not';
is $t->status->{state}, 'paused', 'the app is paused';

$t->finish;
