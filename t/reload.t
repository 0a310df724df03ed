#!/usr/bin/env perl

# A reload while requests are held loses none of them and keeps the pause. What the old workers
# hold and what comes to the new ones is one queue, released in order.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

use constant EACH => 30;

my $t = Intermission::Test->new(workers => 2);
my $origin = $t->origin;
my $configuration = default_server(<<'EOF');
    listen 127.0.0.1:%%PORT_80%%;
    proxy_set_header X-Generation 1;
EOF
$t->start($configuration);

my (@clients, @expected);

sub hold_some {
    my ($name) = @_;
    for my $number (1 .. EACH) {
        push @expected, my $uri = "/$name-$number";
        my $body = $number % 5 ? '' : 'x' x 10_000;
        push @clients, $t->hold($body ? 'POST' : 'GET', $uri, body => $body);
    }
    return;
}

$t->enable;
hold_some('first');

# Three generations of workers that all hold requests.
for my $generation (2, 3) {
    $t->reload($configuration =~ s/X-Generation 1/X-Generation $generation/r);
    my $status = $t->status;
    is "$status->{state} $status->{held}", "paused ${\ scalar @clients}",
        "reload $generation: the pause and all held requests are there";
    hold_some("generation-$generation");
}
cmp_ok scalar($t->server->workers), '>=', 4, 'old workers stay while they hold requests';
ok !(grep { !$_->silent } @clients), 'nobody was answered or cut off';

# A client of an old worker can still leave.
my $leaving = EACH / 2;
(splice @clients, $leaving, 1)->close;
splice @expected, $leaving, 1;
$t->wait_held(scalar @clients);

$t->disable;
my @answered = grep { $_->response->status == 200 } @clients;
is scalar @answered, scalar @clients, 'everybody is answered';
is_deeply [ $origin->uris ], \@expected, 'all in the order in which they came';
my %generations = map { $_->{headers}{'x-generation'} => 1 } $origin->requests;
is join(' ', sort keys %generations), '1 2 3', 'by the workers that held them';

wait_for { $t->server->workers == 2 } 'the old workers to end';
pass 'the old workers end when they are done';
$t->wait_state('open');
$t->wait_in_flight(0);
is $t->get('/after')->status, 200, 'the app is open';

# A reload that fails changes nothing.
$t->enable;
my $held = $t->hold(GET => '/held');
$t->expect_accident(qr/unknown directive "nonsense"/);
$t->configure("nonsense;\n$configuration");
$t->server->signal('HUP');
$t->server->wait_logged(qr/nonsense/);
is $t->status->{held}, 1, 'a reload that fails leaves the queue';
$t->disable;
is $held->response->status, 200, 'as it was';

$t->finish;
