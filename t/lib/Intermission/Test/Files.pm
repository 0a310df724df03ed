package Intermission::Test::Files;

# What a test reads, and where programs are.

use strict;
use warnings;

use Exporter qw(import);

our @EXPORT_OK = qw(program slurp);

# All of these files; nothing of one that is not there.
sub slurp {
    my $text = '';
    for my $file (@_) {
        open my $handle, '<', $file or next;
        local $/;
        $text .= <$handle> // '';
    }
    return $text;
}

# Where this program is, as a shell finds it, or root's: 'curl', 'nginx'. Nothing if it is nowhere.
sub program {
    my ($name) = @_;
    return $name if $name =~ m{/};
    my ($found) = grep { -f && -x } map {"$_/$name"} split /:/, "$ENV{PATH}:/usr/sbin:/sbin";
    return $found;
}

1;
