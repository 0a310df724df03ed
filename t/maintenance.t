#!/usr/bin/env perl

# maintenance answers 503 to what the gate would hold and to all that is held, over all workers,
# until the app is paused or resumed. Whatever goes by a closed gate still does, as does what is not
# under the gate; and what was in flight is left alone.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

use constant { WORKERS => 3, COUNT => 300 };

my $t = Intermission::Test->new(workers => WORKERS);
my $origin = $t->origin('/slow' => { wait => 1 });
my $format = q(log_format ending '$intermission_status $uri';);
$t->start($format . default_server(<<'EOF'));
    intermission_interval 1h;
    intermission_privileged_user_agent tester;
    intermission_bypass $http_x_bypass;
    access_log %%FOLDER%%/ending.log ending;
    location /shop { intermission_app_name shop; proxy_pass http://%%ORIGIN%%; }
    location /static { intermission off; proxy_pass http://%%ORIGIN%%; }
EOF

# All workers refuse, and let through what goes by the gate.
sub refuses {
    my ($what) = @_;
    for my $worker ($t->server->workers) {
        my $client = $t->client_at($worker);
        is $client->get('/page')->response->status, 503, "$what: refused at each worker";
        is $client->get('/up')->response->status, 200, 'a health check goes through';
        is $client->get('/page', headers => ['User-Agent: tester'])->response->status, 200,
            'a privileged client goes through';
        is $client->get('/page', headers => ['X-Bypass: 1'])->response->status, 200,
            'a bypass goes through';
        is $client->get('/static')->response->status, 200, 'what is not under the gate goes on';
        is $client->get('/shop')->response->status, 200, 'and so do other apps';
    }
}

# From open.
my $slow = $t->client->get('/slow');
$origin->wait_requests(1);
my $answer = $t->control('maintenance');
is $answer->status, 200, 'maintenance';
like $answer->body, qr/^Maintenance enabled\.\napp: default\nstate: maintenance$/m, 'as it says';
refuses('from open');
is $t->post('/page', 'x' x 100_000)->status, 503, 'a POST is refused as well';
is $t->request(HEAD => '/page')->status, 503, 'and a HEAD';
is $t->status->{in_flight}, 1, 'who was in flight is left alone';
$origin->answer;
is $slow->response->status, 200, 'and answered';
my $status = $t->status;
is_deeply [ @{ $status->{totals} }{qw(held rejected bypassed)} ], [ 0, WORKERS + 2, 3 * WORKERS ],
    'the totals';
is scalar(grep { $_ eq '/page' } $origin->uris), 2 * WORKERS, 'nothing has leaked';
$t->disable;
is $t->get('/page')->status, 200, 'disable: requests go through';

# From paused, with requests held by all workers, bodies among them.
$origin->forget;
$t->enable;
my @held = map { $t->hold(GET => "/$_", client => $t->client_at($_)) } $t->server->workers;
push @held, map { $t->client->post("/$_", 'x' x (100 * $_)) } 1 .. COUNT;
$t->wait_held(WORKERS + COUNT);
$t->must('maintenance');
is scalar(grep { $_->response->status == 503 } @held), WORKERS + COUNT, 'all that was held: 503';
wait_for { $t->status->{held} == 0 } 'nobody to be held';
is_deeply [ $origin->uris ], [], 'nothing of it has leaked';
is $t->status->{totals}{rejected}, WORKERS + COUNT + WORKERS + 2, 'they count as rejected';
refuses('from paused');
like $t->server->log, qr/from paused to maintenance by 127\.0\.0\.1, 303 held/, 'a line in the log';
my $endings = () = slurp($t->folder . '/ending.log')
    =~ /^MAINTENANCE /mg;
is $endings, COUNT + WORKERS + WORKERS + 2 + WORKERS, '$intermission_status says so';

# To paused and on to open: nobody of those comes back.
$t->enable;
my $one = $t->hold(GET => '/one');
$t->disable;
is $one->response->status, 200, 'enable: requests are held again';
$t->wait_state('open');

# From releasing: what was let go is answered, the rest refused.
$origin->forget;
$t->enable;
@held = map { $t->hold(GET => "/slow?$_") } 1 .. 20;
$t->must('disable', concurrency => 4);
$origin->wait_requests(4);
$t->must('maintenance');
is scalar(grep { $_->response->status == 503 } @held[ 4 .. 19 ]), 16, 'from releasing: the rest';
is scalar(grep { $_->silent } @held[ 0 .. 3 ]), 4, 'not what was let go';
$origin->answer;
is answered(@held[ 0 .. 3 ]), 4, 'which is answered';
is scalar(my @uris = $origin->uris), 4, 'nothing has leaked';
refuses('from releasing');
$t->disable;
is $t->status->{state}, 'open', 'nobody is held: open at once';

$t->finish;
