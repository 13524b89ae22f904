# SPDX-License-Identifier: Apache-2.0
"""What all cases of a run share: directory, certificates, origin, programs, and who takes part."""

import contextlib
import pathlib
import platform
import resource
import tempfile

from . import certificates, peers
from .common import BENCH, Failure, compile_c
from .origin import Origin
from .veth import namespace

SHORT_SCALE = 0.25


class Bench:
    """A context: the origin runs inside it, and the directory goes with it."""

    def __init__(self, tlsfan, short=False, veth=False):
        raise_limits()
        self.tlsfan = tlsfan
        self.short = short
        self.veth = veth  # the origin is behind a veth pair
        self.peers = {}    # those that take part: name -> version
        self.missing = {}  # those that are not installed: name -> why
        self.broken = {}   # those that are and do not do the job: name -> why
        self.stack = contextlib.ExitStack()

    def __enter__(self):
        with self.stack:
            temporary = tempfile.TemporaryDirectory(prefix="tlsfan-bench-")
            self.directory = pathlib.Path(self.stack.enter_context(temporary))
            self.directory.chmod(0o755)
            self.certs = self.directory / "certs"
            self.load = compile_c("load", self.directory, "-lssl", "-lcrypto")
            self.floor = self.compile_floor()
            certificates.make(self.certs)
            where = self.stack.enter_context(namespace()) if self.veth else ()
            self.origin = Origin(self.directory, self.certs, *where)
            self.stack.callback(self.origin.stop)
            self.origin.wait()
            self.stack = self.stack.pop_all()
        return self

    def __exit__(self, *failure):
        return self.stack.__exit__(*failure)

    def compile_floor(self):
        if not (BENCH / "floor.c").exists():
            return None
        return compile_c("floor", self.directory, "-lssl", "-lcrypto", "-lnghttp2")

    def count(self, requests):
        """As many as a case wants, or fewer in a short run."""
        return max(200, int(requests * SHORT_SCALE)) if self.short else requests

    def admit(self, names):
        """Tries each of these peers: it must answer, and must not trust whom it should not."""
        for name in names:
            peer = peers.PEERS[name]
            reason = peer.missing(self)
            if reason is not None:
                self.missing[name] = reason
                continue
            try:
                with peers.started(self, peer):
                    pass
                peers.verify(self, peer)
                self.peers[name] = peer.version(self)
            except Failure as failure:
                self.broken[name] = str(failure)


def machine():
    """What the figures were measured on."""
    model = "unknown"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    cores = sum(line.startswith("processor") for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines())
    return {"processor": model, "cores": cores, "system": f"{platform.system()} {platform.release()}"}


def raise_limits():
    """Thousands of connections need as many descriptors, here and in what is started."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
