# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 towards origins: one connection for a fan-out, translation, flow control, retries, handshakes, switches."""
import hashlib
import json
import re
import signal
import threading
import time
import urllib.request

import pytest

from testenv import SANITIZED, SLOW, SOON
from testenv import h2server as h2
from testenv.client import Broken, Client
from testenv.h2server import each
from testenv.scripted import answering, ok
from testenv.wait import wait_until

MIB = 1 << 20
CROWD = 100
TRIES = 11  # what an origin has not processed is asked again ten times at most


def echo(stream):
    stream.respond(stream.target)


@pytest.fixture
def one(make_proxy):
    """one(conf): a proxy with one worker, so that its pool is the only one; and a client of it."""
    clients = []

    def make(conf="", **kw):
        p = make_proxy("workers = 1\n" + conf, **kw)
        clients.append(p.client(timeout=20))
        return clients[-1], p

    yield make
    for c in clients:
        c.close()


def pipeline(c, urls, *fields, method="GET"):
    """Sends them in one write; gives what comes back."""
    lines = "".join("\r\n%s" % f for f in fields)
    c.send("".join("%s %s HTTP/1.1\r\nHost: x%s\r\n\r\n" % (method, url, lines) for url in urls))


def answers(c, count):
    return [c.response() for _ in range(count)]


def fan_out(c, server, count=CROWD, prefix="/", host="localhost"):
    """COUNT requests in one write; every answer has to be that of its request."""
    paths = ["%s%d" % (prefix, i) for i in range(count)]
    pipeline(c, [server.url(path, host) for path in paths])
    got = answers(c, count)
    assert [(r.status, r.text) for r in got] == [(200, path) for path in paths]
    return got


def at_once(p, urls, timeout=30):
    """A client for each URL, all at the same time: the answers, in their order."""
    got, clients = [], [p.client(timeout=timeout) for _ in urls]
    for c, url in zip(clients, urls):
        c.request("GET", url)
    for c in clients:
        with c:
            got.append(c.response())
    return got


def held():
    """A handler that answers nothing by itself, and the list of the streams that came."""
    streams = []
    return each(streams.append, "head"), streams


def fetch(p, path):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(p.service_url + path, timeout=10) as answer:
        return answer.read().decode()


# --- one connection


@pytest.mark.concurrent
def test_a_fan_out_is_one_connection(one, serve_h2):
    server = serve_h2(each(echo))
    c, p = one()
    fan_out(c, server)
    fan_out(c, server, prefix="/again/")
    assert len(server.conns) == server.accepted == 1 and server.conns[0].sni == "localhost"
    lines = p.wait_access(lambda x: True, 2 * CROWD)
    assert {x["protocol"] for x in lines} == {"h2"} and {x["tls"] for x in lines} == {"TLSv1.3"}


def test_streams_go_side_by_side(one, serve_h2):
    """All are there before one is answered, and the last may be answered first."""
    handler, streams = held()
    server = serve_h2(handler)
    c, _ = one()
    pipeline(c, [server.url("/%d" % i) for i in range(CROWD)])
    wait_until(lambda: len(streams) == CROWD, 5, "all to be under way")
    assert server.conns[0].most == CROWD and len(server.conns) == 1
    for stream in reversed(streams):
        echo(stream)
    assert [r.text for r in answers(c, CROWD)] == ["/%d" % i for i in range(CROWD)]


@pytest.mark.concurrent
def test_many_clients_share_a_connection(make_proxy, serve_h2):
    server = serve_h2(each(echo))
    p = make_proxy("workers = 1\n")
    urls = [server.url("/%d" % i) for i in range(CROWD)]
    assert [r.text for r in at_once(p, urls)] == ["/%d" % i for i in range(CROWD)]
    assert len(server.conns) == 1


