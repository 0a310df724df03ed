package Intermission::Test::Refusal;

# Every way in which the gate refuses a request, and every state in which the request's body can be
# then. In each body stand the bytes of two further requests, which nobody may take for that:
# one to the origin, and a call for the app `other`.
#
#     my $locations = locations(none => '', page => 'error_page 503 504 /page;');
#     ...                                               # at /WAY/READ_BODY/PAGE/…
#     for my $way (ways()) {
#         refuse($t, $way, sub {                        # for each of the places and bodies
#             for my $place (places($way)) { for my $body (bodies($way, ++$number)) { … } }
#         });                                           # all of them have been refused now
#     }

use strict;
use warnings;

use Exporter qw(import);

use Intermission::Test::Wait qw(wait_for);

our @EXPORT = qw(ATTACK locations ways places bodies streams refuse);

use constant ATTACK => join '', map {"GET $_ HTTP/1.1\r\nHost: localhost\r\n\r\n"}
    '/smuggled', '/intermission/disable?app=other';

# What is done before they come, and after; a total tells how many are refused, or nothing held does.
my %WAYS = (
    'maintenance-later' => {
        before => sub { $_[0]->enable },
        after => sub { my ($t, $count) = @_; $t->wait_held($count); $t->must('maintenance') },
        total => 'rejected',
    },
    'maintenance' => { before => sub { $_[0]->must('maintenance') }, total => 'rejected' },
    'max-time' => {
        directives => 'intermission_max_time 200ms; intermission_timeout_action 504;',
        before => sub { $_[0]->enable },
        total => 'timed_out',
    },
    'max-held' => {
        directives => 'intermission_max_held 1;',
        before => sub { my ($t) = @_; $t->enable; $t->{first} = $t->hold(GET => '/first') },
        total => 'rejected',
    },
    # What the gate reads and nginx finds bad, while it is held and after its release.
    'bad-body' => {
        directives => 'client_max_body_size 200;',
        reads => [qw(release held)],
        before => sub { $_[0]->enable },
        after => sub {
            my ($t, $count, $before) = @_;
            wait_for {
                my $now = $t->status;
                $now->{held} + $now->{totals}{aborted} - $before->{aborted} == $count;
            } 'them to be held, or refused';
            $t->disable;
            $t->wait_held(0);
        },
    },
);

my %pages;

sub ways { my @ways = sort keys %WAYS; return @ways }

# Configuration for them all, with what each page says.
sub locations {
    %pages = @_;
    my $text = '';
    for my $way (ways()) {
        for my $place (places($way)) {
            my ($read, $page) = $place =~ m{^/[\w-]+/(\w+)/(\w+)};
            my $directives = $WAYS{$way}{directives} // '';
            $directives .= ' proxy_request_buffering off;' if $read eq 'off';
            $text .= "location $place { intermission_read_body $read; $directives $pages{$page}"
                . " proxy_pass http://origin; }\n";
        }
    }
    return $text;
}

sub places {
    my ($way) = @_;
    my @reads = @{ $WAYS{$way}{reads} // [qw(release held off)] };
    return map { my $read = $_; map {"/$way/$read/$_/"} sort keys %pages } @reads;
}

# Bodies of HTTP/1.1: what is sent before the refusal, and the rest, which is sent behind it.
sub bodies {
    my ($way, $number) = @_;
    my $body = "the body of $number " . ATTACK;
    my $length = sub { "Content-Length: ${\ length $_[0]}" };
    my $chunked = 'Transfer-Encoding: chunked';
    my $chunk = sprintf "%x\r\n", length $body;
    my $start = length($body) - length ATTACK;
    my $end = "\r\n0\r\n\r\n";
    return (
        [ 'too large', [$chunked], "ff\r\n", 'x' x 255 . $end ],
        [ 'too large, whole', [$chunked], "ff\r\n" . 'x' x 255 . $end, '' ],
        [ 'broken', [$chunked], "3\r\nabc" . ATTACK, '' ],
    ) if $way eq 'bad-body';
    return (
        [ 'whole', [ $length->($body) ], $body, '', $body ],
        [ 'half', [ $length->($body) ], substr($body, 0, $start), ATTACK, $body ],
        [ 'none yet', [ $length->(ATTACK) ], '', ATTACK, ATTACK ],
        [ 'expected', [ $length->(ATTACK), 'Expect: 100-continue' ], '', ATTACK, ATTACK ],
        [ 'chunks', [$chunked], $chunk . $body . $end, '', $body ],
        [ 'half a chunk', [$chunked], $chunk . substr($body, 0, $start), ATTACK . $end, $body ],
    );
}

# The same of HTTP/2.
sub streams {
    my ($way, $number) = @_;
    my $body = "the body of stream $number " . ATTACK;
    my ($first, $rest) = (substr($body, 0, 10), substr $body, 10);
    return ([ 'too large', [], 'x' x 300, 'x' ], [ 'too large, whole', [], 'x' x 300, '' ])
        if $way eq 'bad-body';
    my @length = ("content-length: ${\ length $body}");
    return (
        [ 'whole', \@length, $body, '', $body ],
        [ 'half', \@length, $first, $rest, $body ],
        [ 'none yet', \@length, '', $body, $body ],
        [ 'no length', [], $body, '', $body ],
        [ 'no length, half', [], $first, $rest, $body ],
        [ 'no length, none yet', [], '', $body, $body ],
    );
}

# Calls `begin`, which sends requests and returns how many, and waits until all are refused.
sub refuse {
    my ($t, $way, $begin) = @_;
    my ($before, $after, $total) = @{ $WAYS{$way} }{qw(before after total)};
    $before->($t);
    my $totals = $t->status->{totals};
    my $count = $begin->();
    $after->($t, $count, $totals) if $after;
    return if !$total;
    return wait_for { $t->status->{totals}{$total} == $totals->{$total} + $count }
        "$way: $count refusals";
}

1;
