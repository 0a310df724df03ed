#!/usr/bin/env perl

# Every cell of the tables in docs/states.md: an app is brought into the state of the column, the
# call or the event of the row follows, and what comes of it is what the cell says. While an app
# releases, one of its requests waits at the origin and keeps three others back. While it is down, three wait for a backend that is
# another one.

use strict;
use warnings;

use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;
use Intermission::Test::Server;

my $t = Intermission::Test->new(workers => 2);
my $origin = $t->origin('/' => { wait => 1 });
$t->start(default_server(<<'EOF'));
    intermission_app_name $arg_app;
    intermission_max_held 4;
    intermission_bypass $arg_bypass;
    intermission_release_concurrency 1;
    location /away {
        intermission_auto on;
        intermission_auto_interval 20ms;
        proxy_pass http://127.0.0.1:%%PORT_away%%;
    }
    location /away/briefly {
        intermission_auto on;
        intermission_auto_max_time 50ms;
        proxy_pass http://127.0.0.1:%%PORT_away%%;
    }
    location /brief { intermission_max_time 50ms; proxy_pass http://%%ORIGIN%%/; }
    location /up { return 200 up; }
    location /pid { intermission off; return 200 $pid; }
    location /hurried/ { intermission_control; intermission_release_timeout 50ms; }
EOF

# Each cell has an app of its own, whose requests are at the same worker.
my ($app, $cell, @clients);
my ($victim, $worker) = $t->server->workers;

sub pause_and_hold {
    my ($count) = @_;
    $t->enable($app);
    push @clients, $t->hold(GET => "/?app=$app", app => $app, client => $t->client_at($worker))
        for 1 .. $count;
}

my %reach = (
    open => sub { },
    paused => sub { pause_and_hold(3) },
    releasing => sub { pause_and_hold(4); $t->disable($app); at_origin(1) },
    maintenance => sub { $t->must('maintenance', app => $app) },
    down => sub {
        push @clients, $t->hold(GET => "/away?app=$app", app => $app, client => $t->client_at($worker)) for 1 .. 3;
    },
);

# How many are held afterwards, if the row does not say otherwise.
my %held_after = (
    'paused paused' => 3,
    'paused releasing' => 2,
    'releasing paused' => 3,
    'releasing releasing' => 3,
    'down down' => 3,
    'down paused' => 3,
);

sub send_to {
    my ($path, $more) = @_;
    push @clients, $t->client->get("$path?app=$app" . ($more // ''));
    return $clients[-1];
}

sub at_origin {
    my ($count) = @_;
    return wait_for {
        $count == grep { $_->{complete} && $_->{uri} =~ /\bapp=$app\b/ } $origin->requests;
    } "$count requests at the origin";
}

# What a call answers has to stand in the cell, word for word.
sub answers {
    my ($response, $status) = @_;
    my ($line) = split /\n/, $response->body;
    is $response->status, $status // 200, "$app: the status";
    like $cell, qr/"\Q$line\E"/, 'and the answer' if !$status;
    return;
}

sub calls { answers($t->control(shift, app => $app, @_)); return }

# What becomes of a request that arrives, as the cell has it: how many are held then, if known.
sub meets_gate {
    my ($client, $from) = @_;
    if ($cell =~ /goes through/) { at_origin($from eq 'releasing' ? 2 : 1) }
    elsif ($cell =~ /is held/) { return $t->wait_held(4, $app) }
    else { is $client->response->status, 503, "$app: refused" }
    return;
}

# Until one that finds no backend is the only one left.
sub finds_no_backend {
    my ($from) = @_;
    send_to('/away');
    $t->wait_held($from eq 'open' ? 1 : 4, $app);
    for my $number ($from eq 'open' ? () : (1 .. 4)) {
        at_origin($number);
        $origin->answer;
    }
    return 1;
}

sub backend_comes_back {
    my $there = Intermission::Test::Origin->new(port => $t->port('away'), answers => {});
    is $_->response->status, 200, 'answered' for @clients;
    $there->stop;
    return 0;
}

# A canary of one, taken from what is held or from three that arrive.
sub tries_canary {
    my ($from, $status) = @_;
    $origin->set('/' => { wait => 1, status => $status });
    my $caller = $t->call('disable', app => $app, canary => 1);
    if ($from eq 'down') {
        answers($caller->response, 409);
        return 3;
    }
    $t->wait_state('releasing', $app) if $from ne 'open';
    send_to('/') for $from eq 'maintenance' ? (1 .. 3) : ();
    at_origin(1 + ($from eq 'releasing')) if $from ne 'open';
    $origin->answer;
    answers($caller->response, $status < 500 ? 200 : 409);
    $origin->set('/' => { wait => 1, status => 200 });
    return $from eq 'open' ? 0 : $status < 500 ? 1 : 2;
}

# A drain that takes too long, as somebody is in flight who went by the gate.
sub drains_too_long {
    send_to('/', '&bypass=1');
    at_origin(1);
    answers($t->control('enable', app => $app, drain => '50ms', @_), 504);
    return;
}

# By row: makes it happen in that state, and says how many are held then if that is special.
my %row = (
    '`status`, `metrics`' => sub { $t->must($_, app => $app) for qw(status metrics); return },
    '`enable`' => sub { calls('enable') },
    '`enable?for=1h`' => sub { calls('enable', for => '1h') },
    '`enable?drain=10s`' => sub {
        my $caller = $t->call('enable', app => $app, drain => '10s');
        $t->wait_state('paused', $app);
        $origin->answer;
        answers($caller->response);
        return;
    },
    '`disable`' => sub { calls('disable') },
    '`disable?rate=1r/s`' => sub { calls('disable', rate => '1r/s') },
    '`disable?canary=1`' => sub { tries_canary($_[0], 200) },
    '`disable?app=*`' => sub { answers($t->control('disable', app => '*')); return },
    '`maintenance`' => sub {
        calls('maintenance');
        my @refused = $_[0] eq 'releasing' ? @clients[ 1 .. $#clients ] : @clients;
        is $_->response->status, 503, 'what was held is refused' for @refused;
        return;
    },
    'a bad one (400)' => sub {
        answers($t->control('disable', app => $app, rate => 0), 400);
        answers($t->control('enable', app => $app, for => 'x'), 400);
        answers($t->control('maintenance', app => $app, retry_after => 0), 400);
        return;
    },

    'a request arrives' => sub { meets_gate(send_to('/'), @_) },
    'a health check arrives' => sub { is send_to('/up')->response->body, 'up', 'goes by'; return },
    '`intermission_max_held` is reached' => sub {
        send_to('/');
        $t->wait_held(4, $app);
        meets_gate(send_to('/'), @_);
        return 4;
    },
    'the client of a held request leaves' => sub { $clients[1]->close; return 2 },
    'a request was held for `intermission_max_time`' => sub {
        return meets_gate(send_to('/brief'), @_) if $_[0] ne 'down';
        is send_to('/away/briefly')->response->status, 502, 'the usual error';
        return 3;
    },
    'nobody is held any more' => sub { $_->close for @clients; return 0 },
    'the deadline comes' => sub { $t->must('enable', app => $app, for => '50ms'); return },
    'a drain takes too long (504)' => sub { drains_too_long() },
    'a drain with `keep=1` takes too long (504)' => sub { drains_too_long(keep => 1) },
    'the release takes too long' => sub {
        is $t->get("/hurried/disable?app=$app")->status, 200, 'it may take 50 ms';
        at_origin(4);
        return;
    },
    'a canary comes back' => sub { tries_canary($_[0], 200) },
    'a canary fails (409)' => sub { tries_canary($_[0], 500) },
    'a request finds no backend' => \&finds_no_backend,
    'the backend comes back' => \&backend_comes_back,
    'a worker dies' => sub { $t->kill_worker($victim); return },
    'nginx is reloaded' => sub { $t->reload; return },
);

my @states = qw(open paused releasing maintenance down);
my $number = 0;

for my $line (split /\n/, slurp("$Bin/../docs/states.md")) {
    my ($name, @cells) = $line =~ /^\| (.+) \|$/ ? split / \| /, $1 : next;
    next if @cells != @states || $name =~ /^---/;
    my $happens = delete $row{$name};
    ok $happens, "the row: $name" or next;

    for my $column (grep { $cells[$_] ne '–' } 0 .. $#states) {
        my $from = $states[$column];
        $cell = $cells[$column];
        my ($to) = $cell =~ /^(\w+)/;
        $app = 'app-' . ++$number;
        $reach{$from}->();
        is $t->status($app)->{state}, $from, "$app: $from";

        my $held = $happens->($from) // $held_after{"$from $to"} // 0;
        my $are = '';
        eval {
            wait_for {
                my $status = $t->status($app);
                $are = "$status->{state}, $status->{held} held";
                $are eq "$to, $held held";
            } 'it';
        };
        is $are, "$to, $held held", "$name while $from";

        $_->close for splice @clients;
        $t->disable($app);
        ($victim, $worker) = ($t->server->workers)[ -2, -1 ];
    }
}
is_deeply [ keys %row ], [], 'the tables have all rows';

$t->finish;
