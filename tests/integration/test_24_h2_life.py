# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 towards origins: timeouts, what is to be seen of it, and what is left at the end."""
import json
import re
import signal
import time

import pytest

from testenv import SANITIZED, SOON
from testenv import h2server as h2
from testenv.client import Broken, Client
from testenv.crowd import CROWD, answers, fan_out, pipeline
from testenv.h2server import each, echo, held
from testenv.scripted import answering, ok
from testenv.wait import wait_until


# --- time


@pytest.mark.concurrent
def test_response_timeout_ends_one_stream(one, serve_h2):
    server = serve_h2(each(lambda s: echo(s) if s.target != "/hang" else None))
    c, p = one('upstream { response_timeout = 300ms }\nrule "a.localhost" { response_timeout = 9s }\n')
    fan_out(c, server, 5)
    with p.client() as d:
        begun = time.monotonic()
        d.request("GET", server.url("/hang"))
        server.wait_requests(6)
        fan_out(c, server, 20)
        r = d.response()
        assert r.status == 504 and r.error == "http_response_timeout" and time.monotonic() - begun < SOON
    hung = [s for s in server.requests if s.target == "/hang"]
    wait_until(lambda: hung[0].reset is not None, 5, "the reset")
    fan_out(c, server, 5)
    assert len(server.conns) == 1 and len(hung) == 1


def test_read_timeout_ends_one_stream(one, serve_h2):
    def app(stream):
        if stream.target != "/stall":
            return echo(stream)
        stream.head("content-length: 10")
        stream.data(b"abc")

    server = serve_h2(each(app))
    c, p = one("upstream { read_timeout = 300ms }\n")
    fan_out(c, server, 5)
    with p.client() as d, pytest.raises(Broken):
        d.get(server.url("/stall"))
    (line,) = p.wait_access(lambda x: x["url"].endswith("/stall"))
    assert line["error"] in ("http_response_incomplete", "http_response_timeout")
    fan_out(c, server, 5)
    assert len(server.conns) == 1


def test_settings_that_never_come(one, serve_h2):
    """TLS stands and nothing else is said."""
    server = serve_h2(lambda conn: conn.exactly(1 << 20))
    c, _ = one("upstream { connect_timeout = 1s response_timeout = 1s }\n")
    begun = time.monotonic()
    r = c.get(server.url())
    assert r.status == 504 and r.error in ("http_response_timeout", "connection_timeout"), r
    assert time.monotonic() - begun < SOON


def test_idle_timeout(one, serve_h2):
    server = serve_h2(each(echo))
    c, _ = one("upstream { idle_timeout = 300ms }\n")
    fan_out(c, server, 5)
    wait_until(lambda: server.conns[0].closed)
    assert server.conns[0].gone is not None and server.conns[0].gone[1] == h2.NO_ERROR
    fan_out(c, server, 5)
    assert len(server.conns) == 2


def test_max_age(one, serve_h2):
    """What is under way on an old connection finishes there."""
    handler, streams = held()

    def both(conn):
        for stream in conn.incoming():
            streams.append(stream) if stream.target == "/slow" else stream.respond("%d" % conn.number)

    server = serve_h2(both)
    c, p = one("upstream { max_age = 400ms }\n")
    with p.client() as slow:
        slow.request("GET", server.url("/slow"))
        wait_until(lambda: streams, 5, "the slow one")
        wait_until(lambda: c.get(server.url("/n")).text != "0", 5, "a new connection")
        streams[0].respond("old")
        assert slow.response().text == "old"
    wait_until(lambda: server.conns[0].closed, 5, "the old connection to end")


@pytest.mark.soak
def test_a_quiet_connection_is_asked(make_proxy, serve_h2):
    """After 15 s a PING. 10 s later one that is idle is given up; one that carries a request gets no other one."""
    hung = []

    def handler(conn):
        if conn.number > 0:
            conn.auto.discard("ping")
        for stream in conn.incoming():
            hung.append(stream) if stream.target == "/hang" else echo(stream)

    server = serve_h2(handler)
    p = make_proxy("workers = 1\n")
    begun = time.monotonic()
    with p.client(timeout=60) as c, p.client(timeout=60) as d, p.client(timeout=60) as e:
        for client, host in ((c, "a.localhost"), (d, "b.localhost"), (e, "c.localhost")):
            assert client.get(server.url("/x", host)).text == "/x"
        e.request("POST", server.url("/hang", "c.localhost"), "Content-Length: 0")
        first, second, third = server.conns
        wait_until(lambda: all(x.count(h2.PING) for x in server.conns), 20, "PINGs")
        assert time.monotonic() - begun > 13
        wait_until(lambda: second.closed, 15, "the silent one to be given up")
        assert time.monotonic() - begun > 22
        assert not first.closed and not third.closed
        assert c.get(server.url("/y", "a.localhost")).text == "/y" and len(server.conns) == 3
        wait_until(
            lambda: d.get(server.url("/y", "c.localhost")).text == "/y" and len(server.conns) > 3, 3, "another one"
        )
        assert d.get(server.url("/y", "b.localhost")).text == "/y" and len(server.conns) == 5
        hung[0].respond("at last")
        assert e.response().text == "at last"
        wait_until(lambda: third.closed, 5, "it to be closed now")


