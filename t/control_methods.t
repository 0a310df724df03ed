#!/usr/bin/env perl

# The calls and their methods: GET, POST and PUT change the state, HEAD never does, whatever else
# is refused with what is allowed. Repeating a call is no error. An unknown one lists all.

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
        location /elsewhere { intermission_control; }
    }
EOF

sub state_after {
    my ($method, $call, @with) = @_;
    my $response = $t->request($method, "/intermission/$call", @with);
    return $response->status . ' ' . $t->status->{state};
}

for my $method (qw(GET POST PUT)) {
    is state_after($method, 'enable'), '200 paused', "$method enable";
    is state_after($method, 'enable'), '200 paused', "$method enable, repeated";
    is state_after($method, 'disable'), '200 open', "$method disable";
    is state_after($method, 'disable'), '200 open', "$method disable, repeated";
}
is state_after(POST => 'enable', body => 'x' x 100_000), '200 paused', 'POST with a body';
is state_after(POST => 'disable', headers => ['Content-Length: 0']), '200 open', 'and without';

# HEAD and others change nothing.
for my $method (qw(HEAD DELETE PATCH OPTIONS PROPFIND)) {
    is state_after($method, 'enable'), '405 open', "$method enable is refused";
    $t->enable;
    is state_after($method, 'disable'), '405 paused', "$method disable is refused";
    $t->disable;
    is $t->request($method, '/intermission/enable')->header('Allow'), 'GET, POST, PUT',
        'with the methods that are allowed';
}
for my $method (qw(POST PUT DELETE)) {
    my $response = $t->request($method, '/intermission/status');
    is $response->status, 405, "$method status is refused";
    like $response->header('Allow'), qr/^GET\b(?!.*(?:POST|PUT))/, 'with what is allowed there';
}

# The last segment selects the call, so the location can have any name.
is $t->get('/elsewhere/deep/enable')->status, 200, 'a location of another name';
is $t->get('/elsewhere/status?format=json')->json->{state}, 'paused', 'is the same endpoint';
is $t->get('/elsewhere-too/disable')->status, 200, 'however it matches';
is $t->status->{state}, 'open', 'the calls count there as well';

# Unknown calls.
for my $call (qw(enabled ENABLE stat enable/ enable/x), 'disable%2Fx', 'x' x 2000) {
    my $response = $t->control($call);
    is $response->status, 404, substr("'$call' is no call", 0, 40);
    like $response->body, qr/\b$_\b/, "the answer names $_" for qw(status enable disable);
}
is $t->status->{state}, 'open', 'and nothing has changed';

$t->finish;
