package Intermission::Test::Browser;

# A real browser without a screen, driven through WebDriver: it opens a page, clicks, types, and
# tells what is there. Elements are named by CSS selectors. A click or key goes the way a person's
# does, so an element that is hidden or covered cannot be clicked.
#
# Where there is no browser, `new` skips the whole test: it comes before anything is tested.

use strict;
use warnings;

use Carp qw(croak);
use File::Temp qw(tempdir);
use HTTP::Tiny;
use JSON::PP ();
use MIME::Base64 qw(decode_base64);
use POSIX ();
use Test::More;

use Intermission::Test::Files qw(program);
use Intermission::Test::Ports qw(take_port);
use Intermission::Test::Wait qw(wait_for TIME_LIMIT);

use constant ELEMENT => 'element-6066-11e4-a52e-4f735466cecf';    # as WebDriver marks one
use constant BROWSERS => qw(chromium chromium-browser google-chrome);
use constant DRIVER => 'chromedriver';

my $json = JSON::PP->new->utf8->allow_nonref->canonical;

my %running;
END { local $?; $_->close for values %running }

# What is missing for a browser to be started, in words; nothing if it can be.
sub missing {
    return 'there is no ' . join(' or ', BROWSERS) . ' here' if !find_program(BROWSERS);
    return 'there is no ' . DRIVER . ' here' if !find_program(DRIVER);
    return;
}

sub find_program { return (grep {defined} map { program($_) } @_)[0] }

# new(hosts => { 'shop.example' => '127.0.0.1:8080' }, scale => 2)
sub new {
    my ($class, %self) = @_;
    my $missing = $class->missing;
    plan skip_all => "$missing (packages of Debian: chromium, chromium-driver)" if $missing;
    my $self = bless {
        scale => 1,
        hosts => {},
        %self,
        folder => tempdir('intermission-browser-XXXXXX', TMPDIR => 1, CLEANUP => 1),
        port => take_port(),
        http => HTTP::Tiny->new(
            timeout => 3 * TIME_LIMIT, proxy => undef, http_proxy => undef, https_proxy => undef),
    }, $class;
    $running{ 0 + $self } = $self;
    $self->start_driver;
    $self->start_session;
    return $self;
}

# The driver and all that it starts are a group of processes of their own.
sub start_driver {
    my ($self) = @_;
    my $pid = fork // croak "fork: $!";
    if (!$pid) {
        POSIX::setpgid(0, 0);
        local $ENV{HOME} = $self->{folder};
        open STDOUT, '>', "$self->{folder}/driver.log";
        open STDERR, '>&', \*STDOUT;
        exec find_program(DRIVER), "--port=$self->{port}" or POSIX::_exit(127);
    }
    $self->{pid} = $pid;
    wait_for {
        $self->{http}->get("http://127.0.0.1:$self->{port}/status")->{status} == 200
    } 'the driver of the browser to start';
    return;
}

sub start_session {
    my ($self) = @_;
    my @hosts = map {"MAP $_ $self->{hosts}{$_}"} sort keys %{ $self->{hosts} };
    my @flags = (
        qw(--headless --no-sandbox --disable-gpu --disable-quic --disable-dev-shm-usage),
        qw(--no-first-run --disable-background-networking --disable-component-update),
        qw(--disable-sync --no-proxy-server --hide-scrollbars --lang=en),
        "--user-data-dir=$self->{folder}/profile",
        '--host-resolver-rules=' . join(',', @hosts),
    );
    my %options = (binary => find_program(BROWSERS), args => \@flags);
    my $answer = $self->ask(
        POST => 'session',
        {   capabilities => {
                alwaysMatch => {
                    'goog:chromeOptions' => \%options,
                    'goog:loggingPrefs' => { browser => 'ALL' },
                    timeouts => { script => 1000 * TIME_LIMIT },
                    unhandledPromptBehavior => 'accept',
                },
            },
        });
    $self->{session} = $answer->{sessionId};
    $self->size(1280, 900);
    return;
}

