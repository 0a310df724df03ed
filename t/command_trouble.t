#!/usr/bin/env perl

# A server that cannot be reached, or trusted, or does not have the module: one line that says what
# happened and what to do, and exit status 75. `run` then runs nothing.

use strict;
use warnings;

use FindBin qw($Bin);
use IO::Socket::INET;
use IO::Socket::UNIX;
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Command;
use Intermission::Test::Files qw(program);

my $t = Intermission::Test->new;
my $folder = $t->folder;

# A key, and a certificate for this subject, which is valid as the first option says that this openssl takes.
sub certificate {
    my ($name, $subject, @valid) = @_;
    my $file = "$folder/$name";
    my $said = `openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=test \\
        -addext subjectAltName=$subject -keyout $file.key -out $file.today 2>&1`;
    for my $option (@valid) {
        $said .= `openssl x509 -in $file.today -signkey $file.key $option -out $file.crt 2>&1`;
        return if -s "$file.crt";
    }
    die "openssl: $said";
}

plan skip_all => 'there is no openssl' if !program('openssl');
# Before 3.4 it knows no dates, and from then on refuses days that are over.
certificate('expired', 'IP:127.0.0.1', '-days -1', '-not_before 20200101000000Z -not_after 20200102000000Z');
certificate('good', 'IP:127.0.0.1', '-days 1');
certificate('other', 'DNS:example.org', '-days 1');

sub tls_server {
    my ($name) = @_;
    return <<"EOC";
    server {
        listen 127.0.0.1:%%PORT_$name%% ssl;
        ssl_certificate %%FOLDER%%/$name.crt;
        ssl_certificate_key %%FOLDER%%/$name.key;
        location /intermission/ { intermission_control; }
    }
EOC
}

