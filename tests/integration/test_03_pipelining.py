# SPDX-License-Identifier: Apache-2.0
"""Pipelining is fan-out: requests of one connection run at once, responses return in request order."""
import socket
import threading
import time

import pytest

from testenv import SANITIZED, SLOW, SOON
from testenv.client import Client
from testenv.scripted import answering, ok
from testenv.wait import wait_until

pytestmark = pytest.mark.concurrent


class Gate:
    """An origin that holds each request until the test opens its path, and knows which are inside."""

    def __init__(self):
        self.lock = threading.Condition()
        self.inside, self.seen, self.open, self.most = [], [], set(), 0

    def __call__(self, request, conn):
        with self.lock:
            self.inside.append(request.target)
            self.most = max(self.most, len(self.inside))
            self.seen.append(request.target)
            self.lock.notify_all()
            self.lock.wait_for(lambda: request.target in self.open or "*" in self.open, 20)
            self.inside.remove(request.target)
        reply = ok(request.method + request.target)
        return reply[:reply.index(b"\r\n\r\n") + 4] if request.method == "HEAD" else reply

    def let(self, *paths):
        with self.lock:
            self.open.update(paths)
            self.lock.notify_all()

    def wait(self, *paths):
        with self.lock:
            assert self.lock.wait_for(lambda: all(p in self.seen for p in paths),
                                      5 * SLOW), "only %r arrived" % self.seen


def batch(server, *requests):
    return "".join("%s %s HTTP/1.1\r\nHost: x\r\n%s\r\n"
                   % (m, server.url(p), "Content-Length: 0\r\n" if m != "GET" else "")
                   for m, p in requests)


def test_safe_requests_run_at_once_and_return_in_order(client, serve, protocol):
    gate = Gate()
    server = serve(answering(gate))
    paths = ["/%d" % i for i in range(10)]
    client.send(batch(server, *[("GET", p) for p in paths]))
    gate.wait(*paths)
    assert protocol == "h1" or server.accepted == 1  # connection of TLS, for all of them
    for p in reversed(paths):  # finished in the opposite order
        gate.let(p)
    assert [client.response().text for _ in paths] == ["GET" + p for p in paths]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "FOO"])
def test_unsafe_requests_are_barriers(client, serve, method):
    gate = Gate()
    server = serve(answering(gate))
    client.send(batch(server, ("GET", "/1"), ("GET", "/2"), (method, "/3"), ("GET", "/4"), ("GET", "/5")))
    gate.wait("/1", "/2")
    gate.let("/2")
    wait_until(lambda: gate.inside == ["/1"])
    assert sorted(gate.seen) == ["/1", "/2"]
    gate.let("/1")
    assert [client.response().text for _ in range(2)] == ["GET/1", "GET/2"]
    gate.wait("/3")
    assert sorted(gate.seen) == ["/1", "/2", "/3"]
    gate.let("/3")
    assert client.response().text == method + "/3"
    gate.wait("/4", "/5")
    gate.let("*")
    assert [client.response().text for _ in range(2)] == ["GET/4", "GET/5"]


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PROPFIND", "REPORT", "SEARCH", "TRACE"])
def test_methods_the_registry_marks_safe_run_in_parallel(client, serve, method):
    gate = Gate()
    server = serve(answering(gate))
    client.send("".join("%s %s HTTP/1.1\r\nHost: x\r\n\r\n" % (method, server.url("/%d" % i)) for i in range(3)))
    gate.wait("/0", "/1", "/2")
    gate.let("*")
    expected = ["" if method == "HEAD" else "%s/%d" % (method, i) for i in range(3)]
    assert [client.response(method).text for _ in range(3)] == expected


def test_pipelined_posts_with_bodies_stay_in_order(client, serve):
    server = serve(answering(lambda r, c: ok(r.body)))
    out = b""
    for i in range(50):
        body = b"%d:" % i + b"x" * (i * 37)
        out += b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (server.url().encode(), len(body), body)
    client.send(out)
    for i in range(50):
        assert client.response().body == b"%d:" % i + b"x" * (i * 37)


