# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 towards origins: when it is spoken, and what a first handshake means for those who wait for it."""
import json
import signal
import threading
import time

import pytest

from testenv import SOON
from testenv import h2server as h2
from testenv.crowd import CROWD, answers, fan_out, pipeline
from testenv.h2server import each, echo
from testenv.scripted import answering, ok
from testenv.wait import wait_until


# --- the switch


@pytest.mark.parametrize(
    "conf, protocol",
    [
        ("", "h2"),
        ("upstream { http2 = on }", "h2"),
        ("upstream { http2 = off }", "h1"),
        ('rule "localhost" { http2 = off }', "h1"),
        ('upstream { http2 = off }\nrule "localhost" { http2 = on }', "h2"),
        ('upstream { http2 = off }\nrule "other.test" { http2 = on }', "h1"),
        ('rule "other.test" { http2 = off }', "h2"),
        ('rule "localhost" { response_timeout = 9s }', "h2"),
        ('upstream { http2 = off }\nrule "localhost" { response_timeout = 9s }', "h1"),
    ],
)
def test_http2_on_and_off(one, serve_h2, conf, protocol):
    server = serve_h2(each(echo), h1=answering(lambda r, c: ok(r.target)))
    c, p = one(conf + "\n")
    assert c.get(server.url("/x")).text == "/x"
    (line,) = p.wait_access(lambda x: True)
    assert line["protocol"] == protocol
    (conn,) = server.conns
    if protocol == "h2":
        assert conn.protocol == "h2" and conn.offered == ["h2", "http/1.1"]
    else:
        assert conn.protocol != "h2" and "h2" not in conn.offered


def test_hup_switches_and_streams_finish(make_proxy, serve_h2):
    """What is under way by h2 ends there, what comes after the reload goes by http/1.1, and back."""
    streams = []
    app = each(lambda s: streams.append(s) if s.target == "/slow" else s.respond("h2"))
    server = serve_h2(app, h1=answering(lambda r, c: ok("h1")))
    p = make_proxy("workers = 1\n")
    with p.client() as c, p.client() as slow:
        assert c.get(server.url()).text == "h2"
        slow.request("GET", server.url("/slow"))
        wait_until(lambda: streams, 5, "the slow one")
        for conf, word in (("workers = 1\nupstream { http2 = off }\n", "h1"), ("workers = 1\n", "h2")):
            p.write(conf)
            p.signal(signal.SIGHUP)
            wait_until(lambda word=word: c.get(server.url()).text == word, 5, "the reload")
        streams[0].respond("slow")
        assert slow.response().text == "slow"


@pytest.mark.parametrize("alpn", [("http/1.1",), ()])
def test_an_origin_without_h2(one, serve_h2, alpn):
    server = serve_h2(each(echo), alpn=alpn, h1=answering(lambda r, c: ok(r.target)))
    c, p = one()
    fan_out(c, server, 10)
    assert {x["protocol"] for x in p.wait_access(lambda x: True, 10)} == {"h1"}


def test_plain_http_is_not_offered_h2(one, serve):
    server = serve(answering(lambda r, c: ok(r.version)), tls=False)
    c, _ = one('rule "localhost" { upgrade = off }\n')
    assert c.get(server.url()).text == "HTTP/1.1" and server.requests[0].get("Upgrade") is None


def test_an_origin_that_changes_its_mind(one, serve_h2, ca):
    """h2 first, then http/1.1, then h2 again on the same port."""
    h1 = answering(lambda r, c: ok("h1 " + r.target))
    server = serve_h2(each(lambda s: s.respond("h2 " + s.target)), h1=h1)
    c, _ = one("upstream { idle_timeout = 200ms }\n")
    for protocols, prefix in ((("h2",), "h2"), (("http/1.1",), "h1"), (("h2", "http/1.1"), "h2")):
        server.context.set_alpn_protocols(list(protocols))
        wait_until(lambda: all(conn.closed for conn in server.conns), 5, "idle connections to go")
        pipeline(c, [server.url("/%d" % i) for i in range(10)])
        assert [r.text for r in answers(c, 10)] == ["%s /%d" % (prefix, i) for i in range(10)]


# --- back to http/1.1


def test_websocket_goes_over_http1(one, serve_h2):
    def h1(conn):
        request = conn.read_head()
        assert request.get("Upgrade") == "websocket"
        conn.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nHELLO")
        while True:
            data = conn.recv()
            if not data:
                return
            conn.send(data.upper())

    server = serve_h2(each(echo), h1=h1)
    c, p = one()
    fan_out(c, server, 5)
    for _ in range(2):
        with p.client() as ws:
            ws.request("GET", server.url("/ws"), "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: x")
            r = ws.response()
            assert r.status == 101 and r.get("Upgrade").lower() == "websocket" and ws.exactly(5) == b"HELLO"
            ws.send(b"ping")
            assert ws.exactly(4) == b"PING"
    fan_out(c, server, 5)
    assert [conn.protocol for conn in server.conns] == ["h2", "http/1.1", "http/1.1"]
    assert "h2" not in server.conns[1].offered
    assert {x["protocol"] for x in p.wait_access(lambda x: x["url"].endswith("/ws"), 2)} == {"h1"}


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_http_1_1_required(one, serve_h2, method):
    h1 = answering(lambda r, c: ok("h1 %s %s" % (r.method, r.body.decode())))
    server = serve_h2(each(lambda s: s.refuse(h2.HTTP_1_1_REQUIRED) if s.target == "/old" else echo(s)), h1=h1)
    c, p = one()
    fan_out(c, server, 5)
    body = b"abc" if method == "POST" else b""
    r = c.exchange(method, server.url("/old"), body=body)
    assert r.status == 200 and r.text == "h1 %s %s" % (method, body.decode())
    (line,) = p.wait_access(lambda x: x["url"].endswith("/old"))
    assert line["protocol"] == "h1" and line["retries"] == 1


