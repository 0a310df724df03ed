#!/usr/bin/env perl

# Calls over HTTP/3: the host that they are for is in :authority, in Host, or in both, with or without
# a port. A page of the same host may call, as the dashboard does, and no other one.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::HTTP3;
use Intermission::Test::TLS;

my $missing = Intermission::Test::HTTP3->missing($ENV{INTERMISSION_NGINX} || 'nginx');
plan skip_all => $missing if $missing;

my $t = Intermission::Test->new;
my $origin = $t->origin;
Intermission::Test::TLS->certificate($t->folder);
$t->start(<<'EOC');
    intermission on;
    server {
        listen 127.0.0.1:%%PORT_80%%;
        location /intermission/ { intermission_control; }
    }
    server {
        listen 127.0.0.1:%%PORT_443%% quic reuseport;
        ssl_certificate %%FOLDER%%/cert.pem;
        ssl_certificate_key %%FOLDER%%/key.pem;
        ssl_protocols TLSv1.3;
        location /intermission/ { intermission_control any; }
        location /local/ { intermission_control; }
        location /plain { intermission off; return 204; }
        location /mirrored {
            intermission off;
            mirror /intermission/enable;
            proxy_pass http://%%ORIGIN%%;
        }
    }
EOC

my $connection = Intermission::Test::HTTP3->new(port => $t->port(443));

sub post {
    my ($uri, %with) = @_;
    return $connection->response($connection->request(POST => $uri, %with))->status;
}

my $ops = 'ops.internal';

# nginx before 1.28.1 and 1.29.1 answers 400 to a Host with a port where there is no :authority, whatever it is for.
my $refused = post('/plain', authority => undef, headers => ["host: $ops:8443"]) == 400;
for (
    [ $ops, [], $ops, 200 ],
    [ $ops, [], 'OPS.internal', 200 ],
    [ "$ops:8443", [], "$ops:8443", 200 ],
    [ undef, ["host: $ops:8443"], "$ops:8443", 200 ],
    [ $ops, ["host: $ops"], $ops, 200 ],
    [ '[::1]:8443', [], '[::1]:8443', 200 ],
    [ "$ops:8443", [], $ops, 403 ],
    [ $ops, [], "$ops:8443", 403 ],
    [ undef, ["host: $ops:8443"], $ops, 403 ],
    [ $ops, [], 'evil.example', 403 ],
    [ undef, ["host: $ops"], 'evil.example', 403 ],
    [ $ops, [], '', 403 ],
    )
{
    my ($authority, $host, $page, $status) = @$_;
    next if $refused && !defined $authority && "@$host" =~ /:8443/;
    my @headers = (@$host, "origin: https://$page");
    is post('/intermission/enable', authority => $authority, headers => \@headers), $status,
        join ', ', "POST to " . ($authority // 'no authority'), @headers;
    is $t->status->{state}, $status == 200 ? 'paused' : 'open', 'it does what it says';
    $t->disable;
}

# Without a page, and without the rights.
is post('/intermission/enable'), 200, 'a script';
$t->disable;
is post('/local/enable'), 403, 'nobody is local';
is post('/intermission/enable', headers => ['user-agent: Mozilla/5.0 (X11) Firefox/128.0']), 403,
    'a browser that does not say whose page it is';

# A subrequest is for the host that its request is for.
is post('/mirrored', headers => ['origin: https://localhost']), 200, 'a request with a subrequest';
$t->wait_state('paused');

$t->finish;
