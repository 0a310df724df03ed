#!/usr/bin/env perl

# Each file of src/nginx imports only from its own floor and those below it, as docs/architecture.md has them, and no two need each
# other, be it by way of others; and what is below nginx knows nothing of it.

use strict;
use warnings;

use FindBin qw($Bin);
use List::Util qw(first);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test::Files qw(slurp);

my $root = "$Bin/..";

# From the roof to the ground.
my @floors = (
    [qw(module)],
    [qw(control process setup)],
    [qw(request store)],
    [qw(host)],
    [qw(conf zone)],
    [qw(ffi)],
);
my %height;
for my $at (0 .. $#floors) { $height{$_} = $#floors - $at for @{ $floors[$at] } }

my %below = (
    gate      => [qw(shared)],
    shm       => [qw(gate shared)],
    worker    => [qw(gate shm)],
    agreement => [qw(gate shm state_file)],
);

sub files {
    my ($part) = @_;
    return grep { -f } "$root/src/$part.rs", map { glob "$root/src/$part/$_" } '*.rs', '*/*.rs', '*/*/*.rs';
}

for my $file (files('nginx')) {
    my ($part) = $file =~ m{/src/nginx/(\w+)} or next;
    ok exists $height{$part}, "$part has a floor" or next;
    my $text = slurp($file);
    my @up = grep { !exists $height{$_} || $height{$_} > $height{$part} } $text =~ /\bcrate::nginx::(\w+)/g;
    for my $list ($text =~ /\bcrate::nginx::\{([^;]*)\};/g) {
        push @up, grep { !exists $height{$_} || $height{$_} > $height{$part} } $list =~ /(?:^|,)\s*(\w+)/g;
    }
    # Next to the floors themselves, this could be any of them.
    push @up, 'super' if $file =~ m{/src/nginx/\w+\.rs$} && $text =~ /\bsuper::/;
    is "@up", '', substr($file, length "$root/") . ' imports nothing from above';
}

for my $part (sort keys %below) {
    my %may = map { $_ => 1 } $part, @{ $below{$part} };
    for my $file (grep { !m{tests} } files($part)) {
        my @others = grep { !$may{$_} } slurp($file) =~ /\bcrate::(\w+)/g;
        is "@others", '', substr($file, length "$root/") . " knows only what is below $part";
    }
}

# The files by the names of their modules, request::hold and so on, and which of them each one needs.
my %file_of = map { m{/src/nginx/(.*)\.rs$} ? ($1 =~ s{/}{::}gr => $_) : () } files('nginx');
my %needs = map { $_ => [ needs($_) ] } keys %file_of;

# All but those that it is a part of, as conf::app is of conf.
sub needs {
    my ($module) = @_;
    my $text = slurp($file_of{$module}) =~ s/^#\[cfg\(test\)\]\nmod .*//msr =~ s{//.*}{}gr;
    my @paths = map { paths($_) } $text =~ /^\s*(?:pub\S* )?use ([^;]+);/gm;
    push @paths, $text =~ /\b((?:crate::nginx|super)(?:::\w+)+)/g;
    my %needed = map { $_ => 1 } grep {defined} map { module_of($_, $module) } @paths;
    my @others = grep { "${module}::" !~ /^${_}::/ } sort keys %needed;
    return @others;
}

# Each path of a `use`: of `a::{b, c::{d, e}}` a::b, a::c::d and a::c::e.
sub paths {
    my ($use) = @_;
    my ($prefix, $list) = $use =~ /^([\w:]*)\{(.*)\}\s*$/s or return $use =~ /^([\w:]+)/;
    my @paths;
    while ($list =~ /(?:[^,{}]|(\{(?:[^{}]|(?1))*\}))+/g) { push @paths, paths($prefix . $& =~ s/^\s+//r) }
    return @paths;
}

# The module that a path in this one leads to, if it is one of these.
sub module_of {
    my ($path, $here) = @_;
    my ($above) = $here =~ /^(.*)::\w+$/;
    $path =~ s/^crate::nginx:://
        || $path =~ s/^super::/defined $above ? "${above}::" : ''/e
        || $path =~ s/^(?:self::)?/${here}::/;
    my @names = split /::/, $path;
    return first { $file_of{$_} } map { join '::', @names[ 0 .. $_ ] } reverse 0 .. $#names;
}

# Without those who need nobody, and those who then need nobody, circles are left, and who needs one.
my %left = %needs;
while (my @free = grep { !grep { $left{$_} } @{ $needs{$_} } } keys %left) { delete @left{@free} }
my (@way, %seen);
my ($at) = sort keys %left;
while (defined $at && !$seen{$at}++) {
    push @way, $at;
    $at = first { $left{$_} } @{ $needs{$at} };
}
shift @way while @way && $way[0] ne $at;
push @way, @way ? $at : ();
is join(' needs ', map { substr $file_of{$_}, length "$root/" } @way), '', 'no files need each other';

done_testing;
