#!/usr/bin/env perl

# Beside ModSecurity: its rules see the request, with its body, before the gate. Who is refused is refused at once, and not
# held; who is held has been looked at, and his body reaches the backend whole.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Neighbour;

beside ['ngx_http_modsecurity_module'] => sub {
    my ($t) = @_;
    my $origin = $t->origin('/secret' => { headers => ['X-Secret: yes'] });
    $t->write_file('rules', <<'EOF');
SecRuleEngine On
SecRequestBodyAccess On
SecRule ARGS:attack "@streq sql" "id:1,phase:1,deny,status:403"
SecRule REQUEST_BODY "@contains attack" "id:2,phase:2,deny,status:406"
SecRule RESPONSE_HEADERS:X-Secret "@streq yes" "id:3,phase:3,deny,status:502"
EOF
    $t->start(default_server(<<'EOF'));
        modsecurity on;
        modsecurity_rules_file %%FOLDER%%/rules;
        location /intermission/ { modsecurity off; intermission_control; }
EOF
    $t->enable;
    is $t->get('/?attack=sql')->status, 403, 'what is refused for its arguments';
    is $t->post('/', 'what=attack')->status, 406, 'or for its body';
    is $t->status->{totals}{held}, 0, 'is not held';

    my $large = 'x' x 100_000;
    my @held = map { $t->hold(@$_) }
        [ GET => '/1' ], [ POST => '/2', body => 'small' ], [ POST => '/3', body => $large ], [ GET => '/secret' ];
    is_deeply [ $origin->uris ], [], 'nothing goes through';
    (my $leaving = $t->hold(POST => '/leaving', body => 'small'))->close;
    $t->wait_held(4);
    $t->disable;
    is_deeply [ map { $_->response->status } @held ], [ 200, 200, 200, 502 ],
        'released, and its answer is looked at as well';
    is_deeply [ $origin->uris ], [qw(/1 /2 /3 /secret)], 'in order, and nothing of who has left';
    is_deeply [ map { $_->{length} } ($origin->requests)[ 1, 2 ] ], [ 5, 100_000 ], 'with its body';
};

done_testing;
