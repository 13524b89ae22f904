# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 towards origins: heads, trailers and interim responses, each in the words of the other version."""
import hashlib
import re
import threading

import pytest

from testenv import h2server as h2
from testenv.crowd import answers, fan_out, pipeline
from testenv.h2server import each, echo
from testenv.wait import wait_until


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
