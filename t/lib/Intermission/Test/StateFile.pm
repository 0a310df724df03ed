package Intermission::Test::StateFile;

# The text of a state file, as the module writes it.

use strict;
use warnings;

use Exporter qw(import);

our @EXPORT_OK = qw(state_file);

# state_file(7, 'paused shop rate=0 …', …): the whole text, with this serial number.
sub state_file {
    my ($serial, @apps) = @_;
    my $text = join '', map {"$_\n"} 'intermission 1', "serial $serial", @apps;
    return $text . "end ${\ scalar @apps} ${\ checksum($text)}\n";
}

# FNV-1a with 64 bits.
sub checksum {
    my ($text) = @_;
    use integer;
    no warnings qw(portable);
    my $sum = 0xcbf29ce484222325;
    $sum = ($sum ^ ord) * 0x100000001b3 for split //, $text;
    return sprintf '%016x', $sum;
}

1;
