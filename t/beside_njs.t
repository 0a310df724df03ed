#!/usr/bin/env perl

# Beside njs: a backend in JavaScript is held as any other, its filters see the answers of what was held, and its variables
# can say which app a request belongs to.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Neighbour;

beside ['ngx_http_js_module'] => sub {
    my ($t) = @_;
    my $origin = $t->origin;
    $t->write_file('main.js', <<'EOF');
function answer(r) { r.return(200, 'from njs: ' + r.uri); }
function ask(r) { r.subrequest('/1', function (reply) { r.return(reply.status, 'asked'); }); }
function app(r) { return r.uri == '/other' ? 'other' : 'shop'; }
function mark(r) { r.headersOut['X-Mark'] = r.variables.intermission_status; }
export default { answer, app, ask, mark };
EOF
    $t->start(<<'EOF');
    js_path %%FOLDER%%;
    js_import main.js;
    js_set $app main.app;
    server {
        listen 127.0.0.1:%%PORT_80%%;
        intermission on;
        intermission_app_name $app;
        location / { js_header_filter main.mark; proxy_pass http://%%ORIGIN%%; }
        location /answer { js_content main.answer; }
        location /ask { js_content main.ask; }
        location /intermission/ { intermission_control; }
    }
EOF
    $t->enable('shop');
    is $t->get('/other')->status, 200, 'a variable of njs says which app it is';
    my @held = map { $t->hold(GET => $_, app => 'shop') } qw(/1 /answer /ask /2);
    is_deeply [ $origin->uris ], ['/other'], 'nothing of the paused one goes through';
    $t->disable('shop');
    my @answers = map { $_->response } @held;
    is_deeply [ map { $_->status } @answers ], [ (200) x 4 ], 'all are released';
    is $answers[1]->body, 'from njs: /answer', 'to njs as well';
    is $answers[2]->body, 'asked', 'and to what it asks on its own';
    is $_->header('X-Mark'), 'RELEASED', 'a filter of njs sees what became of it' for @answers[ 0, 3 ];
};

done_testing;