@pytest.mark.parametrize("limit", [1, 7, 30])
def test_concurrent_streams_are_respected_and_the_rest_goes_elsewhere(one, serve_h2, limit):
    handler, streams = held()
    server = serve_h2(handler, settings={h2.MAX_CONCURRENT_STREAMS: limit})
    c, _ = one("client { max_pipeline = 60 }\n")
    warm = server.url("/warm")
    c.request("GET", warm)
    wait_until(lambda: streams, 5, "the first")
    echo(streams.pop())
    assert c.response().text == "/warm"
    pipeline(c, [server.url("/%d" % i) for i in range(60)])
    wait_until(lambda: len(streams) == 60, 10, "all to be under way")
    assert all(conn.most <= limit for conn in server.conns)
    assert -(-60 // limit) <= len(server.conns) <= 60
    if limit > 1:
        assert len(server.conns) < 60
    for stream in streams:
        echo(stream)
    assert [r.text for r in answers(c, 60)] == ["/%d" % i for i in range(60)]


def test_a_limit_that_comes_only_with_the_settings(one, serve_h2):
    """A cold fan-out waits for it, so that nothing has to be refused and sent again."""
    handler, streams = held()
    server = serve_h2(handler, settings={h2.MAX_CONCURRENT_STREAMS: 5})
    c, _ = one()
    pipeline(c, [server.url("/%d" % i) for i in range(40)])
    wait_until(lambda: len(streams) == 40, 10, "all to be under way")
    assert all(conn.most <= 5 for conn in server.conns)
    for stream in streams:
        echo(stream)
    assert [r.text for r in answers(c, 40)] == ["/%d" % i for i in range(40)]
    assert len(server.requests) == 40 and len(server.conns) <= 16


def test_max_per_host_counts_streams(one, serve_h2):
    handler, streams = held()
    server = serve_h2(handler)
    c, _ = one("upstream { max_per_host = 4 }\n")
    pipeline(c, [server.url("/%d" % i) for i in range(12)])
    for i in range(12):
        wait_until(lambda i=i: len(streams) > i, 5, "stream %d" % i)
        assert len(streams) <= i + 4
        echo(streams[i])
    assert [r.status for r in answers(c, 12)] == [200] * 12
    assert server.conns[0].most <= 4


def test_a_thousand_streams(make_proxy, serve_h2):
    handler, streams = held()
    server = serve_h2(handler)
    p = make_proxy("workers = 1\nclient { max_pipeline = 1000 }\nupstream { max_per_host = 1000 }\n")
    with p.client(timeout=30) as c:
        pipeline(c, [server.url("/%d" % i) for i in range(1000)])
        wait_until(lambda: len(streams) == 1000, 15, "all to be under way")
        assert len(server.conns) == 1
        for stream in streams:
            echo(stream)
        assert [r.text for r in answers(c, 1000)] == ["/%d" % i for i in range(1000)]


def test_different_names_never_share_a_connection(one, serve_h2):
    """The same address and a certificate for both: still two connections."""
    server = serve_h2(each(lambda s: s.respond(s.conn.sni)))
    c, _ = one()
    for name in ("a.localhost", "b.localhost", "a.localhost", "b.localhost"):
        assert c.get(server.url(host=name)).text == name
    assert [conn.sni for conn in server.conns] == ["a.localhost", "b.localhost"]
    for stream in server.requests:
        assert stream.get(":authority") == "%s:%d" % (stream.conn.sni, server.port)


def test_rules_that_differ_never_share_a_connection(one, serve_h2):
    """Both go to one place under one name, but one of them shows a certificate."""
    server = serve_h2(each(echo))
    c, _ = one(
        'rule "a.localhost" { connect_to = "127.0.0.1:%d" sni = "localhost" }\n'
        'rule "b.localhost" { connect_to = "127.0.0.1:%d" sni = "localhost" verify = off }\n' % ((server.port,) * 2)
    )
    for name in ("a.localhost", "b.localhost"):
        assert c.get("http://%s/" % name).status == 200
    assert len(server.conns) == 2


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


# --- translation


def test_a_request_in_h2(one, serve_h2):
    server = serve_h2(each(echo))
    c, _ = one()
    fields = [
        "Connection: X-Mine, keep-alive",
        "X-Mine: 1",
        "Keep-Alive: 5",
        "Proxy-Connection: keep-alive",
        "Proxy-Authorization: Basic abc",
        "Upgrade: h2c",
        "HTTP2-Settings: AAMAAABkAAQAAP__",
        "TE: deflate, trailers;q=0.5",
        "X-Stay: 1",
        "X-STAY: 2",
        "Accept-Encoding: gzip",
    ]
    assert c.get(server.url("/path?q=%20#frag"), *fields).status == 200
    (stream,) = server.requests
    assert dict(stream.fields[:4]) == {
        ":method": "GET",
        ":scheme": "https",
        ":authority": "localhost:%d" % server.port,
        ":path": "/path?q=%20",
    }
    names = {n for n, _ in stream.fields}
    assert stream.all("x-stay") == ["1", "2"] and stream.get("accept-encoding") == "gzip"
    assert not names & {"x-mine", "keep-alive", "connection", "proxy-connection", "upgrade", "transfer-encoding"}
    assert not names & {"proxy-authorization", "content-length", "http2-settings"} and stream.get("te") in (
        None,
        "trailers",
    )
    assert "1.1 tlsfan-" in stream.get("via")


def test_te_without_trailers_is_dropped(one, serve_h2):
    server = serve_h2(each(echo))
    c, _ = one()
    assert c.get(server.url(), "TE: deflate", "Connection: TE").status == 200
    assert server.requests[0].get("te") is None
    assert c.get(server.url(), "TE: trailers", "Connection: TE").status == 200
    assert server.requests[1].get("te") in (None, "trailers")


@pytest.mark.parametrize(
    "method, url, path",
    [
        ("OPTIONS", "http://localhost:%d", "*"),
        ("OPTIONS", "http://localhost:%d/", "/"),
        ("GET", "http://localhost:%d", "/"),
        ("GET", "http://localhost:%d?q", "/?q"),
        ("DELETE", "http://localhost:%d//a/../b", "//a/../b"),
        ("PROPFIND", "http://localhost:%d/dav", "/dav"),
    ],
)
def test_methods_and_targets(one, serve_h2, method, url, path):
    server = serve_h2(each(lambda s: s.respond("ok")))
    c, _ = one()
    assert c.exchange(method, url % server.port).status == 200
    assert (server.requests[0].method, server.requests[0].target) == (method, path)


def test_what_the_client_sees(one, serve_h2):
    fields = ["content-type: text/plain", "x-a-b: 1", "x-a-b: 2", "set-cookie: a=1; Secure", "set-cookie: b=2"]
    server = serve_h2(each(lambda s: s.respond("x", *fields, "location: https://other.test/")))
    c, _ = one()
    r = c.get(server.url())
    names = [n for n, _ in r.fields]
    assert r.version == "1.1" and r.reason == "OK"
    assert {"Content-Type", "X-A-B", "Set-Cookie", "Location", "Content-Length"} <= set(names)
    assert all(
        re.match(r"[A-Z0-9][a-z0-9]*(-[A-Z0-9][a-z0-9]*)*$", n) for n in names if n not in ("TE", "ETag")
    ), names
    assert r.all("X-A-B") == ["1", "2"] and r.all("Set-Cookie") == ["a=1", "b=2"]
    assert r.get("Location") == "http://other.test/" and not any(n.startswith(":") for n in names)


@pytest.mark.parametrize(
    "status, reason",
    [
        (200, "OK"),
        (201, "Created"),
        (206, "Partial Content"),
        (301, "Moved Permanently"),
        (304, "Not Modified"),
        (404, "Not Found"),
        (429, "Too Many Requests"),
        (500, "Internal Server Error"),
        (503, "Service Unavailable"),
        (299, None),  # nobody knows one
        (599, None),
    ],
)
def test_reason_phrases(one, serve_h2, status, reason):
    server = serve_h2(each(lambda s: s.head("content-length: 0", status=status, end=True)))
    c, _ = one()
    r = c.get(server.url())
    assert r.status == status and r.body == b""
    assert reason is None or r.reason == reason


def test_cookies_are_one_field_again(one, serve_h2):
    server = serve_h2(each(echo))
    c, _ = one()
    assert c.get(server.url(), "Cookie: a=1; b=2; c=3", "Cookie: d=4").status == 200
    assert "; ".join(server.requests[0].all("cookie")) == "a=1; b=2; c=3; d=4"


@pytest.mark.parametrize("size", [28 * 1024, 50 * 1024])
def test_cookies_of_many_kilobytes(one, serve_h2, size):
    """More than a frame: HEADERS and CONTINUATION, both ways, and no sibling is hurt."""
    cookie = "; ".join("c%d=%s" % (i, hashlib.sha256(b"%d" % i).hexdigest()) for i in range(size // 70 + 2))
    server = serve_h2(each(lambda s: s.respond(s.target, "set-cookie: " + "; ".join(s.all("cookie")))))
    c, _ = one()
    assert c.get(server.url("/x"), "Cookie: " + cookie).get("Set-Cookie") == cookie
    pipeline(c, [server.url("/%d" % i) for i in range(10)], "Cookie: " + cookie[:5000])
    assert [r.get("Set-Cookie") for r in answers(c, 10)] == [cookie[:5000]] * 10
    assert server.conns[0].count(h2.CONTINUATION) >= 1 and len(server.conns) == 1


def test_interim_responses(one, serve_h2):
    def app(stream):
        stream.head(status=102)
        stream.head("link: </a>; rel=preload", status=103)
        stream.respond("fin")

    server = serve_h2(each(app))
    c, _ = one()
    r = c.get(server.url())
    assert r.text == "fin" and 103 not in [i.status for i in r.interim]
    d, _ = one("client { early_hints = on }\n")
    r = d.get(server.url())
    assert r.text == "fin" and 103 in [i.status for i in r.interim]
    (hints,) = [i for i in r.interim if i.status == 103]
    assert hints.get("Link") == "</a>; rel=preload"


def test_many_interim_responses(one, serve_h2):
    def app(stream):
        for _ in range(20):
            stream.head(status=102)
        stream.respond(stream.target)

    server = serve_h2(each(app))
    c, _ = one()
    fan_out(c, server, 20)
    assert len(server.conns) == 1


def test_expect_100_continue(one, serve_h2):
    def app(stream):
        stream.head(status=100)
        wait_until(lambda: stream.ended, 5, "the body")
        stream.respond(bytes(stream.body))

    server = serve_h2(each(lambda s: threading.Thread(target=app, args=(s,)).start(), "head"))
    c, _ = one()
    c.send("POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n" % server.url())
    assert c.head().status == 100
    c.send("abc")
    assert c.response().text == "abc" and server.requests[0].get("expect") == "100-continue"


def test_trailers_both_ways(one, serve_h2):
    server = serve_h2(each(lambda s: s.respond("body", "x: y", length=False, trailers=("x-sum: 42", "x-two: 2"))))
    c, _ = one()
    c.send(
        "POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: X-Up\r\nTE: trailers\r\n"
        "Connection: TE\r\n\r\n5\r\nhello\r\n0\r\nX-Up: 7\r\n\r\n" % server.url()
    )
    r = c.response()
    assert r.text == "body" and r.trailers == [("X-Sum", "42"), ("X-Two", "2")]
    (stream,) = server.requests
    assert stream.body == b"hello" and ("x-up", "7") in stream.trailers
    assert stream.get("transfer-encoding") is None and stream.get("content-length") is None


def test_trailers_without_a_body(one, serve_h2):
    def app(stream):
        stream.head()
        stream.trailer("x-sum: 42")

    server = serve_h2(each(app))
    c, p = one()
    c.send("POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Up: 7\r\n\r\n" % server.url())
    r = c.response()
    assert r.body == b"" and r.trailers == [("X-Sum", "42")] and ("x-up", "7") in server.requests[0].trailers
    with p.client() as old:
        r = old.get(server.url(), version="1.0")
        assert r.status == 200 and r.body == b"" and old.closed()


def test_connections_of_clients_are_not_those_of_origins(one, serve_h2):
    server = serve_h2(each(echo))
    _, p = one()
    for i in range(5):
        with p.client() as c:
            assert c.get(server.url("/%d" % i), "Connection: close").text == "/%d" % i and c.closed()
    assert len(server.conns) == 1


def test_bare_answers(one, serve_h2):
    def app(stream):
        if stream.method == "HEAD":
            stream.head("content-length: 1000", end=True)
        else:
            stream.head(status=int(stream.target[1:]), end=True)

    server = serve_h2(each(app))
    c, _ = one()
    for _ in range(3):
        r = c.exchange("HEAD", server.url("/x"))
        assert r.status == 200 and r.get("Content-Length") == "1000"
        assert c.get(server.url("/204")).status == 204
        assert c.get(server.url("/304")).status == 304
        assert c.get(server.url("/200")).body == b""
    assert len(server.conns) == 1


def test_bare_answers_that_end_with_an_empty_frame(one, serve_h2):
    """Many servers know only afterwards that there is no body."""

    def app(stream):
        stream.head("content-length: 9", status=200 if stream.method == "HEAD" else int(stream.target[1:]))
        stream.data(b"", end=True)

    server = serve_h2(each(app))
    c, _ = one()
    for _ in range(3):
        r = c.exchange("HEAD", server.url("/x"))
        assert r.status == 200 and r.get("Content-Length") == "9"
        assert c.get(server.url("/304")).status == 304
    assert len(server.conns) == 1


def test_an_empty_frame_may_end_an_answer(one, serve_h2):
    def app(stream):
        stream.head()
        stream.data(b"abc")
        stream.data(b"")
        stream.data(b"def")
        stream.data(b"", end=True)

    server = serve_h2(each(app))
    c, _ = one()
    assert [c.get(server.url()).text for _ in range(3)] == ["abcdef"] * 3 and len(server.conns) == 1


def test_padding_is_no_content(one, serve_h2):
    def app(stream):
        conn = stream.conn
        with conn.lock:
            block = conn.block([(":status", "200")])
            flags = h2.END_HEADERS | h2.PADDED | h2.PRIORITY_FLAG
            conn.raw(h2.frame(h2.HEADERS, flags, stream.id, b"\x05\0\0\0\0\x07" + block + bytes(5)))
            for text, end in ((b"abc", 0), (b"", 0), (b"def", 1)):
                conn.raw(h2.frame(h2.DATA, h2.PADDED | end, stream.id, b"\xff" + text + bytes(255)))

    server = serve_h2(each(app))
    c, _ = one()
    assert [c.get(server.url()).text for _ in range(300)] == ["abcdef"] * 300  # padding counts in the windows
    assert len(server.conns) == 1


def test_a_10_client(one, serve_h2):
    server = serve_h2(each(lambda s: s.respond("no length", length=False)))
    _, p = one()
    with p.client() as c:
        r = c.get(server.url(), version="1.0")
        assert r.text == "no length" and r.get("Transfer-Encoding") is None and c.closed()


def test_response_head_limit(one, serve_h2):
    server = serve_h2(each(lambda s: s.respond("x", "x-big: " + "y" * int(s.target[1:]))))
    c, _ = one("upstream { max_head = 16k }\n")
    assert c.get(server.url("/15000")).status == 200
    r = c.get(server.url("/17000"))
    assert r.status == 502 and r.error == "http_protocol_error"
    assert c.get(server.url("/100")).status == 200


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


# --- what the origin says about the connection


def test_large_settings(one, serve_h2):
    """Frames of a MiB and a table of 64 KiB are offered; nobody has to use them."""
    wide = {h2.MAX_FRAME_SIZE: MIB, h2.HEADER_TABLE_SIZE: 65536, h2.INITIAL_WINDOW_SIZE: h2.MAX_WINDOW}
    server = serve_h2(each(lambda s: s.respond("%d" % s.received)), settings=wide)
    c, _ = one()
    for i in range(5):
        fields = ["X-%d: %s" % (n, "v" * n) for n in range(50)]
        assert c.exchange("POST", server.url(), *fields, body=bytes(MIB * i)).text == "%d" % (MIB * i)
    assert len(server.conns) == 1


def test_an_idle_connection_answers(one, serve_h2):
    server = serve_h2(each(echo))
    c, _ = one()
    fan_out(c, server, 2)
    conn = server.conns[0]
    for i in range(10):
        conn.ping(b"number %d" % i)
        wait_until(lambda i=i: b"number %d" % i in conn.pongs, 5, "the answer")
    with conn.lock:
        conn.set({h2.HEADER_TABLE_SIZE: 100})
        conn.encoder.header_table_size = 0  # the next block begins with a change of its table
    wait_until(lambda: conn.acks == 2, 5, "the acknowledgement")
    fan_out(c, server, 5)
    assert len(server.conns) == 1


def test_other_settings_and_frames(one, serve_h2):
    """PING is answered; PRIORITY, unknown frames, unknown settings and reserved bits are nothing."""

    def app(stream):
        conn, number = stream.conn, stream.id
        conn.raw(h2.frame(h2.PRIORITY, 0, number, b"\0\0\0\0\x10") + h2.frame(0xBE, 0xFF, number, b"what is this"))
        conn.raw(h2.frame(h2.PRIORITY, 0, 77, b"\0\0\0\x03\x10") + h2.frame(0x0A, 0, 0, b"alt-svc"))
        conn.raw(h2.settings({0x99: 7, 0xABCD: 2**32 - 1, 8: 1}) + h2.frame(h2.PING, 0, 0, b"12345678"))
        stream.head()
        conn.raw(h2.frame(0xBE, 0, number, b"in between") + h2.frame(h2.SETTINGS))
        stream.data(b"fine", end=True)

    server = serve_h2(each(app))
    c, _ = one()
    for _ in range(5):
        assert c.get(server.url()).text == "fine"
    (conn,) = server.conns
    wait_until(lambda: len(conn.pongs) == 5 and conn.acks == 11, 5, "PING and SETTINGS to be answered")
    assert set(conn.pongs) == {b"12345678"}


def test_push_is_refused(one, serve_h2):
    """It is switched off, so a PUSH_PROMISE is an error of the connection."""

    def app(stream):
        conn = stream.conn
        if conn.number == 0 and stream.target == "/push":
            with conn.lock:
                block = conn.block([(":method", "GET"), (":scheme", "https"), (":authority", "x"), (":path", "/p")])
                conn.raw(h2.frame(h2.PUSH_PROMISE, h2.END_HEADERS, stream.id, b"\0\0\0\x02" + block))
        else:
            echo(stream)

    server = serve_h2(each(app))
    c, _ = one()
    assert c.get(server.url("/a")).text == "/a"
    assert server.conns[0].peer.get(h2.ENABLE_PUSH) == 0
    r = c.exchange("POST", server.url("/push"))
    assert r.status == 502 and r.error == "http_protocol_error"
    wait_until(lambda: server.conns[0].closed, 5, "the connection to be closed")
    assert server.conns[0].gone is not None and server.conns[0].gone[1] == h2.PROTOCOL_ERROR
    assert c.get(server.url("/b")).text == "/b" and len(server.conns) == 2


def test_settings_of_the_compression(one, serve_h2):
    """No table at the origin: the encoder has to follow, and to say so."""
    server = serve_h2(each(echo))
    c, _ = one()
    fan_out(c, server, 10)
    conn = server.conns[0]
    acks = conn.acks
    with conn.lock:
        conn.set({h2.HEADER_TABLE_SIZE: 0})
    wait_until(lambda: conn.acks > acks, 5, "the acknowledgement")
    conn.decoder.max_allowed_table_size = 0
    for i in range(5):
        fan_out(c, server, 10, "/%d/" % i)
    assert len(server.conns) == 1 and conn.decoder.header_table_size == 0


def test_a_limit_that_changes_under_way(one, serve_h2):
    """100 streams, then 3, then 100 again."""
    handler, streams = held()
    server = serve_h2(handler, settings={h2.MAX_CONCURRENT_STREAMS: 100})
    c, _ = one()

    def turn(count):
        pipeline(c, [server.url("/%d" % i) for i in range(count)])
        wait_until(lambda: len(streams) == count, 5, "the streams")
        used = {s.conn.number for s in streams}
        for stream in streams:
            echo(stream)
        del streams[:]
        answers(c, count)
        return used

    assert turn(20) == {0}
    conn = server.conns[0]
    conn.set({h2.MAX_CONCURRENT_STREAMS: 3})
    wait_until(lambda: conn.acks >= 2, 5, "the acknowledgement")
    conn.most = 0
    assert 0 in turn(20) and conn.most <= 3
    for other in server.conns:
        acks = other.acks
        other.set({h2.MAX_CONCURRENT_STREAMS: 100})
        wait_until(lambda: other.acks > acks, 5, "the acknowledgement")
    assert len(turn(20)) == 1


def test_no_streams_at_all(one, serve_h2):
    """An origin that never allows a stream: a clean error in time, and no storm of connections."""
    server = serve_h2(each(lambda s: s.refuse()), settings={h2.MAX_CONCURRENT_STREAMS: 0})
    c, p = one("upstream { connect_timeout = 1s response_timeout = 1s queue_timeout = 1s }\n")
    c.request("GET", server.url())
    r = c.response()
    assert r.status in (502, 503, 504) and r.error, r
    assert 1 <= len(server.h2) <= server.accepted <= TRIES and not p.dead()


# --- retries


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
    wait_until(lambda: json.loads(fetch(p, "/status"))["in_flight"] == CROWD, 10, "all to be under way")
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


# --- writes


def test_a_burst_leaves_in_few_records(one, serve_h2):
    """100 small requests that arrive together are a few TLS records, not a hundred."""
    server = serve_h2(each(echo))
    c, _ = one()
    fan_out(c, server, 3)
    conn = server.conns[0]
    records, frames = conn.channel.records, len(conn.frames)
    pipeline(c, [server.url("/%d" % i) for i in range(CROWD)])
    got = answers(c, CROWD)
    assert [r.status for r in got] == [200] * CROWD
    took = conn.channel.records - records
    print("100 requests: %d records, %d frames" % (took, len(conn.frames) - frames))
    assert took <= 6, took


def test_uploads_leave_in_full_records(one, serve_h2):
    server = serve_h2(each(lambda s: s.respond("%d" % s.received)), settings={h2.INITIAL_WINDOW_SIZE: MIB})
    c, _ = one()
    assert c.get(server.url()).status == 200
    conn = server.conns[0]
    before = conn.channel.records
    assert c.exchange("POST", server.url(), body=b"x" * 60000).text == "60000"
    assert conn.channel.records - before <= 16


def test_small_answers_cost_few_frames(one, serve_h2):
    """Windows are opened again when it is worth a frame."""
    server = serve_h2(each(lambda s: s.respond(b"x" * 1000)))
    c, _ = one()
    for _ in range(5):
        pipeline(c, [server.url("/%d" % i) for i in range(CROWD)])
        assert [len(r.body) for r in answers(c, CROWD)] == [1000] * CROWD
    assert server.conns[0].count(h2.WINDOW_UPDATE) <= 60


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
            r'^tlsfan_upstream_requests_total\{protocol="%s"\} (\d+)' % protocol, fetch(p, "/metrics"), re.M
        )
        return int(found.group(1)) if found else None

    wait_until(lambda: (metric("h2"), metric("h1")) == (10, 5), 5, "the counters")
    told = json.loads(fetch(p, "/exchanges"))["exchanges"]
    assert sorted(x["protocol"] for x in told) == ["h1"] * 5 + ["h2"] * 10
    status = json.loads(fetch(p, "/status"))
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
