# SPDX-License-Identifier: Apache-2.0
"""Ten thousand idle keep-alive clients while others work; memory per idle connection."""
import resource
import subprocess
import sys
import time

import pytest

from testenv import SANITIZED
from testenv.wait import wait_until

IDLE = 10000

HOLDER = """
import resource, socket, sys
port, count, url = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
request = ('GET %s HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n' % url).encode()
held = []
def turn(s):
    s.sendall(request)
    data = b''
    while not data.endswith(b'/held'):
        got = s.recv(65536)
        assert got, data
        data += got
    assert data.startswith(b'HTTP/1.1 200'), data
for i in range(count):
    held.append(socket.create_connection(('127.0.0.1', port)))
    turn(held[-1])
print('held', flush=True)
for line in sys.stdin:
    for s in held[::10]:
        turn(s)
    alive = 0
    for s in held:
        s.setblocking(False)
        try:
            alive += s.recv(1) != b''
        except BlockingIOError:
            alive += 1
        s.setblocking(True)
    print('alive %d' % alive, flush=True)
"""


@pytest.mark.load
@pytest.mark.skipif(SANITIZED, reason="load runs on the normal build")
def test_idle_clients(make_proxy, origin):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard < IDLE + 500:
        pytest.skip("the descriptor limit of this machine is %d" % hard)
    p = make_proxy("client { max_connections = 12000 }\nlog { access = off }\n")
    with p.client() as c:
        assert c.get(origin.url()).status == 200
    before = p.rss()
    begun = time.monotonic()
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(p.port), str(IDLE), origin.url("/held")],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)
    try:
        line = holder.stdout.readline()
        assert line == "held\n", holder.stderr.read()[-2000:]
        took, grown = time.monotonic() - begun, p.rss() - before
        assert p.fds() > IDLE
        with p.client() as c:  # others work
            begun, ran = time.monotonic(), p.cpu()
            for i in range(500):
                assert c.get(origin.url("/%d" % i)).text == "/%d" % i
            work, ran = time.monotonic() - begun, p.cpu() - ran
        print("%d idle connections in %.1f s; %.2f KiB each (RSS %d -> %d KiB); 500 requests beside them in %.2f s"
              % (IDLE, took, grown / IDLE, before, before + grown, work))
        holder.stdin.write("again\n")
        holder.stdin.flush()
        assert holder.stdout.readline() == "alive %d\n" % IDLE
        assert ran < 2500 and grown < IDLE * 8
    finally:
        holder.kill()
        holder.wait()
        holder.stdin.close()
        holder.stdout.close()
        holder.stderr.close()
    wait_until(lambda: p.fds() < 100, 10, "the connections to go")
