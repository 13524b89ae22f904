# SPDX-License-Identifier: Apache-2.0
"""A real HAProxy in a temporary directory."""
import csv
import os
import socket
import subprocess

from .ports import free_port
from .wait import can_connect, wait_until

CONF = """
global
    stats socket {dir}/socket mode 600 level admin
defaults
    mode {mode}
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    timeout check 2s
    retries 0
    no option redispatch
listen balancer
    bind 127.0.0.1:{port}
    balance roundrobin
    option httpchk
    http-check send meth GET uri /readyz ver HTTP/1.1 hdr Host 127.0.0.1
    default-server check inter {inter}ms fall 2 rise 1
{servers}
"""


class HAProxy:
    """Between the SERVERS, as (port, port that is asked for /readyz): mode tcp or http. It tries nothing twice."""

    def __init__(self, directory, servers, mode="tcp", inter=100):
        self.dir = str(directory)
        os.makedirs(self.dir)
        self.port = free_port()
        lines = ["    server s%d 127.0.0.1:%d port %d" % (n, *ports) for n, ports in enumerate(servers)]
        path = os.path.join(self.dir, "haproxy.cfg")
        with open(path, "w") as f:
            f.write(CONF.format(dir=self.dir, mode=mode, port=self.port, inter=inter, servers="\n".join(lines)))
        self.log_path = os.path.join(self.dir, "log")
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                ["haproxy", "-db", "-f", path],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(os.environ, PATH=os.environ["PATH"] + ":/usr/sbin"),
            )
        wait_until(lambda: self.process.poll() is not None or can_connect("127.0.0.1", self.port), 10, "HAProxy")
        assert self.process.poll() is None, self.log()

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def statistics(self):
        """{server: {column: value}}, and of the whole under BACKEND and FRONTEND."""
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(os.path.join(self.dir, "socket"))
            s.sendall(b"show stat\n")
            text = b"".join(iter(lambda: s.recv(65536), b"")).decode()
        return {row["svname"]: row for row in csv.DictReader(text.lstrip("# ").splitlines())}

    def is_up(self, n):
        return self.statistics()["s%d" % n]["status"].startswith("UP")

    def stop(self):
        self.process.terminate()
        self.process.wait(10)
