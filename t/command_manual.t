#!/usr/bin/env perl

# The manual page is what the help texts of the command make it, and bash completes what they name.

use strict;
use warnings;

use Cwd qw(abs_path);
use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $root = abs_path("$Bin/..");

sub has { return scalar grep {-x} map {"$_/$_[0]"} split /:/, $ENV{PATH} }

# The page.
my $page = Intermission::Test::Server::slurp("$root/docs/intermission.1");
is `$root/scripts/lib/manpage`, $page,
    'docs/intermission.1 is up to date (scripts/lib/manpage >docs/intermission.1)';

for my $command (qw(run status enable disable maintenance watch)) {
    my $help = `$root/scripts/intermission $command --help`;
    my ($section) = $page =~ /^\.SH INTERMISSION \U$command\E\n(.*?)(?=^\.SH |\z)/ms;
    my @options = $help =~ /^  (--[a-z-]+)/mg;
    is_deeply [ map {s/\\//gr} $section =~ /^\.B (\\-\\-[a-z\\-]+)/mg ], \@options,
        "$command: the page has its options";
}

SKIP: {
    skip 'there is no groff', 2 if !has('groff');
    is `groff -man -Tascii -ww -z $root/docs/intermission.1 2>&1`, '', 'groff has no objections';
    my $text = `groff -man -Tascii -P-c $root/docs/intermission.1` =~ s/.\x08//gr;
    like $text, qr/^NAME\n +intermission - hold .*^SYNOPSIS\n.*^EXIT STATUS\n.*^ +75 /ms,
        'and shows it';
}

# Completion.
SKIP: {
    skip 'there is no bash', 1 if !has('bash');

    my $complete = sub {
        my ($line) = @_;
        local $ENV{COMP_LINE} = $line;
        my $words = `PATH=$root/scripts:\$PATH bash -c '
            . $root/scripts/intermission.bash
            COMP_POINT=\${#COMP_LINE} COMP_WORDS=(intermission)
            _intermission
            printf "%s\\n" "\${COMPREPLY[\@]}"' 2>&1`;
        my %words = map { $_ => 1 } split ' ', $words;
        return join ' ', sort keys %words;
    };
    my %completed = (
        '' => '--help disable enable maintenance run status watch',
        'e' => 'enable',
        'help w' => 'watch',
        'enable --' => '--app --drain --for --help --json --keep --url',
        'enable --url http://127.0.0.1/_intermission --d' => '--drain',
        'enable --url=unix:/run/nginx.sock --k' => '--keep',
        'enable --json --u' => '--url',
        'enable --url ' => '',
        'enable --app --k' => '',
        'run --url x --c' => '--canary --concurrency',
        'run --url x -- printe' => 'printenv',
        'run --url x printe' => 'printenv',
        'run --url x -- printenv --' => '',
        'run --url x printenv HO' => '',
        'status ' => '',
        'nothing --' => '--help',
    );
    for my $typed (sort keys %completed) {
        is $complete->("intermission $typed"), $completed{$typed}, "intermission $typed<Tab>";
    }
}

done_testing;
