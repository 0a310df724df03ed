#!/usr/bin/env perl

# Plain http under a name of its own, where a browser says little about whose page makes a call: the
# dashboard works, and another site's page cannot pause an app, by whatever it can make a browser
# do.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Browser;

my $t = Intermission::Test->new;
my ($port, $evil) = map { $t->port($_) } 80, 81;
my $browser = Intermission::Test::Browser->new(
    hosts => { 'ops.internal' => "127.0.0.1:$port", 'evil.example' => "127.0.0.1:$evil" });
my $calls = 'http://ops.internal/intermission';
my $enable = "$calls/enable";
$t->start(<<"EOC");
    server {
        listen 127.0.0.1:%%PORT_80%%;
        location /intermission/ { intermission_control; }
    }
    server {
        listen 127.0.0.1:%%PORT_81%%;
        default_type text/html;
        location /image { return 200 '<img src="$enable?app=image">'; }
        location /link { return 200 '<a href="$enable?app=link">win a prize</a>'; }
        location /redirect { return 302 $enable?app=redirect; }
        location /form {
            return 200 '<form method="post" action="$enable?app=form"><button></button></form>';
        }
        location /fetch {
            return 200 '<script>fetch("$enable?app=fetch", { method: "POST", mode: "no-cors" })</script>';
        }
    }
EOC

# Another site's page. That the browser has made its call is seen in the log.
sub refuses {
    my ($what, $act) = @_;
    $browser->open("http://evil.example/$what");
    $act->() if $act;
    wait_for { $t->server->access_log =~ m{^\d+ \w+ /intermission/enable\?app=$what$}m } $what;
    like $t->server->access_log, qr{^403 \w+ /intermission/enable\?app=$what$}m,
        "$what: the call is refused";
    is $t->status($what)->{state}, 'open', 'and changes nothing';
    return;
}

refuses('image');
refuses('link', sub { $browser->click('a') });
like $browser->text('body'), qr/^Forbidden: .*dashboard/, 'a person is told what to do';
refuses('redirect');
refuses('form', sub { $browser->click('button') });
refuses('fetch');

# Who types such an address is told the same; at an address that browsers trust, the call is made.
$browser->open("$enable?app=typed");
like $browser->text('body'), qr/^Forbidden: .*dashboard/, 'an address that is typed';
is $t->status('typed')->{state}, 'open', 'changes nothing';
$browser->open("http://127.0.0.1:$port/intermission/enable?app=typed");
like $browser->text('body'), qr/^Pause enabled\./, 'but where the browser says that it was typed';
is $t->status('typed')->{state}, 'paused', 'it does';
$browser->open("$calls/status?app=typed");
like $browser->text('body'), qr/^state: paused$/m, 'what changes nothing can be looked at';

# The dashboard's buttons.
$browser->open("$calls/");
$browser->wait_text('.word', qr/^Open$/);
for my $do ([ enable => 'Paused' ], [ disable => 'Open' ]) {
    my ($call, $state) = @$do;
    $browser->click("[aria-label='App default'] [data-call=$call]");
    $browser->click("#ask-$call .main");
    $browser->wait_text("[aria-label='App default'] .word", qr/^$state$/);
    is $t->status->{state}, lc $state, "$call, by a button of the dashboard";
}

$browser->close;
$t->finish;
