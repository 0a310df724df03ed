#!/usr/bin/env perl

# What the calls answer: text whose first line a script can match, or JSON where it is asked for,
# and never from a cache.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new;
my $origin = $t->origin('/slow' => { wait => 1 });
$t->start;

sub call { return $t->get('/intermission/' . shift, headers => [@_]) }

my $time = qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/;

# Text.
my @first_lines = (
    [ enable => 'Pause enabled.' ],
    [ enable => 'Pause already enabled.' ],
    [ disable => 'Pause disabled.' ],
    [ disable => 'Pause already disabled.' ],
);
for my $case (@first_lines) {
    my ($call, $expected) = @$case;
    my $response = call($call);
    my ($first, @rest) = split /\n/, $response->body;
    is $first, $expected, "$call: the first line";
    is_deeply [ grep { !/^\w+: \S/ } @rest ], [], 'the others are "name: value"';
    like $response->header('Content-Type'), qr{^text/plain\b}, 'plain text';
    is $response->header('Cache-Control'), 'no-store', 'not for caches';
}

my $text = call('status')->body;
like $text, qr/^app: default$/m, 'status: the app';
like $text, qr/^state: open$/m, 'the state';
like $text, qr/^held: 0$/m, 'what is held';
like $text, qr/^$_: 0$/m, $_ for qw(in_flight upgraded);
like $text, qr/\n\z/, 'the last line has an end';

# JSON.
for my $ask ([ 'status', 'Accept: application/json' ], ['status?format=json']) {
    my $response = call(@$ask);
    like $response->header('Content-Type'), qr{^application/json\b}, "@$ask: JSON";
    is $response->header('Cache-Control'), 'no-store', 'not for caches';
    is $response->json->{state}, 'open', 'with the state';
}
my $asked_both = call('status?format=text', 'Accept: application/json');
like $asked_both->header('Content-Type'), qr{^text/plain}, 'format= goes before Accept';
for my $accept ('text/html, application/json;q=0.9', 'application/json, text/plain, */*') {
    like call('status', "Accept: $accept")->header('Content-Type'), qr{json}, "Accept: $accept";
}
for my $accept ('*/*', 'text/html', 'application/json-patch+json') {
    like call('status', "Accept: $accept")->header('Content-Type'), qr{text}, "Accept: $accept";
}
for my $call (qw(enable enable disable disable)) {
    my $response = call("$call?format=json");
    is ref $response->json, 'HASH', "$call answers an object";
    is $response->header('Cache-Control'), 'no-store', 'not for caches';
}

# All that status says.
$t->enable;
my $held = $t->hold(GET => '/');
my $status = $t->status;
is_deeply [ sort keys %$status ],
    [
        qw(app held in_flight last_abandoned_ms oldest_wait_ms pause resumes_at since state
            totals uncounted_processes upgraded)
    ],
    'the fields';
is_deeply [ sort keys %{ $status->{totals} } ],
    [qw(abandoned aborted bypassed held rejected released timed_out)], 'the totals';
is "$status->{app} $status->{state} $status->{held}", 'default paused 1', 'what is going on';
like $status->{since}, $time, 'since when';
is $status->{resumes_at}, undef, 'no end is set';
wait_for { $t->status->{oldest_wait_ms} > $status->{oldest_wait_ms} } 'the oldest wait to grow';
pass 'the oldest wait grows';
$t->disable;
$held->response;
ok !$t->status->{oldest_wait_ms}, 'nobody waits any more';

# The first line of a status, by the state; what the call answers for JSON is not changed by it.
my @facts = $text =~ /^(\w+): \S/gm;

sub says_first {
    my ($state, $expected) = @_;
    my ($first, @rest) = split /\n/, call('status')->body;
    is $first, $expected, "status of an app that is $state: the first line";
    is_deeply [ map {/^(\w+): \S/} @rest ], \@facts, 'the lines behind it are those of any state';
    is_deeply [ grep { !/^\w+: \S/ } @rest ], [], 'and no others';
    is $t->status->{state}, $state, 'as JSON: the state';
    ok !exists $t->status->{message}, 'and no message';
    return;
}

says_first(open => 'Pause disabled.');
$t->enable;
says_first(paused => 'Pause enabled.');
my @slow = map { $t->hold(GET => '/slow') } 1 .. 2;
$t->must('disable', concurrency => 1);
says_first(releasing => 'Pause disabled, releasing.');
$t->must('maintenance');
says_first(maintenance => 'Maintenance enabled.');
$t->disable;
$origin->answer;
$_->response for @slow;

my ($head, $get) = map { $t->request($_, '/intermission/status') } qw(HEAD GET);
is $head->header('Content-Length'), length $get->body, 'HEAD: as long as it is';
is $head->body, '', 'and not there';

# Of all apps: a block for each, as if it were the only one.
$t->enable('shop');
my @blocks = split /(?<=\n)\n/, call('status?app=*')->body;
is_deeply [ sort @blocks ], [ sort map { call("status?app=$_")->body } qw(default shop) ],
    'status of all: each app as it is by itself';
my $all = call('disable?app=*')->body;
like $all, qr/\APause disabled\.\napp: /, 'what a call did to all is said once';
is scalar(() = $all =~ /^[^:\n]+$/gm), 1, 'and before all of them';

# Errors are not for caches either.
for my $call (qw(none status?bogus=1)) {
    is call($call)->header('Cache-Control'), 'no-store', "$call: not for caches";
}

$t->finish;
