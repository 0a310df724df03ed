#!/usr/bin/env perl

# Names of apps come from outside: the dashboard shows them as they are, whatever they look like,
# calls the app that they stand for, and offers no call that would mean another one.

use strict;
use warnings;
use utf8;

use Encode qw(encode);
use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Browser;

my $browser = Intermission::Test::Browser->new;
my $t = Intermission::Test->new;
$t->start(<<'EOF');
    server {
        listen 127.0.0.1:%%PORT_80%%;
        location /any { intermission on; intermission_app_name $arg_name; empty_gif; }
        location /intermission/ { intermission_control; intermission_app_name home; }
    }
EOF

sub escaped {
    my ($name) = @_;
    my $bytes = utf8::is_utf8($name) ? encode('UTF-8', $name) : $name;
    return join '', map { sprintf '%%%02X', ord } split //, $bytes;
}

my @hostile = (
    '<img src=x onerror=alert(1)>',
    '</script><script>alert(1)</script>',
    '"><b id=broken>',
    q{' onclick='alert(1)},
    '{{7*7}}${7*7}',
    "two\nlines\tand  spaces",
    "\x{202E}txet",
    'größe/東京?&#=+%41;',
    '__proto__',
    'constructor',
    'x' x 255,
);
my @no_text = ("\xFFbyte", "\xFEbyte");
$t->control('maintenance', app => escaped($_)) for @hostile, @no_text;
$t->get('/any?name=*');

my $address = 'http://127.0.0.1:' . $t->port . '/intermission/';
$browser->open($address);
$browser->wait_text('#summary', qr/^15 apps: 2 open, 13 maintenance\./);

# What is shown.
sub names {
    my $script = 'return [...document.querySelectorAll("main .name")].map(n => n.textContent)';
    return @{ $browser->run($script) };
}

my %shown = map { $_ => 1 } names();
ok $shown{$_}, 'shown as it is: ' . encode('UTF-8', substr $_, 0, 20) for @hostile;
is scalar(grep { $_ eq "\x{FFFD}byte" } names()), 2, 'bytes that are no text are no text';
is $browser->run('return document.querySelectorAll("main img, main script, main b").length'), 0,
    'none of them has become HTML';
is $browser->run('return document.documentElement.scrollWidth'), 1280, 'none is too wide';
is_deeply [ names() ], [ sort { $a cmp $b } names() ], 'in the order of their names';

# What is called.
for my $name (@hostile) {
    my $shown = substr $name =~ s/\s+/ /gr, 0, 20;
    $browser->run(<<'EOF', $name);
        const apps = [...document.querySelectorAll('.app')];
        apps.find(app => app.querySelector('.name').textContent === arguments[0])
            .querySelector('[data-call=disable]').click();
EOF
    is $browser->run('return document.querySelector("#ask-disable .name").textContent'), $name,
        'the dialog names it: ' . encode('UTF-8', $shown);
    # By the page itself: this is about names, and a long one may move the button meanwhile.
    $browser->run('document.querySelector("#ask-disable .main").click()');
    $t->wait_state('open', escaped($name));
    wait_for { !$browser->run('return document.querySelector("dialog[open]")') } 'the dialog to close';
}
is_deeply [ map { $t->status(escaped($_))->{state} } @no_text ], [ ('maintenance') x 2 ],
    'no other app has been resumed';
is $browser->run('return document.querySelectorAll(".app:not(:has(button))").length'), 3,
    'what cannot be called by its name has no buttons';

# Names that are not known yet.
for my $case ([ ' shop ' => 'shop' ], [ '<i>new</i>' => '<i>new</i>' ]) {
    my ($typed, $name) = @$case;
    $browser->type('#add-name', $typed);
    $browser->press('Enter');
    wait_for { grep { $_ eq $name } names() } "$name to be shown";
    is $browser->run('return document.activeElement.textContent'), $name, "the focus goes to $name";
}
$browser->type('#add-name', '*');
$browser->press('Enter');
like $browser->text('#add-error'), qr/means all apps/, '"*" is none';

# An app named in the address.
$browser->open("$address?app=" . escaped('<b>in advance</b>'));
wait_for { grep { $_ eq '<b>in advance</b>' } names() } 'the app of the address';
ok !(grep { $_ eq '<i>new</i>' } names()), 'what nobody asked for and nobody knows is not shown';

# Many apps can be searched.
$browser->type('#find-name', 'SCRIPT');
$browser->wait_text('#found', qr/^1 of 16 apps$/);
is $browser->run('return document.querySelectorAll(".app:not([hidden])").length'), 1, 'one is found';

is_deeply [ $browser->complaints ], [], 'the browser has nothing to complain of';
$browser->close;
$t->finish;
