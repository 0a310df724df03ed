#!/usr/bin/env perl

# The dashboard does not call a backend quiet for which a request was abandoned just now.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Browser;

my $browser = Intermission::Test::Browser->new;
my $t = Intermission::Test->new(workers => 2);
my $origin = $t->origin('/slow' => { wait => 1 });
$t->start(default_server(<<'EOF'));
    listen 127.0.0.1:%%PORT_80%%;
EOF

my $slow = $t->client->get('/slow');
$origin->wait_requests(1);
$t->enable;
$browser->open('http://127.0.0.1:' . $t->port . '/intermission/');
$browser->wait_text('.verdict', qr/not quiet yet: 1 request still in flight/);
$slow->close;
$browser->wait_text('.verdict', qr/a request was abandoned \d+ s ago: the backend may be at work/);
$browser->wait_text('.verdict', qr/quiet: nothing is in flight\. You may go on/);
is $browser->run('return document.querySelector("[data-total=abandoned]").textContent'), '1',
    'it is counted';

$t->finish;
