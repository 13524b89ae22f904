# SPDX-License-Identifier: Apache-2.0
"""Every form of request a proxy listener takes, and every framing of bodies both ways (contract section 3)."""
import base64
import hashlib
import socket

import pytest

from testenv.client import Broken, Client
from testenv.scripted import answering, ok
from testenv.wait import wait_until


def as_sent(protocol, fields):
    """FIELDS of a client as its origin gets them: HTTP/2 has small letters only."""
    return [(n.lower() if protocol == "h2" else n, v) for n, v in fields]


def last(origin):
    return origin.requests[-1]


@pytest.mark.parametrize("url, host, target", [
    ("http://origin.test/a/b?c=d", "origin.test", "/a/b?c=d"),
    ("http://origin.test:80/x", "origin.test", "/x"),
    ("http://origin.test", "origin.test", "/"),
    ("http://origin.test?q=1", "origin.test", "/?q=1"),
    ("http://ORIGIN.test./up", "origin.test", "/up"),
    ("HTTP://origin.test/scheme", "origin.test", "/scheme"),
    ("http://origin.test/frag#part", "origin.test", "/frag"),
    ("http://origin.test/%7euser/%2F%zz//../x", "origin.test", "/%7euser/%2F%zz//../x"),
    ("https://origin.test/s", "origin.test", "/s"),
    ("https://origin.test:443/s", "origin.test", "/s"),
])
def test_absolute_form_is_upgraded(client, origin, url, host, target):
    r = client.get(url)
    assert r.status == 200 and r.text == target
    assert last(origin).target == target
    got = last(origin).get("Host").lower()
    assert got.rstrip(".") == host
    assert origin.last_asked().sni == "origin.test"


def test_other_port_is_kept(client, origin):
    assert client.get(origin.url("/p")).text == "/p"
    assert last(origin).get("Host") == "localhost:%d" % origin.port
    assert client.get("https://localhost:%d/q" % origin.port).text == "/q"


def test_target_wins_over_host(client, origin):
    assert client.get("http://origin.test/", host="evil.test").status == 200
    assert last(origin).all("Host") == ["origin.test"]


def test_ip_literals(client, origin, serve):
    assert client.get(origin.url("/4", host="127.0.0.1")).text == "/4"
    server = serve(answering(lambda r, c: ok("six")), host="::1")
    assert client.get(server.url(host="[::1]")).text == "six"
    assert server.requests[0].get("Host") == "[::1]:%d" % server.port and server.conns[0].sni is None


@pytest.mark.parametrize("head", [
    "GET /path HTTP/1.1\r\nHost: origin.test\r\n\r\n",
    "GET http://origin.test/ HTTP/1.1\r\n\r\n",
    "GET http://origin.test/ HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "GET http://origin.test/ HTTP/1.1\r\nHost: a b\r\n\r\n",
    "GET http://origin.test/ HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "GET http://origin.test/ HTTP/1.1\r\nHost: u@a\r\n\r\n",
    "GET http://user:p@w@origin.test/ HTTP/1.1\r\nHost: origin.test\r\n\r\n",
    "GET http://origin.test/\xc3\xa4 HTTP/1.1\r\nHost: origin.test\r\n\r\n",
    "GET http://origin.test/a b HTTP/1.1\r\nHost: origin.test\r\n\r\n",
    "GET http://origin.test/\x7f HTTP/1.1\r\nHost: origin.test\r\n\r\n",
    "GET http:///x HTTP/1.1\r\nHost: origin.test\r\n\r\n",
    "GET http://origin.test:99999/ HTTP/1.1\r\nHost: origin.test\r\n\r\n",
    "GET http://origin.test:0x50/ HTTP/1.1\r\nHost: origin.test\r\n\r\n",
    "GET http://[::1/ HTTP/1.1\r\nHost: origin.test\r\n\r\n",
])
def test_malformed_targets_and_hosts_are_400(client, origin, head):
    client.send(head)
    r = client.response()
    assert r.status == 400 and r.error == "http_request_error" and r.text.strip()
    assert origin.requests == []


