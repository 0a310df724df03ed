#!/usr/bin/env perl

# Reloads that touch the zone. One that would lose a pause, or what is held, is refused with a line
# that says what to do: another size, or no gate any more while an app is not open. What loses
# nothing is taken up: the gate removed and added again while all apps are open, and the
# module from another file.

use strict;
use warnings;
use feature qw(state);

use File::Copy qw(copy);
use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

use constant COUNT => 20;

my $t = Intermission::Test->new(workers => 2);
my $origin = $t->origin;

my $module = $ENV{INTERMISSION_MODULE} || Intermission::Test::MODULE();
local $ENV{INTERMISSION_MODULE} = $module;

# Another file with the module, as an upgrade brings it. It has to have another name: under the same
# one the system's loader takes what it has loaded already.
sub replace_module {
    my $new = $t->folder . '/module-' . ++(state $copies) . '.so';
    copy($module, $new) or die "copy: $!";
    $ENV{INTERMISSION_MODULE} = $new;
    return;
}

sub gated {
    my ($zone) = @_;
    return "intermission_zone $zone;" . default_server(<<'EOF');
        listen 127.0.0.1:%%PORT_80%%;
EOF
}

my $bare = <<'EOF';
    server {
        listen 127.0.0.1:%%PORT_80%%;
        location / { proxy_pass http://%%ORIGIN%%; }
    }
EOF

sub refused {
    my ($what, $http, $says) = @_;
    my $before = () = $t->server->log =~ /$says/g;
    $t->expect_accident($says);
    $t->configure($http);
    $t->server->signal('HUP');
    wait_for { (() = $t->server->log =~ /$says/g) > $before } "$what to be refused";
    return pass "$what is refused with a clear line";
}

$t->start(gated('512k'));
my @clients;

sub still_held {
    my ($what) = @_;
    my $status = $t->status;
    is "$status->{state} $status->{held}", "paused ${\ scalar @clients}", "$what: all as before";
    return;
}

sub hold_some {
    my ($name) = @_;
    push @clients, map { $t->hold(GET => "/$name-$_") } 1 .. COUNT;
    return;
}

my $resized = qr/"intermission_zone" cannot change from 524288 to 1048576 bytes/;
my $removed = qr/uses "intermission" no more, but an app is not open; disable it before/;

$t->enable;
hold_some('first');
refused('another size', gated('1m'), $resized);
still_held('another size');
refused('a configuration without the gate', $bare, $removed);
still_held('a configuration without the gate');

replace_module();
$t->reload(gated('512k'));
still_held('another copy of the module');
hold_some('second');
$t->must('maintenance');
is scalar(grep { $_->response->status == 503 } @clients), 2 * COUNT, 'maintenance reaches both';
@clients = ();
refused('a configuration without the gate, under maintenance', $bare, $removed);
$t->disable;

$t->enable;
hold_some('third');
replace_module();
$t->reload(gated('512k'));
hold_some('fourth');
$t->disable;
is answered(@clients), 2 * COUNT, 'copies release together';
is_deeply [ $origin->uris ], [ map { my $name = $_; map {"/$name-$_"} 1 .. COUNT } 'third', 'fourth' ],
    'in order';
@clients = ();
$t->wait_state('open');

# With all apps open, the gate can go and come back, with another size as well.
$t->reload($bare);
is $t->get('/')->status, 200, 'the gate can be removed while all apps are open';
is $t->control('status')->body, "/intermission/status\n", 'it is gone';
$t->reload(gated('1m'));
is $t->status->{state}, 'open', 'and added again, with another size';
$t->enable;
hold_some('fifth');
still_held('the new zone');
refused('another size', gated('512k'), qr/cannot change from 1048576 to 524288 bytes/);
$t->disable;
is answered(@clients), COUNT, 'all are released';
@clients = ();
$t->wait_state('open');

# Without the module there is nobody to refuse: what is held is let through, as at the end of nginx.
$t->enable;
hold_some('sixth');
$origin->forget;
{
    local $ENV{INTERMISSION_MODULE} = '';
    $t->reload($bare);
}
is answered(@clients), COUNT,
    'a reload without the module lets go what is held';
is_deeply [ $origin->uris ], [ map {"/sixth-$_"} 1 .. COUNT ], 'in order';

$t->finish;
