# SPDX-License-Identifier: Apache-2.0
"""A pod: the network namespace that its containers share, and the world that it reaches over one interface.

The world has a DNS server, an origin that speaks TLS, and one that speaks plain HTTP, which a program beside tlsfan
is not to reach. Containers are processes with a user and no capability, with the packaging's own settings and rules."""
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile

import yaml

from . import SLOW, netns
from .dns import Dns
from .netns import Pair
from .proxy import REPORT, ROOT, binary, clean_env
from .scripted import Server, answering, ok
from .wait import wait_until

TLSFAN, PROGRAM = 65532, 10001  # users
METADATA, METADATA6 = ("169.254.169.254", "100.100.100.200", "168.63.129.16"), "fd00:ec2::254"
SEARCH = "search default.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n"  # as the kubelet says


def why_not():
    """Why there can be no pod here, for pytest.skip, or None."""
    return netns.why_not("nft", "setpriv", "curl", inside=True)


def manifest(name):
    """The container of tlsfan in a file of packaging/: (arguments, environment)."""
    with open(os.path.join(ROOT, "packaging", name), encoding="utf-8") as f:
        thing = yaml.safe_load(f)
    if "services" in thing:
        return [], thing["services"]["tlsfan"]["environment"]
    (container,) = [c for c in thing["spec"]["template"]["spec"]["initContainers"] if c["name"] == "tlsfan"]
    return container.get("args", []), {one["name"]: one["value"] for one in container["env"]}


def rules(name):
    with open(os.path.join(ROOT, "packaging", "nftables", name + ".nft"), encoding="utf-8") as f:
        return f.read()


class Pod:
    """.world and .inner are the namespaces, .origin, .plain and .dns the servers of the world."""

    def __init__(self, ca):
        self.dir = tempfile.mkdtemp(prefix="pod")  # for every user, which the tests' own directory is not
        os.chmod(self.dir, 0o755)
        self.root_ca, self.binary = self.file("root.pem"), self.file("tlsfan")
        shutil.copy(ca.root, self.root_ca)
        shutil.copy(binary(), self.binary)
        os.chmod(self.root_ca, 0o644)
        os.chmod(self.binary, 0o755)
        self.pair, self.servers = Pair(), []
        self.world, self.inner = self.pair.gateway, self.pair.device
        try:
            self._make_world(ca)
        except BaseException:
            self.close()
            raise
        with open(self.file("resolv.conf"), "w") as f:
            f.write("nameserver %s\n%s" % (Pair.GATEWAY, SEARCH))

    def file(self, name):
        return os.path.join(self.dir, name)

    def _make_world(self, ca):
        for address in METADATA:
            self.world.ip("addr add %s/32 dev veth0" % address)
        self.world.ip("-6 addr add %s/128 dev veth0 nodad" % METADATA6)
        self.origin = self.serve(self.world, Pair.GATEWAY, 443, ca.server_context(), "verified")
        self.origin6 = self.serve(self.world, Pair.GATEWAY6, 443, ca.server_context(), "verified")
        self.plain = self.serve(self.world, Pair.GATEWAY, 80, None, "plain")
        for address in (*METADATA, METADATA6):
            self.serve(self.world, address, 80, None, "metadata")
        with self.world.inside():
            self.dns = Dns(address=(Pair.GATEWAY, 53), zone={
                "origin.test": [("A", Pair.GATEWAY, 60), ("AAAA", Pair.GATEWAY6, 60)],
                "other.test": [("A", Pair.GATEWAY, 60)],
                "web.default.svc.cluster.local": [("A", Pair.GATEWAY, 60)]})
        self.servers.append(self.dns)

    def serve(self, ns, host, port, context=None, text="own"):
        """A server in NS whose answers begin with TEXT."""
        with ns.inside():
            server = Server(answering(lambda request, conn: ok(text + " " + request.target)), context, host=host,
                            port=port)
        self.servers.append(server)
        return server

    @contextlib.contextmanager
    def own_server(self, host, port):
        """One of the pod's own, meanwhile."""
        server = self.serve(self.inner, host, port)
        try:
            yield server
        finally:
            self.servers.remove(server)
            server.stop()

    def container(self, user):
        """What a command of a container begins with: its network, its resolv.conf, its user, and no capability."""
        mount = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
        return [*self.inner.prefix, "unshare", "-m", "sh", "-c", mount, self.file("resolv.conf"), "setpriv",
                "--reuid=%d" % user, "--regid=%d" % user, "--clear-groups", "--bounding-set=-all", "--inh-caps=-all",
                "--no-new-privs"]

    def run(self, *command, user=PROGRAM, env=None):
        """Runs COMMAND as a program of the pod, to its end."""
        return subprocess.run([*self.container(user), *command], env=clean_env(env), stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=30 * SLOW, cwd="/")

    def curl(self, *arguments, **kw):
        return self.run("curl", "-sS", "--noproxy", "*", "--max-time", str(10 * SLOW), *arguments, **kw)

    def nft(self, *arguments):
        """As the init container runs it, which is root with NET_ADMIN and nothing else."""
        confined = ["setpriv", "--bounding-set=-all,+net_admin", "--inh-caps=-all", "--no-new-privs"]
        return self.inner.run([*confined, "nft", *arguments]).stdout

    def load(self, name):
        """The rules of a file, as the manifest gives them: the text is an argument."""
        self.nft(rules(name))

    def turned(self):
        """How many connections the rules have turned so far."""
        listed = self.nft("list", "table", "inet", "tlsfan")
        return sum(int(n) for n in re.findall(r"counter packets (\d+)", listed))

    @contextlib.contextmanager
    def tlsfan(self, file, args=None, env=None):
        """tlsfan as FILE of packaging/ starts it, but that it trusts the world's CA."""
        made = Container(self, file, args, env)
        try:
            made.wait_healthy()
            yield made
        finally:
            made.stop()

    def close(self):
        for server in self.servers:
            server.stop()
        self.pair.close()
        shutil.rmtree(self.dir, ignore_errors=True)


