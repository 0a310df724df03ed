#!/usr/bin/env perl

# The sample nginx-conf/maintenance.conf does what it says: in a maintenance, and when all backends
# are down, a browser sees a page with all that it links to, files are served, and everything else
# is an error. Those with the cookie see the application all the while.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Sample qw(settled);
use Intermission::Test::Server;

my $samples = "$Bin/../nginx-conf";
my %type_of = (html => 'text/html', css => 'text/css', svg => 'image/svg+xml');

my $t = Intermission::Test->new(workers => 2);
my $origin = $t->origin('/slow' => { wait => 1 }, '/own' => { status => 503, body => 'own' });
$t->write_file('www/keep', '');
$t->write_file('www/application/keep', '');
$t->write_file('www/application/assets/app.css', "body {}\n");
my @files;
for my $file (glob "$samples/maintenance/*") {
    my ($name) = $file =~ m{([^/]+)$};
    push @files, "/maintenance/$name";
    $t->write_file("www/maintenance/$name", slurp($file));
}

my $sample = settled($t, slurp("$samples/maintenance.conf"));
$sample =~ s{/var/www\b}{%%FOLDER%%/www}g;
$sample =~ s{server 127\.0\.0\.1:3000;}{server %%ORIGIN%% max_fails=0;};
$sample =~ s{server 127\.0\.0\.1:3001;}{server %%ORIGIN%% max_fails=0;};
my $types = join ' ', map {"$type_of{$_} $_;"} sort keys %type_of;
$t->start("types { $types }\nproxy_read_timeout 2s;\n$sample");

# The page that a browser shows for a response, with all that it links to.
sub shows_page {
    my ($response, $status, $title, $what) = @_;
    is $response->status, $status, "$what: $status";
    is $response->header('Content-Type'), 'text/html', 'a page';
    like $response->body, qr{<title>\Q$title\E</title>}, 'that says what is the matter';
    my @links = $response->body =~ /\b(?:href|src)="([^"]*)"/g;
    cmp_ok scalar @links, '>=', 3, 'with a style and a picture';
    for my $link (@links) {
        my $linked = $t->get($link);
        my ($suffix) = $link =~ /\.(\w+)$/;
        is $linked->status, 200, $link;
        is $linked->header('Content-Type'), $type_of{$suffix}, "is $type_of{$suffix}";
        cmp_ok length $linked->body, '>', 100, 'and not empty';
    }
    is $t->get('/assets/app.css')->body, "body {}\n", 'files are served';
    return;
}

my @preview = (headers => ['Cookie: a=b; preview=put-a-word-of-your-own-here']);
my $closed = 'Back in a moment';
my $down = 'Something is wrong on our side';

# Nothing is the matter.
is $t->get('/page')->body, "/page\n", 'the application answers';
is $t->get('/own')->body, 'own', 'its own errors are left as they are';
is $t->get('/assets/app.css')->body, "body {}\n", 'files are served';

# Maintenance, for who is held and who comes.
$t->enable;
my $held = $t->hold(GET => '/page');
my $posted = $t->hold(POST => '/form', body => 'x=1');
$t->must('maintenance', retry_after => '10m');
shows_page($held->response, 503, $closed, 'a request that was held');
shows_page($posted->response, 503, $closed, 'a POST that was held');
$origin->forget;
for my $uri (qw(/ /page /some/where?a=b /index.html)) {
    my $response = $t->get($uri);
    is $response->header('Retry-After'), 600, 'told when to come back';
    shows_page($response, 503, $closed, $uri);
}
shows_page($t->post('/form', 'x=1'), 503, $closed, 'a POST');
is_deeply [ $origin->uris ], [], 'nothing of that reaches the application';

is $t->get('/page', @preview)->body, "/page\n", 'who has the cookie sees the application';
is $t->get('/up')->body, "/up\n", 'and so does a health check';
is $t->get('/page', headers => ["Cookie: preview=$_"])->status, 503, "not with '$_'"
    for '1', '', 'put-a-word';

$t->must('maintenance');
is $t->get('/page')->header('Retry-After'), 120, 'a call that says nothing about coming back';
$t->enable;
$held = $t->hold(GET => '/page');
$t->disable;
is $held->response->body, "/page\n", 'held, and released: as if nothing had been';

# A backend that hangs, and none that is there.
shows_page($t->get('/slow'), 504, $down, 'a backend that hangs');
is $t->control('status')->status, 200, 'calls are answered';
$origin->stop;
shows_page($t->get('/page'), 502, $down, 'all backends down');
shows_page($t->post('/form', 'x=1'), 502, $down, 'a POST');
$t->must('maintenance');
shows_page($t->get('/page'), 503, $closed, 'maintenance goes before');
is $t->get('/page', @preview)->status, 502, 'but for those with the cookie';

# The pages link to nothing else, and all files are needed.
my $text = join '', map { $t->get($_)->body } @files;
unlike $text, qr{(?<!xmlns=")https?:|src="//|href="//|\@import}, 'nothing comes from elsewhere';
for my $file (@files) {
    ok "$text$sample" =~ /\Q$file\E/, "$file is used";
}

$t->finish;
