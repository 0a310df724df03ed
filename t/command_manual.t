#!/usr/bin/env perl

# The manual page and the completion are what the definitions of the command make them.

use strict;
use warnings;

use Cwd qw(abs_path);
use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Command;
use Intermission::Test::Files qw(program);

my $root = abs_path("$Bin/..");
my ($program) = Intermission::Test::Command::program();
my @commands = qw(run status enable disable maintenance watch);

# The page.
my $page = slurp("$root/docs/intermission.1");
is `$program manual`, $page,
    'docs/intermission.1 is up to date (target/bin/intermission manual >docs/intermission.1)';

for my $command (@commands) {
    my $help = `$program $command --help`;
    my ($section) = $page =~ /^\.SH "INTERMISSION \U$command\E"\n(.*?)(?=^\.SH |\z)/ms;
    my @options = grep { $_ ne '--help' } $help =~ /^ +(?:-h, )?(--[a-z-]+)/mg;
    cmp_ok scalar @options, '>', 2, "$command: the help has options";
    is_deeply [ map {s/\\//gr} $section =~ /^\\fB(\\-\\-(?:[a-z]|\\-)+)/mg ], \@options,
        'and the page has them';
}

SKIP: {
    skip 'there is no groff', 2 if !program('groff');
    is `groff -man -Tascii -ww -z $root/docs/intermission.1 2>&1`, '', 'groff has no objections';
    my $text = `groff -man -Tascii -P-c $root/docs/intermission.1` =~ s/.\x08//gr;
    like $text, qr/^NAME\n +intermission - hold .*^SYNOPSIS\n.*^EXIT STATUS\n.*^ +75 /ms,
        'and shows it';
}

# Completion.
for my $shell (qw(bash zsh fish)) {
    my $script = `$program completion $shell`;
    like $script, qr/\Q$_\E/, "$shell: it knows $_" for @commands, 'drain', 'canary';
    SKIP: {
        skip "there is no $shell", 1 if !program($shell);
        open my $check, '|-', "$shell -n 2>&1" or die "$shell: $!";
        print {$check} $script;
        ok close $check, 'and the shell can read it';
    }
}

SKIP: {
    skip 'there is no bash', 1 if !program('bash');

    my $complete = sub {
        my ($line) = @_;
        my @words = split / /, $line, -1;
        my $previous = @words > 1 ? $words[-2] : '';
        local @ENV{qw(WORDS CURRENT PREVIOUS PROGRAM)} = ("@words", $words[-1], $previous, $program);
        my $words = `bash -c '
            eval "\$("\$PROGRAM" completion bash)"
            IFS=" " read -ra COMP_WORDS <<<"\$WORDS"
            [[ -n \$CURRENT ]] || COMP_WORDS+=("")
            COMP_CWORD=\$((\${#COMP_WORDS[@]} - 1))
            _intermission intermission "\$CURRENT" "\$PREVIOUS"
            printf "%s\\n" "\${COMPREPLY[\@]}"' 2>&1`;
        my %words = map { $_ => 1 } split ' ', $words;
        return join ' ', sort keys %words;
    };
    my %completed = (
        'e' => 'enable',
        'help w' => 'watch',
        'enable --' => '--app --drain --for --help --json --keep --settle --url',
        'enable --url http://127.0.0.1/_intermission --d' => '--drain',
        'enable --url=unix:/run/nginx.sock --k' => '--keep',
        'enable --json --u' => '--url',
        'run --url x --c' => '--canary --concurrency',
        'completion z' => 'zsh',
    );
    for my $typed (sort keys %completed) {
        is $complete->("intermission $typed"), $completed{$typed}, "intermission $typed<Tab>";
    }
}

done_testing;
