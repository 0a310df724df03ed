package Intermission::Test::StateFile;

# The text of a state file, as the module writes it, and its lock.

use strict;
use warnings;

use Carp qw(croak);
use Exporter qw(import);
use Fcntl qw(LOCK_EX LOCK_NB);

our @EXPORT_OK = qw(keep_lock state_file try_lock);

# state_file(7, 'paused shop rate=0 …', …): the whole text, with this serial number.
sub state_file {
    my ($serial, @apps) = @_;
    my $text = join '', map {"$_\n"} 'intermission 1', "serial $serial", @apps;
    return $text . "end ${\ scalar @apps} ${\ checksum($text)}\n";
}

# The lock of a state file, kept until what is returned is let go. Whoever has it is waited for.
sub keep_lock {
    my ($file) = @_;
    return lock_with(LOCK_EX, $file) // croak "$file.lock: $!";
}

# The same, or nothing if somebody has it.
sub try_lock {
    my ($file) = @_;
    return lock_with(LOCK_EX | LOCK_NB, $file);
}

sub lock_with {
    my ($how, $file) = @_;
    open my $lock, '+<', "$file.lock" or croak "$file.lock: $!";
    return flock($lock, $how) ? $lock : undef;
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
