# SPDX-License-Identifier: Apache-2.0
"""Programs that know no proxy, run by tlsfan run --capture, and the origins and the DNS out there."""
import functools
import os
import shutil
import ssl
import subprocess
import sys
import tempfile

from . import SLOW
from .dns import Dns
from .proxy import REPORT, binary, clean_env
from .scripted import Server

ADDRESS, ADDRESS6 = "203.0.113.7", "2001:db8::7"  # those of the origin, as literals
NAMES = ("origin.test", "other.test")
USER = 23456  # an ordinary one, and not who the kernel calls those that it cannot name
NOBODY = ["setpriv", "--reuid=%d" % USER, "--regid=%d" % USER, "--clear-groups"]


@functools.lru_cache(maxsize=None)
def why_not(nobody=False):
    """Why no COMMAND can be captured here, for pytest.skip, or None. NOBODY: by an ordinary user, as root starts it."""
    if binary() is None:
        return "no tlsfan: build it, or set TLSFAN_BIN"
    if nobody and (os.geteuid() != 0 or shutil.which("setpriv") is None):
        return "it takes root and setpriv to become somebody else"
    user = [] if os.geteuid() == 0 and not nobody else ["-U"]
    try:
        made = subprocess.run([*(NOBODY if nobody else []), "unshare", "-n", *user, "true"], capture_output=True,
                              text=True)
    except OSError as e:
        return str(e)
    return None if made.returncode == 0 else "no namespace can be made here: " + made.stderr.strip()


def context(ca):
    """Of a server with all the names and addresses of the origin."""
    names = ["DNS:" + x for x in NAMES] + ["IP:" + x for x in (ADDRESS, ADDRESS6)]
    leaf = ca.issue("captured", "basicConstraints = CA:false\nsubjectAltName = " + ",".join(names))
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(leaf.cert, leaf.key)
    return made


class Outside:
    """An origin, which speaks TLS alone, and a DNS server that knows its names."""

    def __init__(self, ca, handler):
        self.ca = ca
        self.server = Server(handler, context(ca))
        self.dns = Dns({name: [("A", ADDRESS, 60)] for name in NAMES})

    def options(self, *more):
        """Those that lead port 443 of the origin's names and addresses to it."""
        mapped = ["%s:443:127.0.0.1:%d" % (host, self.server.port) for host in NAMES + (ADDRESS, "[%s]" % ADDRESS6)]
        keys = ["tls.ca_file=" + self.ca.root, "dns.servers=127.0.0.1:%d" % self.dns.port, "dns.timeout=2s",
                *("connect_to=" + x for x in mapped), *more]
        return [x for key in keys for x in ("-o", key)]

    def forget(self):
        del self.server.requests[:]
        del self.server.errors[:]

    def stop(self):
        self.server.stop()
        self.dns.stop()


class Captured:
    """Starts COMMANDs by run --capture, in a directory of the test's own, which everybody may enter."""

    def __init__(self, outside):
        self.outside = outside
        self.dir = tempfile.mkdtemp(prefix="tlsfan-captured-")
        os.chmod(self.dir, 0o755)
        self.tmp = os.path.join(self.dir, "t")
        os.mkdir(self.tmp)
        os.chmod(self.tmp, 0o1777)
        self.started = []

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, text):
        with open(self.path(name), "w") as f:
            f.write(text)
        return self.path(name)

    def binary(self, nobody):
        """The program where NOBODY can start it."""
        if nobody and not os.path.exists(self.path("tlsfan")):
            shutil.copy(binary(), self.path("tlsfan"))
            shutil.copy(self.outside.ca.root, self.path("root.pem"))
        return self.path("tlsfan") if nobody else binary()

    def line(self, *command, how=(), options=(), nobody=False):
        program = [*(NOBODY if nobody else []), self.binary(nobody), *self.outside.options(*options)]
        if nobody:
            program += ["-o", "tls.ca_file=" + self.path("root.pem")]
        return [*program, "run", "--capture", *how, "--", *command]

    def env(self, extra=None):
        return clean_env({"TMPDIR": self.tmp, "HOME": self.dir, "http_proxy": "http://192.0.2.99:1/",
                          "no_proxy": "", **(extra or {})})

    def start(self, *command, env=None, stdin=subprocess.DEVNULL, **how):
        self.started.append(subprocess.Popen(
            self.line(*command, **how), env=self.env(env), cwd=self.dir, stdin=stdin, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True))
        return self.started[-1]

    def run(self, *command, status=0, **how):
        """A CompletedProcess with text streams; STATUS None: any is fine."""
        self.outside.forget()
        process = self.start(*command, **how)
        out, err = process.communicate(timeout=15 * SLOW)
        done = subprocess.CompletedProcess(command, process.returncode, out, err)
        assert status is None or done.returncode == status, (done.returncode, out[-2000:], err[-4000:])
        assert REPORT.search(err) is None, err[-6000:]
        return done

    def python(self, code, *arguments, **how):
        """Runs CODE: what it has printed."""
        return self.run(sys.executable, "-c", code, *arguments, **how).stdout

    def close(self):
        """Kills what still runs; the test that left a file of tlsfan's behind fails."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.communicate()
        left = os.listdir(self.tmp)
        shutil.rmtree(self.dir, ignore_errors=True)
        assert left == [], left


def namespace_of(pid):
    return os.stat("/proc/%d/ns/net" % pid).st_ino


def inhabitants(namespace):
    """{process id: name} of those in a network NAMESPACE, zombies apart."""
    found = {}
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and namespace_of(int(name)) == namespace:
                with open("/proc/%s/comm" % name) as f:
                    found[int(name)] = f.read().strip()
        except OSError:
            pass  # it has ended, or is another's
    return found
