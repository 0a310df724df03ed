#!/usr/bin/env perl

# A tree or a program that the module cannot be built for is refused before anything is built, with the reason.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Path qw(make_path);
use File::Temp qw(tempdir);
use FindBin qw($Bin);
use Test::More;

my $root = abs_path("$Bin/..");
my $folder = tempdir(CLEANUP => 1);

sub write_file {
    my ($name, $text, $mode) = @_;
    my $file = "$folder/$name";
    make_path($file =~ s{/[^/]*$}{}r);
    open my $handle, '>', $file or die "$file: $!";
    print {$handle} $text;
    close $handle or die "$file: $!";
    chmod $mode // 0644, $file;
    return $file;
}

sub program { return write_file("$_[0]", "#!/bin/sh\necho '$_[1]' >&2\n", 0755) }

# What ./scripts/build says.
sub build {
    my (@arguments) = @_;
    my $said = `INTERMISSION_NO_INSTALL=1 $root/scripts/build --env @arguments 2>&1`;
    isnt $?, 0, 'it fails';
    return $said;
}

my $nginx = program('nginx', 'nginx version: nginx/1.30.0');
my $angie = program('angie', 'Angie version: Angie/1.10.0');
write_file('other/src/core/nginx.h', "#define NGINX_VERSION      \"1.29.0\"\n");
write_file("angie-tree/src/core/$_.h", "#define NGINX_VERSION      \"1.30.0\"\n") for qw(nginx angie);
write_file('empty/README', '');

like build("--nginx $angie"), qr/Angie, for which this module cannot be built\n.*signature/, 'Angie';
like build("--nginx $nginx --source $folder/angie-tree"), qr/is the source of Angie, for which/, 'its source';
like build("--nginx $nginx --source $folder/other"), qr/is nginx 1\.29\.0, but .* would refuse/s, 'another version';
like build("--nginx $nginx --source $folder/empty"), qr/is not nginx's source/, 'no source at all';
like build("--nginx $folder/empty/README"), qr/is not a program/, 'no program';

# What nginx's configure says.
sub config {
    my ($tree, %variables) = @_;
    local %ENV = (%ENV, ngx_module_link => 'DYNAMIC', HTTP => 'YES', %variables);
    return `cd $folder/$tree && sh $root/config 2>&1`;
}

like config('angie-tree'), qr/cannot be built for Angie/, 'configure of Angie';
like config('other', ngx_module_link => 'ADDON'), qr/only be built as a file of its own/, '--add-module';
like config('other', HTTP => 'NO'), qr/needs HTTP/, '--without-http';
like config('other', NGX_CARGO => "$folder/no-cargo"), qr/cargo is not found/, 'no cargo';
is config('other', NGX_CARGO => program('cargo', 'cargo')), '', 'and accepts what it can be built for';

done_testing;
