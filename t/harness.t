#!/usr/bin/env perl

# The tests' own tools: the example in CONTRIBUTING.md is a test that works, what a test gives to the default server goes into it or
# takes the place of a part, and several origins in one test each end when they are told to, whichever was started first.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test::DefaultServer qw(default_server);
use Intermission::Test::Files qw(slurp);
use Intermission::Test::Origin;
use Intermission::Test::Ports qw(take_port);
use Intermission::Test::Wait qw(TIME_LIMIT);

# The default server.
my $whole = default_server();
my $given = <<'EOF';
    listen 127.0.0.1:%%PORT_80%% backlog=9;
    location / { return 204; }
    location /open {
        intermission off;
        location /open/more { return 204; }
    }
EOF
my $changed = default_server($given);
like $changed, qr/^\Q$given\E/m, 'what is given goes into the default server';
for my $line (grep {/;/} split /\n/, $whole) {
    my $is_replaced = $line =~ m{^(?:listen|location /) };
    is scalar(grep { $_ eq $line } split /\n/, $changed), $is_replaced ? 0 : 1,
        ($is_replaced ? 'in the place of ' : 'beside ') . $line;
}

# The example.
my ($example) = slurp("$Bin/../CONTRIBUTING.md") =~ /^( +use Test::More;\n.*?->finish;.*?)$/ms;
open my $running, '-|', $^X, "-I$Bin/lib", '-e', $example or die "fork: $!";
my $said = join '', <$running>;
ok close $running, 'the example in CONTRIBUTING.md' or diag $said;
is scalar(() = $said =~ /^ok/mg), 5, 'tests what it says';

$SIG{ALRM} = sub { die "an origin did not end\n" };

for my $order ('the first first', 'the last first') {
    my @origins = map { Intermission::Test::Origin->new(port => take_port()) } 1 .. 3;
    my @pids = map { $_->{pid} } @origins;
    @origins = reverse @origins if $order eq 'the last first';
    my $ended = eval {
        alarm TIME_LIMIT;
        $_->stop for @origins;
        alarm 0;
        1;
    };
    ok $ended, "all origins end, $order" or kill KILL => @pids;
}

done_testing;
