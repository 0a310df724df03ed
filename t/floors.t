#!/usr/bin/env perl

# Each file of src/nginx imports only from its own floor and those below it, as docs/architecture.md has them; and what is
# below nginx knows nothing of it.

use strict;
use warnings;

use FindBin;
use Test::More;

my $root = "$FindBin::Bin/..";

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
    gate   => [qw(shared)],
    shm    => [qw(gate shared)],
    worker => [qw(gate shm)],
);

sub slurp {
    my ($file) = @_;
    open my $in, '<', $file or die "$file: $!";
    local $/;
    return scalar <$in>;
}

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

done_testing;
