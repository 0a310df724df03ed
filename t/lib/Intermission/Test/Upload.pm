package Intermission::Test::Upload;

# A POST of 20 bytes whose body stops in the middle, until the test lets it go on: with a length, in
# chunks, or as a stream of HTTP/2, for which the server listens on %%PORT_82%%.

use strict;
use warnings;

use constant KINDS => qw(length chunks stream);

my %BEGIN = (
    'length' => sub {
        my ($t, $uri) = @_;
        my $client = $t->client;
        $client->send($client->head(POST => $uri, length => 20) . 'x' x 10);
        return (
            rest => sub { $client->send('y' x 10) },
            leave => sub { $client->close },
            response => sub { $client->response },
        );
    },
    'chunks' => sub {
        my ($t, $uri) = @_;
        my $client = $t->client;
        $client->send($client->head(POST => $uri, headers => ['Transfer-Encoding: chunked']));
        $client->send("a\r\n" . 'x' x 10 . "\r\n");
        return (
            rest => sub { $client->send("a\r\n" . 'y' x 10 . "\r\n0\r\n\r\n") },
            leave => sub { $client->reset },
            response => sub { $client->response },
        );
    },
    'stream' => sub {
        my ($t, $uri) = @_;
        my $connection = $t->http2(port => $t->port(82));
        my $stream = $connection->post($uri, 'x' x 10, more => 1);
        return (
            rest => sub { $connection->send_rest($stream, 'y' x 10) },
            leave => sub { $connection->reset($stream) },
            response => sub { $connection->response($stream) },
        );
    },
);

# new($t, 'chunks', '/uri'): begins it.
sub new {
    my ($class, $t, $kind, $uri) = @_;
    return bless { $BEGIN{$kind}->($t, $uri) }, $class;
}

sub rest { $_[0]{rest}->() }
sub leave { $_[0]{leave}->() }
sub status { $_[0]{response}->()->status }

1;
