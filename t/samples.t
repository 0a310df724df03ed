#!/usr/bin/env perl

# Every sample in nginx-conf works: nginx starts with it, and its control location answers. Only
# what belongs to a place is changed: ports, paths, certificates, the user, the number of workers.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Sample qw(settled);

# A sample as a configuration for this test; those without `events` are for the http block.
sub configuration {
    my ($t, $sample) = @_;
    return $t->wrapped($sample) if $sample !~ /^events\b/m;

    my $module = join '', map {"load_module $_;\n"} Intermission::Test::module_file();
    my $temp = join ' ',
        map {"${_}_temp_path %%FOLDER%%/$_;"} qw(client_body proxy fastcgi uwsgi scgi);
    $sample =~ s/^\s*(?:load_module|user|pid|worker_processes|error_log|access_log)\s[^;]*;//gm;
    $sample =~ s/^http \{/http { $temp access_log off;/m or die 'no http block';
    return <<"EOF";
${module}daemon off;
pid %%FOLDER%%/nginx.pid;
error_log %%FOLDER%%/error.log notice;
worker_processes 1;
$sample
EOF
}

for my $file (glob "$Bin/../nginx-conf/*.conf") {
    my ($name) = $file =~ m{([^/]+)$};
    my $t = Intermission::Test->new;
    my $text = settled($t, configuration($t, slurp($file)));
    my ($port) = $text =~ /%%PORT_(\d+)%%(?:(?!%%PORT_).)*intermission_control/s
        or die "$name has no control location";

    $t->write_file('nginx.conf', $text);
    $t->server->start;
    my $response = $t->client(port => $t->port($port))->get('/intermission/status')->response;
    like $response->body, qr/^state: open$/m, "$name: nginx starts with it and can be called";
    $t->stop;
}

done_testing;
