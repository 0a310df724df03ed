#!/usr/bin/env perl

# The dashboard in a real browser, from a pause to its end: the numbers that it shows rise and fall,
# its buttons ask before they act, and what takes time is seen to take it.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Browser;

my $browser = Intermission::Test::Browser->new;
my $t = Intermission::Test->new(workers => 2);
$t->origin('/slow' => { wait => 1 }, '/bad' => { status => 502 });
$t->start(default_server(<<'EOF'));
    listen 127.0.0.1:%%PORT_80%%;
    location /_intermission { intermission_control; }
EOF

$browser->open('http://127.0.0.1:' . $t->port . '/_intermission');
like $browser->run('return location.href'), qr{/_intermission/$}, 'the slash is found';

my %number = map { $_ => "[data-of=$_]" } qw(held longest in_flight resumes);
my $verdict = '.verdict';
my ($pause, $resume) = map {"[data-call=$_]"} qw(enable disable);

sub confirm { $browser->click("#ask-$_[0] .main") }

# Nothing has happened yet.
$browser->wait_text('.word', qr/^Open$/);
is $browser->text('h2'), 'default', 'the app of the location is shown before it is known';
is $browser->text($number{held}), '0', 'it holds nothing';
like $browser->title, qr/^Open/, 'the title tells the state';

# Asking is not acting.
$browser->click($pause);
like $browser->text('#ask-enable'), qr/^Pause default\?.*are held/s, 'a click asks';
$browser->press('Escape');
wait_for { !$browser->run('return document.querySelector("dialog[open]")') } 'the dialog to close';
is $t->status->{state}, 'open', 'Escape does nothing else';
is $browser->run('return document.activeElement.dataset.call'), 'enable', 'the focus is back';

# A pause, with a request still in flight.
my $slow = $t->client->get('/slow');
$t->origin->wait_requests(1);
$browser->wait_text($number{in_flight}, qr/^1$/);
$browser->click($pause);
$browser->type('[name=for]', '5m');
is $browser->text('#ask-enable .call'), 'POST enable?app=default&for=5m', 'the call is shown';
confirm('enable');
$browser->wait_text('.answers', qr/Pause: Pause enabled\./);
is $t->status->{state}, 'paused', 'the app is paused';
$browser->wait_text('.word', qr/^Paused$/);
$browser->wait_text($verdict, qr/not quiet yet: 1 request still in flight/);
like $browser->text($number{resumes}), qr/^in [45]m|^in 5\d s/, 'the deadline';
wait_for { $t->server->access_log =~ m{^200 POST /_intermission/enable\?}m } 'the log: by POST';

# Watching it hold.
my @held = map { $t->hold(GET => "/$_") } 1 .. 3;
$browser->wait_text($number{held}, qr/^3$/);
push @held, map { $t->hold(GET => "/$_") } 4 .. 7;
$browser->wait_text($number{held}, qr/^7$/);
like $browser->text($number{longest}), qr/^\d+\.\d s$/, 'the longest wait';
like $browser->title, qr/^Paused, 7 held/, 'the title';
like $browser->label('.chart svg'), qr/at most 7 held, 0 released/, 'the chart, in words';

# A drain takes its time.
$browser->click($pause);
$browser->type('[name=drain]', '20s');
confirm('enable');
$browser->wait_text('.waiting', qr/quiet backend, 20s at most: 1 in flight\. \d s so far/);
is $browser->text('.answers'), $browser->text('.answers li'), 'it is not answered yet';
$t->origin->answer;
$browser->wait_text('.answers', qr/already enabled\. The backend was quiet after [\d.]+ s\./);
$browser->wait_text($verdict, qr/quiet: nothing is in flight\. You may go on/);
is $slow->response->status, 200, 'what was in flight is answered';
is $browser->text($number{resumes}), 'none', 'the deadline is gone, as it was left out';

# A canary that fails.
$t->origin->set('/1' => { status => 500 });
$browser->click($resume);
$browser->type('[name=canary]', '1');
confirm('disable');
$browser->wait_text('.answers .bad', qr/The canary failed: 1 of 1.*paused again/);
is shift(@held)->response->status, 500, 'one went';
$browser->wait_text('.word', qr/^Paused$/);
$browser->wait_text($number{held}, qr/^6$/);

# The end of it, at a pace that can be watched.
$browser->click($resume);
like $browser->text('#ask-disable'), qr/first the 6 held, in order/, 'what a click would do';
$browser->type('[name=rate]', '1');
confirm('disable');
$browser->wait_text('.answers', qr/Resume: Pause disabled\./);
$browser->wait_text('.word', qr/^Releasing$/);
$browser->wait_text($number{held}, qr/^[1-5]$/);
$browser->wait_text($number{held}, qr/^0$/);
$browser->wait_text('.word', qr/^Open$/);
is_deeply [ map { $_->response->status } @held ], [ (200) x 6 ], 'all are answered';
is $browser->text('[data-total=released]'), '7', 'and counted';
like $browser->label('.chart svg'), qr/at most 7 held, 7 released/, 'the chart has seen it';

# Maintenance.
$browser->click('[data-call=maintenance]');
$browser->type('[name=retry_after]', '2m');
confirm('maintenance');
$browser->wait_text('.word', qr/^Maintenance$/);
my $refused = $t->get('/');
is $refused->status . ' ' . $refused->header('Retry-After'), '503 120', 'it is what was asked for';
$browser->click($resume);
confirm('disable');
$browser->wait_text('.word', qr/^Open$/);

is_deeply [ $browser->complaints ], [], 'the browser has nothing to complain of';
$browser->close;
$t->finish;
