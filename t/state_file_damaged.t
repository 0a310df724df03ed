#!/usr/bin/env perl

# A state file that cannot be used is no reason not to start, and no reason to be silent: one line
# at level "error" names the file and what is wrong with it, and that all apps are open. The file is
# put aside, and the next change writes a good one.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $http = 'intermission_state_file %%FOLDER%%/state/file;' . default_server(<<'EOF');
    listen 127.0.0.1:%%PORT_80%%;
    location / { return 200 "ok\n"; }
EOF

sub new_test {
    my $t = Intermission::Test->new(workers => 2);
    $t->shared_folder('state');
    return $t;
}

# What a good one looks like.
my $t = new_test();
$t->start($http);
$t->enable;
my $good = slurp($t->folder . '/state/file');
like $good, qr/\Aintermission 2\nserial 1\npaused default .*\nend 1 [0-9a-f]{16}\n\z/,
    'the file is a few lines of text';
$t->stop;

my %damaged = (
    'empty' => ['', qr/is empty/],
    'truncated in a line' => [ substr($good, 0, 40), qr/is truncated/ ],
    'truncated before its end' => [ $good =~ s/^end.*\n//mr, qr/is truncated/ ],
    'truncated in its last line' => [ substr($good, 0, -5), qr/is truncated/ ],
    'corrupt' => [ $good =~ s/paused/pawsed/r, qr/is corrupt/ ],
    'changed by hand' => [ $good =~ s/default/another/r, qr/is corrupt/ ],
    'binary' => [ join('', map {chr} 0 .. 255) x 20, qr/is corrupt/ ],
    'all zeros' => [ "\0" x 4096, qr/is (?:corrupt|truncated)/ ],
    'longer than it should be' => [ $good . $good, qr/is corrupt/ ],
    'of a newer version' => [ $good =~ s/intermission 2/intermission 3/r, qr/was written by a newer version/ ],
    'of no version' => [ $good =~ s/intermission 2/intermission x/r, qr/is corrupt/ ],
    'of somebody else' => [ "user www-data;\nevents {}\n", qr/is corrupt/ ],
);

# Each pause has a number of its own, and so a checksum.
sub but_for_number {
    my ($text) = @_;
    return $text =~ s/ pause=\d+//r =~ s/[0-9a-f]{16}$//mr;
}

for my $what (sort keys %damaged) {
    my ($content, $says) = @{ $damaged{$what} };
    subtest "a file that is $what" => sub {
        my $t = new_test();
        my $file = $t->write_file('state/file', $content);
        $t->start($http);
        is $t->get('/')->status, 200, 'nginx starts and serves';
        is $t->status->{state}, 'open', 'the app is open';
        my @lines = $t->server->logged(qr/state file/);
        like $lines[0], qr{\[error\] .* state file "\Q$file\E" $says.*all apps are open},
            'the log names the file, the trouble and what follows';
        is scalar(grep {/\[error\]/} @lines), 2, 'and where the file went, once';
        is -s "$file.bad", length $content, 'the file is put aside';
        $t->enable;
        is but_for_number(slurp($file)), but_for_number($good),
            'the next change writes a good one';
        $t->stop;
    };
}

done_testing;