def test_errors_keep_their_place(client, serve):
    gate = Gate()
    server = serve(answering(gate))
    client.send(batch(server, ("GET", "/slow")) + "GET http://127.0.0.1:1/ HTTP/1.1\r\nHost: x\r\n\r\n"
                + batch(server, ("GET", "/end")))
    gate.wait("/slow", "/end")
    gate.let("*")
    assert [client.response().status for _ in range(3)] == [200, 502, 200]


def test_a_bad_request_is_answered_after_the_good_ones_before_it(proxy, serve):
    gate = Gate()
    server = serve(answering(gate))
    with proxy.client() as c:
        c.send(batch(server, ("GET", "/good")) + "GET http://x/ HTTP/1.1\r\nbad field\r\n\r\n")
        gate.wait("/good")
        gate.let("*")
        assert c.response().text == "GET/good"
        assert c.response().status == 400 and c.closed()


def test_close_ends_the_pipeline(proxy, serve):
    gate = Gate()
    gate.let("*")
    server = serve(answering(gate))
    with proxy.client() as c:
        c.send("GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % server.url("/1")
               + batch(server, ("GET", "/2")))
        assert c.response().text == "GET/1" and c.closed()
    assert gate.seen == ["/1"]


def test_max_pipeline(make_proxy, serve):
    gate = Gate()
    server = serve(answering(gate))
    p = make_proxy("client { max_pipeline = 4 }\n")
    with p.client() as c:
        c.send(batch(server, *[("GET", "/%d" % i) for i in range(12)]))
        gate.wait("/0", "/1", "/2", "/3")
        for i in range(12):
            gate.let("/%d" % i)
            assert c.response().text == "GET/%d" % i
    assert gate.most == 4


def test_large_responses_behind_a_slow_head_are_held_back(make_proxy, serve):
    """Each waiting response gets a bounded buffer; its origin is slowed down, memory is not eaten."""
    gate = threading.Event()
    sent = {}

    def handler(conn):
        request = conn.read_request()
        if request.target == "/slow":
            gate.wait(30)
            conn.send(ok("slow"))
            return conn.hang()
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 20000000\r\n\r\n")
        for i in range(200):
            conn.send(b"%c" % (65 + i % 26) * 100000)
            sent[request.target] = (i + 1) * 100000
        conn.hang()
    server = serve(handler)
    p = make_proxy("client { buffer = 256k }\n")
    with p.client() as c:
        c.get("http://127.0.0.1:1/")
        before = p.rss()
        c.send(batch(server, ("GET", "/slow"), *[("GET", "/big%d" % i) for i in range(5)]))
        wait_until(lambda: len(sent) == 5)
        last = [None, 0]

        def settled():
            total = sum(sent.values())
            if total != last[0]:
                last[0], last[1] = total, time.monotonic()
            return time.monotonic() - last[1] > 0.3
        wait_until(settled, 10, "the origins to be slowed down")
        assert sum(sent.values()) < 5 * 12000000
        grown = p.rss() - before
        print("five responses of 20 MB held back: RSS grew by %d KiB" % grown)
        assert SANITIZED or grown < 8192
        gate.set()
        assert c.response().text == "slow"
        for i in range(5):
            assert len(c.response().body) == 20000000


def test_the_first_in_line_streams(client, serve):
    go = threading.Event()

    def handler(conn):
        while conn.read_request() is not None:
            conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
            go.wait(10)
            conn.send(b"rest")
    server = serve(handler)
    client.send(batch(server, ("GET", "/1"), ("GET", "/2")))
    r = client.head()
    assert r.status == 200 and client.exactly(4) == b"half"
    go.set()
    assert client.exactly(4) == b"rest" and client.response().body == b"halfrest"


def test_a_client_that_goes_away_cancels_what_it_asked_for(proxy, serve):
    def handler(conn):
        conn.read_request()
        conn.hang()
    server = serve(handler)
    with proxy.client() as c:
        c.send(batch(server, *[("GET", "/%d" % i) for i in range(8)]))
        server.wait_requests(8)
    wait_until(lambda: server.open_conns() == [], what="the upstream connections to close")


