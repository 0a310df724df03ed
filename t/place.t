#!/usr/bin/env perl

# Where the gate stands: behind "return" and the rest of the rewrite phase, in front of files and
# backends. A refused request that comes to the gate again, for the sake of its error page, is
# refused again, unless the page's place is not under the gate.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new;
$t->origin;
$t->write_file('files/page.txt', "page\n");
$t->write_file('files/sorry.txt', "sorry\n");
$t->start(<<'EOF');
    intermission on;
    intermission_retry_after 30s;

    server {
        listen 127.0.0.1:%%PORT_80%%;
        root %%FOLDER%%/files;
        location / { proxy_pass http://%%ORIGIN%%; }
        location /returned { return 200 "returned\n"; }
        location /moved { rewrite ^ /elsewhere permanent; }
        location = /page.txt { }
        location /open/ { intermission off; alias %%FOLDER%%/files/; }
        location /intermission/ { intermission_control; }
    }
    server {
        listen 127.0.0.1:%%PORT_81%%;
        root %%FOLDER%%/files;
        error_page 503 /sorry.txt;
        location / { proxy_pass http://%%ORIGIN%%; }
        location = /sorry.txt { internal; intermission off; }
    }
    server {
        listen 127.0.0.1:%%PORT_82%%;
        root %%FOLDER%%/files;
        error_page 503 /sorry.txt;
        location / { proxy_pass http://%%ORIGIN%%; }
        location = /sorry.txt { internal; }
    }
EOF

$t->enable;
is $t->get('/returned')->body, "returned\n", 'return answers before the gate';
is $t->get('/moved')->status, 301, 'so does a redirect of rewrite';
is $t->get('/open/page.txt')->body, "page\n", 'files that are not under the gate go on';
my @held = map { $t->hold(GET => $_) } '/', '/page.txt';
is $t->status->{totals}{held}, 2, 'files under the gate are held';
is $t->status->{totals}{bypassed}, 0, 'nothing went by the gate';
$t->disable;
is $held[1]->response->body, "page\n", 'and released';
is $held[0]->response->status, 200, 'as everything else';

$t->must('maintenance');
is $t->get('/returned')->status, 200, 'return answers during a maintenance';
for my $case ([ 81, "sorry\n", 'outside of the gate' ], [ 82, undef, 'under the gate' ]) {
    my ($port, $body, $place) = @$case;
    my $response = $t->client(port => $t->port($port))->get('/')->response;
    is $response->status, 503, "an error page $place: refused";
    is $response->header('Retry-After'), 30, 'with the time to come back';
    if ($body) { is $response->body, $body, 'the page is shown' }
    else { unlike $response->body, qr/sorry/, 'and the page as well' }
}

$t->finish;
