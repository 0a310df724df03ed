#!/usr/bin/env perl

# The image's configuration, as the Dockerfile runs it: nginx is not root, nothing but /tmp can be written to, and SIGQUIT, with
# which Docker stops it, ends it as soon as what is held is answered. In namespaces of their own, as there is no Docker here.

use strict;
use warnings;

use Cwd qw(abs_path);
use FindBin qw($Bin);
use Test::More;

use lib "$Bin/lib";
use Intermission::Test;

plan skip_all => 'only root can make a root that is read-only' if $>;
my $allowed = 'mount -t tmpfs tmpfs /tmp && mount -o remount,bind,ro / && echo 0 >/proc/sys/net/ipv4/ip_unprivileged_port_start';
plan skip_all => 'namespaces are not allowed here' if system "unshare --mount --net --pid --fork sh -c '$allowed' 2>/dev/null";

my $nginx = $ENV{INTERMISSION_NGINX} || 'nginx';
plan skip_all => 'the image has the nginx of a package' if $nginx =~ m{/} && $nginx !~ m{^/usr/};

my $root = abs_path("$Bin/..");
my ($dockerfile, $official)
    = map { slurp("$root/$_") } qw(Dockerfile packaging/Dockerfile.official);
my ($command) = $dockerfile =~ /^CMD \[(.*)\]$/m;
like $official, qr/^CMD \[\Q$command\E\]$/m, 'both images run the same';
like $_, qr/^USER (?:www-data|nginx)\n.*^STOPSIGNAL SIGQUIT$/ms, 'not as root, and are stopped by SIGQUIT'
    for $dockerfile, $official;

my %with = (
    module => (Intermission::Test::module_file())[0],
    nginx => $nginx,
    arguments => join(' ', map {"'$_'"} $command =~ /"([^"]*)"/g) =~ s/^'nginx'//r,
    config => "$root/nginx-conf/docker.conf",
);
my $script = <<'EOF';
set -eu
ip link set lo up
# As Docker has it: what is not root may listen on port 80.
echo 0 >/proc/sys/net/ipv4/ip_unprivileged_port_start
module=$(mktemp) && cp %%module%% "$module"
mkdir -p /usr/lib/nginx/modules
mount -t tmpfs tmpfs /usr/lib/nginx/modules
cp "$module" /usr/lib/nginx/modules/ngx_http_intermission_module.so
chmod 644 /usr/lib/nginx/modules/*
rm "$module"
sed 's/http:..backend:/http:\/\/127.0.0.1:/' %%config%% >/usr/lib/nginx/modules/nginx.conf
mount --bind /usr/lib/nginx/modules/nginx.conf /etc/nginx/nginx.conf
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -o remount,bind,ro /
touch /etc/written 2>/dev/null && echo "the root can be written to"
# Docker gives what it runs its own stdout.
install -o www-data -m 644 /dev/null /tmp/out
setpriv --reuid www-data --regid www-data --clear-groups %%nginx%% -c /etc/nginx/nginx.conf %%arguments%% >/tmp/out 2>/tmp/log &
nginx=$!
try() { tries=100; until "$@" >/dev/null 2>&1; do tries=$((tries - 1)); [ $tries -gt 0 ] || { cat /tmp/log; exit 1; }; sleep 0.1; done; }
call() { curl -sS --max-time 10 http://127.0.0.1:8081/intermission/$1; }
held() { call status | grep -q '^held: 1$'; }
try call status
call enable | head -n 1
curl -sS -o /dev/null -w 'answered %{http_code}\n' --max-time 20 http://127.0.0.1/ &
client=$!
try held
kill -QUIT $nginx
wait $client
wait $nginx
echo "ended $?"
grep -E '\[(alert|crit|emerg|warn)\]' /tmp/log || true
EOF
$script =~ s/%%(\w+)%%/$with{$1}/g;
my $file = Intermission::Test->new->write_file('script', $script);
my $said = `unshare --mount --net --pid --fork --kill-child --mount-proc sh $file 2>&1`;

# There is no backend, so that is told when the request is let go.
is $said, "Pause enabled.\nanswered 502\nended 0\n", 'it holds, and when it is told to end, it lets go and ends';

done_testing;
