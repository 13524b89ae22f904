# SPDX-License-Identifier: Apache-2.0
"""The network namespaces of the tests themselves: what the others take for granted of them."""
import os
import socket
import subprocess
import sys

import pytest
from testenv import netns
from testenv.listener import Listener
from testenv.netns import Namespace, Pair
from testenv.wait import wait_until

TURN = """table inet t { chain c { type nat hook output priority -100;
    ip daddr 192.0.2.1 tcp dport 80 redirect to :%d; }; }"""


def need(*commands, **kw):
    reason = netns.why_not(*commands, **kw)
    if reason:
        pytest.skip(reason)


class Greeter(Listener):
    def serve(self, sock):
        sock.sendall(b"hello")
        sock.close()


def test_a_namespace_has_its_own_loopback():
    need()
    server = Greeter()
    server.listen()
    connect = "import socket; socket.create_connection(('127.0.0.1', %d))" % server.port
    with Namespace() as ns:
        assert subprocess.run([sys.executable, "-c", connect], stderr=subprocess.DEVNULL).returncode == 0
        assert "ConnectionRefused" in ns.run([sys.executable, "-c", connect], check=False).stderr
    server.stop()


def test_threads_sockets_and_processes_are_inside():
    need("nft", inside=True)
    here = os.readlink("/proc/thread-self/ns/net")
    with Namespace() as ns:
        server = Greeter()
        with ns.inside():
            there = os.readlink("/proc/thread-self/ns/net")
            server.listen()
            child = subprocess.run(["readlink", "/proc/self/ns/net"], capture_output=True, text=True).stdout.strip()
        assert here == os.readlink("/proc/thread-self/ns/net") != there == child
        ns.ip("addr add 192.0.2.7/32 dev lo")
        ns.ip("route add 192.0.2.0/24 dev lo")
        ns.nft(TURN % server.port)
        with ns.inside():
            sock = socket.create_connection(("192.0.2.1", 80), 5)
        assert sock.recv(10) == b"hello"
        sock.close()
        server.stop()


@pytest.mark.parametrize("family, address", [("4", Pair.GATEWAY), ("6", Pair.GATEWAY6)])
def test_a_pair_talks_in_both_families(family, address):
    need()
    listen = ("import socket; s = socket.create_server((%r, 80), family=socket.AF_INET%s); print('up', flush=True)\n"
              "s.accept()[0].sendall(b'hello')" % (address, "6" if family == "6" else ""))
    with Pair() as pair:
        server = pair.gateway.popen([sys.executable, "-c", listen], stdout=subprocess.PIPE)
        assert server.stdout.readline() == b"up\n"
        said = pair.device.run([sys.executable, "-c", "import socket\n"
                                "print(socket.create_connection((%r, 80), 5).recv(10))" % address]).stdout
        assert said == "b'hello'\n"
        server.stdout.close()


def test_nothing_is_left():
    need()
    with Pair() as pair:
        pids = [pair.gateway.pid, pair.device.pid]
        # a grandchild that nobody waits for
        pair.device.run(["sh", "-c", "sleep 1000 >/dev/null 2>&1 &"])
        pair.gateway.popen(["sleep", "1000"])
        wait_until(lambda: pair.device.processes() and pair.gateway.processes(), 5, "processes")
        pids += pair.device.processes() + pair.gateway.processes()
        assert len(pids) == 4
    assert not any(alive(pid) for pid in pids)


def alive(pid):
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False