def test_origin_form_gets_a_hint(client):
    client.send("GET /path HTTP/1.1\r\nHost: origin.test\r\n\r\n")
    r = client.response()
    assert r.status == 400 and "forward" in r.text


def test_idn_host_is_400_and_shows_the_ascii_form(client):
    client.send("GET http://b\xc3\xbccher.test/ HTTP/1.1\r\nHost: x\r\n\r\n".encode("latin-1"))
    r = client.response()
    assert r.status == 400 and "xn--" in r.text


# --- versions and keep-alive

def test_http_10_closes(proxy, origin):
    with proxy.client() as c:
        r = c.get("http://origin.test/", version="1.0", host="")
        assert r.status == 200 and c.closed()
    assert last(origin).version == "HTTP/1.1"


@pytest.mark.parametrize("field",
                         ["Connection: keep-alive", "Proxy-Connection: keep-alive", "Proxy-Connection: Keep-Alive"])
def test_http_10_keep_alive(client, origin, field):
    for _ in range(3):
        r = client.get("http://origin.test/k", field, version="1.0")
        assert r.status == 200 and "keep-alive" in (r.get("Connection") or r.get("Proxy-Connection") or "").lower()


@pytest.mark.parametrize("field", ["Connection: close", "Proxy-Connection: close", "Connection: x, Close"])
def test_http_11_close(client, origin, field):
    r = client.get("http://origin.test/", field)
    assert r.status == 200 and r.get("Connection", "").lower() == "close" and client.closed()


def test_http_11_persists(client, origin):
    for i in range(5):
        assert client.get("http://origin.test/%d" % i).text == "/%d" % i


def test_upstream_close_does_not_close_the_client(client, serve):
    server = serve(answering(lambda r, c: ok("x", "Connection: close")))
    for _ in range(3):
        assert client.get(server.url()).text == "x"
    assert len(server.conns) == 3


