package Intermission::Test::Neighbour;

# Modules of others, as the distribution has them, loaded before ours and behind it.
#
#     beside [qw(ndk_http_module ngx_http_lua_module)], sub { my $t = shift; ... };
#
# runs what is given twice, as a subtest each, with a test that loads these modules before or behind ours. Where nginx does not
# have them, or they are for another nginx, the whole file is skipped.

use strict;
use warnings;

use Exporter qw(import);
use Test::More;

use Intermission::Test;

our @EXPORT = qw(beside);

use constant FOLDER => '/usr/lib/nginx/modules';

sub beside {
    my ($modules, $test) = @_;
    my @files = map { FOLDER . "/$_.so" } @$modules;
    my $load = join '', map {"load_module $_;\n"} @files;
    need($load, grep { !-e } @files);
    for my $order ([ before => { first => $load } ], [ behind => { main => $load } ]) {
        my ($where, $how) = @$order;
        subtest "loaded $where ours" => sub {
            my $t = Intermission::Test->new(%$how);
            $test->($t);
            $t->finish;
        };
    }
    return;
}

sub need {
    my ($load, @missing) = @_;
    plan skip_all => "there is no $missing[0]" if @missing;
    my ($works, $says) = Intermission::Test->new(main => $load)->check('');
    return if $works;
    plan skip_all => 'they are for another nginx' if $says =~ /binary compatible|instead of/;
    die $says;
}

1;
