# SPDX-License-Identifier: Apache-2.0
"""Parent proxies: a real Squid, a real Tinyproxy, and one of Python that does as it is told."""
import base64
import os
import re
import select
import shutil
import socket
import subprocess
import tempfile

from .ports import free_port
from .scripted import Server
from .wait import can_connect, wait_until

SQUID = """
http_port 127.0.0.1:{port}
pid_filename {dir}/pid
cache_log {dir}/cache.log
access_log stdio:{dir}/access.log
logformat own %rm %ru %>Hs
access_log stdio:{dir}/own.log own
pinger_enable off
hosts_file {dir}/hosts
cache deny all
shutdown_lifetime 0 seconds
dns_nameservers 127.0.0.1
dns_timeout 1 second
dns_retransmit_interval 1 second
auth_param basic program /usr/lib/squid/basic_ncsa_auth {dir}/passwd
auth_param basic children 1 startup=1
auth_param basic credentialsttl 1 second
acl users proxy_auth REQUIRED
acl forbidden dstdomain forbidden.test
http_access deny forbidden
{access}
http_access deny all
"""

TINYPROXY = """
Port {port}
Listen 127.0.0.1
Timeout 60
MaxClients 100
LogFile "{dir}/log"
LogLevel Connect
PidFile "{dir}/pid"
{auth}
"""


class _Program:
    """A proxy of its own directory, which whoever it becomes may enter and pytest's it may not."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="tlsfan-parent-")
        os.chmod(self.dir, 0o777)
        self.port = free_port()
        self.process = None

    @property
    def shown(self):
        return "127.0.0.1:%d" % self.port

    def url(self, userinfo=""):
        return "http://%s127.0.0.1:%d" % (userinfo + "@" if userinfo else "", self.port)

    def write(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, 0o644)
        return path

    def read(self, name):
        try:
            with open(os.path.join(self.dir, name), errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def start(self, *command):
        with open(os.path.join(self.dir, "stderr"), "wb") as err:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=err, stderr=err)
        wait_until(lambda: self.process.poll() is not None or can_connect("127.0.0.1", self.port), 20, command[0])
        assert self.process.poll() is None, self.read("stderr") + self.read("cache.log")

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


class Squid(_Program):
    """USERS: name -> password; none: whoever comes. HOSTS are on 127.0.0.1."""

    def __init__(self, users, hosts):
        super().__init__()
        self.write("hosts", "".join("127.0.0.1 %s\n" % h for h in hosts))
        self.passwd(users)
        access = "http_access allow users" if users else "http_access allow all"
        path = self.write("squid.conf", SQUID.format(dir=self.dir, port=self.port, access=access))
        self.start("/usr/sbin/squid", "-N", "-f", path)

    def passwd(self, users):
        lines = []
        for name, password in users.items():
            made = subprocess.run(["openssl", "passwd", "-apr1", "-stdin"], input=password, capture_output=True,
                                  text=True, check=True)
            lines.append("%s:%s\n" % (name, made.stdout.strip()))
        self.write("passwd", "".join(lines))

    def asked(self):
        """What it was asked, as [method, target, status], when it was over."""
        return [line.split() for line in self.read("own.log").splitlines() if not line.startswith("-")]


class Tinyproxy(_Program):
    """USERS: name -> password; none: whoever comes."""

    def __init__(self, users):
        super().__init__()
        auth = "".join('BasicAuth %s %s\n' % user for user in users.items())
        path = self.write("tinyproxy.conf", TINYPROXY.format(dir=self.dir, port=self.port, auth=auth))
        self.start("/usr/bin/tinyproxy", "-d", "-c", path)

    def asked(self):
        return re.findall(r"Request \(file descriptor \d+\): (\S+) (\S+)", self.read("log"))


def basic(pair):
    return "Basic " + base64.b64encode(pair.encode()).decode()


OPEN = b"HTTP/1.1 200 Connection established\r\n\r\n"


class Relay(Server):
    """A parent that opens every tunnel, to LEADS[host] or to 127.0.0.1 and the port that is asked for.

    OPENING is what it says before; JUDGE(request, conn) may answer instead (bytes), or be done itself (False).
    What is no CONNECT is passed on with the path alone."""

    def __init__(self, judge=None, opening=OPEN, leads=None, host="127.0.0.1"):
        self.judge, self.opening, self.leads = judge, opening, leads or {}
        super().__init__(self._talk, None, host=host)

    @property
    def shown(self):
        return ("[%s]:%d" if ":" in self.host else "%s:%d") % (self.host, self.port)

    def address(self, userinfo=""):
        return "http://%s%s" % (userinfo + "@" if userinfo else "", self.shown)

    def targets(self):
        return [r.target for r in self.requests]

    def _judged(self, request, conn):
        reply = self.judge(request, conn) if self.judge else None
        if reply:
            conn.send(reply)
        return reply is not None

    def _talk(self, conn):
        while True:
            request = conn.read_request()
            if request is None or self._judged(request, conn):
                return
            if request.method == "CONNECT":
                self._tunnel(conn, request.target)
                return
            self._pass_on(conn, request)

    def _reach(self, authority, default=None):
        host, _, port = authority.rpartition(":") if ":" in authority else (authority, "", default)
        return socket.create_connection(self.leads.get(host, ("127.0.0.1", int(port))), 10)

    def _tunnel(self, conn, target):
        with self._reach(target) as far:
            conn.send(self.opening)
            if conn.buf:
                far.sendall(conn.buf)
            ends = {conn.sock: far, far: conn.sock}
            while ends:
                for sock in select.select(list(ends), [], [], 60)[0]:
                    data = sock.recv(65536)
                    if data:
                        ends[sock].sendall(data)
                    else:
                        try:
                            ends[sock].shutdown(socket.SHUT_WR)
                        except OSError:
                            pass
                        del ends[sock]

    def _pass_on(self, conn, request):
        assert request.target.startswith("http://"), request.target
        authority, slash, path = request.target[7:].partition("/")
        with self._reach(authority, 80) as far:
            fields = "".join("%s: %s\r\n" % f for f in request.fields if not f[0].lower().startswith("proxy-"))
            far.sendall(("%s /%s HTTP/1.1\r\n%s\r\n" % (request.method, path, fields)).encode() + request.body)
            reply = b""
            while b"\r\n\r\n" not in reply:
                reply += far.recv(65536)
            head, _, body = reply.partition(b"\r\n\r\n")
            length = int(re.search(rb"Content-Length: (\d+)", head).group(1))
            while len(body) < length:
                body += far.recv(65536)
            conn.send(head + b"\r\n\r\n" + body)
