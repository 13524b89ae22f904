# SPDX-License-Identifier: Apache-2.0
"""No byte of one connection reaches another, whatever origins say while nobody asks them.

Everything describes itself: each body is made of its request's name, each answer says whose it is, and the honest
origins keep what they were asked. What hostile origins send is poison that belongs to nobody.
TLSFAN_STRESS_SEED changes the run."""
import collections
import contextlib
import os
import random
import signal
import threading
import time

import pytest

from testenv import h2server as h2
from testenv.client import Client
from testenv.h2server import frame
from testenv.wait import wait_until

pytestmark = pytest.mark.concurrent

SEED = int(os.environ.get("TLSFAN_STRESS_SEED", "31"))
SECONDS = 4
SOAK_SECONDS = 240
CLIENTS = 8
SIZES = (0, 1, 40, 300, 2000, 20000)
EVIL = b"\r\n\r\nDELETE http://victim.test/evil HTTP/1.1\r\nHost: victim.test\r\n\r\n"


def text(name, size):
    unit = ("<%s>" % name).encode()
    return (unit * (size // len(unit) + 1))[:size]


# ---- what an origin sends to nobody, always more than the heads in front of what it could overwrite

NOISE = {
    "ping": lambda: b"".join(frame(h2.PING, payload=b"evil%04d" % i) for i in range(40)),
    "settings": lambda: b"".join(h2.settings({0xEE: i, h2.MAX_CONCURRENT_STREAMS: 900 + i}) for i in range(40)),
    "window": lambda: b"".join(h2.window(0, 1 + i) for i in range(52)),
    "unknown": lambda: b"".join(frame(0xEE, 0xFF, 0, EVIL * 4) for _ in range(3)),
}
LAST_WORDS = EVIL * 10  # of GOAWAY
POISON = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison" * 20


def say(conn, kind):
    """Sends noise on a connection; GOAWAY lets what has come be answered, and nothing else."""
    with conn.lock:
        if kind == "goaway":
            conn.limit = conn.last
            conn.goaway(text=LAST_WORDS)
        else:
            conn.raw(NOISE[kind]())


def is_dropped(stream):
    """It came behind GOAWAY, so another connection gets it."""
    return stream.id > getattr(stream.conn, "limit", stream.id)


# ---- origins

def answer_of(method, target, body):
    return b"%s %s %s" % (method.encode(), target.encode(), bytes(body))


def echo(stream):
    """Gives back what was asked, in a body that says whose it is."""
    if not is_dropped(stream):
        stream.respond(answer_of(stream.method, stream.target, stream.body), "x-id: " + stream.target)


def echo_request(conn, request, behind=b""):
    body = answer_of(request.method, request.target, request.body)
    conn.send(b"HTTP/1.1 200 OK\r\nX-Id: %s\r\nContent-Length: %d\r\n\r\n%s%s"
              % (request.target.encode(), len(body), body, behind))


def echo_h1(conn, behind=b""):
    while True:
        request = conn.read_request()
        if request is None:
            return
        echo_request(conn, request, behind)


@contextlib.contextmanager
def frozen(p):
    """What is sent meanwhile is all there when the proxy looks, in the order in which it was sent."""
    p.signal(signal.SIGSTOP)

    def is_stopped():
        with open("/proc/%d/stat" % p.pid) as f:
            return f.read().rpartition(")")[2].split()[0] == "T"
    try:
        wait_until(is_stopped, 5, "the proxy to stop")
        yield
    finally:
        p.signal(signal.SIGCONT)


@pytest.fixture
def scene(make_proxy, serve_h2):
    """A proxy with one worker, an honest origin and a hostile one that has an idle connection; and those."""
    honest, hostile = serve_h2(h2.each(echo)), serve_h2(h2.each(echo))
    p = make_proxy("workers = 1\n")
    Scene = collections.namedtuple("Scene", "p honest hostile idle")
    with p.client() as c:
        for origin in (honest, hostile):
            assert c.get(origin.url("/first")).body == b"GET /first "
    return Scene(p, honest, hostile, hostile.conns[0])


def heads(origin):
    return sorted((s.method, s.target, bytes(s.body)) for s in origin.requests if s.target != "/first")


def message(method, url, body=b""):
    length = b"Content-Length: %d\r\n" % len(body) if method == "POST" else b""
    return b"%s %s HTTP/1.1\r\nHost: x\r\n%s\r\n%s" % (method.encode(), url.encode(), length, body)


KINDS = ("goaway",) + tuple(NOISE)


@pytest.mark.parametrize("kind", KINDS)
def test_behind_a_request(scene, kind):
    """A pipeline whose first request looks for a connection of the hostile origin: the rest is as it was sent."""
    bodies = [text("p%d" % i, 150) for i in range(3)]
    with scene.p.client() as c:
        with frozen(scene.p):
            c.send(message("GET", scene.hostile.url("/h"))
                   + b"".join(message("POST", scene.honest.url("/p%d" % i), b) for i, b in enumerate(bodies)))
            say(scene.idle, kind)
        assert c.response().body == b"GET /h "
        for i, body in enumerate(bodies):
            r = c.response("POST")
            assert (r.status, r.body) == (200, answer_of("POST", "/p%d" % i, body))
    assert heads(scene.honest) == [("POST", "/p%d" % i, b) for i, b in enumerate(bodies)]
    # What was said meanwhile is no reason to dial again, but GOAWAY.
    assert len(scene.hostile.conns) == (2 if kind == "goaway" else 1)


@pytest.mark.parametrize("kind", KINDS)
def test_in_a_body(scene, kind):
    """The body goes to the hostile origin itself, which may not write it."""
    body = text("body", 500)
    with scene.p.client() as c:
        with frozen(scene.p):
            c.send(message("POST", scene.hostile.url("/up"), body))
            say(scene.idle, kind)
        assert c.response("POST").body == answer_of("POST", "/up", body)
    assert heads(scene.hostile) == [("POST", "/up", body)]


@pytest.mark.parametrize("kind", KINDS)
def test_in_an_answer(make_proxy, serve_h2, kind):
    """Two answers come in one read; the end of the first begins a request to the hostile origin."""
    waiting = []
    both = threading.Event()

    def hold(stream):
        if stream.target == "/first":
            echo(stream)
            return
        waiting.append(stream)
        if len(waiting) == 2:
            both.set()

    honest, hostile = serve_h2(h2.each(hold)), serve_h2(h2.each(echo))
    p = make_proxy("workers = 1\n")
    with p.client() as a, p.client() as b:
        for origin in (honest, hostile):
            a.get(origin.url("/first"))
        a.send(message("GET", honest.url("/a")) + message("POST", hostile.url("/up"), b"up"))
        wait_until(lambda: waiting, 10, "the first request")
        b.send(message("GET", honest.url("/b")))
        assert both.wait(30)
        conn = waiting[0].conn
        bodies = {s.target: text(s.target, 200) for s in waiting}
        with frozen(p):
            with conn.lock:
                conn.raw(b"".join(frame(h2.HEADERS, h2.END_HEADERS, s.id, conn.block([(":status", "200")]))
                                  + frame(h2.DATA, h2.END_STREAM, s.id, bodies[s.target]) for s in waiting))
                for s in waiting:
                    s.done = True
            say(hostile.conns[0], kind)
        assert (a.response().body, b.response().body) == (bodies["/a"], bodies["/b"])
        assert a.response("POST").body == b"POST /up up"


def test_behind_an_answer_of_http_1(make_proxy, serve_h2):
    """Bytes that nobody asked for, with the answer or while its connection is idle: nobody gets them."""
    rude = serve_h2(None, alpn=("http/1.1",), h1=lambda conn: echo_h1(conn, POISON))
    late = serve_h2(None, alpn=("http/1.1",), h1=echo_h1)
    p = make_proxy("workers = 1\n")
    with p.client() as c:
        for i in range(5):
            body = text("b%d" % i, 300)
            c.send(message("POST", rude.url("/r%d" % i), body))
            assert c.response("POST").body == answer_of("POST", "/r%d" % i, body)
        assert c.get(late.url("/first")).body == b"GET /first "
        for i in range(5):
            body = text("l%d" % i, 300)
            with frozen(p):
                c.send(message("POST", late.url("/l%d" % i), body) + message("POST", rude.url("/x"), body))
                late.conns[-1].send(POISON)
            assert c.response("POST").body == answer_of("POST", "/l%d" % i, body)
            assert c.response("POST").body == answer_of("POST", "/x", body)


@pytest.mark.parametrize("count", (1, 2, 15, 40))
def test_late_bytes_and_requests_in_one_turn(make_proxy, serve_h2, count):
    """Requests that may be asked twice, each before the poison that is there on every idle connection as they are
    read: a few, and more than the kernel tells of at once."""
    late = serve_h2(None, alpn=("http/1.1",), h1=echo_h1)
    p = make_proxy("workers = 1\n")
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(p.client()) for _ in range(count)]
        for turn in range(4):
            with frozen(p):
                for i, c in enumerate(clients):
                    c.send(message("GET", late.url("/t%d-%d" % (turn, i))))
                for conn in list(late.conns):
                    with contextlib.suppress(OSError):
                        conn.send(POISON)
            for i, c in enumerate(clients):
                assert c.response().body == answer_of("GET", "/t%d-%d" % (turn, i), b"")
        assert len(late.conns) >= 4


@pytest.mark.parametrize("method", ("HEAD", "GET"))
def test_half_a_record_behind_an_answer(make_proxy, serve_h2, method):
    """An answer and a part of the next record come at once: the rest of that is not the answer to what comes next."""
    def halved(conn):
        rest = b""
        while True:
            request = conn.read_request()
            if request is None:
                return
            if rest:
                conn.sock.sock.sendall(rest)
                return
            if request.target != "/halved":
                echo_request(conn, request)
                continue
            channel = conn.sock
            with channel.lock:
                channel.tls.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                channel.tls.write(POISON)
                out = channel.outgoing.read()
            channel.sock.sendall(out[:-40])
            rest = out[-40:]

    origin = serve_h2(None, alpn=("http/1.1",), h1=halved)
    p = make_proxy("workers = 1\n")
    with p.client() as c:
        for i in range(3):
            assert c.get(origin.url("/a%d" % i)).body == answer_of("GET", "/a%d" % i, b"")
            assert c.exchange(method, origin.url("/halved")).body == b""
            assert c.get(origin.url("/b%d" % i)).body == answer_of("GET", "/b%d" % i, b"")
    assert len(origin.conns) == 4


# ---- all of it at once

class Party:
    """Origins that talk to nobody, clients that know what must come back, and a proxy that is stopped now and then."""

    def __init__(self, p, honest, hostile, rude):
        self.p, self.honest, self.hostile, self.rude = p, honest, hostile, rude
        self.over = threading.Event()
        self.failures, self.sent, self.lock = [], collections.Counter(), threading.Lock()
        self.right = collections.Counter()  # answers by origin

    def guarded(self, function, *args):
        try:
            function(*args)
        except Exception as e:  # the first one ends the test
            self.failures.append("%s%r (seed %d): %r" % (function.__name__, args, SEED, e))
            self.over.set()

    def talk(self, number):
        """Noise on whatever connection there is."""
        r = random.Random(SEED * 1009 + number)
        while not self.over.wait(r.choice((0.002, 0.01, 0.03))):
            origin = r.choice(self.hostile + self.rude[:1])
            conns = [c for c in list(origin.conns) if not c.closed][-8:]
            if not conns:
                continue
            conn = r.choice(conns)
            try:
                if conn.protocol != "h2":
                    conn.send(POISON)
                elif conn.started and not hasattr(conn, "limit"):
                    say(conn, r.choice(KINDS))
            except OSError:
                pass  # it has just gone

    def freeze(self):
        """As on a machine that is busy: much has come when the proxy looks. Now and then it reads its configuration."""
        rounds = 0
        while not self.over.wait(0.02):
            self.p.signal(signal.SIGSTOP)
            self.over.wait(0.004)
            self.p.signal(signal.SIGCONT)
            rounds += 1
            if rounds % 40 == 0:
                self.p.signal(signal.SIGHUP)

    def ask(self, number):
        r = random.Random(SEED * 100003 + number)
        serial = 0
        while not self.over.is_set():
            with Client(self.p.port, timeout=30) as c:
                for _ in range(r.randint(1, 12)):
                    plan = []
                    for _ in range(r.randint(1, 5)):
                        serial += 1
                        plan.append(self.step(r, "c%dr%d" % (number, serial)))
                    c.send(b"".join(message(method, origin.url("/" + name), body)
                                    for origin, method, name, body in plan))
                    if not all([self.check(c, *step) for step in plan]):
                        break

    def step(self, r, name):
        origin = r.choice(self.honest + self.hostile * 2 + self.rude)
        method = r.choice(("GET", "POST", "POST"))
        body = text(name, r.choice(SIZES)) if method == "POST" else b""
        with self.lock:
            if origin in self.honest:
                self.sent[method, "/" + name, body] += 1
        return origin, method, name, body

    def check(self, c, origin, method, name, body):
        """False when the connection is at its end. A hostile origin may spoil its own answers, no others."""
        response = c.response(method)
        if response.status == 200 and response.get("X-Id") is not None:
            assert response.get("X-Id") == "/" + name, response
            assert response.body == answer_of(method, "/" + name, body), (name, response)
            with self.lock:
                self.right[origin.port] += 1
        else:
            assert origin not in self.honest, (name, response)
            is_poison = origin in self.rude and response.body == b"poison"
            assert is_poison or response.error is not None, (name, response)
        return response.get("Connection") != "close"

    def run(self, seconds):
        jobs = [(self.ask, i) for i in range(CLIENTS)] + [(self.talk, i) for i in range(2)] + [(self.freeze,)]
        threads = [threading.Thread(target=self.guarded, args=job) for job in jobs]
        for t in threads:
            t.start()
        end = time.monotonic() + seconds
        everybody = [o.port for o in self.honest + self.hostile + self.rude]
        # As long as it takes on a busy machine, until everybody has answered.
        wait_until(lambda: self.over.is_set() or (time.monotonic() > end and all(self.right[o] for o in everybody)),
                   seconds + 60, "right answers of all origins")
        self.over.set()
        for t in threads:
            t.join()
        self.p.signal(signal.SIGCONT)
        assert not self.failures, "\n".join(self.failures[:5])
        assert not self.p.dead(), self.p.log()[-3000:]
        assert self.asked() <= self.sent, "what nobody sent: %s" % list(self.asked() - self.sent)[:3]

    def asked(self):
        """What has come to the honest origins."""
        came = collections.Counter()
        for s in (s for o in self.honest for s in list(o.requests)):
            target, method = s.target, s.method
            came[method, target, bytes(s.body)] += 1
        return came


def party(make_proxy, serve_h2, seconds):
    h1 = ("http/1.1",)
    honest = [serve_h2(h2.each(echo)), serve_h2(None, alpn=h1, h1=echo_h1)]
    hostile = [serve_h2(h2.each(echo)) for _ in range(3)]
    rude = [serve_h2(None, alpn=h1, h1=echo_h1), serve_h2(None, alpn=h1, h1=lambda conn: echo_h1(conn, POISON))]
    p = make_proxy("workers = 2\n")
    Party(p, honest, hostile, rude).run(seconds)


def test_no_byte_crosses(make_proxy, serve_h2):
    party(make_proxy, serve_h2, SECONDS)


@pytest.mark.soak
def test_no_byte_crosses_for_minutes(make_proxy, serve_h2):
    party(make_proxy, serve_h2, SOAK_SECONDS)