@pytest.mark.h1_only("an origin of HTTP/1.0")
def test_http_10_origin(client, serve):
    def handler(conn):
        conn.read_request()
        conn.send(b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold")
        conn.finish()
    server = serve(handler)
    for _ in range(2):
        assert client.get(server.url()).text == "old"


# --- methods

@pytest.mark.parametrize("method",
                         ["POST", "PUT", "DELETE", "PATCH", "PROPFIND", "REPORT", "QUERY", "FOO", "get", "M-SEARCH",
                          "X!#$%&'*+.^_`|~1"])
def test_any_method(client, origin, method):
    assert client.exchange(method, "http://origin.test/m").text == "/m"
    assert last(origin).method == method


def test_options_star(client, origin):
    r = client.exchange("OPTIONS", "http://origin.test")
    assert r.status == 200 and last(origin).target == "*" and last(origin).method == "OPTIONS"
    count = len(origin.requests)
    client.send("OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    assert client.response().status in (200, 204) and len(origin.requests) == count


def test_trace(client, origin):
    r = client.exchange("TRACE", "http://origin.test/t")
    assert r.status == 200 and last(origin).method == "TRACE"


def test_max_forwards_zero_answers_here(client, origin):
    r = client.exchange("TRACE", "http://origin.test/t", "Max-Forwards: 0", "X-Seen: yes", "Cookie: secret=1",
                        "Authorization: Basic abc")
    assert r.status == 200 and r.get("Content-Type") == "message/http"
    assert r.text.startswith("TRACE http://origin.test/t HTTP/1.1\r\n") and "X-Seen: yes" in r.text
    assert "secret=1" not in r.text and "Basic abc" not in r.text
    assert client.exchange("OPTIONS", "http://origin.test/o", "Max-Forwards: 0").status in (200, 204)
    assert origin.requests == []


@pytest.mark.parametrize("method", ["TRACE", "OPTIONS"])
def test_max_forwards_is_decremented(client, origin, method):
    assert client.exchange(method, "http://origin.test/t", "Max-Forwards: 7").status == 200
    assert last(origin).get("Max-Forwards") == "6"


def test_max_forwards_means_nothing_on_get(client, origin):
    assert client.get("http://origin.test/", "Max-Forwards: 0").status == 200


# --- fields

def test_fields_keep_order_case_and_value(client, origin, protocol):
    sent = ["x-lower: 1", "X-UPPER: 2", "X-lower: 3", "Accept:  */*  ", "X-Empty:", "X-Latin: \xe4", "X-Tab: a\tb"]
    assert client.get("http://origin.test/f", *sent).status == 200
    got = [f for f in last(origin).fields if f[0].lower() not in ("host", "via")]
    assert got == as_sent(protocol, [("x-lower", "1"), ("X-UPPER", "2"), ("X-lower", "3"), ("Accept", "*/*"),
                                     ("X-Empty", ""), ("X-Latin", "\xe4"), ("X-Tab", "a\tb")])


def test_response_fields_keep_order_case_and_reason(client, serve, protocol):
    server = serve(answering(lambda r,
                             c: ok("b", "sErVer: x", "X-B: 2", "X-A: 1", "X-B: 3", status="299 Quite Right Indeed")))
    r = client.get(server.url())
    assert r.status == 299 and (r.reason == "Quite Right Indeed" or protocol == "h2")  # which has none
    names = [f for f in r.fields if f[0].lower() in ("server", "x-b", "x-a")]
    server = "sErVer" if protocol == "h1" else "Server"
    assert names == [(server, "x"), ("X-B", "2"), ("X-A", "1"), ("X-B", "3")]


def test_hop_by_hop_fields_do_not_travel(client, serve):
    server = serve(answering(lambda r, c: ok("b", "Connection: x-hop", "X-Hop: 1", "Keep-Alive: timeout=5",
                                             "Proxy-Authenticate: Basic", "Upgrade: h2c")))
    r = client.get(server.url(), "Connection: X-Mine, keep-alive", "X-Mine: 1", "Keep-Alive: 5",
                   "TE: trailers, deflate",
                   "Proxy-Authorization: Basic abc", "Proxy-Foo: 1", "Upgrade: h2c", "X-Stay: 1")
    names = {n.lower() for n, _ in server.requests[0].fields}
    assert not names & {"x-mine", "keep-alive", "proxy-authorization", "proxy-foo", "upgrade", "proxy-connection",
                        "x-forwarded-for"}
    assert "x-stay" in names
    assert not {n.lower() for n, _ in r.fields} & {"x-hop", "keep-alive", "proxy-authenticate", "upgrade"}


def test_via_both_ways(client, serve):
    server = serve(answering(lambda r, c: ok("b", "Via: 1.0 cache")))
    r = client.get(server.url(), "Via: 1.0 first")
    via = ", ".join(server.requests[0].all("Via"))
    assert via.startswith("1.0 first, 1.1 tlsfan-")
    assert ", ".join(r.all("Via")).startswith("1.0 cache, 1.1 tlsfan-")


def test_via_off(make_proxy, origin):
    p = make_proxy("via = off\n")
    with p.client() as c:
        r = c.get(origin.url())
        assert r.status == 200 and r.get("Via") is None
    assert last(origin).get("Via") is None


# --- request bodies

@pytest.mark.parametrize("size", [0, 1, 65535, 3000000])
def test_request_body_with_length(client, origin, size):
    body = bytes(i * 7 & 255 for i in range(256)) * (size // 256 + 1)
    assert client.exchange("POST", "http://origin.test/b", body=body[:size]).status == 200
    assert last(origin).body == body[:size]


@pytest.mark.parametrize("framing", ["Content-Length: 6", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("answered_first", [False, True])
def test_request_body_that_comes_later_than_its_head(proxy, origin, framing, answered_first):
    """The head alone, then the body, before and after the connection upstream stands."""
    pieces = ["abc", "def"] if "Length" in framing else ["3\r\nabc\r\n", "3\r\ndef\r\n", "0\r\n", "\r\n"]
    with proxy.client() as c:
        for _ in range(3):
            count = len(origin.requests)
            c.send("POST http://origin.test/later HTTP/1.1\r\nHost: origin.test\r\n%s\r\n\r\n" % framing)
            if answered_first:
                wait_until(lambda: len(origin.requests) > count, what="the head at the origin")
            for piece in pieces:
                c.send(piece)
            assert c.response().status == 200 and last(origin).body == b"abcdef"


def test_length_zero_is_kept(client, origin):
    client.send("POST http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\nContent-Length: 0\r\n\r\n")
    assert client.response().status == 200
    assert last(origin).get("Content-Length") == "0"


def test_request_chunked_with_trailers_and_extensions(client, origin, protocol):
    client.send("POST http://origin.test/c HTTP/1.1\r\nHost: origin.test\r\nTransfer-Encoding: chunked\r\n"
                "Trailer: X-Sum\r\n\r\n"
                "5;ext=\"a;b\"\r\nhello\r\n0006\r\n world\r\n0\r\nX-Sum: 42\r\nx-two: 2\r\n\r\n")
    assert client.response().status == 200
    assert last(origin).body == b"hello world"
    trailers = [t for t in last(origin).trailers if t[0].lower() != "via"]
    assert trailers == as_sent(protocol, [("X-Sum", "42"), ("x-two", "2")])


def test_chunked_body_byte_by_byte(proxy, origin, protocol):
    message = (b"POST http://origin.test/drip HTTP/1.1\r\nHost: origin.test\r\nTransfer-Encoding: chunked\r\n\r\n"
               b"3\r\nabc\r\nA\r\n0123456789\r\n0\r\nT: 1\r\n\r\n")
    with proxy.client() as c:
        for i in range(len(message)):
            c.send(message[i:i + 1])
        assert c.response().status == 200
    assert last(origin).body == b"abc0123456789" and last(origin).trailers == as_sent(protocol, [("T", "1")])


def test_expect_100_continue_passes_through(client, serve):
    def handler(conn):
        request = conn.read_head()
        conn.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        conn.read_body(request)
        conn.send(ok(request.body))
    server = serve(handler)
    client.send("POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n" % server.url())
    assert client.head().status == 100
    client.send("abc")
    assert client.response().text == "abc"


def test_expect_refused_by_the_origin(client, serve):
    def handler(conn):
        conn.read_head()
        conn.send(ok("no", status="417 Expectation Failed"))
        conn.hang()
    server = serve(handler)
    client.send("POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n" % server.url())
    r = client.response()
    assert r.status == 417 and r.interim == []


def test_expect_from_a_10_client_gets_no_100(proxy, serve):
    def handler(conn):
        request = conn.read_head()
        if request.get("Expect"):
            conn.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        conn.read_body(request)
        conn.send(ok("done"))
    server = serve(handler)
    with proxy.client() as c:
        c.send("POST %s HTTP/1.0\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc" % server.url())
        r = c.response()
        assert r.status == 200 and r.interim == []


def test_early_response_while_the_body_is_sent(proxy, serve):
    def handler(conn):
        conn.read_head()
        conn.send(ok("early", "Connection: close", status="413 Content Too Large"))
        conn.hang()
    server = serve(handler)
    with proxy.client() as c:
        c.send("POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" % server.url())
        c.send(b"x" * 1000)
        r = c.response()
        assert r.status == 413 and r.text == "early"


# --- response framing

def test_response_chunked_with_trailers(client, serve):
    server = serve(answering(lambda r, c: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n"
                                          b"4;a=b\r\nwiki\r\n5\r\npedia\r\n0\r\nX-T: end\r\n\r\n"))
    for _ in range(2):
        r = client.get(server.url(), "TE: trailers", "Connection: TE")
        assert r.text == "wikipedia" and ("X-T", "end") in r.trailers
    assert len(server.conns) == 1


def test_chunked_response_to_a_10_client(proxy, serve):
    server = serve(answering(lambda r,
                             c: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwiki\r\n0\r\n\r\n"))
    with proxy.client() as c:
        r = c.get(server.url(), "Connection: keep-alive", version="1.0")
        assert r.text == "wiki" and r.get("Transfer-Encoding") is None


def test_response_until_close(client, serve):
    def handler(conn):
        conn.read_request()
        conn.send(b"HTTP/1.1 200 OK\r\nX: 1\r\n\r\n" + b"y" * 100000)
        conn.finish()
    server = serve(handler)
    for _ in range(2):  # the client's connection stays usable
        assert client.get(server.url()).body == b"y" * 100000


def test_response_until_close_to_a_10_client(proxy, serve):
    def handler(conn):
        conn.read_request()
        conn.send(b"HTTP/1.0 200 OK\r\n\r\nuntil close")
        conn.finish()
    server = serve(handler)
    with proxy.client() as c:
        assert c.get(server.url(), version="1.0").text == "until close"


def test_response_until_close_without_close_notify_is_cut_short(client, serve):
    def handler(conn):
        conn.read_request()
        conn.send(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        conn.cut()
    server = serve(handler)
    with pytest.raises(Broken):
        client.get(server.url())


@pytest.mark.parametrize("fields", [["Content-Length: 1000"], ["Transfer-Encoding: chunked"], []])
def test_head_response(client, serve, fields):
    server = serve(answering(lambda r, c: ok(b"", *fields, length=False)))
    for _ in range(3):
        r = client.exchange("HEAD", server.url())
        assert r.status == 200
        if fields and "Length" in fields[0]:
            assert r.get("Content-Length") == "1000"
    assert len(server.conns) == 1


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified", "205 Reset Content"])
def test_bodiless_statuses(client, serve, status):
    extra = ("Content-Length: 123",) if status.startswith("304") else ()
    server = serve(answering(lambda r, c: ok(b"", *extra, status=status, length=status.startswith("205"))))
    for _ in range(3):
        r = client.get(server.url())
        assert r.status == int(status[:3]) and r.body == b""
    assert len(server.conns) == 1


def test_interim_responses(client, serve):
    server = serve(answering(lambda r,
                             c: b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\n"
                                b"Link: </a>; rel=preload\r\n\r\n" + ok("fin")))
    r = client.get(server.url())
    assert r.text == "fin" and 103 not in [i.status for i in r.interim]


def test_early_hints_on(make_proxy, serve):
    server = serve(answering(lambda r, c: b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n" + ok("fin")))
    p = make_proxy("client { early_hints = on }\n")
    with p.client() as c:
        r = c.get(server.url())
        assert [i.status for i in r.interim] == [103] and r.text == "fin"
        assert r.interim[0].get("Link") == "</a>; rel=preload"


def test_content_coding_is_left_alone(client, serve):
    server = serve(answering(lambda r, c: ok(b"\x1f\x8bzip", "Content-Encoding: gzip")))
    r = client.get(server.url(), "Accept-Encoding: gzip")
    assert r.body == b"\x1f\x8bzip" and r.get("Content-Encoding") == "gzip"
    assert server.requests[0].get("Accept-Encoding") == "gzip"


def test_ten_megabytes_through_nginx(client, nginx):
    r = client.get(nginx.url("/big.bin"))
    assert hashlib.sha256(r.body).digest() == hashlib.sha256(bytes(range(256)) * 40960).digest()


# --- CONNECT

def test_connect_is_a_blind_tunnel(proxy, origin, ca):
    with proxy.client() as c:
        c.send("CONNECT localhost:%d HTTP/1.1\r\nHost: localhost:%d\r\n\r\n" % (origin.port, origin.port))
        r = c.response("CONNECT")
        assert r.status == 200 and r.get("Content-Length") is None and r.get("Transfer-Encoding") is None
        c.start_tls(ca.client_context(), "localhost")
        assert c.exchange("GET", "/inside", host="localhost").text == "/inside"
    assert last(origin).get("Via") is None


def test_connect_obeys_connect_to_and_takes_bytes_sent_at_once(proxy, origin, ca):
    with proxy.client() as c:
        c.send("CONNECT origin.test:443 HTTP/1.0\r\n\r\n")
        assert c.response("CONNECT").status == 200
        c.start_tls(ca.client_context(), "origin.test")
        assert c.exchange("GET", "/x", host="origin.test").text == "/x"


@pytest.mark.h1_only("its origin speaks in clear, where there is no HTTP/2")
def test_connect_half_close_and_large_data(make_proxy, serve):
    def echo(conn):
        while True:
            data = conn.recv()
            if not data:
                conn.sock.sendall(b"END")
                return
            conn.sock.sendall(data)
    server = serve(echo, tls=False)
    p = make_proxy("destination { connect_ports = {%d} }\n" % server.port)
    with p.client() as c:
        c.send("CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: x\r\n\r\nfirst" % server.port)
        assert c.response("CONNECT").status == 200
        assert c.exactly(5) == b"first"
        for _ in range(50):
            c.send(b"z" * 40000)
            assert c.exactly(40000) == b"z" * 40000
        c.sock.shutdown(socket.SHUT_WR)
        assert c.rest() == b"END"


def test_connect_port_not_allowed(client):
    client.send("CONNECT localhost:25 HTTP/1.1\r\nHost: localhost:25\r\n\r\n")
    r = client.response()
    assert r.status == 403 and r.error == "http_request_denied" and "connect_ports" in r.text


@pytest.mark.parametrize("target",
                         ["localhost", "localhost:", "localhost:0", "localhost:70000", "http://localhost:443/",
                          "u@localhost:443", "/x", ":443"])
def test_bad_connect_targets(client, target):
    client.send("CONNECT %s HTTP/1.1\r\nHost: x\r\n\r\n" % target)
    assert client.response().status == 400


def test_connect_80_is_upgraded(proxy, origin):
    with proxy.client() as c:
        c.send("CONNECT origin.test:80 HTTP/1.1\r\nHost: origin.test:80\r\n\r\n")
        assert c.response("CONNECT").status == 200
        for i in range(2):
            assert c.exchange("GET", "/in%d" % i, host="origin.test").text == "/in%d" % i
    assert last(origin).get("Host") == "origin.test" and origin.last_asked().sni == "origin.test"


@pytest.mark.h1_only("its origin speaks in clear, where there is no HTTP/2")
def test_connect_80_to_a_plain_host(make_proxy, serve):
    server = serve(answering(lambda r, c: ok("plain")), tls=False)
    p = make_proxy('connect_to = {"plain.test:80:127.0.0.1:%d"}\nrule "plain.test" { upgrade = off }\n'
                   "destination { connect_ports = {443, 80} }\n" % server.port)
    with p.client() as c:
        c.send("CONNECT plain.test:80 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert c.response("CONNECT").status == 200
        assert c.exchange("GET", "/t", host="plain.test").text == "plain"
        assert server.requests[0].get("Via") is None


# --- Upgrade

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def websocket(conn):
    request = conn.read_head()
    if request.get("Upgrade", "").lower() != "websocket":
        conn.send(ok("no upgrade"))
        return
    accept = base64.b64encode(hashlib.sha1((request.get("Sec-WebSocket-Key") + GUID).encode()).digest()).decode()
    conn.send(("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
               "Sec-WebSocket-Accept: %s\r\n\r\nHELLO" % accept).encode())
    while True:
        data = conn.buf or conn.recv()
        conn.buf = b""
        if not data:
            return
        conn.send(data.upper())


@pytest.mark.parametrize("inside", [False, True])
def test_websocket(proxy, serve, make_proxy, inside):
    server = serve(websocket)
    key = base64.b64encode(b"0123456789abcdef").decode()
    fields = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n" % key
    if inside:
        proxy = make_proxy('connect_to = {"origin.test:443:127.0.0.1:%d"}\n' % server.port)
    with proxy.client() as c:
        if inside:
            c.send("CONNECT origin.test:80 HTTP/1.1\r\nHost: origin.test:80\r\n\r\n")
            assert c.response("CONNECT").status == 200
            c.send("GET /ws HTTP/1.1\r\nHost: origin.test\r\n" + fields + "\r\n")
        else:
            c.send("GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n" % (server.url("/ws"), fields))
        r = c.response()
        assert r.status == 101 and r.get("Upgrade").lower() == "websocket" and "upgrade" in r.get("Connection").lower()
        assert r.get("Sec-WebSocket-Accept")
        assert c.exactly(5) == b"HELLO"
        c.send(b"ping \x00\x01")
        assert c.exactly(7) == b"PING \x00\x01"
        assert server.last_asked().alpn == "http/1.1"
    wait_until(lambda: server.open_conns() == [], what="the upstream side of the tunnel to close")


def test_websocket_refused_by_the_origin(client, serve):
    server = serve(answering(lambda r, c: ok("no", status="403 Forbidden")))
    for _ in range(2):
        r = client.get(server.url(), "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: x",
                       "Sec-WebSocket-Version: 13")
        assert r.status == 403 and r.text == "no"


def test_101_nobody_asked_for_is_502(client, serve):
    server = serve(answering(lambda r,
                             c: b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: foo\r\nConnection: Upgrade\r\n\r\n"))
    assert client.get(server.url(), "Upgrade: foo", "Connection: Upgrade").status == 502
    assert server.requests[0].get("Upgrade") is None


# --- what is not spoken

@pytest.mark.parametrize("sent, word", [
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 600, b""),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"HTTP/1"),
    (b"\x05\x01\x00", b""),
    (b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00", b""),
    (b"GET ftp://origin.test/x HTTP/1.1\r\nHost: origin.test\r\n\r\n", b"http"),
    (b"GET gopher://origin.test/x HTTP/1.1\r\nHost: origin.test\r\n\r\n", b"http"),
], ids=["tls", "h2c", "socks5", "socks4", "ftp", "gopher"])
def test_other_protocols(proxy, sent, word):
    def spoken():
        return len(proxy.log()) + len(proxy.access())
    before = spoken()
    with Client(proxy.port) as c:
        c.send(sent)
        c.sock.settimeout(5)
        answer = c.buf
        while b"\r\n\r\n" not in answer:
            try:
                data = c.sock.recv(65536)
            except ConnectionResetError:
                break
            if not data:
                break
            answer += data
    if answer:
        assert answer[:7] == b"HTTP/1." and answer[9:12] in (b"400", b"501", b"505") and word.lower() in answer.lower()
    wait_until(lambda: spoken() > before, what="a log line about it")


def test_cut_request_body_closes_and_nothing_more_happens(proxy, serve):
    server = serve(answering(lambda r, c: ok("whole")))  # of its own: what is cut may still arrive behind the test
    with proxy.client() as c:
        c.send("POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc" % server.url("/cut"))
        c.sock.shutdown(socket.SHUT_WR)
        assert b"whole" not in c.rest()
    proxy.wait_access(lambda x: x["url"].endswith("/cut"))
    # One that was made for the request and got nothing of it may be kept.
    wait_until(lambda: not any(c.requests for c in server.open_conns()), what="the origin's connection to end")
    assert all(r.body == b"" for r in server.requests)