sub close {
    my ($self) = @_;
    my $pid = delete $self->{pid} or return;
    delete $running{ 0 + $self };
    eval { $self->tell(DELETE => '') };
    kill TERM => -$pid;
    waitpid $pid, 0;
    return;
}

# WebDriver

# A question about the session.
sub tell {
    my ($self, $method, $path, $value) = @_;
    return $self->ask($method, "session/$self->{session}" . ($path && "/$path"), $value);
}

sub ask {
    my ($self, $method, $path, $value) = @_;
    my $response = $self->{http}->request(
        $method,
        "http://127.0.0.1:$self->{port}/$path",
        $method eq 'POST' ? { content => $json->encode($value // {}) } : {},
    );
    my $answer = eval { $json->decode($response->{content})->{value} };
    return $answer if $response->{success};
    croak "$method $path: ", ref $answer ? $answer->{message} : $response->{content};
}

# What only this kind of browser can do, by the name that its protocol has for it.
sub special {
    my ($self, $command, %params) = @_;
    return $self->tell(POST => 'goog/cdp/execute', { cmd => $command, params => \%params });
}

sub element {
    my ($self, $selector) = @_;
    my %by = (using => 'css selector', value => $selector);
    return $self->tell(POST => 'element', \%by)->{ +ELEMENT };
}

# The page

sub open {
    my ($self, $address) = @_;
    $self->tell(POST => 'url', { url => $address });
    return $self;
}

sub title { $_[0]->tell(GET => 'title') }

# Runs a function's body in the page: what it returns.
sub run {
    my ($self, $script, @arguments) = @_;
    return $self->tell(POST => 'execute/sync', { script => $script, args => \@arguments });
}

# The text of the first such element, as a person sees it; nothing if there is none.
sub text {
    my ($self, $selector) = @_;
    return $self->run('return document.querySelector(arguments[0])?.innerText', $selector);
}

sub wait_text {
    my ($self, $selector, $pattern) = @_;
    my $text;
    eval {
        wait_for { ($text = $self->text($selector) // '') =~ $pattern } 'it';
    } or croak "gave up waiting for $pattern in $selector: there is '$text'";
    return $text;
}

# The name by which a screen reader calls an element.
sub label {
    my ($self, $selector) = @_;
    return $self->tell(GET => 'element/' . $self->element($selector) . '/computedlabel');
}

sub click {
    my ($self, $selector) = @_;
    return $self->tell(POST => 'element/' . $self->element($selector) . '/click');
}

sub type {
    my ($self, $selector, $text) = @_;
    return $self->tell(POST => 'element/' . $self->element($selector) . '/value', { text => $text });
}

# Presses keys wherever the focus is.
sub press {
    my ($self, @keys) = @_;
    my %code = (Tab => "\x{E004}", Enter => "\x{E007}", Escape => "\x{E00C}", Space => ' ');
    my @actions = map {
        my $key = $code{$_} // $_;
        map { { type => $_, value => $key } } qw(keyDown keyUp)
    } @keys;
    return $self->tell(
        POST => 'actions', { actions => [ { type => 'key', id => 'keys', actions => \@actions } ] });
}

# Looks

sub size {
    my ($self, $width, $height) = @_;
    return $self->special(
        'Emulation.setDeviceMetricsOverride',
        width => $width,
        height => $height,
        deviceScaleFactor => $self->{scale},
        mobile => JSON::PP::false,
    );
}

# The colours that the person prefers: light or dark.
sub prefer {
    my ($self, $scheme) = @_;
    my @features = ({ name => 'prefers-color-scheme', value => $scheme });
    return $self->special('Emulation.setEmulatedMedia', features => \@features);
}

# A picture of the whole page, as PNG.
sub picture {
    my ($self) = @_;
    my $picture = $self->special('Page.captureScreenshot', captureBeyondViewport => JSON::PP::true);
    return decode_base64($picture->{data});
}

# What the browser complained of since the last time: mistakes of scripts, breaches of policies. An
# answer that is an error is none.
sub complaints {
    my ($self) = @_;
    my $entries = $self->tell(POST => 'se/log', { type => 'browser' });
    return map {"$_->{level} $_->{message}"} grep { $_->{source} ne 'network' } @$entries;
}

1;
