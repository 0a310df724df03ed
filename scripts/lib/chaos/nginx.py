"""An nginx with AddressSanitizer, and what it says at its accidents."""

import collections
import os
import re
import shutil
import subprocess

from soak.nginx import Nginx

TEMPLATE = os.path.join(os.path.dirname(__file__), "nginx.conf")
FOLDERS = ("files", "dav", "reports")
SANITIZER = (
    "detect_leaks=0:malloc_context_size=30:quarantine_size_mb=32:log_path={folder}/reports/report:"
    "stack_trace_format='    #%n %f %S %M'"
)
# What an nginx without the module does not know.
OF_MODULE = re.compile(r"\$intermission_\w+|\bintermission(_\w+)?( [^;]*)?;")
# With such a line the module is named: by its file or by one of its sources.
OURS = re.compile(r"ngx_http_intermission_module|\.rs:\d")

ACCIDENT = re.compile(r"\[(alert|emerg)\]|open socket #|exited on signal|exited with (fatal )?code [1-9]|panicked|runtime error")
# What follows from a limit of its settings.
LIMIT = re.compile(r"worker_connections are not enough")
# What nginx finds after a worker was killed: the lock that it had, its end of a channel, files of the cache that it used.
AFTER_KILL = re.compile(r"was locked by \d+|sendmsg\(\) failed|kill\(.*\) failed|ignore long locked inactive cache entry")


class Attacked(Nginx):
    def __init__(self, folder, binary, module, origin, settings, log):
        self.origin = origin
        for name in FOLDERS:
            os.mkdir(f"{folder}/{name}")
            os.chmod(f"{folder}/{name}", 0o777)
        for name, size in (("small.html", 500), ("big.bin", 400_000)):
            with open(f"{folder}/files/{name}", "w") as file:
                file.write("." * size)
        self.environment = {**os.environ, "ASAN_OPTIONS": SANITIZER.format(folder=folder)}
        # Workers that ended with a report about nginx itself.
        self.crashed = set()
        # Lines of the log that have to be explained, and how much of it was read.
        self.suspects = []
        self.read = collections.Counter()
        super().__init__(folder, binary, module, settings, log=log)

    def configure(self, settings):
        module = self.settings["module"]
        words = {**self.settings, **settings, "load": f"load_module {module};" if module else "", "origin": self.origin.port, "away": self.origin.away}
        with open(TEMPLATE) as file:
            text = file.read()
        if not module:
            text = OF_MODULE.sub("", text)
        for name, value in words.items():
            text = text.replace(f"%%{name.upper()}%%", str(value))
        with open(f"{self.folder}/nginx.conf", "w") as file:
            file.write(text)

    def accidents(self):
        """The log's lines that nothing of what was done explains."""
        for name in ("error.log", "stderr.log"):
            with open(f"{self.folder}/{name}", "rb") as file:
                file.seek(self.read[name])
                # The last line may not be whole yet.
                text = file.read().rpartition(b"\n")[0]
            self.read[name] += len(text)
            self.suspects += [line for line in text.decode(errors="replace").split("\n") if ACCIDENT.search(line)]
        self.suspects = [line for line in self.suspects if self.is_accident(line)]
        return self.suspects

    def is_accident(self, line):
        if LIMIT.search(line):
            return False
        exited = re.search(r"process (\d+) exited (on signal 9|with code)", line)
        if exited:
            return int(exited[1]) not in (self.killed if exited[2] == "on signal 9" else self.crashed)
        return not (AFTER_KILL.search(line) and (self.killed or self.crashed))

    def reports(self):
        """What the sanitizer has said, by process."""
        for name in sorted(os.listdir(f"{self.folder}/reports")):
            with open(f"{self.folder}/reports/{name}", errors="replace") as file:
                yield int(name.rpartition(".")[2]), file.read()

    def where_workers_stand(self):
        """What each of them is at, if there is a debugger to ask."""
        gdb = shutil.which("gdb")
        if gdb is None:
            return "where the workers stand: install gdb to see"
        asked = [(pid, subprocess.run([gdb, "-batch", "-p", str(pid), "-ex", "bt"], capture_output=True, text=True)) for pid in self.workers()]
        return "\n".join(f"worker {pid}\n" + "\n".join(re.findall(r"^#.*", answer.stdout, re.M)) for pid, answer in asked)
