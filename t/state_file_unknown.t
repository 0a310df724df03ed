#!/usr/bin/env perl

# An app is resumed at an nginx that does not know yet that another one has paused it, as the file was locked:
# that counts all the same, once the file can be had.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::StateFile qw(keep_lock);

my ($one, $two) = map { Intermission::Test->new } 1 .. 2;
my $folder = $one->shared_folder('state');
for my $t ($one, $two) {
    $t->start("intermission_state_file $folder/file;" . default_server(<<'END'));
        intermission_app_name $http_app;
        location / { return 200 "ok\n"; }
END
}
$_->enable('known') for $one, $two;

my ($worker) = $two->server->workers;
kill STOP => $worker;
$one->enable('shop');
my $lock = keep_lock("$folder/file");
my $call = $two->call('disable', app => 'shop');
kill CONT => $worker;
$two->status('known');
is $one->status('shop')->{state}, 'paused', 'the other does not know yet';
undef $lock;
is $call->response->status, 200, 'the call is answered';
for my $t ($one, $two) {
    becomes { $t->status('shop')->{state} } 'open', 'the app is open';
}
unlike slurp("$folder/file"), qr/shop/, 'the file says so';
is $_->status('known')->{state}, 'paused', 'the other app is as it was' for $one, $two;

$_->stop for $one, $two;
done_testing;
