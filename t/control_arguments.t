#!/usr/bin/env perl

# Wrong arguments of a call: 400, naming the argument, and nothing changes.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new;
$t->start;

sub states { return join ' ', map { $t->status($_)->{state} } qw(default one two) }

sub refused {
    my ($query, $name) = @_;
    my $before = states();
    for my $call (qw(enable disable status)) {
        my $response = $t->get("/intermission/$call?$query");
        is $response->status, 400, "$call?$query is refused";
        like $response->body, qr/\Q$name\E/, "naming '$name'";
    }
    is states(), $before, 'nothing has changed';
}

my @wrong = (
    [ 'bogus=1', 'bogus' ],
    [ 'bogus', 'bogus' ],
    [ 'App=one', 'App' ],
    [ 'app=one&bogus=1', 'bogus' ],
    [ 'app=one&app=two', 'app' ],
    [ 'app=one&app=one', 'app' ],
    [ 'format=xml', 'format' ],
    [ 'format=json&format=json', 'format' ],
    [ 'app=%zz', 'app' ],
    [ 'app=one%', 'app' ],
    [ 'app=' . 'x' x 4000, 'app' ],
);

refused(@$_) for @wrong;
$t->enable('two');
refused(@$_) for @wrong;
is states(), 'open open paused', 'the states at the end';

is $t->get('/intermission/enable?app=*')->status, 400, 'enable does not take all apps';
is states(), 'open open paused', 'nor does it change one';

# What looks odd and is right.
is $t->get("/intermission/enable?$_")->status, 200, "enable?$_" for '', 'app=one', '&app=one&';
is states(), 'paused paused paused', 'the states then';
is $t->get('/intermission/disable?app=o%6ee')->status, 200, 'an escaped name';
is states(), 'paused open paused', 'is the name that it stands for';

$t->finish;
