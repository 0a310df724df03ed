#!/usr/bin/env perl

# The pages of errors beside intermission_auto: none is given to who is held, and what is sent in the end is what the client asked
# for. Who waited for too long gets the page, by its URI or by its name. A status that was there before stays.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

my $t = Intermission::Test->new;
$t->start(<<'EOF');
    server {
        listen 127.0.0.1:%%PORT_80%%;
        intermission on;
        intermission_auto on;
        intermission_auto_interval 20ms;
        intermission_app_name $arg_app;
        proxy_intercept_errors on;
        location /uri { error_page 502 /sorry; proxy_pass http://%%ORIGIN%%; }
        location /other-status { error_page 502 =200 /sorry; proxy_pass http://%%ORIGIN%%; }
        location /named { error_page 502 @sorry; proxy_pass http://%%ORIGIN%%; }
        location /brief/ {
            intermission_auto_max_time 100ms;
            location /brief/uri { error_page 502 /sorry; proxy_pass http://%%ORIGIN%%; }
            location /brief/other-status { error_page 502 =200 /sorry; proxy_pass http://%%ORIGIN%%; }
            location /brief/named { error_page 502 @sorry; proxy_pass http://%%ORIGIN%%; }
        }
        location /missing { intermission off; error_page 404 /instead?app=all; return 404; }
        location /instead { proxy_pass http://%%ORIGIN%%; }
        location /sorry { intermission off; return 200 sorry; }
        location @sorry { intermission off; return 200 "sorry, by name"; }
        location /intermission/ { intermission_control; }
    }
EOF

# What could become a GET of a page arrives as what it was.
my @wanted = map { ([ GET => $_ ], [ POST => $_ ], [ PUT => $_ ]) } qw(/uri /named /other-status);
my @clients;
for my $wanted (@wanted) {
    my ($method, $uri) = @$wanted;
    my @body = $method eq 'GET' ? () : (body => 'x' x 2000);
    push @clients, $t->hold($method => "$uri?app=all", app => 'all', @body);
}
my $missing = $t->hold(GET => '/missing', app => 'all');
ok $_->silent, 'held, without a page' for @clients, $missing;
my $origin = $t->origin;
for my $response (map { $_->response } @clients) {
    is $response->status, 200, 'answered by the backend';
    is $response->header('Content-Type'), undef, 'with nothing of the error in the header';
}
my $found = $missing->response;
is $found->status, 404, 'what was a 404 is one in the end';
is $found->body, "/instead?app=all\n", 'with what the backend said';
my @came = $origin->requests;
is_deeply [ map {"$_->{method} $_->{uri}"} @came ],
    [ (map {"$_->[0] $_->[1]?app=all"} @wanted), 'GET /instead?app=all' ],
    'each once, as it was sent';
is_deeply [ map { $_->{length} } @came ], [ (0, 2000, 2000) x 3, 0 ], 'with its body';
$t->end_origin;

# Too long.
my @pages = ([ uri => 502, 'sorry' ], [ named => 502, 'sorry, by name' ], [ 'other-status' => 200, 'sorry' ]);
for (@pages) {
    my ($place, $status, $page) = @$_;
    my $response = $t->post("/brief/$place?app=brief-$place", 'x' x 2000);
    is $response->status, $status, "$place: the usual error in the end";
    is $response->body, $page, 'with its page';
    is $t->status("brief-$place")->{totals}{held}, 1, 'it was held';
}

# The own errors of the backend have the page at once.
$origin = $t->origin('/named' => { status => 502 });
is $t->get('/named?app=own')->body, 'sorry, by name', 'a 502 of its own: the page';
is $t->status('own')->{totals}{held}, 0, 'and nobody is held';

$t->finish;
