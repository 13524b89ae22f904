# SPDX-License-Identifier: Apache-2.0
"""The origin all proxies stand before: nginx with its files, and what its log tells."""

import os
import time

from . import configs
from .common import WORKERS, Failure, find_program, free_port
from .server import Server

FILES = {"1k": 1024, "100k": 100 << 10, "256m": 256 << 20}
PORTS = ("port", "logged", "closing", "forgetting", "plain")


class Origin:
    """Its ports have the names of PORTS: the usual one, one with a log, two that close, one without TLS."""

    def __init__(self, directory, certs, inside=(), address="127.0.0.1"):
        """INSIDE: the words that run a command where that address is."""
        self.address = address
        own = directory / "origin"
        root = own / "root"
        (root / "put").mkdir(parents=True)
        for name, length in FILES.items():
            write_file(root / name, length)
        ports = {name: free_port() for name in PORTS}
        self.__dict__.update(ports)
        self.log = own / "requests.log"
        config = configs.write("origin.conf", own, user=configs.nginx_user(), workers=WORKERS, certs=certs,
                               root=root, log=self.log, address=address, **ports)
        self.server = Server("origin", own, [*inside, find_program("nginx"), "-p", str(own),
                                             "-e", f"{own}/error.log", "-c", str(config)])

    def wait(self):
        self.server.wait_until_ready(self.port, address=self.address)

    def stop(self):
        self.server.stop()

    def lines(self):
        """Of the log: connection, "r" where its handshake was resumed, protocol and status of each request."""
        return [line.split() for line in self.log.read_text().splitlines()]

    def wait_lines(self, count):
        """The log once it has COUNT lines: nginx writes one when a request has ended."""
        deadline = time.monotonic() + 10
        while len(self.lines()) < count:
            if time.monotonic() > deadline:
                raise Failure(f"the origin logged {len(self.lines())} requests of {count}")
            time.sleep(0.01)
        return self.lines()


def write_file(path, length):
    """A file of that length; a large one is a hole and takes no disk."""
    if length <= 1 << 20:
        path.write_bytes(b"0123456789abcde\n" * (length // 16))
        return
    path.touch()
    os.truncate(path, length)
