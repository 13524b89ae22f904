# SPDX-License-Identifier: Apache-2.0
"""The proxies that are compared: how each is started, and whether it does the job it should.

All take plain HTTP and make it verified TLS to the one origin, with connections kept on both sides,
no log and no cache. That each verifies is tried, not believed: see verify().
"""

import contextlib
import http.client
import os
import pathlib
import pwd
import shutil
import subprocess
import tempfile

from . import configs
from .common import NAME, WORKERS, Failure, find_program, free_port, program_path
from .server import START_SECONDS, Server

APACHE_MODULES = "/usr/lib/apache2/modules"
PROBE_SECONDS = 10
ENDS_SECONDS = 0.2  # of a process whose files are closed already


class Running:
    """A proxy that was started: ports, the name the origin has for it, its costs."""

    def __init__(self, peer, server, values):
        self.peer = peer
        self.server = server
        self.port = values["port"]
        self.tunnels = values["tunnels"]  # the port that takes CONNECT
        self.service = values["service"]  # tlsfan's, where one was asked for
        self.host = f"{values['name']}:{values['origin']}"
        self.cpu_seconds = server.cpu_seconds
        self.memory_kib = server.memory_kib

    def target(self, path):
        """A forward proxy is told the whole URL, a gateway knows its origin."""
        return f"http://{self.host}/{path}" if self.peer.forward else f"/{path}"

    def tunnel(self, bench, path):
        """What load is to ask for through a tunnel to the origin's port without TLS."""
        name = NAME if self.peer.forward else bench.origin.address
        return {"port": self.tunnels, "host": f"{name}:{bench.origin.plain}", "target": path}


