package Intermission::Test::DefaultServer;

# The server of a test that says nothing else: an app behind the gate, and its control location. What is special about a test is
# given, and stands in it.
#
#     $t->start;                             # as it is
#     $t->start(default_server(<<'EOF'));    # with this in it
#         intermission_interval 1h;
#         location /open { intermission off; proxy_pass http://%%ORIGIN%%; }
#     EOF
#
# Where a directive of what is given, outside of its locations, begins like a line of it (`listen 127.0.0.1:%%PORT_80%%`,
# `location /`, …), it takes that line's place.
#
# Several workers have a socket each, so that all get connections, and the kernel decides which one. A test that gives
# `listen 127.0.0.1:%%PORT_80%%;` wants one socket: any worker that is awake takes from it.

use strict;
use warnings;

use Exporter qw(import);

our @EXPORT_OK = qw(default_server);

# How each line begins, and goes on.
my @LINES = (
    [ 'listen 127.0.0.1:%%PORT_80%%' => '%%REUSEPORT%%;' ],
    [ 'intermission' => 'on;' ],
    [ 'location /' => '{ proxy_pass http://%%ORIGIN%%; }' ],
    [ 'location = /pid' => '{ intermission off; return 200 $pid; }' ],    # for `client_at`
    [ 'location /intermission/' => '{ intermission_control; }' ],
);

sub default_server {
    my ($given) = (@_, '');
    my $top_level = $given;
    1 while $top_level =~ s/\{[^{}]*\}/;/g;
    my @lines = grep { $top_level !~ /^\s*\Q$_->[0]\E[\s;]/m } @LINES;
    return join "\n", 'server {', (map {"@$_"} @lines), $given, "}\n";
}

1;
