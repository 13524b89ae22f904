# SPDX-License-Identifier: Apache-2.0
"""Faults: every ending at every byte; thousands of each kind without a leak or an answer to another request."""
import os
import subprocess
import time

import pytest

from testenv import SANITIZED
from testenv.client import Broken
from testenv.ports import free_port
from testenv.proxy import Proxy, binary
from testenv.scripted import answering, ok
from testenv.wait import wait_until

HERE = os.path.dirname(os.path.abspath(__file__))
COUNT = int(os.environ.get("TLSFAN_SOAK_COUNT", "300" if SANITIZED else "10000"))

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nT: x\r\n\r\n"


def outcome(c, url, method="GET"):
    """What a client makes of it: (status, body) or None for a connection that broke."""
    try:
        r = c.exchange(method, url)
        return r.status, r.body
    except (Broken, OSError):
        return None


@pytest.mark.parametrize("how", ["cut", "finish", "reset"])
@pytest.mark.parametrize("response", [LENGTH, CHUNKED], ids=["length", "chunked"])
def test_ended_at_every_byte_of_a_response(proxy, origin, serve, how, response):
    def handler(conn):
        while True:
            request = conn.read_request()
            if request is None:
                return
            point = int(request.target[1:])
            conn.send(response[:point]) if point else None
            if point < len(response) or how == "reset":
                return getattr(conn, how)()
    server = serve(handler)
    head = response.index(b"\r\n\r\n") + 4
    for point in range(len(response) + 1):
        with proxy.client() as c:
            got = outcome(c, server.url("/%d" % point))
            if point < head:
                assert got is not None and got[0] == 502, point
            elif point < len(response):
                assert got is None or got[0] == 502, (point, got)  # never a false end of message
            elif how != "reset":
                assert got == (200, b"hello"), point
            if got is not None:
                assert c.get("http://origin.test/").status == 200


@pytest.mark.h1_only("the handshake never begins")
@pytest.mark.parametrize("point", range(0, 9))
def test_ended_in_the_handshake(proxy, serve, point):
    """After N bytes of a server's first flight."""
    flight = b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76"
    def handler(conn):
        conn.recv()
        conn.send(flight[:point])
        conn.finish()
    server = serve(handler, tls=False)
    with proxy.client() as c:
        r = c.get(server.url())
        assert r.status == 502 and r.error in ("tls_protocol_error", "connection_terminated")


def test_slow_drip(client, serve):
    def handler(conn):
        conn.read_request()
        conn.drip(CHUNKED, 0.001)
        conn.hang()
    server = serve(handler)
    r = client.get(server.url())
    assert r.body == b"hello"


@pytest.mark.h1_only("an HTTP/2 stream has nothing behind its end, and nothing before a request")
def test_bytes_after_a_response_never_reach_anybody(client, serve):
    def app(r, conn):
        return ok(r.target) + ok("poison") if r.target == "/first" else ok(r.target)
    server = serve(answering(app))
    assert client.get(server.url("/first")).text == "/first"
    for i in range(10):
        assert client.get(server.url("/%d" % i)).text == "/%d" % i
    assert len(server.conns) >= 2


@pytest.mark.h1_only("an HTTP/2 stream has nothing behind its end, and nothing before a request")
def test_unsolicited_response_on_an_idle_connection(client, serve):
    def handler(conn):
        request = conn.read_request()
        conn.send(ok(request.target))
        if conn.number == 0:
            conn.send(ok("poison"))
            conn.hang()
        while True:
            request = conn.read_request()
            if request is None:
                return
            conn.send(ok(request.target))
    server = serve(handler)
    assert client.get(server.url("/first")).text == "/first"
    wait_until(lambda: server.conns[0].closed, what="the connection that spoke unasked to be closed")
    for i in range(6):
        assert client.get(server.url("/%d" % i)).text == "/%d" % i


@pytest.mark.h1_only("an HTTP/2 stream has nothing behind its end, and nothing before a request")
def test_body_on_a_204_or_304_never_reaches_anybody(client, serve):
    server = serve(answering(lambda r,
                             c: b"HTTP/1.1 304 Not Modified\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
                             if r.target == "/304" else ok(r.target)))
    assert client.get(server.url("/304")).status == 304
    for i in range(5):
        assert client.get(server.url("/%d" % i)).text == "/%d" % i


def test_client_leaves_at_every_byte_of_its_request(proxy, serve):
    request = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
    server = serve(answering(lambda r, c: ok("x")))
    request = request % server.url().encode()
    before = proxy.fds()
    for point in range(len(request) + 1):
        with proxy.client() as c:
            c.send(request[:point])
    wait_until(lambda: proxy.fds() <= before + 4, 10)
    assert all(r.body in (b"", b"hello") for r in server.requests)


# --- thousands of each kind

def faulty(conn):
    """What driver/faultd.c does with each request, for servers that speak HTTP/2."""
    for count, request in enumerate(iter(conn.read_request, None)):
        kind, n, number = request.target[1:].split("/")
        body = b"id=%010d" % int(number)
        whole = b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n" + body
        if kind == "ccut":
            whole = (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n%s\r\n8\r\n%s\r\n0\r\n\r\n"
                     % (body[:5], body[5:]))
        if kind in ENDINGS:
            conn.send(whole[:int(n) % (len(whole) + 1)])
            return getattr(conn, ENDINGS[kind])()
        if kind == "hang":
            return conn.hang()
        if kind == "lost" and count:
            return conn.cut()
        if kind == "big":
            whole = b"HTTP/1.1 200 OK\r\nContent-Length: 524288\r\n\r\n" + bytes(524288)
        if kind == "drip":
            conn.drip(whole, 0)
        else:
            conn.send(whole)
        if kind == "stale":
            return conn.finish()


