#!/usr/bin/env perl

# Two nginxes with one state file, as during a binary upgrade, whose apps differ in what the file
# need not be told: in their order, in a pace, in how far a release has come. They agree, and leave
# the file alone then: neither writes again what the other has just written.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;
use Time::HiRes qw(time);

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::StateFile qw(state_file);

use constant MANY => 1000;

my ($one, $two) = map { Intermission::Test->new } 1 .. 2;
my $origin = $one->origin('/slow' => { wait => 1 });
my $port = $one->port('ORIGIN');
my $folder = $one->shared_folder('state');

sub start {
    my ($t, $pace, $zone) = @_;
    my $shared = "intermission_state_file $folder/file; intermission_zone $zone;";
    return $t->start($shared . default_server(<<"EOF"));
        intermission_app_name \$http_app;
        intermission_release_rate $pace;
        location / { proxy_pass http://127.0.0.1:$port; }
EOF
}

start($one, '100r/s', '1m');
start($two, '200r/s', '64k');

sub serial { slurp("$folder/file") =~ /^serial (\d+)/m ? $1 : 0 }

sub is_left_alone {
    my ($what) = @_;
    my ($last, $since) = (serial(), time);
    my $quiet = eval {
        wait_for {
            my $now = serial();
            ($last, $since) = ($now, time) if $now != $last;
            time > $since + 0.8;
        } 'it';
    };
    return ok $quiet, "$what: the file is left alone";
}

sub become {
    my ($t, $app, $state) = @_;
    return becomes { $t->status($app)->{state} } $state, "$app becomes $state";
}

sub to { return (headers => ["App: $_[0]"]) }

# The order in which the apps came.
$one->get('/', to($_)) for 'shop', 'blog';
$two->get('/', to($_)) for 'blog', 'shop';
$one->enable($_) for 'shop', 'blog';
become($two, $_, 'paused') for 'shop', 'blog';
is_left_alone('another order');

# The pace of the release to come is that of the last call.
$two->enable('shop');
is_left_alone('another pace');

# What maintenance does not use, and what is left of it.
$one->must('maintenance', app => 'shop', retry_after => '10s');
become($two, 'shop', 'maintenance');
is_left_alone('maintenance');
$two->must('maintenance', app => 'shop', retry_after => '20s');
wait_for { ($one->get('/', to('shop'))->header('Retry-After') // 0) == 20 }
    'the other to say when to come back as well';
is_left_alone('maintenance with another Retry-After');
$two->enable('shop');
become($one, 'shop', 'paused');
is_left_alone('a pause after maintenance');

# A canary at one of them counts as a pause for the other, and ends for its own reasons.
my $held = $one->hold(GET => '/slow', app => 'shop', to('shop'));
my $canary = $one->call('disable', app => 'shop', canary => 1);
wait_for { grep { $_->{uri} eq '/slow' } $origin->requests } 'the canary to reach the origin';
$two->disable('blog');
become($one, 'blog', 'open');
ok $canary->silent, 'a change of another app does not end a canary';
is_left_alone('a canary');
$origin->answer;
is $held->response->status, 200, 'the canary comes back';
like $canary->response->body, qr/^Pause disabled/, 'and says so';
# Before the file has been told of that.
$two->enable('blog');
become($one, 'blog', 'paused');
become($two, 'shop', 'open');
is $one->status('shop')->{state}, 'open', 'a change of another app does not undo that either';
$one->disable('blog');
become($two, 'blog', 'open');

# A release takes its time at one of them, and none at the other.
$one->enable('shop');
become($two, 'shop', 'paused');
my @held = map { my $t = $_; map { $t->hold(GET => "/$_", app => 'shop', to('shop')) } 1 .. 5 }
    $one, ($two) x 6;
$one->must('disable', app => 'shop', rate => '5r/s', burst => 1);
become($one, 'shop', 'open');
become($two, 'shop', 'releasing');
is_left_alone('a release at one of them');
is $two->status('shop')->{state}, 'releasing', 'it goes on';
$two->must('disable', app => 'shop', rate => '1000r/s');
is $_->response->status, 200, 'and ends' for @held;
become($two, 'shop', 'open');

# A release has just ended at one of them, and the file has not been told, when the other pauses again.
$one->enable('shop');
become($two, 'shop', 'paused');
@held = map { $one->hold(GET => "/$_", app => 'shop', to('shop')) } 1 .. 2;
$one->must('disable', app => 'shop', rate => '2r/s', burst => 1);
become($two, 'shop', 'open');
is $_->response->status, 200, 'the release ends' for @held;
is $one->status('shop')->{state}, 'open', 'the app is open';
$two->enable('shop');
become($one, 'shop', 'paused');
is_left_alone('a pause right after a release');
is_deeply [ map { $_->status('shop')->{state} } $one, $two ], [ ('paused') x 2 ], 'the pause stays';

# What one has resumed because its time was up is still paused by the clock of the other.
$one->disable('shop');
become($two, 'shop', 'open');
is_left_alone('all is open');
my $until = int(1000 * time) - 1;
my $pause = "paused late until=$until rate=100 burst=0 concurrency=0 timeout=60000";
my $new = $one->write_file('new', state_file(serial() + 1, $pause));
rename $new, "$folder/file" or die "rename: $!";
wait_for { slurp("$folder/file") =~ /^end 0 /m } 'it to be corrected';
unlike $one->server->log, qr/"late" from open to paused by the state file/,
    'a pause whose deadline has passed is none, at no moment';

# The smaller zone has no room for what is paused in the larger one, and does not end that.
for my $number (1 .. MANY) {
    $one->enable("app-$number");
    wait_for { $two->control('status', app => "app-$number")->status == 200 } 'the other';
    last if $two->control('enable', app => "own-$number")->status == 507;
    $two->disable("own-$number");
}
$one->enable('one-more');
is_left_alone('no room');
is $one->status('one-more')->{state}, 'paused', 'and what one has no room for stays paused';

# What that one cannot write itself meanwhile does not make it deaf to what the other does.
$two->enable('app-2');
$one->must('maintenance', app => 'app-3');
become($two, 'app-3', 'maintenance');
$one->enable('app-3');
become($two, 'app-3', 'paused');
$two->disable('app-1');
become($one, 'app-1', 'open');
become($two, 'one-more', 'paused');
is $one->status('one-more')->{state}, 'paused', 'and is taken up when there is room';
is_left_alone('room again');

$_->stop for $one, $two;
done_testing;
