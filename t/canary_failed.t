#!/usr/bin/env perl

# A canary fails when one of its requests ends in a 5xx or on a failed upstream connection, whatever
# page is made of that: the app is paused again, the rest stays held, and the caller gets 409.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

use constant { COUNT => 20, CANARY => 3 };

my $t = Intermission::Test->new(workers => 2);
my $origin = $t->origin(
    '/slow' => { wait => 1 },
    '/500' => { status => 500 },
    '/503' => { status => 503 },
    '/404' => { status => 404 },
    '/302' => { status => 302, headers => ['Location: /'] },
    '/drop' => { drop => 1 },
    '/cut' => { cut => 1, body => 'x' x 1000 },
    '/slow-500' => { wait => 1, status => 500 },
    '/socket' => { upgrade => 1 },
);
$t->write_file('pages/sorry.html', "sorry\n");
my $upstream = 'upstream second_good { server 127.0.0.1:%%PORT_9%%; server %%ORIGIN%% backup; }';
$t->start($upstream . default_server(<<'EOF'));
    intermission_interval 1h;
    proxy_http_version 1.1;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $http_connection;
    location /refused { proxy_pass http://127.0.0.1:%%PORT_9%%; }
    location /late { proxy_read_timeout 100ms; proxy_pass http://%%ORIGIN%%/slow; }
    location /unbuffered { proxy_buffering off; proxy_pass http://%%ORIGIN%%/cut; }
    location /own { try_files /none =500; }
    location /page { error_page 502 /sorry.html; proxy_pass http://127.0.0.1:%%PORT_9%%; }
    location /nice { error_page 502 = /sorry.html; proxy_pass http://127.0.0.1:%%PORT_9%%; }
    location /nicer {
        error_page 500 =200 /sorry.html;
        proxy_intercept_errors on;
        proxy_pass http://%%ORIGIN%%/500;
    }
    location /named { error_page 502 = @other; proxy_pass http://127.0.0.1:%%PORT_9%%; }
    location @other { rewrite ^ /fine break; proxy_pass http://%%ORIGIN%%; }
    location /second { proxy_pass http://second_good/; }
    location = /sorry.html { root %%FOLDER%%/pages; }
EOF

my @clients;

# The uri is the second of a canary of three.
sub try_canary {
    my ($uri, %with) = @_;
    $origin->forget;
    $t->enable;
    @clients = $t->hold(GET => '/1');
    push @clients, $t->hold(GET => $uri, %with);
    push @clients, map { $t->hold(GET => "/$_") } 3 .. COUNT;
    return $t->control('disable', canary => CANARY);
}

# Lets go what is held, all of it.
sub resume {
    my ($what) = @_;
    $t->disable;
    my $good = grep { $clients[$_]->response->status == 200 } 0, 2 .. $#clients;
    is $good, COUNT - 1, "$what: all others are answered";
    $t->wait_state('open');
    $t->wait_in_flight(0);
}

my %bad = (
    '/500' => 500,
    '/503' => 503,
    '/drop' => 502,
    '/cut' => 502,
    '/unbuffered' => 502,
    '/refused' => 502,
    '/late' => 504,
    '/own' => 500,
    '/page' => 502,
    '/nice' => 502,
    '/nicer' => 500,
);
for my $uri (sort keys %bad) {
    my $answer = try_canary($uri);
    is $answer->status, 409, "$uri: the canary fails";
    like $answer->body, qr/^The canary failed: 1 of [23], [^\n]*\b$bad{$uri}\b/, 'in these words';
    # Who fails at once keeps the third from being tried.
    my ($tried) = $answer->body =~ /^canary: ([23])\ncanary_failed: 1\n/m;
    ok $tried, 'and numbers';
    is $t->status->{state}, 'paused', 'the app is paused again';
    is $t->status->{held}, COUNT - $tried, 'and the rest is still held';
    wait_for { COUNT - $tried == grep { $_->silent } @clients } 'the others to be unanswered, and only they';
    resume($uri);
}

for my $uri (qw(/404 /302 /named /second /fine)) {
    my $answer = try_canary($uri);
    is $answer->status, 200, "$uri: nothing is wrong with that";
    resume($uri);
}
my $answer = try_canary('/socket', headers => [ 'Upgrade: echo', 'Connection: upgrade' ]);
is $answer->status, 200, 'nor with an upgrade';
resume('/socket');

# One fails while another is under way: that is awaited, none follows, and a second try decides.
$origin->forget;
$t->enable;
@clients = map { $t->hold(GET => $_) } '/slow?1', '/slow-500', '/slow?2', map {"/$_"} 4 .. COUNT;
my $caller = $t->call('disable', canary => CANARY);
$origin->wait_requests(3);
$origin->answer(2);
is $clients[1]->response->status, 500, 'one of the canary fails';
$t->status for 1 .. 5;
ok $caller->silent, 'the verdict waits for the last one';
is scalar(my @uris = $origin->uris), 3, 'and nobody follows';
$origin->answer;
is $caller->response->status, 409, 'it is bad';
is $t->status->{held}, COUNT - 3, 'the rest is still held';
is $t->control('disable', canary => CANARY)->status, 200, 'a second try is good';
is answered(@clients[ 3 .. $#clients ]), COUNT - 3,
    'all are answered';
is_deeply [ ($origin->uris)[ 3 .. COUNT - 1 ] ], [ map {"/$_"} 4 .. COUNT ], 'in order';
$t->server->wait_logged(qr/from releasing to paused by a canary that failed, 17 held/);
$t->wait_state('open');

# With a deadline, the pause that a failure brings back ends by itself, and one that is good has none to come.
$t->enable;
@clients = map { $t->hold(GET => $_) } '/500', '/2', '/3';
$answer = $t->control('disable', canary => 1, for => '2s', format => 'json');
is $answer->status, 409, 'a canary with a deadline fails';
ok $answer->json->{resumes_at}, 'and the pause has it';
is answered(@clients[ 1, 2 ]), 2, 'so the rest goes by itself';
$t->wait_state('open');
$t->enable;
@clients = map { $t->hold(GET => $_) } '/slow?1', '/2';
$origin->forget;
$caller = $t->call('disable', canary => 1, for => '1h');
$origin->wait_requests(1);
is $t->status->{resumes_at}, undef, 'what is not paused has no deadline';
$origin->answer;
is $caller->response->status, 200, 'a canary with a deadline is good';
is answered(@clients), 2, 'all go';
$t->enable;
is $t->status->{resumes_at}, undef, 'and the next pause has none of it';
$t->disable;

$t->finish;
