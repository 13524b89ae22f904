# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 towards origins: what is asked again, and what is not."""
import threading

import pytest

from testenv import h2server as h2
from testenv.crowd import CROWD, fan_out
from testenv.h2server import each, echo
from testenv.wait import wait_until

TRIES = 11  # what an origin has not processed is asked again ten times at most


def test_goaway_in_mid_fan_out(one, serve_h2):
    """Streams above the last id go elsewhere, unsafe ones too; the others finish."""
    go = threading.Event()

    def handler(conn):
        streams = []
        for stream in conn.incoming():
            if conn.number > 0:
                echo(stream)
                continue
            streams.append(stream)
            if len(streams) == 20:
                conn.goaway(streams[9].id)
                go.wait(10)
                for s in streams[:10]:
                    echo(s)

    server = serve_h2(handler)
    _, p = one()
    clients = [p.client() for _ in range(20)]
    for i, c in enumerate(clients):
        c.request("GET" if i % 2 else "POST", server.url("/%d" % i), "Content-Length: 0")
    wait_until(lambda: len(server.requests) == 30, 5, "ten to be asked again")
    assert sorted(s.target for s in server.requests[20:]) == sorted(s.target for s in server.requests[10:20])
    go.set()
    for i, c in enumerate(clients):
        with c:
            assert c.response().text == "/%d" % i
    wait_until(lambda: server.conns[0].closed, 5, "the old connection to end")
    assert {x["error"] for x in p.wait_access(lambda x: True, 20)} in ({""}, {None})


@pytest.mark.parametrize("few", [20, 10])
def test_an_origin_that_takes_few_requests_a_connection(one, serve_h2, few):
    """The rest of a fan-out moves on from connection to connection; every one of them makes progress."""

    def handler(conn):
        for stream in conn.incoming():
            if len(conn.requests) <= few:
                echo(stream)
            if len(conn.requests) == few:
                conn.goaway(stream.id)

    server = serve_h2(handler)
    c, _ = one()
    fan_out(c, server, 40)
    assert len(server.conns) <= 2 * 40 // few


def test_goaway_gently(one, serve_h2):
    """First without a last id, as a server does that is about to stop; nothing is lost, new requests go elsewhere."""

    def handler(conn):
        for i, stream in enumerate(conn.incoming()):
            if conn.number == 0 and i == 5:
                conn.goaway(h2.MAX_WINDOW)
            echo(stream)

    server = serve_h2(handler)
    c, _ = one()
    fan_out(c, server, 10)
    wait_until(lambda: server.conns[0].closed, 5, "the old connection to end")
    for i in range(3):
        fan_out(c, server, 10)
    assert len(server.conns) == 2


def test_goaway_on_an_idle_connection(one, serve_h2):
    server = serve_h2(each(echo))
    c, _ = one()
    for i in range(3):
        assert c.exchange("POST", server.url("/%d" % i), body=b"x").text == "/%d" % i
        server.conns[i].goaway()
        wait_until(lambda: server.conns[i].closed, 5, "the connection to end")
    assert len(server.conns) == 3 and len(server.requests) == 3


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_refused_stream_is_asked_again(one, serve_h2, method):
    refused = []

    def app(stream):
        if stream.target == "/again" and not refused:
            refused.append(stream)
            stream.refuse()
        else:
            stream.respond(stream.method)

    server = serve_h2(each(app))
    c, p = one()
    assert c.get(server.url("/warm")).status == 200
    r = c.exchange(method, server.url("/again"), body=b"x" if method == "POST" else b"")
    assert r.status == 200 and r.text == method
    assert server.paths().count("/again") == 2
    (line,) = p.wait_access(lambda x: x["url"].endswith("/again"))
    assert line["retries"] == 1 and line["protocol"] == "h2"


def test_refused_for_ever(one, serve_h2):
    server = serve_h2(each(lambda s: s.refuse() if s.target == "/never" else echo(s)))
    c, _ = one()
    assert c.get(server.url("/a")).text == "/a"
    r = c.get(server.url("/never"))
    assert r.status in (502, 503) and r.error, r
    assert server.paths().count("/never") <= TRIES
    assert c.get(server.url("/b")).text == "/b"


