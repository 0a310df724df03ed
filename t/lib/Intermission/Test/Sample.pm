package Intermission::Test::Sample;

# A configuration that was written for people, made to work in a test's folder: on its ports, with
# files and certificates of its own. Nothing else about it is changed.

use strict;
use warnings;

use Exporter qw(import);

our @EXPORT_OK = qw(settled);

sub settled {
    my ($t, $text) = @_;
    $text =~ s/^\s*include\s[^;]*mime\.types;//gm;
    $text =~ s/^\s*\w+_temp_path [^;]*;\n//gm;
    $text =~ s/\blisten \[::\]:\d+[^;]*;//g;
    $text =~ s/\blisten (?:127\.0\.0\.1:)?(\d+)/listen 127.0.0.1:%%PORT_$1%%/g;
    $text =~ s{\blisten unix:\S*/}{listen unix:%%FOLDER%%/}g;
    $text =~ s{\b(access_log|intermission_state_file) /\S*/}{$1 %%FOLDER%%/}g;
    $text =~ s{\b(ssl_certificate(?:_key)?) [^;]+;}{$1 %%FOLDER%%/$1.pem;}g and certify($t);
    return $text;
}

sub certify {
    my ($t) = @_;
    my $name = $t->folder . '/ssl_certificate';
    my @files = (-out => "$name.pem", -keyout => "${name}_key.pem");
    my @made = qw(openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=test -days 2);
    open my $output, '-|', "@made @files 2>&1" or die "openssl: $!";
    my $said = join '', <$output>;
    close $output or die "openssl: $said";
    return;
}

1;
