# SPDX-License-Identifier: Apache-2.0
"""Network namespaces that a test makes itself: one with its loopback up, or two that a veth pair joins.

What runs there is started with a prefix (ns.prefix, or ns.run() and ns.popen()), or inside `with ns.inside():`,
where everything that this thread does is there: sockets, threads that it starts (a scripted server's), and
processes that it starts (Proxy, Nginx). Rules are nftables' own text: ns.nft("table ip nat { ... }")."""
import contextlib
import ctypes
import functools
import os
import signal
import subprocess

from .wait import wait_until

CLONE_NEWNET = 0x40000000
_MADE = "echo made; exec cat"  # ends with whoever made it, for then its stdin ends


def _unshare():
    """What a new namespace is made with; an ordinary user is root in a user namespace, too."""
    return ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-Urn"]


@functools.lru_cache(maxsize=None)
def why_not(*commands, inside=False):
    """Why no such namespace can be made here, for pytest.skip, or None.

    COMMANDS are programs that the test needs: "nft", "busybox". INSIDE: inside() is used, which needs root."""
    for command in commands:
        if subprocess.run(["sh", "-c", 'PATH=$PATH:/usr/sbin:/sbin; command -v "$0"', command],
                          stdout=subprocess.DEVNULL).returncode != 0:
            return "there is no " + command
    if inside and os.geteuid() != 0:
        return "servers of the test itself in a network namespace need root"
    probe = "ip link set lo up && ip link add v0 type veth peer name v1"
    made = subprocess.run([*_unshare(), "sh", "-c", "PATH=$PATH:/usr/sbin:/sbin; " + probe], capture_output=True,
                          text=True)
    if made.returncode != 0:
        return "no network namespace can be made here: " + (made.stderr.strip() or "no reason given")
    if "nft" in commands:
        rules = "table ip t { chain c { type nat hook output priority -100; tcp dport 80 redirect to :81; }; }"
        made = subprocess.run([*_unshare(), "sh", "-c", 'PATH=$PATH:/usr/sbin:/sbin; nft "$0"', rules],
                              capture_output=True, text=True)
        if made.returncode != 0:
            return "nft cannot redirect here: " + made.stderr.strip()
    return None


def _setns(fd):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns: " + os.strerror(ctypes.get_errno()))


class Namespace:
    """A namespace with lo up. WITHIN: the namespace whose user namespace it shares, that both may be joined."""

    def __init__(self, within=None):
        make = _unshare() if within is None else [*within.users, "unshare", "-n"]
        self.started = []
        self.holder = subprocess.Popen([*make, "sh", "-c", _MADE], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            if self.holder.stdout.readline() != b"made\n":
                raise RuntimeError("no network namespace can be made here")
            self.pid = self.holder.pid
            self.users = [] if os.geteuid() == 0 else ["nsenter", "-t", str(self.pid), "-U", "--preserve-credentials"]
            self.prefix = [*(self.users or ["nsenter", "-t", str(self.pid)]), "-n"]
            self.id = os.stat("/proc/%d/ns/net" % self.pid).st_ino
            self.ip("link set lo up")
        except BaseException:
            self.close()
            raise

    @staticmethod
    def _path(options):
        env = dict(options.pop("env", None) or os.environ)
        env["PATH"] = env.get("PATH", "") + ":/usr/sbin:/sbin"
        return dict(options, env=env)

    def run(self, command, check=True, **options):
        """Runs COMMAND to its end there: a CompletedProcess with text streams."""
        done = subprocess.run([*self.prefix, *command], capture_output=True, text=True, **self._path(options))
        assert not check or done.returncode == 0, "%s: %d: %s" % (command, done.returncode, done.stderr)
        return done

    def popen(self, command, **options):
        """Starts COMMAND there; what still runs at the end of the namespace is killed."""
        self.started.append(subprocess.Popen([*self.prefix, *command], **self._path(options)))
        return self.started[-1]

    def ip(self, words):
        """ip WORDS, as "addr add 192.0.2.1/32 dev lo"."""
        return self.run(["ip", *words.split()]).stdout

    def nft(self, text):
        """Loads rules; all of them or none."""
        return self.run(["nft", "-f", "-"], input=text).stdout

    def sysctl(self, name, value):
        path = "/proc/sys/" + name.replace(".", "/")
        self.run(["sh", "-c", 'echo "$0" >"$1"', str(value), path])

    @contextlib.contextmanager
    def inside(self):
        """What this thread makes meanwhile is there, and stays there: sockets, threads, processes."""
        here = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        there = os.open("/proc/%d/ns/net" % self.pid, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(there)
            try:
                yield self
            finally:
                _setns(here)
        finally:
            os.close(here)
            os.close(there)

    def processes(self):
        """The ids of all processes there but the one that holds it."""
        found = []
        for name in os.listdir("/proc"):
            try:
                if name.isdigit() and os.stat("/proc/%s/ns/net" % name).st_ino == self.id:
                    found.append(int(name))
            except OSError:
                pass  # it has ended, or is another's
        return sorted(set(found) - {self.pid, os.getpid()})

    def close(self):
        """Kills what runs there. Sockets that a test still has open keep the namespace, as nothing else does."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.wait()
        if hasattr(self, "id"):
            for pid in self.processes():
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            wait_until(lambda: not self.processes(), 5, "the namespace to be empty")
        self.holder.kill()
        self.holder.wait()
        self.holder.stdin.close()
        self.holder.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def join(a, b, device, addresses_a, addresses_b):
    """A veth pair between A and B, which share a user namespace, called DEVICE on both sides; addresses are of
    both families, IPv4 first."""
    a.ip("link add %s type veth peer name %s netns %d" % (device, device, b.pid))
    for ns, addresses in ((a, addresses_a), (b, addresses_b)):
        ns.ip("addr add %s/24 dev %s" % (addresses[0], device))
        ns.ip("-6 addr add %s/64 dev %s nodad" % (addresses[1], device))
        ns.ip("link set %s up" % device)


class Pair:
    """A gateway (or the host of a pod) and a device behind it, which sends all that it has to say by the gateway.

    The interface is called veth0 on both sides."""

    GATEWAY, GATEWAY6 = "10.78.0.1", "fd78::1"
    DEVICE, DEVICE6 = "10.78.0.2", "fd78::2"

    def __init__(self):
        self.gateway, self.device = Namespace(), None
        try:
            self.device = Namespace(within=self.gateway)
            join(self.gateway, self.device, "veth0", (self.GATEWAY, self.GATEWAY6), (self.DEVICE, self.DEVICE6))
            self.device.ip("route add default via " + self.GATEWAY)
            self.device.ip("-6 route add default via " + self.GATEWAY6)
        except BaseException:
            self.close()
            raise

    def close(self):
        for ns in (self.device, self.gateway):
            if ns is not None:
                ns.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