class Peer:
    """What stands in one column of the tables."""

    forward = False
    program = None
    version_option = "-v"
    connects = False  # takes CONNECT

    def __init__(self, name, h2=False):
        self.name = name
        self.h2 = h2  # towards the origin

    def missing(self, bench):
        """Why it cannot take part; None where it can."""
        del bench
        return None if program_path(self.program) else f"{self.program} is not installed"

    def version(self, bench):
        result = subprocess.run([self.path(bench), self.version_option], stdin=subprocess.DEVNULL, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return result.stdout.split("\n", 1)[0]

    def path(self, bench):
        del bench
        return find_program(self.program)

    def command(self, bench, own, values):
        """The command line; what it reads is written into OWN."""
        raise NotImplementedError

    def start(self, bench, **options):
        """Starts one. Options: workers; origin, a port; ca, the file's name; name, of the origin; wrap, the
        words of a command to run it under; and of tlsfan's extra, for -o, config, a file, and service, a port."""
        own = pathlib.Path(tempfile.mkdtemp(prefix=self.name + "-", dir=bench.directory))
        own.chmod(0o777)  # for those that leave root
        port = free_port()
        values = {"port": port, "tunnels": port, "origin": bench.origin.port, "plain": bench.origin.plain,
                  "address": bench.origin.address,
                  "certs": bench.certs, "ca": "ca", "name": NAME, "workers": WORKERS, "wrap": (), "extra": (),
                  "service": None, "config": None} | options
        if self.separate_tunnels():
            values["tunnels"] = free_port()
        server = Server(self.name, own, [*values["wrap"], *self.command(bench, own, values)])
        return Running(self, server, values)

    def separate_tunnels(self):
        """Whether CONNECT has a port of its own."""
        return False


class Tlsfan(Peer):
    forward = True
    connects = True
    version_option = "--version"

    def missing(self, bench):
        return None if bench.tlsfan else "left out"

    def path(self, bench):
        return bench.tlsfan

    def command(self, bench, own, values):
        origin, plain, name, address = (values[key] for key in ("origin", "plain", "name", "address"))
        options = [f"tls.ca_file={values['certs']}/{values['ca']}.pem", "log.access=off", "log.level=warning",
                   f"upstream.http2={'on' if self.h2 else 'off'}", f"destination.connect_ports={plain}",
                   f"connect_to={name}:{plain}:{address}:{plain}",
                   f"connect_to={name}::{address}:{origin}", *values["extra"]]
        service = f"127.0.0.1:{values['service']}" if values["service"] else "off"
        file = ["-c", str(values["config"])] if values["config"] else []
        return [bench.tlsfan, *file, "-l", f"127.0.0.1:{values['port']}", "-s", service, "-w", str(values["workers"]),
                *(word for option in options for word in ("-o", option))]


class Haproxy(Peer):
    program = "haproxy"

    def command(self, bench, own, values):
        config = configs.write("haproxy.cfg", own, alpn="h2" if self.h2 else "http/1.1", **values)
        return [find_program("haproxy"), "-db", "-f", str(config)]


class Nginx(Peer):
    program = "nginx"

    def command(self, bench, own, values):
        config = configs.write("nginx.conf", own, user=configs.nginx_user(), **values)
        return [find_program("nginx"), "-p", str(own), "-e", f"{own}/error.log", "-c", str(config)]


class Squid(Peer):
    """One process whatever the workers: several need directories that only an installed service has."""
    program = "squid"
    connects = True

    def separate_tunnels(self):
        return True

    def command(self, bench, own, values):
        config = configs.write("squid.conf", own, **values)
        return [find_program("squid"), "-N", "-f", str(config)]


class Apache(Peer):
    program = "apache2"
    connects = True

    def separate_tunnels(self):
        return True

    def command(self, bench, own, values):
        user = ""
        if os.geteuid() == 0:
            user = f"User {os.environ.get('APACHE_RUN_USER', 'www-data')}\nGroup www-data"
            pwd.getpwnam("www-data")
        config = configs.write("apache.conf", own, modules=APACHE_MODULES, user=user, **values)
        return [find_program("apache2"), "-D", "FOREGROUND", "-f", str(config)]


class TrafficServer(Peer):
    program = "traffic_server"
    version_option = "-V"
    connects = True
    FOLDERS = ("bindir", "sbindir", "sysconfdir", "datadir", "includedir", "libdir", "libexecdir",
               "localstatedir", "runtimedir", "logdir", "cachedir")

    def command(self, bench, own, values):
        for folder in self.FOLDERS:
            (own / folder).mkdir()
            (own / folder).chmod(0o777)
        layout = "".join(f"{folder}: {own}/{folder}\n" for folder in self.FOLDERS)
        (own / "runroot.yaml").write_text(f"prefix: {own}\nexec_prefix: {own}\n{layout}")
        written = configs.write("ats-records.config", own, **values)
        shutil.move(written, own / "sysconfdir/records.config")
        target = f"https://{values['address']}:{values['origin']}/"
        (own / "sysconfdir/remap.config").write_text(
            f"map http://{values['name']}:{values['origin']}/ {target}\n")
        (own / "sysconfdir/storage.config").touch()  # no place for a cache
        (own / "sysconfdir/ip_allow.yaml").write_text(
            "ip_allow:\n  - apply: in\n    ip_addrs: 127.0.0.1\n    action: allow\n    methods: ALL\n")
        return [find_program("traffic_server"), f"--run-root={own}/runroot.yaml"]


class Floor(Peer):
    """tests/bench/floor.c: what reading, TLS and writing cost, and nothing else."""

    def missing(self, bench):
        return None if bench.floor else "tests/bench/floor.c is not there"

    def version(self, bench):
        return "a relay that does nothing else"

    def command(self, bench, own, values):
        return [str(bench.floor), *(["-2"] if self.h2 else []), "-a", values["address"], "-w", str(values["workers"]),
                str(values["port"]), str(values["origin"]), values["name"], f"{values['certs']}/{values['ca']}.pem"]


PEERS = {peer.name: peer for peer in (
    Tlsfan("tlsfan"), Tlsfan("tlsfan-h2", h2=True), Haproxy("haproxy"), Haproxy("haproxy-h2", h2=True),
    Nginx("nginx"), Squid("squid"), TrafficServer("ats"), Apache("apache"),
    Floor("floor"), Floor("floor-h2", h2=True))}
TITLES = {"tlsfan": "tlsfan", "tlsfan-h2": "tlsfan h2", "haproxy": "HAProxy", "haproxy-h2": "HAProxy h2",
          "nginx": "nginx", "squid": "Squid", "ats": "ATS", "apache": "Apache", "floor": "floor",
          "floor-h2": "floor h2", "direct": "direct"}


def probe(running):
    """One request through a proxy; None, or what is wrong with the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=PROBE_SECONDS)
    with contextlib.closing(connection):
        connection.request("GET", running.target("1k"), headers={"Host": running.host})
        response = connection.getresponse()
        body = response.read()
    if response.status == 200 and len(body) == 1024:
        return None
    return f"status {response.status}: {body[:300]!r}"


@contextlib.contextmanager
def started(bench, peer, asked=True, seconds=START_SECONDS, **options):
    """A proxy for as long as the block takes; with ASKED=False no request was made to it yet."""
    running = peer.start(bench, **options)
    try:
        running.server.wait_until_ready(running.port, (lambda: probe(running)) if asked else (lambda: None), seconds)
        yield running
    finally:
        running.server.stop()


def verify(bench, peer):
    """Raises Failure where the proxy gives an answer of an origin that it must not trust, or does not refuse it."""
    for wrong, options in (("a wrong CA", {"ca": "other"}), ("a wrong name", {"name": "wrong.test"})):
        with started(bench, peer, asked=False, **options) as running:
            try:
                error = probe(running)
            except TimeoutError:
                raise Failure(f"{peer.name} said nothing of an origin with {wrong}") from None
            except (OSError, http.client.HTTPException) as caught:
                error = caught
            if error is None:
                raise Failure(f"{peer.name} took an origin with {wrong}")
            running.server.expect_alive(ENDS_SECONDS)  # it refuses, and goes on
            running.server.wait_until_ready(running.port)
