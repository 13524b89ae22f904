# SPDX-License-Identifier: Apache-2.0
"""Random pipelines against an origin that does everything an origin may do to a proxy, from a seed.

What happens to a request stands in its own target, so every answer is known beforehand: it must be
that request's (its id is in a field and all over the body), in order, whole, or visibly cut.
TLSFAN_STRESS_SEED and TLSFAN_STRESS_CONNECTIONS change the run."""
import collections
import os
import random
import signal
import socket
import threading
import time
import urllib.parse

import pytest

from testenv import SANITIZED
from testenv.client import Broken, Client
from testenv.wait import wait_until

pytestmark = pytest.mark.concurrent

SEED = int(os.environ.get("TLSFAN_STRESS_SEED", "18"))
CONNECTIONS = int(os.environ.get("TLSFAN_STRESS_CONNECTIONS", "60" if SANITIZED else "200"))
AT_ONCE = 8
SIZES = (0, 1, 17, 1000, 20000, 90000)

WHOLE = ("length", "chunked", "close")
CUTS = ("cut_length", "cut_chunked", "bad_chunk")
NONE = ("reset", "closed", "garbage", "two_lengths")


def text(name, size):
    unit = ("<%s>" % name).encode()
    return (unit * (size // len(unit) + 1))[:size]


# ---- the origin


def chunks(data, step):
    for i in range(0, len(data), step):
        piece = data[i:i + step]
        yield b"%x\r\n%s\r\n" % (len(piece), piece)


def send_body(conn, head, how, body):
    """True when the connection can go on."""
    if how == "length":
        conn.send(head + b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        return True
    if how == "cut_length":
        conn.send(head + b"Content-Length: %d\r\n\r\n%s" % (len(body) + 9, body))
        return False
    if how == "close":
        conn.send(head + b"\r\n" + body)
        return False
    conn.send(head + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(chunks(body, 7777)))
    if how == "bad_chunk":
        conn.send(b"zz\r\n")
    elif how == "chunked":
        conn.send(b"0\r\nX-Trailer: t\r\n\r\n")
    return how == "chunked"


def behave(conn, request):
    """Answers REQUEST as its target says; False: the connection is done for."""
    q = dict(urllib.parse.parse_qsl(request.target.partition("?")[2]))
    name, how = q["id"], q["how"]
    if how != "early":
        conn.read_body(request)
    assert text("up" + name, int(q["up"])) == request.body or how == "early", "the wrong body came with " + name
    conn.server.stopping.wait(int(q["delay"]) / 1000)
    if how == "reset":
        conn.reset()
        return False
    if how in ("closed", "garbage", "two_lengths"):
        conn.send({"closed": b"HTTP/1.1 200 OK\r\nX", "garbage": b"SSH-2.0-x\r\n\r\n",
                   "two_lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"}[how])
        return False
    if how == "ws":
        conn.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n")
        echo(conn)
        return False
    for _ in range(int(q["info"])):
        conn.send(b"HTTP/1.1 102 Processing\r\nX-Id: %s\r\n\r\n" % name.encode())
    head = b"HTTP/1.1 %s OK\r\nX-Id: %s\r\n" % (q["status"].encode(), name.encode())
    if how == "early":
        head += b"Connection: close\r\n"
    if request.method == "HEAD" or q["status"] in ("204", "304"):
        conn.send(head + b"\r\n")
        return True
    alive = send_body(conn, head, "length" if how == "early" else how, text(name, int(q["size"])))
    if how != "early":
        return alive
    conn.end_sending()  # a close with unread bytes would reset the answer away
    conn.hang()
    return False


def origin_handler(conn):
    while True:
        request = conn.read_head()
        if request is None or not behave(conn, request):
            return


def echo(conn):
    """Gives everything back, and ends when the peer has."""
    while conn.buf or conn.fill():
        conn.send(conn.buf)
        conn.buf = b""


# ---- one connection of a client

Step = collections.namedtuple("Step", "method name how data status body last")


class Plan:
    """What one connection sends and what must come back."""

    def __init__(self, number, origin, tunnel):
        self.r = random.Random(SEED * 100003 + number)
        self.number, self.origin, self.tunnel = number, origin, tunnel
        self.steps = []
        for i in range(self.r.randint(1, 14)):
            self.steps.append(self.step("c%dr%d" % (number, i)))
            if self.steps[-1].last:
                break
        self.leaves_after = self.r.randint(0, len(self.steps)) if self.r.random() < 0.15 else None

    def step(self, name):
        kind = self.r.choices(("plain", "upload", "none", "cut", "early", "bad", "options", "ws", "connect", "leave"),
                              (60, 25, 5, 4, 2, 2, 4, 2, 2, 1))[0]
        if kind == "options":
            return Step("OPTIONS", name, kind, b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", 200, b"", False)
        if kind == "bad":
            bad = self.r.choice((b"GET /x HTTP/1.1\r\nHost: a b\r\n", b"GET http://h/ HTTP/1.1\r\nHost : h\r\n",
                                 b"POST http://h/ HTTP/1.1\r\nHost: h\r\nContent-Length: 1, 2\r\n", b"\0\1\2\r\n"))
            return Step("GET", name, kind, bad + b"\r\n", 400, None, b"Host: a b" not in bad)
        if kind == "connect":
            return Step("CONNECT", name, kind, b"CONNECT localhost:%d HTTP/1.%d\r\nHost: h\r\n\r\n"
                        % (self.tunnel.port, self.r.randint(0, 1)), 200, text(name, self.r.choice(SIZES)), True)
        return self.request(name, kind)

    def request(self, name, kind):
        r = self.r
        how, up, status = r.choice(WHOLE), 0, "200"
        method = r.choice(("GET", "GET", "GET", "HEAD", "DELETE", "REPORT"))
        if kind in ("upload", "early"):
            method, up = r.choice(("POST", "PUT", "REPORT")), r.choice(SIZES[1:])
        elif r.random() < 0.1:
            status = r.choice(("204", "304", "404"))
        if kind == "none":
            how = r.choice(NONE)
        elif kind == "cut":
            method, how = r.choice(("GET", "POST")), r.choice(CUTS)
        elif kind == "ws":
            method, how = "GET", "ws"
        elif kind == "early":
            how, up = "early", 90000
        size = r.choice(SIZES)
        target = "/%s?id=%s&how=%s&size=%d&up=%d&status=%s&delay=%d&info=%d" % (
            name, name, how, size, up, status, r.choice((0, 0, 1, 5, 20)), r.choice((0, 0, 0, 1, 3)))
        data = ("%s http://localhost:%d%s HTTP/1.1\r\nHost: h\r\n" % (method, self.origin.port, target)).encode()
        if how == "ws":
            data += b"Connection: upgrade\r\nUpgrade: websocket\r\n"
        body = text("up" + name, up)
        if up and r.random() < 0.5:
            data += b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(chunks(body, r.choice((13, 1000, 50000))))
            data += b"0\r\n\r\n"
        else:
            data += b"Content-Length: %d\r\n" % up if up else b""
            data += b"\r\n" + body
        none = method == "HEAD" or status in ("204", "304")
        expected = text(name, size) if how in WHOLE + CUTS + ("ws", "early") and not none else b""
        if kind == "none":
            return Step(method, name, how, data, 502, None, False)
        if how in CUTS and none:
            how = "length"
        return Step(method, name, how, data, 101 if how == "ws" else int(status), expected,
                    how in CUTS + ("ws",))


class Run:
    def __init__(self, plan, port):
        self.plan, self.sent = plan, threading.Event()
        self.client = Client(port, timeout=20)
        self.sender = threading.Thread(target=self.send_all, daemon=True)

    def send_all(self):
        r = random.Random(self.plan.number)
        data = b"".join(s.data for s in self.plan.steps)
        step = r.choice((1500, 20000, len(data)))
        try:
            for i in range(0, len(data), step):
                self.client.send(data[i:i + step])
                if r.random() < 0.1:
                    time.sleep(0.002)
        except OSError:
            pass  # the proxy has answered its last
        self.sent.set()

    def check_tunnel(self, step):
        r = self.client.head()
        assert r.status == step.status, (step, r)
        self.sent.wait(20)
        body = step.body + b"."
        threading.Thread(target=self.push, args=(body,), daemon=True).start()
        assert self.client.exactly(len(body)) == body, step.name
        assert self.client.closed(), step.name

    def push(self, body):
        self.client.send(body)
        self.client.sock.shutdown(socket.SHUT_WR)

    def check(self, step):
        if step.how in ("ws", "connect"):
            self.check_tunnel(step)
            return
        if step.how in CUTS:
            with pytest.raises(Broken):
                r = self.client.response(step.method)
                raise AssertionError("%s looks whole: %r" % (step, r))
            self.client.buf = b""
            return
        r = self.client.response(step.method)
        assert r.status == step.status, (step, r)
        assert all(i.get("X-Id") == step.name for i in r.interim), (step, r)
        if step.body is not None and step.how != "options":
            assert r.get("X-Id") == step.name, (step, r)
            assert r.body == step.body, "%s has another's body" % step.name
        assert step.how == "bad" or (r.get("Connection") == "close") == step.last, (step, r)

    def run(self):
        self.sender.start()
        with self.client:
            for i, step in enumerate(self.plan.steps):
                if i == self.plan.leaves_after:
                    return
                self.check(step)
            if self.plan.steps[-1].last and self.plan.steps[-1].how not in ("ws", "connect"):
                assert self.client.closed(), self.plan.steps[-1].name


def worker(numbers, make, failures, reload):
    while not failures:
        try:
            number = numbers.popleft()
        except IndexError:
            return
        if number % 50 == 49:
            reload()
        run = make(number)
        try:
            run.run()
        except Exception as e:  # the first one ends the test
            failures.append("connection %d (seed %d): %s: %s\n%s" % (
                number, SEED, type(e).__name__, str(e)[:2000],
                [(s.method, s.name, s.how) for s in run.plan.steps]))


def test_random_pipelines(make_proxy, serve, protocol):
    encrypted = protocol == "h2"
    origin, tunnel = serve(origin_handler, tls=encrypted, gentle=True), serve(echo, tls=False)
    p = make_proxy('workers = 2\nclient { max_pipeline = 8  buffer = 16k }\n'
                   'upstream { idle_timeout = 1s  max_per_host = 12 }\n'
                   'destination { connect_ports = {%d} }\nrule "localhost" { upgrade = %s }\n'
                   % (tunnel.port, "on" if encrypted else "off"), tls=encrypted)
    with p.client() as c:
        c.get(origin.url("/x?id=x&how=length&size=1&up=0&status=200&delay=0&info=0"))
    before = p.fds()
    numbers, failures = collections.deque(range(CONNECTIONS)), []
    threads = [threading.Thread(target=worker, args=(numbers, lambda n: Run(Plan(n, origin, tunnel), p.port),
                                                     failures, lambda: p.signal(signal.SIGHUP)))
               for _ in range(AT_ONCE)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures, "\n".join(failures)
    assert not [e for e in origin.errors if isinstance(e, AssertionError)]
    wait_until(lambda: p.fds() <= before, 15, "the descriptors to come back")
    wait_lines = [x for x in p.access() if "id=" in x["url"]]
    seen = collections.Counter(x["url"] for x in wait_lines)
    assert not [u for u, n in seen.items() if n > 1], "more than one line for an exchange"
    p.stop()
    assert "did not end" not in p.log()