def test_a_client_that_shuts_its_write_side_leaves_nothing_behind(proxy, serve):
    """Whether that counts as leaving or as the end of its requests: it is answered or closed, and nothing stays."""
    server = serve(answering(lambda r, c: ok(r.target)))
    with proxy.client() as c:
        c.send(batch(server, ("GET", "/1"), ("GET", "/2")))
        c.sock.shutdown(socket.SHUT_WR)
        got = c.rest()
        assert got == b"" or got.startswith(b"HTTP/1.1 200")


def test_a_body_cut_short_closes_and_cancels_what_is_behind(proxy, serve):
    def handler(conn):
        request = conn.read_request()
        if request.target == "/short":
            conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
            server.wait_requests(3)
            return conn.cut()
        conn.hang()
    server = serve(handler)
    with proxy.client() as c:
        c.send(batch(server, ("GET", "/short"), ("GET", "/2"), ("GET", "/3")))
        data = c.rest()
        assert data.startswith(b"HTTP/1.1 200") and data.endswith(b"abc")
    wait_until(lambda: server.open_conns() == [])


def test_max_memory(make_proxy, serve):
    """As memory fills reading pauses; the answer whose turn it is always gets a buffer."""
    go = threading.Event()

    def handler(conn):
        for request in iter(conn.read_request, None):
            if request.target == "/0":
                go.wait(20)
            conn.send(ok(b"m" * 3000000))
    server = serve(handler)
    p = make_proxy("max_memory = 1m\n")
    clients = [p.client(timeout=15) for _ in range(3)]
    for c in clients:
        c.send(batch(server, *[("GET", "/%d" % i) for i in range(6)]))
    wait_until(lambda: sum(r.target == "/0" for r in server.requests) == 3)
    go.set()
    statuses, faults = [], []

    def drain(k, c):
        for i in range(6):
            try:
                r = c.response()
                assert r.status == 503 or r.body == b"m" * 3000000
                statuses.append(r.status)
            except Exception as e:
                faults.append("client %d, answer %d: %r" % (k, i, e))
                return
    threads = [threading.Thread(target=drain, args=x) for x in enumerate(clients)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60 * SLOW)
    assert not faults, faults
    assert len(statuses) == 18 and statuses.count(200) >= 3
    for c in clients:
        c.close()


@pytest.mark.bench
def test_hundred_pipelined_gets(proxy, node_origin, ca):
    """One blocking socket, 100 GETs of /delay/0.1: 10 s one after the other. How fast it is, is printed."""
    times = []
    context = ca.client_context()  # Node compiles its code on the first connections
    for i in range(30):
        with Client(node_origin.port) as c:
            c.start_tls(context, "localhost")
            assert c.exchange("GET", "/warm", host="x").status == 200
    for _ in range(3):
        with proxy.client() as c:
            begun = time.monotonic()
            c.send("".join("GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % node_origin.url("/delay/0.1?n=%d" % i)
                           for i in range(100)))
            for i in range(100):
                r = c.response()
                assert r.status == 200 and '"/delay/0.1?n=%d"' % i in r.text
            times.append(time.monotonic() - begun)
    print("100 pipelined GETs of /delay/0.1: first (100 handshakes) %.3f s, then %.3f and %.3f s" % tuple(times))
    assert min(times) < SOON / 2


def test_many_clients_many_pipelines(proxy, origin):
    """No response ever reaches another request."""
    failures = []

    def one(k):
        try:
            with proxy.client(timeout=30) as c:
                for round_ in range(5):
                    c.send("".join("GET http://origin.test/%d/%d/%d HTTP/1.1\r\nHost: x\r\n\r\n" % (k, round_, i)
                                   for i in range(20)))
                    for i in range(20):
                        assert c.response().text == "/%d/%d/%d" % (k, round_, i)
        except Exception as e:
            failures.append(e)
    threads = [threading.Thread(target=one, args=(k,)) for k in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60 * SLOW)
    assert failures == []
