# SPDX-License-Identifier: Apache-2.0
"""Origins that are far away: HTTP/2 is as fast as the way allows, and no reader is sent more than it has room for.

And what responses over HTTP/2 say that they may not: what is harmless is taken, for the rest the field is named."""
import contextlib
import os
import queue
import socket
import subprocess
import threading
import time

import pytest
from testenv import SANITIZED, far, h2server as h2
from testenv.client import Broken
from testenv.far import FAR, FarLink
from testenv.h2server import each, frame
from testenv.wait import wait_until

pytestmark = pytest.mark.h1_only("it makes its HTTP/2 origins itself")
HERE = os.path.dirname(os.path.abspath(__file__))
MIB = 1 << 20
NGINX = """daemon off; master_process off; pid {dir}/pid; error_log {dir}/err; {user}
events {{ worker_connections 100; }}
http {{ access_log off; ssl_certificate {cert}; ssl_certificate_key {key};
        server {{ listen {far}:443 ssl http2; root {dir}/html; }} }}"""


# --- time, over a link that delays packets


@pytest.fixture(scope="module")
def link(compile_c):
    """link(ms, loss): a FarLink; or a reason to skip."""
    reason = far.why_not()
    if reason:
        pytest.skip(reason)
    program = compile_c(os.path.join(HERE, "driver", "farlink.c"))
    return lambda ms, loss=0.0: FarLink(program, ms, loss)


def took(command, url, size):
    done = subprocess.run([*command, "-k", "-s", "-o", "/dev/null", "-w", "%{time_total} %{size_download}", url],
                          capture_output=True, text=True, timeout=60, check=True)
    seconds, count = done.stdout.split()
    assert int(count) == size
    return float(seconds)


@pytest.mark.skipif(SANITIZED, reason="it is about speed")
@pytest.mark.parametrize("ms, loss, mib", [(20, 0, 32), (50, 0, 16), (20, 0.001, 16)])
def test_as_fast_as_curl(link, make_proxy, ca, tmp, ms, loss, mib):
    """One of a few times, each right after curl's over the same link: 1.2 times as long at most. Others may be busy."""
    where = str(tmp / ("far%d-%d" % (ms, mib)))
    os.makedirs(where + "/html")
    leaf, size = ca.leaf("good"), mib * MIB
    with open(where + "/html/big", "wb") as f:
        f.truncate(size)
    with open(where + "/conf", "w") as f:
        f.write(NGINX.format(dir=where, cert=leaf.cert, key=leaf.key, far=FAR,
                             user="user root;" if os.geteuid() == 0 else ""))
    with link(ms, loss) as path:
        nginx = subprocess.Popen([*path.far, "nginx", "-p", where, "-c", where + "/conf"],
                                 env=dict(os.environ, PATH=os.environ["PATH"] + ":/usr/sbin"))
        try:
            direct, through = [*path.near, "curl", "--http2"], [*path.near, "curl", "-x", "http://127.0.0.1:3128"]
            wait_until(lambda: subprocess.run([*direct, "-ks", "https://%s/" % FAR], stdout=subprocess.DEVNULL)
                       .returncode == 0, 10, "nginx")
            ours, theirs = [], []
            for _ in range(6):
                theirs.append(took(direct, "https://%s/big" % FAR, size))
                p = make_proxy('workers = 1\nrule "*" { verify = off }\n', listen=["127.0.0.1:3128"], wait=False,
                               prefix=path.near)
                p.wait_log("listening")
                ours.append(took(through, "http://%s:443/big" % FAR, size))
                assert p.wait_access(lambda x: x["status"] == 200)[0]["protocol"] == "h2"
                p.stop()
                if min(ours) <= 1.2 * min(theirs) or ours[-1] <= 1.2 * theirs[-1]:
                    return
            assert not ours, (ours, theirs)
        finally:
            nginx.kill()
            nginx.wait()


# --- counts, over a relay that delays bytes


class Relay:
    """Bytes to PORT and back, each SECONDS later: TCP is near, and what speaks through it is far."""

    def __init__(self, port, seconds):
        self.to, self.seconds = port, seconds
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.socks = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        try:
            while True:
                a, _ = self.listener.accept()
                b = socket.create_connection(("127.0.0.1", self.to))
                self.socks += [a, b]
                for x, y in (a, b), (b, a):
                    late = queue.Queue()
                    threading.Thread(target=self._read, args=(x, late), daemon=True).start()
                    threading.Thread(target=self._write, args=(y, late), daemon=True).start()
        except OSError:
            pass

    def _read(self, sock, late):
        data = b"x"
        while data:
            try:
                data = sock.recv(1 << 18)
            except OSError:
                data = b""
            late.put((time.monotonic() + self.seconds, data))

    @staticmethod
    def _write(sock, late):
        try:
            while True:
                due, data = late.get()
                time.sleep(max(0, due - time.monotonic()))
                if not data:
                    sock.shutdown(socket.SHUT_WR)
                    return
                sock.sendall(data)
        except OSError:
            pass

    def close(self):
        for s in [self.listener, *self.socks]:
            s.close()


