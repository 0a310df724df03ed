#!/usr/bin/env perl

# A fleet that cannot be: what is wrong with etcd, its values, or the options is told in one line, with
# what to do, and nothing is paused. And etcd with TLS, certificates of clients, and users.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Command;
use Intermission::Test::Fleet;
use Intermission::Test::Ports qw(take_port);

my $fleet = Intermission::Test::Fleet->new(nodes => [qw(one two)])
    or plan skip_all => 'needs etcd (package etcd-server)';
my ($one, $two) = $fleet->nodes;
my $etcd = $fleet->etcd;
my $folder = $one->folder;
$fleet->agents;

# What a run says that comes to nothing.
sub refuses {
    my ($status, $pattern, $what, @options) = @_;
    my %environment = map {%$_} grep {ref} @options;
    my @to = grep { !ref } @options;
    my $command = intermission($one, \%environment, 'run', '--fleet' => 'shop', @to, 'touch', "$folder/run");
    is $command->status, $status, $what;
    like $command->said, qr/\Aintermission: [^\n]*$pattern[^\n]*\n\z/, 'is told in one line';
    ok !-e "$folder/run", 'nothing is run';
    is $fleet->states, 'open open', 'and nothing paused';
    return;
}

# Where etcd should be.
my @etcd = $etcd->options;
my $nowhere = 'http://127.0.0.1:' . take_port();
refuses(64, '--etcd is missing', 'no etcd');
refuses(64, 'expected http://HOST:2379', 'no address', '--etcd' => 'etcd1:2379');
refuses(64, '--concurrency does not go with --fleet', 'a pace that cannot be shared out', @etcd, '--concurrency' => 5);
refuses(64, '--for is 10s: expected at least 15s for a fleet', 'a short pause', @etcd, '--for' => '10s');
refuses(75, "etcd at $nowhere: nothing answers there: is it up, and is the address right\\?.*Nothing was paused",
    'an etcd that is not there', '--etcd' => $nowhere);
refuses(75, 'something else answers there \(200\).*: check the address', 'something else than etcd',
    '--etcd' => 'http://127.0.0.1:' . $one->port);
