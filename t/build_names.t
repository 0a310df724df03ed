#!/usr/bin/env perl

# The module names no folder of the machine that it was built on, so that it is the same wherever it is built: ./scripts/reproduce
# builds it in two places.

use strict;
use warnings;

use Cwd qw(abs_path);
use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $root = abs_path("$Bin/..");
my $module = slurp((Intermission::Test::module_file())[0]);
for my $folder ("$root/target", $root, $ENV{CARGO_HOME} // "$ENV{HOME}/.cargo") {

    # The name that scripts/lib/remap.sh has in its place.
    next if $folder eq '/intermission';
    ok $module !~ m{\Q$folder\E[/\0]}, "it does not name $folder";
}

done_testing;