# --- handshakes


@pytest.mark.concurrent
@pytest.mark.parametrize("workers", [1, 4])
def test_one_handshake_a_worker(make_proxy, serve_h2, workers):
    """A hundred clients come while the first handshake is under way."""
    gate = threading.Event()
    server = serve_h2(each(echo), gate=gate)
    p = make_proxy("workers = %d\n" % workers, service=True)
    clients = [p.client(timeout=30) for _ in range(CROWD)]
    for i, c in enumerate(clients):
        c.request("GET", server.url("/%d" % i))
    wait_until(lambda: json.loads(p.fetch("/status"))["in_flight"] == CROWD, 10, "all to be under way")
    assert server.accepted <= workers
    gate.set()
    for i, c in enumerate(clients):
        with c:
            assert c.response().text == "/%d" % i
    assert 1 <= len(server.conns) == server.handshakes == server.accepted <= workers


@pytest.mark.parametrize("workers", [1, 4])
def test_one_handshake_for_one_client(make_proxy, serve_h2, workers):
    server = serve_h2(each(echo))
    p = make_proxy("workers = %d\n" % workers)
    with p.client(timeout=30) as c:
        fan_out(c, server)
    assert server.accepted == server.handshakes == 1


def test_an_unknown_origin_that_has_no_h2(one, serve_h2):
    """The others wait for the first handshake, then open in parallel; known, they do not wait."""
    gate = threading.Event()
    go = threading.Event()
    h1 = answering(lambda r, c: go.wait(10) and ok(r.target, "Connection: close"))
    server = serve_h2(each(echo), alpn=("http/1.1",), h1=h1, gate=gate)
    c, p = one()
    pipeline(c, [server.url("/%d" % i) for i in range(20)])
    wait_until(lambda: server.accepted == 1, 5, "the first connection")
    with p.client() as probe:  # the worker has read what came before this
        assert probe.get("http://127.0.0.1:1/").status == 502
    assert server.accepted == 1
    gate.set()
    wait_until(lambda: len(server.requests) == 20, 5, "the others in parallel")
    go.set()
    assert [r.text for r in answers(c, 20)] == ["/%d" % i for i in range(20)]
    assert server.accepted == 20
    # Now it is known: all knock at once, before one handshake is through.
    gate.clear()
    pipeline(c, [server.url("/%d" % i) for i in range(20)])
    wait_until(lambda: server.accepted == 40, 5, "all connections at once")
    gate.set()
    assert [r.text for r in answers(c, 20)] == ["/%d" % i for i in range(20)]
    assert sum(conn.resumed for conn in server.conns[20:]) >= 5, [conn.resumed for conn in server.conns]


def test_resumption_to_an_h2_origin(one, serve_h2):
    server = serve_h2(each(echo))
    c, _ = one("upstream { idle_timeout = 200ms }\n")
    for i in range(3):
        fan_out(c, server, 10)
        wait_until(lambda: server.conns[i].closed, 5, "it to be closed")
    assert [conn.resumed for conn in server.conns] == [False, True, True]


def test_the_first_handshake_fails_for_all(one, serve_h2):
    """Those that waited for it get its error, or their own; nobody hangs, and the next one is tried anew."""
    server = serve_h2(each(echo), kind="expired")
    c, _ = one()
    pipeline(c, [server.url("/%d" % i) for i in range(20)])
    assert {(r.status, r.error) for r in answers(c, 20)} == {(502, "tls_certificate_error")}
    assert c.get(server.url()).error == "tls_certificate_error"


@pytest.mark.parametrize("how", ["hangs", "cuts", "refuses"])
def test_those_who_wait_do_not_wait_one_after_the_other(one, serve, how):
    """The handshake that all wait for never ends, or ends badly: all are told in the time of one."""
    server = serve(lambda conn: conn.hang() if how == "hangs" else conn.cut(), tls=False)
    if how == "refuses":
        server.stop()
    c, _ = one("upstream { connect_timeout = 500ms }\n")
    begun = time.monotonic()
    pipeline(c, [server.url("/%d" % i) for i in range(20)])
    expected = {"hangs": (504, "connection_timeout"), "refuses": (502, "connection_refused")}
    for r in answers(c, 20):
        assert (r.status, r.error) == expected.get(how, (502, r.error)) and r.error, r
    assert time.monotonic() - begun < SOON


def test_those_who_wait_may_leave(one, serve_h2):
    """The client whose request began the handshake leaves; the others are served."""
    gate = threading.Event()
    server = serve_h2(each(echo), gate=gate)
    c, p = one()
    with p.client() as first:
        first.request("GET", server.url("/first"))
        wait_until(lambda: server.accepted == 1, 5, "the connection")
        pipeline(c, [server.url("/%d" % i) for i in range(10)])
        with p.client() as probe:
            assert probe.get("http://127.0.0.1:1/").status == 502
    gate.set()
    assert [r.text for r in answers(c, 10)] == ["/%d" % i for i in range(10)]
    assert server.accepted <= 2