@pytest.fixture
def away(make_proxy, serve_h2):
    """away(app, seconds, conf): the server of APP, behind a Relay, and a proxy for "http://localhost:port/"."""
    relays = []

    def make(app, seconds=0.025, conf=""):
        server = serve_h2(each(app))
        relays.append(Relay(server.port, seconds))
        return server, make_proxy('workers = 1\nconnect_to = {"localhost:%d:127.0.0.1:%d"}\n%s' % (
            server.port, relays[-1].port, conf))

    yield make
    for r in relays:
        r.close()


def credit(stream, seen):
    """Keeps in SEEN the most that STREAM has been allowed at once; its server counts what it is given."""
    with stream.conn.lock:
        seen.append(max(stream.window, seen[-1] if seen else 0))


def watch(stream, data, seen):
    """Answers, and looks at each piece."""
    stream.head("content-length: %d" % (len(data) * 64))
    for i in range(64):
        stream.data(data, end=i == 63)
        wait_until(lambda: not stream.pending or stream.conn.closed, 60, "the window")
        credit(stream, seen)


def in_thread(work):
    return lambda stream: threading.Thread(target=work, args=(stream,), daemon=True).start()


def test_the_window_follows_the_way(away):
    """16 MiB, in steps: a fast reader's window is soon far beyond client.buffer, in few frames."""
    seen = []
    server, p = away(in_thread(lambda s: watch(s, b"w" * (MIB // 4), seen)))
    with p.client(timeout=60) as c:
        assert len(c.get(server.url()).body) == 16 * MIB
    assert seen[-1] > MIB, seen
    conn = server.conns[0]
    assert conn.count(h2.PING) == 0 and conn.count(h2.WINDOW_UPDATE) < 400, conn.summary


@pytest.mark.skipif(SANITIZED, reason="what is slow looks far away")
def test_a_near_window_stays_small(make_proxy, serve_h2):
    """About as far as its reader's buffer: nothing is won by more. Before it come answers that tell how near it is."""
    seen = []
    server = serve_h2(each(in_thread(lambda s: watch(s, b"w" * (MIB // 4), seen) if s.target == "/big"
                                     else s.respond("small"))))
    p = make_proxy("workers = 1\n")
    with p.client(timeout=60) as c:
        for _ in range(50):
            assert c.get(server.url()).text == "small"
        assert len(c.get(server.url("/big")).body) == 16 * MIB
    assert 65535 < seen[-1] <= 2 * MIB, seen


def test_a_small_answer_asks_for_no_window(away):
    """What is inside the first window costs no frame."""
    server, p = away(lambda s: s.respond(b"s" * 60000))
    with p.client(timeout=60) as c:
        for _ in range(5):
            assert len(c.get(server.url()).body) == 60000
    assert not [f for f in server.conns[0].frames if f.type == h2.WINDOW_UPDATE and f.stream]


def test_a_reader_that_takes_nothing_is_sent_little(away):
    """What the kernel takes for it, and a window that took this for a reader; not all that there is."""
    server, p = away(lambda s: s.respond(b"n" * (64 * MIB)))
    with p.client(timeout=60) as c:
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        c.request("GET", server.url())
        server.wait_requests(1)
        last = [-1]

        def stands():
            (stream,) = server.requests
            before, last[0] = last[0], stream.sent
            time.sleep(0.3)
            return before == stream.sent > 0
        wait_until(stands, 30, "the origin to stand")
        assert server.requests[0].sent < 28 * MIB


@pytest.mark.parametrize("memory", [8, 64])
def test_readers_that_stop_hold_what_is_counted(away, memory):
    """Twelve that read until their windows are wide, and then no more: together they stay inside max_memory."""
    body = b"n" * (64 * MIB)
    server, p = away(lambda s: s.respond(body), conf="max_memory = %dm\n" % memory)
    clients = [p.client(timeout=60) for _ in range(12)]
    before = p.rss()
    for c in clients:
        c.request("GET", server.url())
    for c in clients:
        got = 0
        while got < MIB // 2:
            got += len(c.sock.recv(MIB))
    wait_until(lambda: len(server.requests) == 12, 20, "all requests")
    last = [None]

    def stand():
        before, last[0] = last[0], [s.sent for s in server.requests]
        time.sleep(0.3)
        return before == [s.sent for s in server.requests]
    wait_until(stand, 60, "the origin to stand")
    assert SANITIZED or p.rss() - before < (memory + 8) * 1024, (before, p.rss())
    for c in clients:
        c.close()
    with p.client() as c:
        c.request("HEAD", server.url())
        assert c.response("HEAD").status == 200


def pay(stream, data, padding, end=False):
    """DATA of which PADDING bytes are none, as soon as the window has room for all of it; False: it has not."""
    size = len(data) + 1 + padding if padding else len(data)
    try:
        wait_until(lambda: min(stream.window, stream.conn.window) >= size, 5, "the window")
    except AssertionError:
        return False
    with stream.conn.lock:
        stream.window, stream.conn.window = stream.window - size, stream.conn.window - size
    before, behind = (bytes([padding]), bytes(padding)) if padding else (b"", b"")
    stream.conn.raw(frame(h2.DATA, (h2.PADDED if padding else 0) | (h2.END_STREAM if end else 0), stream.id,
                          before + data + behind))
    return True


@pytest.mark.parametrize("size, last", [(60000, 5000), (64000, 1000), (300000, 5000)])
def test_padding_does_not_use_up_the_window(make_proxy, serve_h2, size, last):
    """It comes behind a body for which the window was wide enough, before the LAST bytes of that."""
    read = threading.Event()

    def work(stream):
        stream.head("content-length: %d" % size)
        sent = all(pay(stream, b"b" * 1000, 0) for _ in range((size - last) // 1000))
        sent = sent and read.wait(20) and all(pay(stream, b"", 255) for _ in range(400))
        sent = sent and all(pay(stream, b"b" * 100, 255, i + 1 == last // 100) for i in range(last // 100))
        if not sent:
            stream.conn.raw(h2.rst(stream.id))
    server = serve_h2(each(in_thread(work)))
    with make_proxy("workers = 1\n").client(timeout=60) as c:
        c.request("GET", server.url())
        got = b""
        while got.count(b"b" * 1000) < (size - last) // 1000:
            got += c.sock.recv(MIB)
        read.set()
        while len(got) - got.index(b"\r\n\r\n") - 4 < size:
            data = c.sock.recv(MIB)
            assert data, "the origin has waited for a window"
            got += data


@pytest.mark.parametrize("size", [65535, 3 * 65535, 256 * 1024, 300000, 2 * MIB])
def test_the_end_finds_an_open_window(make_proxy, serve_h2, size):
    """A server whose window is used up by the body cannot say that this was all: nghttp2 waits, and Node gives up."""
    def work(stream):
        stream.head("content-length: %d" % size)
        left = size
        while left > 0:
            wait_until(lambda: min(stream.window, stream.conn.window) > 0, 5, "the window")
            n = min(left, stream.window, stream.conn.window, 16384)
            left -= n
            if not pay(stream, b"b" * n, 0):
                return
        try:
            wait_until(lambda: stream.window > 0, 5, "the window")
            pay(stream, b"", 0, True)
        except AssertionError:
            with contextlib.suppress(OSError):  # the test is over
                stream.conn.raw(h2.rst(stream.id))
        except OSError:
            pass  # Content-Length told the reader that it was all
    server = serve_h2(each(in_thread(work)))
    with make_proxy("workers = 1\n").client(timeout=60) as c:
        for _ in range(3):
            assert len(c.get(server.url()).body) == size


@pytest.mark.parametrize("whole", [True, False])
def test_a_reset_behind_the_whole_body_is_its_end(make_proxy, serve_h2, whole):
    """RST_STREAM(NO_ERROR) in the place of END_STREAM: Content-Length says whether that was all."""
    def work(stream):
        stream.head("content-length: %d" % (4 if whole else 5))
        pay(stream, b"body", 0)
        with contextlib.suppress(OSError):  # the test is over
            stream.conn.raw(h2.rst(stream.id, 0))
    server = serve_h2(each(in_thread(work)), judge=False)
    p = make_proxy("workers = 1\n")
    with p.client(timeout=20) as c:
        if whole:
            assert [c.get(server.url()).text for _ in range(2)] == ["body"] * 2
        else:
            with pytest.raises(Broken):
                c.get(server.url())
            p.wait_access(lambda x: x["error"] == "http_response_incomplete")


# --- what a response may not say


@pytest.fixture
def ask(make_proxy, serve_h2):
    """ask(app, method): the response to one request, and its line of the access log."""
    p = make_proxy("workers = 1\n")

    def one(app, method="GET"):
        server = serve_h2(each(app), judge=False)
        with p.client(timeout=20) as c:
            r = c.exchange(method, server.url("/asked"))
            assert len(server.conns) == 1
            return r
    return one


@pytest.mark.parametrize("fields", [("content-length: 0",), ("content-length: 5",), ("content-length: x",),
                                    ("content-length: 5", "content-length: 6")])
@pytest.mark.parametrize("by_frame", [False, True])
def test_204_with_a_length(ask, fields, by_frame):
    """Many frameworks send it: it has no body all the same, and the field goes."""
    def app(stream):
        stream.head("x-it: is", *fields, status=204, end=not by_frame)
        if by_frame:
            stream.data(b"", end=True)
    r = ask(app)
    assert r.status == 204 and r.get("X-It") == "is" and r.get("Content-Length") is None, r


def test_204_with_a_length_by_http1(make_proxy, serve):
    server = serve(lambda conn: [conn.send(b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n")
                                 for _ in iter(conn.read_request, None)])
    with make_proxy().client() as c:
        for _ in range(2):
            r = c.get(server.url())
            assert r.status == 204 and r.get("Content-Length") is None, r


@pytest.mark.parametrize("method, status", [("HEAD", 200), ("HEAD", 404), ("GET", 304), ("HEAD", 304)])
def test_a_length_without_a_body(ask, method, status):
    """It tells of the body that is not here."""
    r = ask(lambda s: s.head("content-length: 5", status=status, end=True), method)
    assert r.status == status and r.get("Content-Length") == "5", r


def test_an_interim_response_with_a_length(ask):
    def app(stream):
        stream.head("content-length: 5", "link: </x>", status=103)
        stream.respond("fine")
    r = ask(app)
    assert r.status == 200 and r.text == "fine"


@pytest.mark.parametrize("where", ["head", "interim"])
@pytest.mark.parametrize("field", ["Upgrade: h2,h2c", "Connection: Upgrade, close", "Keep-Alive: timeout=5",
                                   "Proxy-Connection: close", "Transfer-Encoding: chunked"])
def test_a_field_of_http1_is_named(ask, where, field):
    """Apache behind nginx is known for it. Whoever reads it knows what to do."""
    name, _, value = field.partition(": ")

    def app(stream):
        stream.head("%s: %s" % (name.lower(), value), status=103 if where == "interim" else 200)
        stream.respond("poison") if where == "interim" else stream.data(b"poison", end=True)
    r = ask(app)
    assert r.status == 502 and r.error == "http_protocol_error" and "poison" not in r.text
    assert "field " + name in r.text and "http2 = off" in r.text, r.text


@pytest.mark.parametrize("field", ["upgrade: h2c", "connection: close"])
def test_a_field_of_http1_in_trailers_ends_the_answer(make_proxy, serve_h2, field):
    server = serve_h2(each(lambda s: s.respond("fine", trailers=[field])), judge=False)
    p = make_proxy("workers = 1\n")
    with p.client() as c:
        c.request("GET", server.url("/bad"))
        assert b"\r\n0\r\n" not in c.rest()
    (line,) = p.wait_access(lambda x: x["url"].endswith("/bad"))
    assert line["error"] == "http_response_incomplete", line


@pytest.mark.parametrize("value, says", [(b"a\nb", "x-odd"), (b"a\x7fb", "x-odd")])
def test_a_value_that_http_does_not_allow_is_named(ask, value, says):
    def app(stream):
        stream.conn.headers(stream.id, [(":status", "200"), ("x-odd", value)], h2.END_STREAM)
    r = ask(app)
    assert r.status == 502 and says in r.text, r.text


def test_an_end_before_the_length(make_proxy, serve_h2):
    """The client can see that something is missing."""
    def app(stream):
        stream.head("content-length: 5")
        stream.conn.raw(frame(h2.DATA, h2.END_STREAM, stream.id, b"1234"))
    server = serve_h2(each(app), judge=False)
    p = make_proxy("workers = 1\n")
    with p.client() as c:
        c.request("GET", server.url("/short"))
        assert not c.rest().endswith(b"12345")
    (line,) = p.wait_access(lambda x: x["url"].endswith("/short"))
    assert line["error"] in ("http_response_incomplete", "http_protocol_error"), line
