#!/usr/bin/env perl

# nginx is told to quit while requests are held: nobody would be left to resume, so they are let
# through, in order, before it ends. Also those that the workers of an earlier configuration hold,
# and also where a worker is kept by something else.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;
use Time::HiRes qw(time);

use lib "$Bin/lib";
use Intermission::Test;

use constant { EACH => 20, SOON => 5 };

my $http = default_server(<<'EOF_HTTP');
    listen 127.0.0.1:%%PORT_80%%;
    intermission_interval 1h;
    location /open/ { intermission off; proxy_pass http://%%ORIGIN%%; }
EOF_HTTP

my (@clients, @uris);

sub hold_some {
    my ($t, $name) = @_;
    for my $number (1 .. EACH) {
        push @uris, my $uri = "/$name-$number";
        push @clients, $t->hold(($number % 3 ? 'GET' : 'POST'), $uri, body => 'x' x $number);
    }
    return;
}

sub quits_and_releases {
    my ($t, $what) = @_;
    my $started = time;
    $t->server->signal('QUIT');
    is answered(@clients), scalar @clients,
        "$what: everybody is let through";
    cmp_ok time - $started, '<', SOON, '... at once, not only when the interval is over';
    my @arrived = grep { !m{^/open/} } $t->origin->uris;
    is_deeply \@arrived, \@uris, '... in the order in which they came';
    $t->origin->answer;
    @clients = @uris = ();
    return;
}

{
    my $t = Intermission::Test->new(workers => 2);
    $t->origin;
    $t->start($http);
    $t->enable;
    hold_some($t, 'held');
    quits_and_releases($t, 'a quit while holding');
    $t->stop;
}

{
    my $t = Intermission::Test->new(workers => 2);
    $t->origin;
    $t->start($http);
    $t->enable;
    for my $generation ('first', 'second', 'third') {
        hold_some($t, $generation);
        $t->reload if $generation ne 'third';
    }
    quits_and_releases($t, 'a quit after reloads');
    $t->stop;
}

# All that is held, is held by old workers; the new ones end without having looked.
{
    my $t = Intermission::Test->new(workers => 2);
    $t->origin;
    $t->start($http);
    $t->enable;
    hold_some($t, 'old');
    $t->reload;
    quits_and_releases($t, 'a quit with all held by old workers');
    $t->stop;
}

# A worker that holds nothing goes on with a long request.
{
    my $t = Intermission::Test->new(workers => 2);
    my $origin = $t->origin('/open/long' => { wait => 1 });
    $t->start($http);
    my ($holder, $other) = $t->server->workers;
    my $long = $t->client_at($other)->get('/open/long');
    $origin->wait_requests(1);
    $t->enable;
    push @uris, '/held';
    push @clients, $t->hold(GET => '/held', client => $t->client_at($holder));
    quits_and_releases($t, 'a quit beside a long request');
    is $long->response->status, 200, 'which ends as well';
    $t->stop;
}

done_testing;
