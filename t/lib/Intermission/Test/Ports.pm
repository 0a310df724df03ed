package Intermission::Test::Ports;

# Ports on loopback for tests that run side by side. A port belongs to the process that holds the
# lock on its file; the lock ends with the process, however it ends. The ports lie below the range
# that the kernel gives to outgoing connections, so that none of those can take one away.

use strict;
use warnings;

use Exporter qw(import);
use Fcntl qw(:DEFAULT :flock);
use File::Spec;
use IO::Socket::INET;

our @EXPORT_OK = qw(take_port);

use constant { FIRST => 10_000, COUNT => 20_000 };

my %lock_of;

sub take_port {
    my $folder = File::Spec->catdir(File::Spec->tmpdir, "intermission-test-ports-$>");
    mkdir $folder;

    my $start = int rand COUNT;
    for my $step (0 .. COUNT - 1) {
        my $port = FIRST + ($start + $step) % COUNT;
        next if $lock_of{$port};
        my $lock = lock_file("$folder/$port") or next;
        next if !is_free($port);
        $lock_of{$port} = $lock;
        return $port;
    }
    die "no free port from ", FIRST, " on: is $folder writable?\n";
}

sub lock_file {
    my ($file) = @_;
    sysopen my $handle, $file, O_RDWR | O_CREAT or return;
    return flock($handle, LOCK_EX | LOCK_NB) ? $handle : undef;
}

# Nobody else listens there, on any address.
sub is_free {
    my ($port) = @_;
    return !!IO::Socket::INET->new(
        LocalAddr => '0.0.0.0',
        LocalPort => $port,
        Listen => 1,
        ReuseAddr => 1,
    );
}

1;