$t->write_file('passwords', "me:{PLAIN}secret\n");
$t->start(join '', (map { tls_server($_) } qw(expired good other)), <<'EOC');
    server {
        listen 127.0.0.1:%%PORT_80%%;
        location /intermission/ { intermission_control; }
        location /refused/ { deny all; intermission_control any; }
        location /proxied/ {
            proxy_pass http://127.0.0.1:%%PORT_80%%/intermission/;
            proxy_set_header X-Forwarded-For $remote_addr;
        }
        location /password/ {
            auth_basic control;
            auth_basic_user_file %%FOLDER%%/passwords;
            intermission_control;
        }
        location /hello/ { return 200 "hello\n"; }
        location /page/ { default_type text/html; return 200 "Pause enabled.\n"; }
        location /missing/ { return 404; }
        location /moved/ { return 301 https://example.org/; }
        location /broken/ { return 502; }
        location /unavailable/ { return 503 "back soon\n"; }
        location /hostile/ { proxy_pass http://%%ORIGIN%%; }
        location /octal/ { proxy_pass http://%%ORIGIN%%; }
        location /closed/ { return 444; }
    }
EOC

# What a server says is not to be trusted either.
my $evil = "a[\$(touch $folder/owned)]";
my @plain = (headers => ['Content-Type: text/plain']);
my $facts = join '', map {"$_: $evil\n"} qw(held in_flight oldest_wait_ms drained_ms resumes_at);
$t->origin(
    '/hostile/status' => { @plain, body => "app: \e[31m$evil\nstate: open\n$facts" },
    '/hostile/enable' => { @plain, body => "Pause enabled.\nstate: $evil\n$facts" },
    '/hostile/refusal/status' => { @plain, status => 409, body => "no\e[31m$evil\n" },
    '/octal/status' => { @plain, body => "app: x\nstate: open\nheld: 09\n" },
    '/octal/enable' =>
        { @plain, body => "Pause enabled.\nheld: 09\nin_flight: 08\ndrained_ms: 0x9\n" },
);

# A server that takes connections and never answers, and one that speaks no HTTP.
my $mute = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 5) or die;
my $socket = "$folder/not-a-socket";
$t->write_file('not-a-socket', '');

my $http = 'http://127.0.0.1:' . $t->port;
my %https
    = map { ($_ => 'https://127.0.0.1:' . $t->port($_) . '/intermission') } qw(expired good other);

my @cases = (
    [ 'http://127.0.0.1:' . $t->port('nobody') => qr/nothing answers there: is nginx running/ ],
    [ 'http://host.invalid/x' => qr/the name of the host is not known: check the address/ ],
    [ "unix:$folder/none.sock" => qr/there is no socket \S+none\.sock: is nginx running/ ],
    [ "unix:$socket" => qr/nothing answers there: is nginx running/ ],
    [ $https{expired} => qr/the server's certificate has expired: renew it/,
        { CURL_CA_BUNDLE => "$folder/expired.crt" } ],
    [ $https{good} => qr/the server cannot be trusted: check its certificate, and CURL_CA_BUNDLE/ ],
    [ $https{expired} =~ s/https/http/r => qr/the server answers 400, .* does it want https\?/ ],
    [ $http =~ s/http/https/r => qr/the server cannot be trusted/ ],
    [ "$http/refused" => qr/does not let this machine in \(403\): allow it/ ],
    [ "$http/proxied" => qr/Forbidden: the call came through a proxy .* Call it on that machine/ ],
    [ "$http/password" => qr/the server asks for a password: put it into/ ],
    [ "$http/hello" => qr/something else answers here, .* intermission_control\./ ],
    [ "$http/page" => qr/something else answers here/ ],
    [ "$http/missing" => qr/there is no control location here \(404\)\. Check the address/ ],
    [ "$http/moved" => qr{the server sends on to https://example\.org/: give the address} ],
    # As the system has it: it depends on what had been read by then.
    [ "$http/closed" => qr/the call failed, .* error log may say why: (?:Empty reply from server|io: Connection reset)/ ],
    [ "$http/broken" => qr/the server answers 502, and not as a control location does/ ],
    [ "$http/unavailable" => qr/back soon/ ],
);
for my $case (@cases) {
    my ($url, $expected, @environment) = @$case;
    my $name = $url =~ s/\Q$folder\E|127.0.0.1:\d+//gr;
    for my $call ('status', 'enable') {
        my $command = intermission($t, $call, '--url' => $url, @environment);
        is $command->status, 75, "$call at $name";
        like $command->said, qr/\Aintermission: \Q$url\E\S*: .*$expected.*\n\z/,
            'says why, in one line';
        is $command->out, '', 'and nothing else';
    }
    my $run = intermission($t, 'run', '--url' => $url, @environment, 'touch', "$folder/was-run");
    is $run->status, 75, "run at $name";
    like $run->said, qr/\Aintermission: .*$expected/, 'says why';
    ok !-e "$folder/was-run", 'and runs nothing';
}
is $t->status->{state}, 'open', 'nothing was paused';

like intermission($t, 'status', '--url' => "$http/hostile/refusal")->said,
    qr/no\?\[31ma\[\$\(touch/,
    'what a server says cannot drive a terminal';
for my $server (qw(hostile octal)) {
    my $run = intermission($t, 'run', '--url' => "$http/$server", '--for' => '3s', 'true');
    is $run->status, 75, 'a server that pauses anew with each call';
    like $run->said, qr/another call has resumed it in the meantime/, 'is not trusted';
}
my $watch = Intermission::Test::Command->new($t, 'watch', '--url' => "$http/hostile");
wait_for { $watch->out =~ /\?\[31m.* held/ } 'a line';
$watch->signal('KILL');
ok !-e "$folder/owned", 'nor have anything done';

# A server that never answers: the first call takes its time limit, so this asks only once.
my $url = 'http://127.0.0.1:' . $mute->sockport;
my $silent = intermission($t, 'status', '--url' => $url);
is $silent->status, 75, 'a server that never answers';
like $silent->said, qr/\Aintermission: \Q$url\E: no answer came in time/, 'is not waited for';

# One that does not even take connections: there is room for two that wait, and this is the third.
my $full = IO::Socket::UNIX->new(Local => "$folder/full.sock", Listen => 1) or die;
my @ahead = map { IO::Socket::UNIX->new(Peer => "$folder/full.sock") or die } 1 .. 2;
like intermission($t, 'status', '--url' => "unix:$folder/full.sock")->said,
    qr/full\.sock\S*: no answer came in time/, 'a server that takes no connections';

# What helps against the trouble.
my %ca = (CURL_CA_BUNDLE => "$folder/good.crt");
is intermission($t, 'status', '--url' => $https{good}, \%ca)->status, 0, 'an authority of your own';
my $other = intermission($t, 'status', '--url' => $https{other},
    { CURL_CA_BUNDLE => "$folder/other.crt" });
like $other->said, qr/cannot be trusted.*127\.0\.0\.1/, 'but not for another name';
$t->write_file('.netrc', "machine 127.0.0.1 login me password secret\n");
is intermission($t, 'status', '--url' => "$http/password", { HOME => $folder })->status, 0,
    'a password from ~/.netrc';
$t->write_file('.curlrc', "output = \"$folder/curlrc-output\"\nhead\n");
like intermission($t, 'status', '--url' => "$http/intermission", { HOME => $folder })->out,
    qr/^state: open$/m, "~/.curlrc does not disturb";

# Errors in JSON are answers.
my $json = intermission($t, 'enable', '--url' => "$http/proxied", '--json');
like $json->out, qr/^\{"error":"Forbidden: .*"\}$/, 'an error as JSON';
like $json->said, qr/: Forbidden: the call came through a proxy \(X-Forwarded-For\), so it/,
    'and for people';

$t->finish;
