# SPDX-License-Identifier: Apache-2.0
"""tlsfan under test: started with a configuration, waited for, watched, stopped and judged."""
import glob
import itertools
import json
import os
import re
import signal
import subprocess
import urllib.request

from . import SLOW
from .client import Client
from .ports import free_port
from .wait import can_connect, wait_until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
REPORT = re.compile(r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:|Assertion .* failed|LeakSanitizer")
_count = itertools.count(1)
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # whatever the environment says


def binary():
    """TLSFAN_BIN, or the newest build in the tree, or None."""
    given = os.environ.get("TLSFAN_BIN")
    if given:
        return given if os.access(given, os.X_OK) else None
    built = [p for p in glob.glob(os.path.join(ROOT, "build", "*", "tlsfan")) if os.access(p, os.X_OK)]
    return max(built, key=os.path.getmtime) if built else None


def clean_env(extra=None):
    """The environment without proxy variables or TLSFAN_ keys of whoever runs the tests."""
    env = {k: v for k, v in os.environ.items()
           if not k.lower().endswith("_proxy") and not k.startswith("TLSFAN_")}
    env.setdefault("TSAN_OPTIONS", "halt_on_error=0")
    env.update(extra or {})
    return env


def run(*args, env=None, timeout=20, cwd=None, stdin=None):
    """Runs the program to its end; a CompletedProcess with text streams."""
    return subprocess.run([binary(), *args], env=clean_env(env), capture_output=True, text=True, cwd=cwd,
                          timeout=timeout * SLOW, stdin=stdin or subprocess.DEVNULL)


class Proxy:
    """CONF is configuration text; `listen`, the access log and the short drain are added unless it sets them.

    In LISTEN, PORT is that of .port. There is a service listener only with service=True, on a port of its own."""

    def __init__(self, directory, conf="", flags=(), env=None, listen=None, wait=True, access=True,
                 prefix=(), service=False):
        self.dir = os.path.join(str(directory), "proxy%d" % next(_count))
        os.makedirs(self.dir)
        self.port = free_port()
        self.prefix = list(prefix)
        self.conf_path = os.path.join(self.dir, "tlsfan.conf")
        self.log_path, self.access_path = os.path.join(self.dir, "log"), os.path.join(self.dir, "access")
        addresses = [a.replace("PORT", str(self.port)) for a in listen or ["127.0.0.1:PORT"]]
        self.base = 'listen = {%s}\n' % ", ".join('"%s"' % a for a in addresses)
        self.service_port = free_port() if service else None
        if not re.search(r"^\s*service\s*=", conf, re.M):
            self.base += 'service = "%s"\n' % ("127.0.0.1:%d" % self.service_port if service else "off")
        if not re.search(r"^\s*drain_timeout", conf, re.M):
            self.base += "drain_timeout = 2s\n"
        if access and not re.search(r"^\s*log\s*{", conf, re.M):
            self.base += 'log { access = "%s" query = on }\n' % self.access_path
        self.flags, self.env, self.wait = tuple(flags), env, wait
        self.write(conf)
        self.process = None
        self.start()

    def write(self, conf):
        """At once: a reload that is still under way must not read half of it."""
        with open(self.conf_path + ".new", "w") as f:
            f.write(self.base + conf)
        os.replace(self.conf_path + ".new", self.conf_path)

    def start(self):
        log = open(self.log_path, "ab")
        command = [*self.prefix, binary(), "-c", self.conf_path, *self.flags]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
                                        env=clean_env(self.env))
        log.close()
        if self.wait:
            wait_until(lambda: self.dead() or self.listens(), 10, "the proxy to listen")
            assert not self.dead(), "tlsfan did not start:\n" + self.log()

    def listens(self):
        return can_connect("127.0.0.1", self.port) and (
            self.service_port is None or can_connect("127.0.0.1", self.service_port))

    @property
    def pid(self):
        return self.process.pid

    def dead(self):
        return self.process.poll() is not None

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def access(self):
        """Access log lines so far, decoded."""
        with open(self.access_path) as f:
            return [json.loads(line) for line in f if line.endswith("\n")]

    def wait_access(self, predicate, count=1, timeout=5):
        """Waits for COUNT access lines that satisfy PREDICATE, and returns them.

        Those of one connection are in order; two may be of two workers, of which either may write first."""
        def found():
            lines = [x for x in self.access() if predicate(x)] if os.path.exists(self.access_path) else []
            return lines if len(lines) >= count else None
        return wait_until(found, timeout, "%d access log lines" % count)

    def wait_log(self, text, timeout=5):
        wait_until(lambda: text in self.log(), timeout, lambda: "%r in the log:\n%s" % (text, self.log()[-2000:]))

    def client(self, **kw):
        return Client(self.port, **kw)

    @property
    def url(self):
        return "http://127.0.0.1:%d" % self.port

    @property
    def service_url(self):
        return "http://127.0.0.1:%d" % self.service_port

    def fetch(self, path):
        """The text of a page of its service listener."""
        with OPENER.open(self.service_url + path, timeout=30 * SLOW) as answer:
            return answer.read().decode()

    def batch(self, lines, accept=""):
        """What its service listener answers to a batch call of LINES, an URL each."""
        r = urllib.request.Request(self.service_url + "/batch", lines.encode(),
                                   {"Content-Type": "text/plain", "Accept": accept or "multipart/mixed"})
        with OPENER.open(r, timeout=30 * SLOW) as answer:
            return answer.read().decode()

    def environ(self):
        """An environment that sends http:// through this proxy."""
        return clean_env({"http_proxy": self.url, "HTTP_PROXY": self.url, "no_proxy": "", "NO_PROXY": ""})

    def fds(self):
        """How many descriptors it has, but for that by which it hears of its files: the first look brings it."""
        return sum(not self.opened(fd).endswith("inotify") for fd in os.listdir("/proc/%d/fd" % self.pid))

    def opened(self, fd):
        try:
            return os.readlink("/proc/%d/fd/%s" % (self.pid, fd))
        except OSError:  # closed by now
            return ""

    def rss(self):
        """Resident set in KiB."""
        with open("/proc/%d/status" % self.pid) as f:
            return int(re.search(r"^VmRSS:\s+(\d+)", f.read(), re.M).group(1))

    def cpu(self):
        """Milliseconds that all its threads have run: processor time, of which other programs take none."""
        tasks = "/proc/%d/task" % self.pid
        return sum(int(open("%s/%s/schedstat" % (tasks, task)).read().split()[0]) for task in os.listdir(tasks)) / 1e6

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        if not self.dead():
            self.process.kill()
            self.process.wait()

    def stop(self, expect=0):
        """TERM, then checks the exit status and that no sanitizer spoke."""
        if not self.dead():
            self.signal(signal.SIGTERM)
        try:
            status = self.process.wait(15 * SLOW)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError("tlsfan did not end on TERM:\n" + self.log()[-3000:])
        report = REPORT.search(self.log())
        assert report is None, "sanitizer report:\n" + self.log()[max(0, report.start() - 200):][:6000]
        assert status == expect, "exit status %s:\n%s" % (status, self.log()[-3000:])
