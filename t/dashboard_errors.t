#!/usr/bin/env perl

# What goes wrong is told in words by the dashboard, where a person looks: arguments in the dialog,
# what became of a call at its app, and a state that is not known any more above all of them.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Browser;

my $browser = Intermission::Test::Browser->new;
my $t = Intermission::Test->new;
$t->origin('/slow' => { wait => 1 });
my $http = <<'EOF';
    server {
        listen 127.0.0.1:%%PORT_80%%;
        intermission on;
        location / { proxy_pass http://%%ORIGIN%%; }
        location /intermission/ { intermission_control; }
        location /pause/ { RULE intermission_control any; }
    }
    # A proxy before it, with a prefix of its own.
    server {
        listen 127.0.0.1:%%PORT_81%%;
        location /some/prefix/ {
            proxy_pass http://127.0.0.1:%%PORT_80%%/pause/;
            proxy_set_header Host $http_host;
            proxy_read_timeout 10s;
        }
    }
EOF
$t->start($http =~ s/RULE//r);

sub ask {
    my ($call, %values) = @_;
    $browser->click("[data-call=$call]");
    $browser->type("#ask-$call [name=$_]", $values{$_}) for keys %values;
    $browser->click("#ask-$call .main");
}

# The last answer that is shown.
sub wait_answer { return $browser->wait_text('.answers li:last-child', shift) }

my $slow = $t->client->get('/slow');
$t->origin->wait_requests(1);
my $address = 'http://127.0.0.1:' . $t->port(81) . '/some/prefix/';
$browser->open($address);
$browser->wait_text('.word', qr/^Open$/);
pass 'it works behind the prefix of a proxy';

# 400, in the dialog.
ask(enable => for => '2d');
$browser->wait_text('#ask-enable .error', qr/argument "for" is "2d": expected .* at most 1d/);
is $browser->run('return document.querySelector("dialog[open]").id'), 'ask-enable', 'it stays open';
$browser->press('Escape');
ask(enable => for => 'soon');
is $browser->run('return document.querySelector("#enable-for").validity.patternMismatch'), 1,
    'some are found before they are sent';
$browser->press('Escape');
is $t->status->{state}, 'open', 'nothing has been done';

# 504, by the module: the drain took too long.
ask(enable => drain => '1s');
wait_answer(qr/drain took too long: 1 in flight for more than 1s\. The pause is ended/);
is $t->status->{state}, 'open', 'which is so';

# 409: somebody else ended what was waited for.
ask(enable => drain => '20s');
$browser->wait_text('.waiting', qr/Waiting for a quiet backend/);
$t->disable;
wait_answer(qr/pause .*ended.* with 1 still in flight/);

# 504, by the proxy, which knows less.
ask(enable => drain => '1m');
wait_answer(qr/proxy before nginx gave up.*\(504\)/);
$browser->wait_text('.word', qr/^Paused$/);
$t->disable;

# 403: no longer allowed.
$t->reload($http =~ s/RULE/deny all;/r);
$browser->wait_text('#trouble', qr/refuses this client \(403\).* What you see is from \d\d:\d\d:\d\d/);
is $browser->text('.verdict'), 'Not known: see above.', 'nothing is said that might not be so';
like $browser->title, qr/^Not live/, 'the title tells it as well';
ask('enable');
wait_answer(qr/refuses this client \(403\)/);
is $t->status->{state}, 'open', 'nothing has been done';
$t->reload($http =~ s/RULE//r);
$browser->wait_text('.verdict', qr/^Requests go through/);
is $browser->text('#trouble'), '', 'it is back by itself';
$slow->close;

# No connection.
$t->server->signal('TERM');
wait_for { $t->server->is_over } 'nginx to end';
$browser->wait_text('#trouble', qr/no connection to nginx\. What you see is from/);
ask('enable');
wait_answer(qr/no connection to nginx\. Whether the call was carried out is to be seen above/);
$t->server->start;
$browser->wait_text('.verdict', qr/^Requests go through/);
like $browser->run('return document.querySelector("#said").textContent'), qr/connection is back/,
    'a screen reader hears of it';

is_deeply [ $browser->complaints ], [], 'the browser has nothing to complain of';
$browser->close;
$t->finish;
