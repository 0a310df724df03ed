#!/usr/bin/env perl

# Beside Lua: access_by_lua asks to be the last of the access phase, so the gate stands before it, and a request that it is
# going to refuse is held. With access_by_lua_no_postpone it decides first, and nobody is held who would be refused.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Neighbour;

sub start {
    my ($t, $http) = @_;
    my $origin = $t->origin;
    $t->start($http . default_server(<<'EOF'));
        rewrite_by_lua_block { if ngx.var.arg_rewritten == "no" then ngx.exit(410) end }
        access_by_lua_block { if ngx.var.arg_access == "no" then ngx.exit(403) end }
        header_filter_by_lua_block { ngx.header["X-Lua"] = ngx.var.intermission_status }
        location /body { access_by_lua_block { ngx.req.read_body() } proxy_pass http://%%ORIGIN%%; }
        location /content { content_by_lua_block { ngx.say("from Lua") } }
EOF
    return $origin;
}

sub is_held_in_order {
    my ($t, $origin) = @_;
    $origin->forget;
    my @held = map { $t->hold(POST => $_, body => "of $_") } qw(/1 /body/2 /3);
    my $content = $t->hold(GET => '/content');
    is $t->get('/?rewritten=no')->status, 410, 'rewrite_by_lua decides first, and nobody is held';
    is_deeply [ $origin->uris ], [], 'nothing goes through';
    $t->disable;
    is $_->response->header('X-Lua'), 'RELEASED', 'a filter of Lua sees what became of it' for @held;
    is_deeply [ $origin->uris ], [qw(/1 /body/2 /3)], 'released in order';
    is $content->response->body, "from Lua\n", 'Lua as the backend is held as well';
    is $t->get('/?access=no')->status, 403, 'access_by_lua refuses when the gate is open';
    return;
}

beside [qw(ndk_http_module ngx_http_lua_module)] => sub {
    my ($t) = @_;
    my $origin = start($t, '');
    is $t->get('/')->status, 200, 'the gate is open';
    $t->enable;
    my $refused = $t->hold(GET => '/refused?access=no');
    is $t->status->{held}, 1, 'the gate stands before access_by_lua';
    $refused->close;
    $t->wait_held(0);
    is_held_in_order($t, $origin);
};

beside [qw(ndk_http_module ngx_http_lua_module)] => sub {
    my ($t) = @_;
    my $origin = start($t, 'access_by_lua_no_postpone on;');
    $t->enable;
    is $t->get('/?access=no')->status, 403, 'with access_by_lua_no_postpone, access_by_lua decides before the gate';
    is $t->status->{totals}{held}, 0, 'nobody was held';
    is_held_in_order($t, $origin);
};

done_testing;