class Container:
    """tlsfan in a pod, as its own user, with the arguments and the environment of a manifest."""

    def __init__(self, pod, file, args, env):
        self.pod = pod
        given, settings = manifest(file)
        settings = {key: value.replace("/etc/tlsfan-ca", pod.file("secret")) for key, value in settings.items()}
        self.env = dict(settings, TLSFAN_TLS_CA_EXTRA=pod.root_ca, TLSFAN_DRAIN_TIMEOUT="2s", **(env or {}))
        self.out, self.err = pod.file("access"), pod.file("log")
        command = [*pod.container(TLSFAN), pod.binary, *(given if args is None else args)]
        with open(self.out, "wb") as out, open(self.err, "wb") as err:
            self.process = subprocess.Popen(command, env=clean_env(self.env), stdin=subprocess.DEVNULL, stdout=out,
                                            stderr=err, cwd="/")

    def healthy(self):
        """As the probe of the manifest asks."""
        assert self.process.poll() is None, self.log()
        return self.pod.run(self.pod.binary, "--check-health", user=TLSFAN, env=self.env).returncode == 0

    def wait_healthy(self):
        wait_until(self.healthy, 10, "tlsfan to be healthy")

    def log(self):
        with open(self.err, errors="replace") as f:
            return f.read()

    def access(self):
        with open(self.out) as f:
            return [json.loads(line) for line in f if line.startswith("{") and line.endswith("}\n")]

    def wait_access(self, count=1):
        """The lines of the access log, once there are COUNT."""
        wait_until(lambda: len(self.access()) >= count, 5, "%d lines of the access log" % count)
        return self.access()

    def connections(self):
        """How many sockets of TCP it has, listening ones as well."""
        found = 0
        for fd in os.listdir("/proc/%d/fd" % self.process.pid):
            with contextlib.suppress(OSError):
                found += os.readlink("/proc/%d/fd/%s" % (self.process.pid, fd)).startswith("socket:")
        return found

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        if self.process.poll() is not None:
            assert self.process.returncode == -signal.SIGKILL, self.log()
            return
        self.process.terminate()
        try:
            status = self.process.wait(15 * SLOW)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError("tlsfan did not end on TERM:\n" + self.log()[-3000:])
        assert REPORT.search(self.log()) is None and status == 0, "status %s:\n%s" % (status, self.log()[-6000:])


def connect(ns, host, port):
    """A connection from NS, by a thread that is root and no container."""
    with ns.inside():
        return socket.create_connection((host, port), 5 * SLOW)
