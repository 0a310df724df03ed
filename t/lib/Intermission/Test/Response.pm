package Intermission::Test::Response;

# What a client got: a status (0 if the connection ended instead), headers, a body.

use strict;
use warnings;

use JSON::PP ();

sub new {
    my ($class, %self) = @_;
    return bless { status => 0, headers => {}, body => '', %self }, $class;
}

sub from_head {
    my ($class, $head) = @_;
    my ($status_line, @lines) = split /\r\n/, $head;
    my ($status) = $status_line =~ m{^HTTP/1\.[01] (\d{3})} or die "not a response: $head\n";
    my %headers;
    for my $line (@lines) {
        my ($name, $value) = $line =~ /^([^:]+):\s*(.*?)\s*$/ or die "not a header: $line\n";
        $name = lc $name;
        $headers{$name} = defined $headers{$name} ? "$headers{$name}, $value" : $value;
    }
    return $class->new(status => $status + 0, headers => \%headers);
}

sub status { $_[0]{status} }
sub body { $_[0]{body} }
sub header { $_[0]{headers}{ lc $_[1] } }
sub json { JSON::PP->new->utf8->decode($_[0]{body}) }

1;
