#!/usr/bin/env perl

# intermission_auto where the address of the backend has variables in it. If it names an upstream of the configuration it is as any
# other. If not, nginx makes up a server for this one request: who does not find that is held as well, for what it asks, by whatever
# way it came there. What answers without a backend is left alone.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use FindBin qw($Bin);
use IO::Socket::INET;
use IO::Socket::UNIX;
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Gateway;

my $t = Intermission::Test->new(workers => 2);
$t->write_file('files/file', 'a file');
chmod 0755, $t->folder . '/files';
$t->start(<<'EOF');
    upstream app { server 127.0.0.1:%%PORT_ORIGIN%% fail_timeout=300s; }
    map $arg_to $mapped { origin 127.0.0.1:%%PORT_ORIGIN%%; app app; }
    proxy_cache_path %%FOLDER%%/cache keys_zone=cache:1m use_temp_path=off;
    client_max_body_size 2m;
    ssi_types *;
    intermission on;
    intermission_auto on;
    intermission_auto_interval 20ms;
    server {
        listen 127.0.0.1:%%PORT_80%%;
        listen 127.0.0.1:%%PORT_82%% http2;
        intermission_app_name $uri;
        set $origin 127.0.0.1:%%PORT_ORIGIN%%;
        error_page 502 /error;
        error_page 404 @missing;
        location = /error { intermission off; return 200 'the page of an error'; }
        location @missing { proxy_pass http://$origin; }
        location /server { proxy_pass http://$arg_server; }
        location /path { proxy_pass http://app/a$uri; }
        location /address { proxy_pass http://127.0.0.1:%%PORT_ORIGIN%%/a$uri; }
        location /mapped { proxy_pass http://$mapped; }
        location /if { if ($arg_to) { proxy_pass http://$mapped; } }
        location /limited { limit_except GET { proxy_pass http://$origin; } root %%FOLDER%%; }
        location /unread { intermission_read_body off; proxy_pass http://$origin; }
        location /unbuffered { proxy_request_buffering off; proxy_http_version 1.1; proxy_pass http://$origin; }
        location /cached { proxy_cache cache; proxy_cache_valid any 1h; proxy_pass http://$origin; }
        location /page { ssi on; proxy_pass http://$origin; }
        location /part { proxy_pass http://127.0.0.1:%%PORT_nobody%%$uri; }
        location /tried { try_files /none @missing; }
        location /none { root %%FOLDER%%; }
        location /behind { post_action /after; proxy_pass http://$origin; }
        location /after { proxy_pass http://$origin; }
        location /off { intermission_auto off; proxy_pass http://$origin; }
        location /taken { proxy_pass http://127.0.0.1:%%PORT_taker%%$uri; }
        location /broken { proxy_pass https://127.0.0.1:%%PORT_taker%%$uri; }
        location /no-address { proxy_pass $arg_schema://; }
        location /socket { proxy_pass http://unix:%%FOLDER%%/files/socket:$uri; }
        location /fastcgi { fastcgi_param REQUEST_URI $uri; fastcgi_pass 127.0.0.1:$arg_port; }
        location /uwsgi {
            uwsgi_param REQUEST_URI $uri;
            uwsgi_param CONTENT_LENGTH $content_length;
            uwsgi_pass 127.0.0.1:$arg_port;
        }
        location /scgi {
            scgi_param REQUEST_URI $uri;
            scgi_param CONTENT_LENGTH $content_length;
            scgi_pass 127.0.0.1:$arg_port;
        }
        location /grpc { grpc_pass grpc://127.0.0.1:$arg_port; }
        location /files { root %%FOLDER%%; autoindex on; }
        location /returned { return 200 'returned'; }
        location /status { stub_status; }
        location /intermission/ { intermission_control; }
    }
EOF

my $address = '127.0.0.1:' . $t->port('ORIGIN');
sub app { return $_[0] =~ s/\?.*//r }

# Sends a request, which finds nobody.
sub hold {
    my ($method, $uri, %with) = @_;
    return $t->hold($method, $uri, app => app($uri), %with);
}

sub totals { my $app = $t->status(shift); return "$app->{state} $app->{totals}{held}" }

# Who finds nobody.
my @uris = (
    "/server?server=$address", '/server-named?server=app', qw(/path /address /mapped?to=origin /if?to=origin /mapped-to?to=app),
    qw(/cached /tried /none),
);
my @clients = map { hold(GET => $_) } @uris;
my $body = join '', map { chr(97 + $_ % 26) } 1 .. 300_000;
push @clients, map { hold(POST => $_, body => $body) } qw(/limited /unread /mapped-post?to=origin);
push @clients, hold(POST => '/unbuffered', body => 'short');
my $part = substr $body, 0, 20_000;
my $connection = $t->http2(port => $t->port(82));
my @streams = map { hold(POST => "/mapped-$_?to=origin", client => $connection, body => $part) } 1, 2;
is $t->status('/address')->{state}, 'down', 'the app is down';
is $t->get('/off')->body, 'the page of an error', 'not where it is off';
my $origin = $t->origin('/page' => { body => '<!--#include virtual="/part" -->[end]' });
is $_->response->status, 200, 'held, and answered' for @clients[0 .. 8], @clients[10 .. $#clients];
is $clients[9]->response->status, 404, 'so is the page of another error, which stays that';
is $connection->response($_)->status, 200, 'a stream is held, and answered' for @streams;
my %came;
push @{ $came{ app($_->{uri}) } }, $_ for $origin->requests;
is_deeply [ grep { @{ $came{$_} } != 1 } keys %came ], [], 'each came once';
is scalar keys %came, @clients + @streams, 'all of them';
is $came{$_}[0]{sha}, sha256_hex($body), "$_: with its whole body" for qw(/limited /unread /mapped-post);
is $came{$_}[0]{sha}, sha256_hex($part), "$_: as well" for qw(/mapped-1 /mapped-2);

for my $app (map {app($_)} @uris) {
    becomes { $t->status($app)->{state} } 'open', "$app is open again";
}

# What runs behind an answer.
is $t->get('/behind')->status, 200, 'an answer with something behind it';
wait_for { grep { $_->{uri} eq '/after' } $origin->requests } 'that to reach the backend';

# Nobody waits for a part of a page.
like $t->get('/page')->body, qr/^the page of an error\[end\]$/, 'a part of a page is not held';
is totals('/part'), 'open 0', 'and its app is open';

# What may have been sent.
my %taker = (LocalAddr => '127.0.0.1', LocalPort => $t->port('taker'));
my $taker = IO::Socket::INET->new(%taker, Listen => 5) or die "listen: $!";
for my $uri (qw(/taken /broken)) {
    my $client = $t->client->get($uri);
    my $peer = $taker->accept;
    sysread $peer, my $bytes, 1000;
    close $peer;
    is $client->response->body, 'the page of an error', "$uri: the usual error for what broke off";
    is totals($uri), 'open 0', 'and nobody is held';
}

# What is wrong.
is $t->get('/no-address?schema=ftp')->status, 500, 'an address that is none: the usual error';
is totals('/no-address'), 'open 0', 'and nobody is held';

# A socket.
$t->expect_accident(qr/connect\(\) to unix:\S+ failed \(2: No such file/);
my $client = hold(GET => '/socket');
my $listener = IO::Socket::UNIX->new(Local => $t->folder . '/files/socket', Listen => 5) or die "socket: $!";
chmod 0666, $t->folder . '/files/socket';
while (my $peer = $listener->accept) {
    defined readline $peer or next;
    print {$peer} "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nyes";
    last;
}
is $client->response->body, 'yes', 'a socket that was missing';

# Other protocols.
for my $name (qw(fastcgi uwsgi scgi)) {
    my @waits = map { hold(POST => "/$name$_?port=" . $t->port($name), body => 'x' x $_) } 0, 1000, 300_000;
    my $backend = Intermission::Test::Gateway->new($t, $name);
    is $_->response->status, 200, "$name: answered when somebody is there" for @waits;
    my @came = slurp($t->folder . '/backends.log') =~ m{^$name /\D+(\d+) \1$}mg;
    is_deeply [ sort { $a <=> $b } @came ], [ 0, 1000, 300_000 ], 'each once, with its whole body';
}
my $stream = $connection->request(
    POST => '/grpc?port=' . $t->port('nobody'),
    body => 'the whole',
    headers => [ 'content-type: application/grpc', 'te: trailers' ],
);
is $connection->response($stream)->body, 'the page of an error', 'grpc: the usual error';

# What asks no backend.
is $t->get('/files/file')->body, 'a file', 'a file';
like $t->get('/files/')->body, qr/href="file"/, 'a list of files';
is $t->get('/returned')->body, 'returned', 'what is returned';
like $t->get('/status')->body, qr/^Active connections/, 'the status of nginx';

$t->finish;
