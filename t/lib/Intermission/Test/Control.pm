package Intermission::Test::Control;

# What a test asks of its control location, which is at /intermission/ unless it says otherwise. These are methods of
# Intermission::Test.

use strict;
use warnings;

use Carp qw(croak);

use Intermission::Test::Wait qw(wait_for);

our @CARP_NOT = qw(Intermission::Test Intermission::Test::Wait);

sub control {
    my ($self, $call, %arguments) = @_;
    return $self->get(call_uri($call, %arguments));
}

# Makes a call whose answer may take a while: the client that will get it.
sub call {
    my ($self, $call, %arguments) = @_;
    return $self->client->get(call_uri($call, %arguments));
}

sub call_uri {
    my ($call, %arguments) = @_;
    my @given = grep { defined $arguments{$_} } sort keys %arguments;
    my $query = join '&', map {"$_=$arguments{$_}"} @given;
    return "/intermission/$call" . (@given ? "?$query" : '');
}

sub enable {
    my ($self, $app) = @_;
    return $self->must('enable', app => $app);
}

sub disable {
    my ($self, $app) = @_;
    return $self->must('disable', app => $app);
}

sub status {
    my ($self, $app) = @_;
    return $self->must('status', app => $app, format => 'json')->json;
}

sub must {
    my ($self, $call, %arguments) = @_;
    my $response = $self->control($call, %arguments);
    croak "$call: ${\ $response->status} ${\ $response->body}" if $response->status != 200;
    return $response;
}

# Waits until `status` says so, of the default app or this one, and returns what it says.

sub wait_held { my ($self, $count, $app) = @_; $self->wait_status(held => $count, $app) }

sub wait_in_flight { my ($self, $count, $app) = @_; $self->wait_status(in_flight => $count, $app) }

sub wait_state { my ($self, $state, $app) = @_; $self->wait_status(state => $state, $app) }

sub wait_status {
    my ($self, $name, $value, $app) = @_;
    my $is = 'unknown';
    my $came = eval { wait_for { ($is = $self->status($app)->{$name}) eq $value } 'it' };
    return $value if $came;
    croak $@ =~ /^gave up/ ? "gave up waiting for $name to be $value, it is $is" : $@;
}

1;