refuses(75, 'the name of the host is not known', 'an unknown host', '--etcd' => 'http://nowhere.invalid:2379');
my $stuck = 'http://127.0.0.1:' . take_port();
my $listener = IO::Socket::INET->new(LocalAddr => $stuck =~ s{http://}{}r, Listen => 5, ReuseAddr => 1);
refuses(75, 'no answer in time', 'one that does not answer', '--etcd' => $stuck);
is intermission($one, 'run', '--fleet' => 'shop', '--etcd' => $nowhere, '--etcd' => $stuck, @etcd, 'true')->status, 0,
    'one of several members is enough';
my $alone = intermission($one, 'run', '--url' => 'unix:/x', '--nodes' => 2, 'true');
like $alone->said, qr/--nodes goes with --fleet/, 'options of a fleet go with --fleet';

# What is in etcd.
$etcd->put('/intermission/nodes/three', 'hello');
refuses(75, '/intermission/nodes/three in the store is of something else: remove it', 'a foreign value', @etcd);
$etcd->put('/intermission/nodes/three', '{"version":0}');
refuses(75, '/intermission/nodes/three is of an older version', 'an older agent', @etcd);
$etcd->remove('/intermission/nodes/three');
$etcd->put('/intermission/apps/shop', 'hello');
refuses(75, '/intermission/apps/shop in the store is of something else', 'a foreign value for the app', @etcd);
$fleet->agent_of('one')->wait_said(qr{/intermission/apps/shop in the store is of something else});
$etcd->put('/intermission/apps/shop', '{"version":9}');
refuses(75, '/intermission/apps/shop is of a newer version', 'a newer holder', @etcd);
$fleet->agent_of('one')->wait_said(qr{/intermission/apps/shop is of a newer version});
$etcd->remove('/intermission/apps/shop');
$etcd->put('/intermission/acks/shop/three', 'hello');
my $command = $fleet->begin;
is $command->status, 75, 'a foreign value where a node answers';
like $command->said, qr{/intermission/acks/shop/three in the store is of something else: .*Nothing was run}, 'is named';
ok !$fleet->is_running, 'nothing is run';
$fleet->wait_states('open open', 'and nobody left paused');
$etcd->remove('/intermission/acks/shop/three');

# A name that is taken.
my $twin = intermission($one, 'agent', @etcd, '--node' => 'two', '--url' => control_url($one));
is $twin->status, 75, 'a name that is taken';
like $twin->said, qr/\A.*there is a node two already, at .*: give this one another name .*\n\z/, 'is told';
is intermission($one, 'agent', @etcd, '--node' => 'a/b', '--url' => control_url($one))->status, 64, 'a bad name';

# A value that comes in the middle.
$command = $fleet->begin;
ok $fleet->wait_running($command), 'a command runs';
$etcd->put('/intermission/apps/shop', 'hello');
$fleet->go_on;
$command->status;
$etcd->remove('/intermission/apps/shop');
$fleet->wait_states('open open', 'a foreign value in the middle leaves nobody paused', 40);

$_->signal('TERM') && $_->status for map { $fleet->agent_of($_) } qw(one two);

# TLS, and who calls.
my @made = certificates($folder);
my %tls = (
    scheme => 'https',
    client => { SSL_options => { SSL_cert_file => "$folder/me.pem", SSL_key_file => "$folder/me.key" } },
    options => [
        '--cert-file' => "$folder/etcd.pem", '--key-file' => "$folder/etcd.key",
        '--client-cert-auth', '--trusted-ca-file' => "$folder/ca.pem",
    ],
);
my $secure = Intermission::Test::Etcd->new($two, %tls);
my @trust = ($secure->options, '--etcd-ca' => "$folder/ca.pem");
my @me = ('--etcd-cert' => "$folder/me.pem", '--etcd-key' => "$folder/me.key");
refuses(75, 'the server cannot be trusted', 'an authority that is not known', $secure->options, @me);
refuses(75, 'etcd at .*: the ', 'no certificate', @trust);
refuses(64, '--etcd-cert goes with --etcd-key', 'half of one', @trust, @me[ 0, 1 ]);
refuses(75, "$folder/none", 'none there', @trust, '--etcd-cert' => "$folder/none", @me[ 2, 3 ]);
my $agent = Intermission::Test::Command->new($one, 'agent', @trust, @me, '--node' => 'one',
    '--url' => control_url($one));
$agent->wait_said(qr/node one is part of the fleet/);
is intermission($one, 'run', '--fleet' => 'shop', @trust, @me, 'true')->status, 0, 'with TLS and a certificate';

# Users.
for my $call (
    [ 'user/add' => { name => 'root', password => 'secret' } ],
    [ 'role/add' => { name => 'root' } ],
    [ 'user/grant' => { user => 'root', role => 'root' } ],
    [ 'user/add' => { name => 'nobody', password => 'nothing' } ],
    [ 'enable' => {} ],
) {
    ok $secure->call("auth/$call->[0]", $call->[1]), "etcd: $call->[0]";
}
sub netrc {
    my ($name, $line) = @_;
    $one->write_file($name, $line && "machine 127.0.0.1 $line\n");
    return { NETRC => "$folder/$name" };
}
refuses(75, 'it has users, and then takes no certificate with a name here', 'a certificate with a name',
    @trust, '--etcd-cert' => "$folder/named.pem", '--etcd-key' => "$folder/named.key");
refuses(75, 'etcd asks for a user: put login and password into ~/.netrc', 'no user', netrc('none', ''), @trust, @me);
refuses(75, 'it does not know the user and password of ~/.netrc', 'a wrong password',
    netrc('wrong', 'login root password guess'), @trust, @me);
refuses(75, 'this user may not read and write below /intermission/: grant it that', 'a user who may not',
    netrc('nobody', 'login nobody password nothing'), @trust, @me);
$agent->signal('TERM');
$agent->status;
my $root = netrc('root', 'login root password secret');
$agent = Intermission::Test::Command->new($one, $root, 'agent', @trust, @me, '--node' => 'one',
    '--url' => control_url($one));
$agent->wait_said(qr/node one is part of the fleet/);
is intermission($one, $root, 'run', '--fleet' => 'shop', @trust, @me, 'true')->status, 0, 'with a user';
$agent->signal('TERM');
is $agent->status, 0, 'the agent ends';
$secure->stop;

# A certificate that has expired.
$tls{options}[1] = "$folder/old.pem";
$secure = Intermission::Test::Etcd->new($two, %tls, options => [@{ $tls{options} }[ 0 .. 3 ]], answers => 0);
refuses(75, 'the server\'s certificate has expired: renew it', 'an expired certificate', $secure->options, @trust[ 2, 3 ]);
$secure->stop;

$fleet->finish;

# An authority, and what it has signed: etcd, today's and an old one, and a client.
sub certificates {
    my ($to) = @_;
    my $quietly = sub { system("cd $to && $_[0] >/dev/null 2>&1") == 0 or die "$_[0]\n" };
    my $key = '-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes';
    $quietly->("openssl req -x509 $key -keyout ca.key -out ca.pem -days 2 -subj /CN=authority");
    $one->write_file('extensions', "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n");
    my %subject = (etcd => '/CN=etcd', me => '/O=operators', named => '/CN=me');
    for my $name (sort keys %subject) {
        $quietly->("openssl req $key -keyout $name.key -out $name.csr -subj $subject{$name}");
        $quietly->("openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2"
                . " -extfile extensions -out $name.pem");
    }
    $quietly->("openssl x509 -req -in etcd.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days -1"
            . " -extfile extensions -out old.pem");
    return;
}
