#!/usr/bin/env perl

# The documents say what the code does: every directive, call, argument, variable and metric is in
# the reference, and it names no others; every link leads somewhere; every example of a
# configuration is one that nginx takes; and the README stays short.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Sample qw(settled);

my $root = abs_path("$Bin/..");
chdir $root or die "$root: $!";

# The parts of a text, by their heading of that level.
sub parts {
    my ($text, $level) = @_;
    return $text =~ /^#{$level} ([^\n]+)\n(.*?)(?=^#{1,$level} |\z)/gms;
}

sub words_of_list { return $_[0] =~ /"(\w+)"/g }

sub same {
    my ($said, $known, $what) = @_;
    my %said = map { $_ => 1 } @$said;
    return is_deeply [ sort keys %said ], [ sort @$known ], $what;
}

my @documents = (glob('*.md'), glob('docs/*.md'));
my $reference = slurp('docs/ngx_http_intermission_module.md');
my $readme_lines = () = slurp('README.md') =~ /\n/g;
cmp_ok $readme_lines, '<', 250, 'the README is read in ten minutes';

my $t = Intermission::Test->new;
$t->start;

# Directives and variables.
my $name = qr/ngx_string!\("(intermission\w*)"\)/;
my @directives = slurp('src/nginx/setup/directives.rs', glob 'src/nginx/setup/directives/*.rs') =~ /$name/g;
cmp_ok scalar @directives, '>', 10, 'the code has directives';
same([ $reference =~ /^#### `(\w+)`$/gm ], \@directives, 'the reference has them, and no others');
my %chapter_of = parts($reference, 2);
my %section_of = parts($reference, 3);
my %about = parts($reference, 4);
my %changes_of = parts(slurp('CHANGELOG.md'), 2);
my ($table) = slurp('src/nginx/setup/directives.rs') =~ /COMMANDS: Commands = (.*?)^\]\);/ms;
my %places_of = $table =~ /$name,\s*(\w+),/g;
my %context_of = (
    PLACES => 'http, server, location',
    NGX_HTTP_MAIN_CONF => 'http',
    NGX_HTTP_LOC_CONF => 'location'
);
for my $directive (@directives) {
    my $about = $about{"`$directive`"} // '';
    my ($head) = $about =~ /\A\s*^```\n(.*?)^```/ms;
    my %said = ($head // '') =~ /^(\w+): +(.+)$/gm;
    like $said{Syntax} // '', qr/^$directive .+;$/, "$directive: syntax";
    like $said{Default} // '', qr/^(?:$directive .+;|—)$/, "$directive: default";
    is $said{Context}, $context_of{ $places_of{$directive} // '' }, "$directive: context";
    my ($changes) = map { $changes_of{$_} } grep {/^\Q$said{Since}\E /} keys %changes_of;
    like $changes // '', qr/`$directive`/, "$directive: the changelog has it in that version";
}
my @variables = slurp('src/nginx/request/variables.rs') =~ /add_variable::<\w+>\("(\w+)"\)/g;
same([ $chapter_of{Variables} =~ /^\| `\$(\w+)`/gm ], \@variables, 'the variables');
my ($endings) = slurp('src/worker/passage.rs') =~ /impl Ending \{(.*?)^\}/ms;
like $chapter_of{Variables}, qr/`$_`/, "what \$intermission_status can be: $_"
    for $endings =~ /=> "([A-Z_-]+)"/g;

# Calls and their arguments.
my $control = slurp('src/control.rs');
my ($list) = $control =~ /const CALLS: &str = "(.*)";/;
my @calls = split /, /, $list;
same([ map { /^`(\w+)`$/ ? $1 : () } keys %section_of ], \@calls, 'the calls');
my ($arguments) = $control =~ /fn arguments\(.*?\{(.*?)^    \}/ms;
for my $call (@calls) {
    my ($names) = $arguments =~ /Self::\u$call\b[^=]*=> &\[(.*?)\]/s;
    my @said = $section_of{"`$call`"} =~ /^\| `(\w+)=/gm;
    same(\@said, [ words_of_list($names) ], "the arguments of $call");
}
my ($common) = slurp('src/control/args.rs') =~ /const COMMON: .* = \[(.*)\];/;
my ($intro) = split /^### /m, $chapter_of{Calls};
like $intro, qr/`$_=/, "all calls know $_" for words_of_list($common);

# What is answered.
my $code = slurp('src/nginx/control.rs', glob 'src/nginx/control/*.rs') =~ s{//.*}{}gr;
my $answers = qr/\b(?:error|line|conclude|of_reports)?\(\s*(?:worker,\s*)?([2-5]\d\d),/;
my %status = map { $_ => 1 } $code =~ /$answers/g;
$status{400} = 1 if $code =~ /bad_request/;
same([ $section_of{'What is answered'} =~ /^\| (\d{3}) /gm ], [ keys %status ], 'the status codes');
my %status_line = map { /^(\w+):/ ? ($1 => 1) : () } split /\n/, $t->control('status')->body;
my ($example) = $section_of{'`status`'} =~ /^```\n\$ curl [^\n]*\n(.*?)^```/ms;
same([ $example =~ /^(\w+):/gm ], [ keys %status_line ], 'the lines of a status');
like $reference, qr/`\Q$_\E`/, "the reference quotes: $_"
    for slurp('src/control.rs', 'src/control/report.rs') =~ /=> "(\w+(?:,? \w+)+\.)"/g;

# Metrics.
my @metrics = $t->control('metrics')->body =~ /^# TYPE (\w+)/gm;
same([ $reference =~ /^\| `(intermission_\w+)` \|/gm ], \@metrics, 'the metrics');

# Words that look like one of these are one of these.
my %known = map { $_ => 1 } @directives, @variables, @metrics;
my $moving = 'docs/compare.md';
my @ours = (grep { $_ ne $moving } @documents);
for my $file (@ours, glob('nginx-conf/*'), 'docs/alerts.yml', glob('cli/src/help/*')) {
    my @words = slurp($file) =~ /(?<![\w\/.])(intermission_\w+)/g;
    my @unknown = grep { !$known{s/_(?:bucket|sum|count)$//r} } @words;
    is_deeply \@unknown, [], "$file names nothing that there is not";
}
my @here = map { (split /\|/)[-1] } slurp($moving) =~ /^\|(.*)\|$/gm;
my @unknown = grep { !$known{$_} } map {/`(intermission_\w+)/g} @here;
is_deeply \@unknown, [], 'nor does what other tools are compared with';

# Links, and files that are named.
sub anchors {
    my ($file) = @_;
    my $text = slurp($file) =~ s/^```.*?^```//gmsr;
    return map { lc($_) =~ s/[^\w\- ]//gr =~ s/ /-/gr } $text =~ /^#+ (.+)$/gm;
}

for my $file (@documents) {
    my $text = slurp($file);
    my $base = dirname($file);
    my @dead;
    for my $link ($text =~ /\]\((?!https?:)([^)\s]+)\)/g) {
        my ($path, $anchor) = $link =~ /^([^#]*)(?:#(.*))?$/;
        my $target = $path eq '' ? $file : "$base/$path";
        push @dead, $link if !-e $target;
        push @dead, $link if defined $anchor && !grep { $_ eq $anchor } anchors($target);
    }
    push @dead, grep { !-e } $text =~ m{\b((?:t|scripts)/\w[\w/]*(?:\.\w+)?)}g;
    is_deeply \@dead, [], "$file: every link leads to something";
}

# Examples: for the http block, for a server, or for a location.
for my $file (@documents) {
    my @blocks = slurp($file) =~ /^([ ]*)```nginx\n(.*?)^\1```/gms;
    while (my (undef, $block) = splice @blocks, 0, 2) {
        my $text = settled($t, $block =~ s/^\s*load_module [^;]*;//gmr);
        my ($ok, $said) = $t->check($text);
        my ($first) = $block =~ /(\S.*)/;
        ok $ok, "$file: nginx takes the example that begins with '$first'" or diag $said;
    }
}

# The arithmetic of the zone, for the default size.
SKIP: {
    my $cores = () = slurp('/proc/cpuinfo') =~ /^processor\s*:/gm;
    skip 'the numbers are for up to 8 workers', 1 if $cores > 8;
    $t->enable;
    my %value = $t->control('metrics')->body =~ /^intermission_zone_(\w+)_bytes (\d+)$/gm;
    my ($apps) = $reference =~ /room for about (\d+) apps/;
    my $real = $value{size} / $value{used};
    cmp_ok abs($real - $apps), '<', 10, "there is room for $real apps, and the reference says $apps";
}

$t->finish;
