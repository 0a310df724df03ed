#!/usr/bin/env perl

# The dashboard can be read by everybody: with a screen reader, by keyboard alone, on a phone, in
# light and dark. And it asks nginx nothing while nobody sees it.

use strict;
use warnings;
use utf8;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Browser;

# What stands out too little: texts whose contrast is below AA (WCAG 2.1, 1.4.3).
use constant LOW_CONTRAST => <<'EOF';
    const channels = colour => colour.match(/[\d.]+/g).map(Number);
    const luminance = colour => {
        const linear = c => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        const [r, g, b] = colour.map(c => linear(c / 255));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const over = ([r, g, b, a = 1], below) => [r, g, b].map((c, i) => c * a + below[i] * (1 - a));
    const ground = element => {
        if (!element) return [255, 255, 255];
        const own = channels(getComputedStyle(element).backgroundColor);
        return own[3] === 0 ? ground(element.parentElement) : over(own, ground(element.parentElement));
    };
    const ratio = (one, other) => {
        const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
        return (light + 0.05) / (dark + 0.05);
    };
    const found = new Set();
    let seen = 0;
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const element = texts.currentNode.parentElement;
        const text = texts.currentNode.data.trim();
        if (!text || !element.checkVisibility() || element.closest('script, .unseen')) continue;
        seen++;
        const below = ground(element);
        const style = getComputedStyle(element);
        const isLarge = parseFloat(style.fontSize) >= 24;
        const contrast = ratio(over(channels(style.color), below), below);
        if (contrast < (isLarge ? 3 : 4.5)) found.add(`${text.slice(0, 40)}: ${contrast.toFixed(2)}`);
    }
    return seen > 30 ? [...found] : [`only ${seen} texts`];
EOF

binmode $_, ':encoding(UTF-8)' for map { Test::More->builder->$_ } qw(output failure_output);

my $browser = Intermission::Test::Browser->new;
my $t = Intermission::Test->new;
$t->origin;
$t->start(default_server(<<'EOF'));
    location /shop { intermission_app_name shop; proxy_pass http://%%ORIGIN%%; }
EOF
$t->enable('shop');
$browser->open('http://127.0.0.1:' . $t->port . '/intermission/');
$browser->wait_text('#summary', qr/^2 apps/);

# Names for who cannot see.
is $browser->label('[data-call=enable]'), 'Pause… default', 'a button says what it is about';
is $browser->label('#add-name'), 'Another app', 'an input has a label';
is $browser->run('return document.title'), 'Paused, 0 held – intermission', 'the title';
for my $call (qw(enable disable maintenance)) {
    $browser->click("[data-call=$call]");
    like $browser->label("#ask-$call"), qr/\bdefault\?$/, "the dialog of $call has a name";
    my $inputs = $browser->run(<<'EOF', "#ask-$call input");
        return [...document.querySelectorAll(arguments[0])].map(input => input.id);
EOF
    isnt $browser->label("#$_"), '', "$_ has a label" for @$inputs;
    $browser->press('Escape');
}
my $unnamed = $browser->run(<<'EOF');
    return [...document.querySelectorAll('svg, input, button')]
        .filter(e => e.checkVisibility() && !e.closest('[aria-hidden]'))
        .filter(e => !e.ariaLabel && !e.labels?.length && !e.textContent.trim())
        .map(e => e.outerHTML);
EOF
is_deeply $unnamed, [], 'nothing else is without a name';

# What happens is told, and once.
$t->enable;
wait_for { $browser->run('return document.querySelector("#said").textContent') =~ /default: Paused\./ }
    'the news to be told';
wait_for { $browser->text('.since') =~ /[3-9] s/ } 'some seconds';
is $browser->run('return document.querySelector("#said").children.length'), 1, 'a second is no news';

# By keyboard alone.
$browser->run('document.querySelector("[data-call=disable]").focus()');
$browser->press('Enter');
$browser->press('Enter');
$t->wait_state('open');
wait_for { !$browser->run('return document.querySelector("dialog[open]")') } 'the dialog to close';
is $browser->run('return document.activeElement.ariaLabel'), 'Resume… default', 'the focus is back';
is $browser->run('return getComputedStyle(document.activeElement).outlineStyle'), 'solid', 'and seen';

# Light and dark, wide and narrow.
$t->control('maintenance');
$t->hold(GET => '/shop', app => 'shop');
$browser->wait_text('.word', qr/Maintenance/);
for my $scheme (qw(light dark)) {
    $browser->prefer($scheme);
    is_deeply $browser->run(LOW_CONTRAST), [], "$scheme: all is easy to read";
    for my $call (qw(enable maintenance)) {
        $browser->click("[aria-label\$='shop'] [data-call=$call]");
        is_deeply $browser->run(LOW_CONTRAST), [], "$scheme: in the dialog of $call as well";
        $browser->press('Escape');
    }
}
my @grounds = map {
    $browser->prefer($_);
    $browser->run('return getComputedStyle(document.body).backgroundColor')
} qw(light dark);
isnt $grounds[0], $grounds[1], 'dark is not light';
for my $width (320, 375, 768) {
    $browser->size($width, 700);
    cmp_ok $browser->run('return document.documentElement.scrollWidth'), '<=', $width,
        "$width pixels: nothing to scroll sideways";
}
my $small = $browser->run(<<'EOF');
    return [...document.querySelectorAll('button')]
        .filter(button => button.checkVisibility() && button.offsetHeight < 44).length;
EOF
is $small, 0, 'fingers find the buttons';

# Nobody looks, nobody asks.
sub looks { return scalar $t->server->accessed(qr{/status\?app=\*}) }
my $looks = looks();
wait_for { looks() > $looks } 'it to look while it is seen';
my $window = $browser->tell(GET => 'window');
my $other = $browser->tell(POST => 'window/new', { type => 'tab' })->{handle};
$browser->tell(POST => 'window', { handle => $other });
wait_for { $browser->run('return !document.hidden') } 'the other tab to be in front';
# It learns of that a little later.
my $last = time;
wait_for {
    my $now = looks();
    ($looks, $last) = ($now, time) if $now != $looks;
    time > $last + 3;
} 'it to look no more while it is not seen';
pass 'it does not look while it is not seen';
$browser->tell(POST => 'window', { handle => $window });
wait_for { looks() > $looks } 'it to look again';
pass 'it goes on when it is seen again';

is_deeply [ $browser->complaints ], [], 'the browser has nothing to complain of';
$browser->close;
$t->finish;