# --- to be seen


@pytest.mark.h1_only("it asks an origin of either protocol")
def test_the_protocol_is_to_be_seen(make_proxy, serve_h2, serve):
    new = serve_h2(each(echo))
    old = serve(answering(lambda r, c: ok(r.target)))
    p = make_proxy("workers = 1\n", service=True)
    with p.client() as c:
        fan_out(c, new, 10)
        fan_out(c, old, 5)
    p.wait_access(lambda x: True, 15)

    def metric(protocol):
        found = re.search(
            r'^tlsfan_upstream_requests_total\{protocol="%s"\} (\d+)' % protocol, p.fetch("/metrics"), re.M
        )
        return int(found.group(1)) if found else None

    wait_until(lambda: (metric("h2"), metric("h1")) == (10, 5), 5, "the counters")
    told = json.loads(p.fetch("/exchanges"))["exchanges"]
    assert sorted(x["protocol"] for x in told) == ["h1"] * 5 + ["h2"] * 10
    status = json.loads(p.fetch("/status"))
    assert (status["h1"], status["h2"]) == (5, 10), status
    (origin,) = [o for o in status["origins"] if o["origin"] == "localhost:%d" % new.port]
    assert origin["requests"] == 10 and origin["opened"] == 1


def test_a_batch_is_one_connection(make_proxy, serve_h2):
    server = serve_h2(each(echo))
    p = make_proxy("workers = 1\n", service=True)
    body = "\n".join(server.url("/%d" % i) for i in range(50)) + "\n"
    with Client(p.service_port, timeout=20) as c:
        c.send(
            "POST /batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nAccept: application/x-ndjson\r\n"
            "Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        r = c.response()
    assert r.status == 200 and len(server.conns) == 1
    assert sorted(server.paths()) == sorted("/%d" % i for i in range(50))


# --- the end


def test_term_lets_streams_finish(make_proxy, serve_h2):
    handler, streams = held()
    server = serve_h2(handler)
    p = make_proxy("workers = 1\ndrain_timeout = 10s\n")
    with p.client() as c:
        pipeline(c, [server.url("/%d" % i) for i in range(10)])
        wait_until(lambda: len(streams) == 10, 5, "all to be under way")
        p.signal(signal.SIGTERM)
        wait_until(lambda: not p.listens(), 5, "the listener to close")
        for stream in streams:
            echo(stream)
        assert [r.text for r in answers(c, 10)] == ["/%d" % i for i in range(10)]
    wait_until(p.dead, 5, "the end")
    wait_until(lambda: server.conns[0].closed, 5, "the connection to end")


@pytest.mark.soak
def test_nothing_is_left_after_much_more(one, serve_h2):
    """The same with every kind of ending, for a hundred thousand requests."""

    def app(stream):
        kind = int(stream.target[1:]) % 10
        if kind == 0 and server.paths().count(stream.target) == 1:
            stream.refuse()
        elif kind == 1:
            stream.conn.headers(stream.id, [(":status", "200"), ("X", "upper")], h2.END_STREAM)
        elif kind == 2 and stream.conn.number % 2 == 0 and stream.id > 200:
            stream.conn.goaway(stream.id)
            echo(stream)
        else:
            stream.respond(stream.target, trailers=("x: y",) if kind == 3 else ())
        stream.conn.frames.clear() if len(stream.conn.frames) > 1000 else None

    server = serve_h2(each(app), judge=False)
    c, p = one("upstream { idle_timeout = 300ms }\n")

    def turn():
        del server.requests[:]
        pipeline(c, [server.url("/%d" % i) for i in range(CROWD)])
        assert {r.status for r in answers(c, CROWD)} == {200, 502}

    def settle():
        wait_until(lambda: all(conn.closed for conn in server.conns), 5)
        return p.fds(), p.rss()

    for _ in range(300):
        turn()
    fds, rss = settle()
    for _ in range(1000):
        turn()
    after = settle()
    print("100,000 requests over %d connections: RSS %+d KiB" % (len(server.conns), after[1] - rss))
    assert after[0] <= fds and (SANITIZED or after[1] - rss < 1024)


def test_nothing_is_left(one, serve_h2):
    """Descriptors and memory after thousands of requests are those of before."""
    server = serve_h2(each(echo))
    c, p = one("upstream { idle_timeout = 300ms }\n")
    for _ in range(5):
        fan_out(c, server)
    wait_until(lambda: all(conn.closed for conn in server.conns), 5)
    fds, rss = p.fds(), p.rss()
    for _ in range(20):
        fan_out(c, server)
    wait_until(lambda: all(conn.closed for conn in server.conns), 5)
    wait_until(lambda: p.fds() <= fds, 5, "descriptors to be closed")
    assert SANITIZED or p.rss() - rss < 1024