ENDINGS = {"cut": "cut", "ccut": "cut", "fin": "finish", "rst": "reset"}


@pytest.fixture(scope="module")
def faultd(compile_c, ca, protocol, serve_long):
    process = subprocess.Popen([compile_c(os.path.join(HERE, "driver", "faultd.c")), *ca.leaf()], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)
    ports = [int(x) for x in process.stdout.readline().split()]
    yield ports if protocol == "h1" else [serve_long(faulty).port] + ports[1:]
    process.stdin.close()
    process.wait(10)


@pytest.fixture(scope="module")
def driver(compile_c):
    program = compile_c(os.path.join(HERE, "driver", "faultc.c"))

    def drive(proxy, url, count, threads=32, *mode):
        out = subprocess.run([program, str(proxy.port), url, str(threads), str(count), *mode], capture_output=True,
                             text=True, timeout=3600, check=True).stdout
        return {k: int(v) for k, v in (w.split("=") for w in out.split())}
    return drive


@pytest.fixture(scope="module")
def soaked(tmp, ca):
    """One proxy for all kinds, so that a leak of one shows in the next too. Idle connections go quickly."""
    if binary() is None:
        pytest.skip("no tlsfan: build it, or set TLSFAN_BIN")
    p = Proxy(tmp, 'upstream { idle_timeout = 200ms }\nrule "a.localhost" { response_timeout = 40ms }\n'
                   'log { access = off level = error }\n',
              flags=("-o", "tls.ca_file=" + ca.root))
    yield p
    p.stop()


def settled(p):
    """Descriptors once nothing is pooled any more."""
    last = [None, time.monotonic()]

    def still():
        now = p.fds()
        if now != last[0]:
            last[0], last[1] = now, time.monotonic()
        return time.monotonic() - last[1] > 0.4
    wait_until(still, 20, "idle connections to go")
    return last[0]


KINDS = {  # name: (port index or None, path, host, threads, mode, what must be, what may be)
    "ok": (0, "ok", "localhost", 32, (), {"200"}),
    "refused": (None, "ok", "localhost", 32, (), {"502"}),
    "closed at accept": (1, "ok", "localhost", 32, (), {"502"}),
    "reset at accept": (2, "ok", "localhost", 32, (), {"502"}),
    "closed at every byte": (0, "cut", "localhost", 32, (), {"200", "502", "cut"}),
    "closed at every byte, chunked": (0, "ccut", "localhost", 32, (), {"200", "502", "cut"}),
    "closed with close_notify": (0, "fin", "localhost", 32, (), {"200", "502", "cut"}),
    "reset at every byte": (0, "rst", "localhost", 32, (), {"200", "502", "cut"}),
    "drip": (0, "drip", "localhost", 32, (), {"200"}),
    "hang": (0, "hang", "a.localhost", 128, (), {"504"}),
    "stale": (0, "stale", "localhost", 32, (), {"200"}),
    "lost on a reused connection": (0, "lost", "localhost", 32, (), {"200", "502"}),
    "bytes after a response": (0, "extra", "localhost", 32, (), {"200"}),
    "client leaves": (0, "ok", "localhost", 32, ("leave",), {"left"}),
    "client leaves a large answer": (0, "big", "localhost", 32, ("leave",), {"left"}),
}


EACH_KIND = pytest.mark.parametrize("kind", [
    pytest.param(k, marks=pytest.mark.h1_only("an HTTP/2 stream has nothing behind its end"))
    if v[1] == "extra" else k for k, v in KINDS.items()])
SLOWER = {"h1": 1, "h2": 20}  # than a C program the origin is, which is then a Python one


@pytest.mark.concurrent
@EACH_KIND
def test_thousands(soaked, faultd, driver, kind, protocol):
    drive(soaked, faultd, driver, kind, COUNT // SLOWER[protocol], protocol)


@pytest.mark.soak
@EACH_KIND
def test_soak(soaked, faultd, driver, kind, protocol):
    drive(soaked, faultd, driver, kind, 20 * COUNT // SLOWER[protocol], protocol)


def drive(soaked, faultd, driver, kind, count, protocol):
    index, path, host, threads, mode, allowed = KINDS[kind]
    if path == "lost" and protocol == "h2":
        threads = 1  # what is lost there is lost to all, and that as often as one of them loses it
    port = free_port() if index is None else faultd[index]
    url = "http://%s:%d/%s" % (host, port, path)
    driver(soaked, url, max(COUNT // 10, 100), threads, *mode)
    fds, rss = settled(soaked), soaked.rss()
    begun = time.monotonic()
    got = driver(soaked, url, count, threads, *mode)
    took = time.monotonic() - begun
    assert not soaked.dead(), soaked.log()[-4000:]
    wait_until(lambda: soaked.fds() <= fds, 20, "the descriptors to go: %d, and %d before" % (soaked.fds(), fds))
    grown = soaked.rss() - rss
    print("%s: %d exchanges in %.1f s: %s; RSS %+d KiB" % (kind, count, took, got, grown))
    assert got["wrong"] == 0 and got["stuck"] == 0
    seen = {k for k, v in got.items() if v and k not in ("wrong", "stuck")}
    assert seen <= allowed, got
    if path in ("stale", "lost"):
        assert got.get("200", 0) > count * 0.9
    assert SANITIZED or grown <= 2048
