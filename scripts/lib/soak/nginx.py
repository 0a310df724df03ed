"""An nginx in the foreground, with everything that is under test."""

import os
import re
import shutil
import signal
import socket
import subprocess
import time

CONFIGURATION = """\
load_module {module};
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log {log};
worker_processes {workers};
events {{ worker_connections 8192; }}
worker_rlimit_nofile 18000;
http {{
    client_body_temp_path {folder}/client_body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    access_log off;
    client_max_body_size 10m;
    client_body_buffer_size 64k;
    proxy_next_upstream off;
    lingering_close off;
    intermission_zone 4m;
    intermission_release_timeout 8s;

    server {{
        listen 127.0.0.1:{plain} backlog=4096;
        listen 127.0.0.1:{shared} reuseport backlog=4096;
        listen 127.0.0.1:{streams} http2 backlog=4096;
        intermission on;
        keepalive_requests 1000;

        location /order1/ {{ intermission_app_name order1; proxy_pass http://unix:{folder}/origin; }}
        location ~ ^/(?<name>order2|busy2)/ {{ intermission_app_name $name; proxy_pass http://unix:{folder}/origin; }}
        location /busy1/ {{ intermission_app_name busy1; intermission_read_body held; proxy_pass http://unix:{folder}/origin; }}
        location /brief/ {{
            intermission_app_name brief;
            intermission_max_time 1500ms;
            proxy_pass http://unix:{folder}/origin;
        }}
        location /strict/ {{
            intermission_app_name strict;
            intermission_max_time 1500ms;
            intermission_timeout_action 504;
            proxy_pass http://unix:{folder}/origin;
        }}
        location /restless/ {{
            intermission_app_name restless;
            intermission_auto on;
            intermission_auto_interval 20ms;
            proxy_pass http://unix:{folder}/restless;
        }}
        location = /up {{ intermission_app_name $arg_app; proxy_pass http://unix:{folder}/origin; }}
        location /intermission/ {{ intermission_control; }}
    }}
}}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Nginx:
    # What its processes inherit, if not all that this one has.
    environment = None

    def __init__(self, folder, binary, module, workers, prefix=(), log="notice"):
        self.folder = folder
        self.binary = binary
        self.prefix = list(prefix)
        self.ports = {name: free_port() for name in ("plain", "shared", "streams")}
        self.settings = {"folder": folder, "module": module, "log": log, **self.ports}
        self.killed = set()
        self.configure(workers)

    def configure(self, workers):
        with open(f"{self.folder}/nginx.conf", "w") as file:
            file.write(CONFIGURATION.format(workers=workers, **self.settings))

    def start(self):
        command = [*self.prefix, self.binary, "-p", self.folder, "-c", f"{self.folder}/nginx.conf", "-e", f"{self.folder}/error.log"]
        with open(f"{self.folder}/stderr.log", "w") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=self.environment)
        limit = time.monotonic() + 30
        while not (self.workers() and self.listens()):
            if self.process.poll() is not None or time.monotonic() > limit:
                self.terminate()
                raise RuntimeError(f"nginx did not start, see {self.folder}/stderr.log:\n{self.log()}")
            time.sleep(0.02)

    def listens(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.ports["plain"])) == 0

    def log(self):
        return "".join(open(f"{self.folder}/{name}", errors="replace").read() for name in ("stderr.log", "error.log"))

    def workers(self):
        """The workers that run now, those of an earlier configuration included."""
        try:
            with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as file:
                children = [int(pid) for pid in file.read().split()]
        except OSError:
            return []
        # Under valgrind a process cannot change its title.
        return [pid for pid in children if self.prefix or is_worker(pid)]

    def reload(self):
        self.process.send_signal(signal.SIGHUP)

    def kill(self, pid):
        self.killed.add(pid)
        os.kill(pid, signal.SIGKILL)

    def quit(self, limit=30):
        """Ends it gracefully; whether that went well."""
        self.process.send_signal(signal.SIGQUIT)
        try:
            return self.process.wait(limit) == 0
        except subprocess.TimeoutExpired:
            return False

    def terminate(self):
        if self.process.poll() is not None:
            return
        workers = self.workers()
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            for pid in [self.process.pid, *workers]:
                os.kill(pid, signal.SIGKILL)
            self.process.wait(5)

    def accidents(self):
        """The lines of the log that no healthy run has."""
        return [line for line in self.log().splitlines() if self.is_accident(line)]

    def is_accident(self, line):
        if not re.search(r"\[(alert|crit|emerg)\]|exited on signal|panicked|Sanitizer|runtime error", line):
            return False
        # An origin that comes and goes.
        if re.search(r"connect\(\) to unix:\S+/restless failed \(2: ", line):
            return False
        exited = re.search(r"worker process (\d+) exited on signal 9", line)
        if exited:
            return int(exited[1]) not in self.killed
        # What the master says when the killed worker had the zone's lock.
        locked = re.search(r"was locked by (\d+)", line)
        return not (locked and int(locked[1]) in self.killed)


def is_worker(pid):
    try:
        with open(f"/proc/{pid}/cmdline") as file:
            return "worker process" in file.read()
    except OSError:
        return False


def nginx_arguments(parser, root):
    """The arguments of a script that runs an nginx with the module, both of which must be there."""
    module = os.path.join(root, "target", "modules", "ngx_http_intermission_module.so")
    parser.add_argument("--nginx", default=os.environ.get("INTERMISSION_NGINX") or shutil.which("nginx"))
    parser.add_argument("--module", default=os.environ.get("INTERMISSION_MODULE") or module)
    asked = parser.parse_args()
    if not asked.nginx or not os.path.exists(asked.module):
        parser.error(f"there is no nginx, or no module at {asked.module}: build it first (scripts/build)")
    return asked
