#!/usr/bin/env perl

# The command, in what it passes on: status, enable, disable and maintenance, as text and as JSON,
# for any app, at one address or at several, over TCP or through a unix socket.

use strict;
use warnings;

use FindBin qw($Bin);
use JSON::PP ();
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Command;

my $t = Intermission::Test->new;
my @plain = (headers => ['Content-Type: text/plain']);
my $origin = $t->origin(
    '/slow' => { wait => 1 },
    '/older/enable' => { @plain, body => "Pause already enabled.\n" },
    '/older/status' => { @plain, body => "app: shop\nstate: paused\n" },
);
my $server = <<'EOC';
        intermission on;
        location / { proxy_pass http://%%ORIGIN%%; }
        location /intermission/ { intermission_control; }
        location /_intermission/ { intermission_control; }
        location /shop/control/ { intermission_app_name shop; intermission_control; }
EOC
$t->start(<<"EOC");
    server { listen 127.0.0.1:%%PORT_80%%; $server }
    server { listen unix:%%FOLDER%%/nginx.sock; $server }
EOC

my $url = control_url($t);
my $socket = 'unix:' . $t->folder . '/nginx.sock';

sub json { return map { JSON::PP->new->utf8->decode($_) } split /\n/, shift->out }

# Each call, as text.
my @calls = (
    [ status => "Pause disabled.\napp: default\n" ],
    [ enable => "Pause enabled.\n" ],
    [ enable => "Pause already enabled.\n" ],
    [ status => "Pause enabled.\napp: default\n" ],
    [ disable => "Pause disabled.\n" ],
    [ disable => "Pause already disabled.\n" ],
    [ maintenance => "Maintenance enabled.\n" ],
    [ disable => "Pause disabled.\n" ],
);
for my $case (@calls) {
    my ($call, $expected) = @$case;
    my $command = intermission($t, $call, '--url' => $url);
    is $command->status, 0, "$call succeeds";
    like $command->out, qr/\A\Q$expected\E/, 'prints the answer';
    unlike $command->out, qr/\n\n|\@\d{3}/, 'and nothing but that';
    is $command->said, '', 'without comment';
}

# As JSON.
for my $case ([ enable => 'paused' ], [ status => 'paused' ], [ disable => 'open' ]) {
    my ($call, $state) = @$case;
    my ($answer) = json(intermission($t, $call, "--url=$url", '--json'));
    is $answer->{state}, $state, "$call --json";
}

# What goes with the calls.
my ($paused) = json(intermission($t, 'enable', '--url' => $url, '--for' => '1m30s', '--json'));
like $paused->{resumes_at}, qr/^\d{4}-/, 'enable --for';
my $held = $t->hold(GET => '/held');
intermission($t, 'disable', '--url' => $url, '--rate' => '1r/s', '--burst' => 5,
    '--concurrency' => 3);
is $held->response->status, 200, 'disable with a pace';
intermission($t, 'maintenance', '--url' => $url, '--retry-after' => '2m');
is $t->get('/page')->header('Retry-After'), 120, 'maintenance --retry-after';
$t->disable;

# The address is written in many ways.
for my $address (
    "$url/", "$url//", "$socket:/intermission", "$socket:/intermission/",
    $socket, "http://$socket:/intermission",
    )
{
    my $command = intermission($t, 'status', '--url' => $address);
    is $command->status, 0, $address =~ s/\Q${\ $t->folder}//r;
    like $command->out, qr/^app: default$/m, 'is the control location';
}
like intermission($t, 'status', { INTERMISSION_URL => $url })->out, qr/^app: default/m,
    'the address may come from the environment';
like intermission($t, 'status', { http_proxy => 'http://127.0.0.1:1' }, '--url' => $url)->out,
    qr/^app: default/m, 'a proxy is not asked for what is here';
my $shop = $url =~ s/intermission$/shop\/control/r;
like intermission($t, 'status', '--url' => $shop)->out, qr/^app: shop$/m, "the location's own app";

# Names of apps are anything at all.
for my $app ('a b', 'a&for=1s', 'a=b', 'a%41', 'a+b', '@/etc/passwd', "quote'\"s", 'größe', '-',
    '--json', "two\nlines", '$(exit 3)', '#x', '?', '<b>')
{
    my ($answer) = json(intermission($t, 'enable', '--url' => $url, '--app' => $app, '--json'));
    is $answer->{app}, decoded($app), 'an app called ' . $app =~ s/\n/\\n/r;
}
sub decoded { my ($name) = @_; utf8::decode($name); return $name }

is $t->status->{state}, 'open', 'no other app was touched';
my ($all) = json(intermission($t, 'status', '--url' => $url, '--app' => '*', '--json'));
is scalar(grep { $_->{state} eq 'paused' } @$all), 15, 'status of all';
intermission($t, 'disable', '--url' => $url, '--app' => '*');
($all) = json(intermission($t, 'status', '--url' => $url, '--app' => '*', '--json'));
is scalar(grep { $_->{state} ne 'open' } @$all), 0, 'disable for all';

# Several addresses: each one's answer, and a failure does not keep the others from theirs.
my $other = "$socket:/shop/control";
my $several = intermission($t, 'enable', '--url' => $url, '--url' => $other);
like $several->out, qr/\Aurl: \Q$url\E\nPause enabled\.\n.*^url: \Q$other\E\nPause enabled\./ms,
    'several addresses';
my @answers = json(intermission($t, 'status', '--url' => $url, '--url' => $other, '--json'));
is_deeply [ map { $_->{app} } @answers ], [qw(default shop)], 'as JSON, in their order';
my $half = intermission($t, 'enable', '--url' => 'unix:/nowhere', '--url' => $url);
is $half->status, 75, 'one of them fails';
like $half->said, qr{\Aintermission: unix:/nowhere:/_intermission: there is no socket .*\n\z},
    'which is said';
like $half->out, qr/^url: \Q$url\E\nPause already enabled/m, 'the other is called';
$t->disable;

# Draining.
my $slow = $t->client->get('/slow');
$origin->wait_requests(2);
my $drained = Intermission::Test::Command->new($t, 'enable', '--url' => $url, '--drain' => '10s',
    '--for' => '60s', '--json');
$drained->wait_said(qr/waiting until it is quiet: 1 in flight, 0 held, 1 s/);
my $waiting = $t->hold(GET => '/page');
$origin->answer;
is $drained->status, 0, 'enable --drain waits until it is quiet';
my ($quiet) = json($drained);
is "$quiet->{message} $quiet->{state} $quiet->{in_flight} $quiet->{held}",
    'Pause enabled. paused 0 1', 'and says so';
cmp_ok $quiet->{drained_ms}, '>=', 1000, 'with the time that it took';
ok $quiet->{resumes_at}, 'the deadline stands';
my $again = intermission($t, 'enable', '--url' => $url, '--drain' => '10s');
like $again->out, qr/\APause already enabled\.\ndrained_ms: \d+\napp: default\n/, 'again, as text';
$t->disable;
is $waiting->response->status, 200, 'released';

# A drain that takes too long ends what it began, and nothing else.
$slow = $t->client->get('/slow');
$origin->wait_requests(4);
my @drain = ('enable', '--url' => $url, '--drain' => '300ms');
my $late = intermission($t, @drain);
is $late->status, 75, 'a drain that takes too long';
like $late->said, qr/1 still in flight after 300ms/, 'is said';
is $t->status->{state}, 'open', 'and resumed';
is intermission($t, @drain, '--keep')->status, 75, 'with --keep it takes too long as well';
is $t->status->{state}, 'paused', 'but stays paused';
is intermission($t, @drain)->status, 75, 'what was paused before';
is $t->status->{state}, 'paused', 'is left like that';
$t->disable;
my $interrupted = Intermission::Test::Command->new($t, @drain[ 0 .. 2 ], '--drain' => '1m');
$t->wait_state('paused');
$interrupted->signal('INT');
is $interrupted->died_of, POSIX::SIGINT(), 'an interrupted drain';
is $t->status->{state}, 'open', 'is resumed';
$origin->answer;

# A status of an older module has no line in front of its facts.
my @drain_older = ('enable', '--url' => $url =~ s/intermission$/older/r, '--drain' => '10s');
like intermission($t, @drain_older)->out,
    qr/\APause already enabled\.\ndrained_ms: \d+\napp: shop\nstate: paused\n\z/, 'an older module';

$t->finish;
