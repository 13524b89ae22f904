# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 towards origins: request bodies, and flow control both ways."""
import hashlib
import threading

import pytest

from testenv import SANITIZED, SLOW
from testenv import h2server as h2
from testenv.crowd import CROWD, fan_out
from testenv.h2server import each, echo, held
from testenv.scripted import answering, ok
from testenv.wait import wait_until

MIB = 1 << 20


# --- request bodies


@pytest.mark.parametrize("size", [0, 1, 16384, 16385, 65535, 3000000])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_request_bodies(one, serve_h2, size, framing):
    server = serve_h2(each(lambda s: s.respond(s.digest.hexdigest())))
    c, _ = one()
    body = (hashlib.sha512(b"%d" % size).digest() * (size // 64 + 1))[:size]
    head = "POST %s HTTP/1.1\r\nHost: x\r\n" % server.url()
    if framing == "length":
        c.send((head + "Content-Length: %d\r\n\r\n" % size).encode() + body)
    else:
        chunks = b"".join(
            b"%x\r\n%s\r\n" % (len(body[i : i + 9999]), body[i : i + 9999]) for i in range(0, size, 9999)
        )
        c.send((head + "Transfer-Encoding: chunked\r\n\r\n").encode() + chunks + b"0\r\n\r\n")
    assert c.response().text == hashlib.sha256(body).hexdigest()
    (stream,) = server.requests
    assert stream.get("content-length") == (str(size) if framing == "length" else None)


@pytest.mark.concurrent
def test_many_uploads_at_once(make_proxy, serve_h2):
    """A hundred bodies over one connection, each larger than a window's share."""
    server = serve_h2(each(lambda s: s.respond(s.digest.hexdigest())), keep=False)
    p, wrong = make_proxy("workers = 1\n"), []

    def ask(i):
        body = hashlib.sha256(b"%d" % i).digest() * 2000
        with p.client(timeout=40) as c:
            r = c.exchange("POST", server.url("/%d" % i), body=body)
            if r.text != hashlib.sha256(body).hexdigest():
                wrong.append(r)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(50 if SANITIZED else CROWD)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60 * SLOW)
    assert not wrong and len(server.conns) == 1 and len(server.requests) == len(threads)


def test_answered_before_the_request_is_whole(one, serve_h2):
    """413 and a reset without error: the client gets the answer, the others go on."""

    def app(stream):
        if stream.method == "POST":
            stream.respond("too much", status=413)
            stream.refuse(h2.NO_ERROR)
        else:
            echo(stream)

    server = serve_h2(each(app, "head"))
    c, p = one()
    assert c.get(server.url("/warm")).text == "/warm"
    with p.client() as d:
        d.send("POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\nabc" % server.url("/up"))
        r = d.response()
        assert r.status == 413 and r.text == "too much"
    assert c.get(server.url("/after")).text == "/after" and len(server.conns) == 1


@pytest.mark.parametrize("size", [0, 3000000])
def test_answered_whole_before_the_request_is(one, serve_h2, size):
    """Without a reset: the rest of the body is given up, or taken; the stream ends and the others go on."""
    server = serve_h2(each(lambda s: s.respond("early") if s.method == "POST" else echo(s), "head"), keep=False)
    c, p = one()
    assert c.get(server.url("/warm")).text == "/warm"
    with p.client() as d:
        d.send("POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n" % server.url("/up"))
        server.wait_requests(2)
        try:
            d.send(bytes(size))
        except OSError:
            pass
        r = d.response()
        assert r.status == 200 and r.text == "early"
    stream = server.requests[1]
    wait_until(lambda: stream.reset is not None, 5, "the stream to end")
    fan_out(c, server, 10)
    assert len(server.conns) == 1


@pytest.mark.parametrize("size", [1000, 100000, 3000000])
@pytest.mark.parametrize("how", ["refused", "goaway", "421", "http/1.1"])
def test_a_body_is_sent_whole_again_or_not_at_all(one, serve_h2, how, size):
    """What is retried has its whole body; where that is gone, the client hears it."""
    body = (hashlib.sha512(b"%d" % size).digest() * (size // 64 + 1))[:size]

    def app(stream):
        if stream.method == "GET":
            echo(stream)
        elif server.paths().count("/up") > 1:
            wait_until(lambda: stream.ended or stream.reset is not None, 10)
            stream.respond(stream.digest.hexdigest())
        elif how == "goaway":
            stream.conn.goaway(stream.id - 2)
        elif how == "421":
            stream.respond("no", status=421)
        else:
            stream.refuse(h2.REFUSED_STREAM if how == "refused" else h2.HTTP_1_1_REQUIRED)

    def later(stream):
        threading.Thread(target=app, args=(stream,), daemon=True).start()

    h1 = answering(lambda r, c: ok(hashlib.sha256(r.body).hexdigest()))
    server = serve_h2(each(later, "head"), h1=h1)
    c, p = one()
    assert c.get(server.url("/warm")).text == "/warm"
    with p.client(timeout=20) as d:
        head = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (server.url("/up").encode(), size)
        try:
            d.send(head + body)
        except OSError:
            pass
        r = d.response()
    if r.status == 200:
        assert r.text == hashlib.sha256(body).hexdigest()
    else:
        assert size > 1000 and (r.status in (502, 503) and r.error or r.status == 421), r
    assert c.get(server.url("/next")).text == "/next" or how == "http/1.1"


# --- flow control


def test_a_slow_reader_stops_no_sibling(one, serve_h2):
    """64 MiB that nobody takes: the others go on over the same connection, and neither side keeps it."""
    big = bytes(range(256)) * (64 * MIB // 256)

    def app(stream):
        stream.respond(big) if stream.target == "/big" else echo(stream)

    server = serve_h2(each(app))
    c, p = one()
    fan_out(c, server, 10)
    before = p.rss()
    with p.client(timeout=60) as slow:
        slow.request("GET", server.url("/big"))
        server.wait_requests(11)
        stream = server.requests[-1]
        last = [-1]

        def stands():
            fan_out(c, server, 20)
            last.append(stream.sent)
            return last[-1] == last[-2] == last[-3] > 0

        wait_until(stands, 10, "the stream to stand")
        assert stream.sent < 20 * MIB and stream.waiting > 40 * MIB
        for i in range(20):
            fan_out(c, server, 5)
        assert SANITIZED or p.rss() - before < 8 * 1024
        assert slow.response().body == big
    assert len(server.conns) == 1


def test_twenty_slow_readers(one, serve_h2):
    big = bytes(range(256)) * (16 * MIB // 256)

    def app(stream):
        stream.respond(big) if stream.target.startswith("/big") else echo(stream)

    server = serve_h2(each(app))
    c, p = one()
    fan_out(c, server, 10)
    before, slow = p.rss(), [p.client(timeout=60) for _ in range(20)]
    for d in slow:
        d.sock.setsockopt(1, 8, 65536)
        d.request("GET", server.url("/big"))
    server.wait_requests(30)
    for i in range(20):
        fan_out(c, server, 10)
    assert SANITIZED or p.rss() - before < 20 * 600
    assert len(server.conns) == 1
    assert slow[7].response().body == big
    for d in slow:
        d.close()
    fan_out(c, server, 10)
    wait_until(lambda: len(server.conns[0].resets) >= 18, 5, "the streams to be reset")
    assert SANITIZED or p.rss() - before < 20 * 600


def test_an_upload_the_origin_does_not_take(one, serve_h2):
    """The window of the stream is spent: the client is slowed down, its siblings are not."""

    def handler(conn):
        conn.auto.discard("stream window")
        for stream in conn.incoming("head"):
            if stream.method == "GET":
                echo(stream)

    server = serve_h2(handler, keep=False)
    c, p = one()
    fan_out(c, server, 10)
    before, body = p.rss(), bytes(range(256)) * (64 * MIB // 256)
    with p.client(timeout=60) as up:
        up.send("POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (server.url("/up"), len(body)))
        sender = threading.Thread(target=up.send, args=(body,))
        sender.start()
        server.wait_requests(11)
        stream = server.requests[-1]
        wait_until(lambda: stream.received == 65535, 5, "the window to be spent")
        for i in range(20):
            fan_out(c, server, 5)
        assert stream.received == 65535 and sender.is_alive()
        assert SANITIZED or p.rss() - before < 8 * 1024
        stream.restore(100 * MIB)
        wait_until(lambda: stream.ended, 30, "the upload")
        sender.join(10)
        stream.respond(stream.digest.hexdigest())
        assert up.response().text == hashlib.sha256(body).hexdigest()
    assert len(server.conns) == 1


def test_the_window_of_the_connection_is_shared(one, serve_h2):
    """The origin gives nothing back for the whole connection: bodies stand, and GETs go on."""

    def handler(conn):
        conn.auto -= {"window", "stream window"}
        for stream in conn.incoming("head"):
            if stream.method == "GET":
                echo(stream)

    server = serve_h2(handler, settings={h2.INITIAL_WINDOW_SIZE: 40000}, keep=False)
    c, p = one()
    assert c.get(server.url("/warm")).text == "/warm"
    body = b"x" * 60000
    ups = [p.client(timeout=30) for _ in range(2)]
    for up in ups:
        up.request("POST", server.url("/up"), body=body)
    server.wait_requests(3)
    wait_until(lambda: sum(s.received for s in server.requests) == 65535, 5, "the window to be spent")
    fan_out(c, server, 20)
    assert len(server.conns) == 1
    conn = server.conns[0]
    conn.credit += MIB
    conn.raw(h2.window(0, MIB))
    for stream in server.requests[1:3]:
        stream.restore(MIB)
    for stream in server.requests[1:3]:
        wait_until(lambda s=stream: s.ended, 5, "an upload")
        stream.respond("%d" % stream.received)
    for up in ups:
        with up:
            assert up.response().text == "60000"


def test_a_window_of_one_byte(one, serve_h2):
    server = serve_h2(each(lambda s: s.respond(bytes(s.body))), settings={h2.INITIAL_WINDOW_SIZE: 1})
    c, _ = one()
    assert c.get(server.url()).status == 200  # now the settings are known
    body = bytes(range(200))
    assert c.exchange("POST", server.url(), body=body).body == body


def test_windows_that_change_under_way(one, serve_h2):
    """INITIAL_WINDOW_SIZE of 0, then more, then less than what is out: a negative window, and more again."""
    handler, streams = held()

    def without_credit(conn):
        conn.auto.discard("stream window")
        handler(conn)

    server = serve_h2(without_credit, settings={h2.INITIAL_WINDOW_SIZE: 0}, keep=False)
    c, p = one()
    with p.client() as first:  # so that the settings are known
        first.request("GET", server.url("/first"))
        wait_until(lambda: streams and streams[0].conn.acks >= 1, 5, "the settings to be taken")
        echo(streams.pop())
        assert first.response().text == "/first"
    body = hashlib.sha256(b"x").digest() * 4096
    sender = threading.Thread(target=c.request, args=("POST", server.url("/up")), kwargs={"body": body})
    sender.start()
    server.wait_requests(2)
    (stream,) = streams
    conn = stream.conn
    assert stream.received == 0
    conn.set({h2.INITIAL_WINDOW_SIZE: 30000})
    wait_until(lambda: stream.received == 30000, 5, "30,000 bytes")
    conn.set({h2.INITIAL_WINDOW_SIZE: 10000})  # now the window is -20,000
    wait_until(lambda: conn.acks >= 3, 5, "the settings to be taken")
    stream.restore(20000)
    conn.ping(b"barrier!")
    wait_until(lambda: b"barrier!" in conn.pongs, 5, "the answer to a PING")
    assert stream.received == 30000
    stream.restore(len(body))
    wait_until(lambda: stream.ended, 5, "the upload")
    sender.join(10)
    stream.respond(stream.digest.hexdigest())
    assert c.response().text == hashlib.sha256(body).hexdigest()


def test_the_client_leaves_and_only_its_stream_ends(one, serve_h2):
    handler, streams = held()
    server = serve_h2(handler)
    c, p = one()
    with p.client() as gone:
        gone.request("GET", server.url("/gone"))
        c.request("GET", server.url("/stays"))
        wait_until(lambda: len(streams) == 2, 5, "both")
    left = [s for s in streams if s.target == "/gone"][0]
    wait_until(lambda: left.reset is not None, 5, "the reset")
    assert left.reset == h2.CANCEL
    for stream in streams:
        if stream is not left:
            echo(stream)
    assert c.response().text == "/stays" and len(server.conns) == 1 and not server.conns[0].closed
