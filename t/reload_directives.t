#!/usr/bin/env perl

# Reloads that change directives, several in a row, while paused and in the middle of a release:
# more workers and fewer, another name for the app, another longest time, another interval. What is
# held stays held by the rules under which it came, and is released in order.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;
use Time::HiRes qw(sleep time);

use lib "$Bin/lib";
use Intermission::Test;

use constant { EACH => 10, PACED => 60, LEASE => 1 };

sub configuration {
    my (%given) = (app => 'shop', max_time => '300s', interval => '250ms', @_);
    return default_server(<<"EOF");
        listen 127.0.0.1:%%PORT_80%%;
        intermission_app_name $given{app};
        intermission_max_time $given{max_time};
        intermission_interval $given{interval};
EOF
}

my $t = Intermission::Test->new(workers => 2);
my $origin = $t->origin;
my $began = time;
$t->start(configuration(interval => '20s'));

my (@clients, @uris);

sub hold_some {
    my ($name) = @_;
    for my $number (1 .. EACH) {
        push @uris, my $uri = "/$name-$number";
        push @clients, $t->hold(GET => $uri, app => 'shop');
    }
    return;
}

sub reload {
    my ($workers, %given) = @_;
    $t->{workers} = $t->server->{workers} = $workers;
    my $before = $t->status('shop')->{held};
    $t->reload(configuration(%given));
    my $status = $t->status('shop');
    is "$status->{state} $status->{held}", "paused $before", "$workers workers: all as before";
    return;
}

sub all_released {
    my ($what) = @_;
    is answered(@clients), scalar @clients,
        "$what: everybody is answered";
    is_deeply [ $origin->uris ], \@uris, 'in the order in which they came';
    $t->wait_state('open', 'shop');
    $t->wait_in_flight(0, 'shop');
    wait_for { $t->server->workers == $t->{workers} } 'the old workers to end';
    $origin->forget;
    @clients = @uris = ();
    return;
}

# The old workers look at their queues every 20 s, and last did so before their lease was over.
$t->enable('shop');
hold_some('two');
reload(4);
hold_some('four');
reload(1, max_time => '1h');
hold_some('one');
reload(3, interval => '1h');
hold_some('three');
reload(2);
hold_some('two-again');
wait_for { time > $began + 2 * LEASE } 'the lease to be over';
$t->disable('shop');
all_released('after reloads to 4, 1, 3 and 2 workers');

# The longest time that holds for a request is that of the configuration under which it came.
$t->enable('shop');
my $old = $t->hold(GET => '/old', app => 'shop');
reload(2, max_time => '300ms');
is $t->get('/new')->status, 200, 'the new longest time holds for what comes after a reload';
ok $old->silent, 'not for what was held before';
@clients = ($old);
@uris = ('/new', '/old');
$t->disable('shop');
all_released('another longest time');

# Under its new name the app is another one; the old one can still be called by its name.
$t->reload(configuration());
$t->enable('shop');
hold_some('shop');
reload(2, app => 'store');
is $t->get('/store')->status, 200, 'an app of another name is open';
is $t->status('shop')->{held}, EACH, 'the old one still paused';
unshift @uris, '/store';
$t->disable('shop');
all_released('another name');

# In the middle of a release, with requests still coming.
$t->reload(configuration());
$t->enable('shop');
for my $number (1 .. PACED) {
    push @uris, "/paced-$number";
    push @clients, $t->hold(GET => "/paced-$number", app => 'shop');
}
$t->must('disable', app => 'shop', rate => '10r/s');
for my $round (1 .. 3) {
    wait_for { $origin->uris >= 10 * $round } 'the release to go on';
    $t->reload(configuration());
    my $held = $t->status('shop')->{totals}{held};
    push @uris, "/late-$round";
    push @clients, $t->client->get("/late-$round");
    wait_for { $t->status('shop')->{totals}{held} > $held } 'a request to queue behind it';
}
all_released('reloads in the middle of a release');

# Several at once, faster than workers come and go.
$t->enable('shop');
hold_some('storm');
for (1 .. 6) { $t->server->signal('HUP'); sleep 0.05 }
hold_some('in-the-storm');
wait_for { $t->server->logged(qr/signal 1 \(SIGHUP\)/) >= 8 } 'the last reload';
is $t->status('shop')->{held}, 2 * EACH, 'reloads on top of each other: all are still held';
$t->disable('shop');
all_released('reloads on top of each other');

$t->finish;