def test_half_of_a_fan_out_is_refused(one, serve_h2):
    seen = set()

    def app(stream):
        if int(stream.target[1:]) % 2 and stream.target not in seen:
            seen.add(stream.target)
            stream.refuse()
        else:
            echo(stream)

    server = serve_h2(each(app))
    c, _ = one()
    fan_out(c, server)
    assert len(server.requests) == CROWD + CROWD // 2 and len(server.conns) <= 10


def test_refusals_make_no_storm_of_connections(one, serve_h2):
    """An origin that sheds load a stream at a time is asked again, on few connections."""
    seen = set()

    def app(stream):
        if stream.target in seen:
            return echo(stream)
        seen.add(stream.target)
        stream.refuse()

    server = serve_h2(each(app))
    c, _ = one()
    for i in range(300):
        assert c.get(server.url("/%d" % i)).text == "/%d" % i
    assert server.accepted <= 30, server.accepted


@pytest.mark.parametrize("second", [200, 421])
def test_421_is_asked_again_on_a_connection_of_its_own(one, serve_h2, second):
    def app(stream):
        if stream.target != "/mis":
            echo(stream)
        elif server.paths().count("/mis") == 1:
            stream.respond("misdirected", status=421)
        else:
            stream.respond("second %d" % stream.conn.number, status=second)

    server = serve_h2(each(app))
    c, _ = one()
    assert c.get(server.url("/warm")).text == "/warm"
    r = c.get(server.url("/mis"))
    assert r.status == second and r.text == "second 1"
    assert server.paths().count("/mis") == 2


def lossy(ending):
    """Connection 0 answers what is not /lost, then ends when five of those are there; the others answer all."""

    def handler(conn):
        for stream in conn.incoming():
            if conn.number == 0 and stream.target.startswith("/lost"):
                if sum(1 for s in conn.requests if s.target.startswith("/lost")) == 5:
                    return getattr(conn, ending)()
            else:
                echo(stream)

    return handler


@pytest.mark.parametrize("ending", ["cut", "reset", "finish"])
def test_idempotent_requests_lost_on_a_reused_connection_are_retried(one, serve_h2, ending):
    server = serve_h2(lossy(ending))
    c, p = one()
    assert c.get(server.url("/warm")).text == "/warm"
    fan_out(c, server, 5, "/lost")
    assert len(server.conns) == 2 and len(server.requests) == 11
    assert all(x["retries"] == 1 for x in p.wait_access(lambda x: "/lost" in x["url"], 5))


@pytest.mark.parametrize("ending", ["cut", "reset", "finish"])
def test_unsafe_requests_are_not_retried(one, serve_h2, ending):
    server = serve_h2(lossy(ending))
    c, p = one()
    assert c.get(server.url("/warm")).text == "/warm"
    clients = [p.client() for _ in range(5)]
    for i, d in enumerate(clients):
        d.request("POST", server.url("/lost%d" % i), "Content-Length: 0")
    for d in clients:
        with d:
            r = d.response()
        assert r.status == 502 and r.error == "connection_terminated" and "may have been carried out" in r.text
    assert len(server.requests) == 6
    assert c.get(server.url("/next")).text == "/next"


def test_what_was_answered_before_the_end_is_whole(one, serve_h2):
    """Five of ten are answered in the same breath as the end of the connection: the others are asked again."""

    def handler(conn):
        waiting = []
        for stream in conn.incoming():
            if conn.number > 0 or stream.target == "/warm":
                echo(stream)
                continue
            waiting.append(stream)
            if len(waiting) == 10:
                for s in waiting[:5]:
                    s.respond(s.target, length=False)
                return conn.finish()

    server = serve_h2(handler)
    c, _ = one()
    assert c.get(server.url("/warm")).text == "/warm"
    fan_out(c, server, 10)
    assert len(server.requests) == 16


def test_not_retried_on_a_fresh_connection(one, serve_h2):
    def handler(conn):
        for stream in conn.incoming():
            return conn.cut()

    server = serve_h2(handler)
    c, _ = one()
    r = c.get(server.url())
    assert r.status == 502 and r.error == "connection_terminated" and len(server.requests) == 1
