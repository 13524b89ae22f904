# SPDX-License-Identifier: Apache-2.0
"""What tlsfan answers itself: every row of the contract's table, and the shape all of them share (section 8)."""
import re

import pytest

from testenv.client import Broken
from testenv.dns import Dns
from testenv.ports import free_port
from testenv.scripted import answering, ok
from testenv.wait import wait_until

SHAPE = re.compile(r'tlsfan; error=([a-z_]+); details="((?:[ !#-\[\]-~]|\\["\\])*)"$')


def shape(r, status, error):
    """The one form of every answer."""
    assert (r.status, r.error) == (status, error), r
    m = SHAPE.match(r.get("Proxy-Status"))
    assert m and m.group(1) == error and m.group(2), r
    assert r.get("Content-Type").startswith("text/plain") and r.get("X-Content-Type-Options") == "nosniff"
    assert r.text.strip() and r.text.isascii() and len(r.text.strip().splitlines()) == 1 and r.reason
    assert (r.get("Retry-After") is not None) == (status == 503)


def raw(c, request):
    c.send(request)
    return c.response()


def ending(how, say=b""):
    def handler(conn):
        conn.read_request()
        conn.send(say)
        getattr(conn, how)()
    return handler


def test_names(make_proxy):
    dns = Dns({"silent.test": [("A", "silent", 1)], "empty.test": []})
    p = make_proxy(dns.conf.replace("timeout = 2s", "timeout = 300ms"))
    with p.client() as c:
        shape(c.get("http://nowhere.test/"), 502, "dns_error")
        shape(c.get("http://empty.test/"), 502, "dns_error")
        shape(c.get("http://silent.test/"), 504, "dns_timeout")
        shape(raw(c, "CONNECT nowhere.test:443 HTTP/1.1\r\nHost: x\r\n\r\n"), 502, "dns_error")
    dns.stop()


def test_refused(client):
    port = free_port()
    r = client.get("http://127.0.0.1:%d/" % port)
    shape(r, 502, "connection_refused")
    assert "127.0.0.1" in r.text and str(port) in r.text


def test_refused_connect(make_proxy):
    port = free_port()
    p = make_proxy("destination { connect_ports = {%d} }\n" % port)
    with p.client() as c:
        shape(raw(c, "CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: x\r\n\r\n" % port), 502, "connection_refused")


def test_unroutable(make_proxy):
    p = make_proxy('dns { family = any }\nupstream { connect_timeout = 2s bind = "127.0.0.1" }\n')
    with p.client() as c:
        r = c.get("http://[100::1]/")
        assert r.error in ("destination_ip_unroutable", "connection_timeout"), r
        r = c.get("http://203.0.113.1/")  # from a loopback source there is no way
        shape(r, 502, "destination_ip_unroutable")


@pytest.mark.parametrize("how", ["cut", "reset", "finish"])
@pytest.mark.parametrize("say", [b"", b"HTTP/1.1 200 OK\r\nX: "])
def test_closed_before_a_full_head(client, serve, how, say):
    server = serve(ending(how, say))
    shape(client.get(server.url()), 502, "connection_terminated")


@pytest.mark.h1_only("lines of a head are framing that only HTTP/1 has")
def test_bad_response(client, serve):
    server = serve(ending("finish", b"HTTP/1.1 200 OK\r\nbad field\r\n\r\n"))
    shape(client.get(server.url()), 502, "http_protocol_error")


@pytest.mark.parametrize("say",
                         [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
                          b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
                                 b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
                          b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"])
@pytest.mark.parametrize("how", ["cut", "reset", "finish"])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_body_cut_short(proxy, serve, say, how, version):
    def handler(conn):
        conn.read_request()
        conn.send(say)
        getattr(conn, how)()
    server = serve(handler)
    path = "/cut/%s/%s/%d" % (version, how, len(say))
    with proxy.client() as c:
        c.request("GET", server.url(path), version=version)
        try:
            r = c.response()
            assert r.status == 502 or (version == "1.0" and r.get("Content-Length") is None and b"chunked" in say)
        except Broken:
            pass
    line, = proxy.wait_access(lambda x: x["url"].endswith(path))
    assert line["error"] in ("http_response_incomplete", "connection_terminated", "http_protocol_error")


def test_own_answers_keep_the_connection(client, origin):
    for _ in range(3):
        shape(client.get("http://127.0.0.1:1/"), 502, "connection_refused")
        assert client.get("http://origin.test/").status == 200


def test_head_requests_get_no_body(client):
    r = client.exchange("HEAD", "http://127.0.0.1:1/")
    assert r.status == 502 and r.error == "connection_refused" and r.body == b""
    assert client.get("http://127.0.0.1:1/").status == 502


def test_answers_to_http_10(proxy):
    with proxy.client() as c:
        r = c.get("http://127.0.0.1:1/", version="1.0")
        assert r.status == 502 and r.get("Transfer-Encoding") is None and c.closed()


def test_denied(client):
    shape(client.get("http://169.254.169.254/latest/"), 403, "destination_ip_prohibited")
    shape(raw(client, "CONNECT localhost:22 HTTP/1.1\r\nHost: x\r\n\r\n"), 403, "http_request_denied")


def test_error_with_a_request_body_keeps_or_closes_cleanly(proxy):
    with proxy.client() as c:
        r = c.exchange("POST", "http://127.0.0.1:1/", body=b"z" * 200000)
        shape(r, 502, "connection_refused")
        if r.get("Connection", "").lower() != "close":
            assert c.get("http://127.0.0.1:1/").status == 502


def test_bad_requests(proxy):
    for request, status in (("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 400), ("GET http://x/ HTTP/1.1\r\n\r\n", 400),
                            ("GET http://x/ HTTP/3.0\r\nHost: x\r\n\r\n", 505),
                            ("GET http://x/ HTTP/1.1\r\nHost: x\r\nX: " + "y" * 70000 + "\r\n\r\n", 431),
                            ("GET ftp://x/ HTTP/1.1\r\nHost: x\r\n\r\n", None)):
        with proxy.client() as c:
            r = raw(c, request)
            shape(r, status or r.status, "http_request_error")
            assert r.status in (400, 431, 501, 505)


def test_what_a_client_wrote_is_escaped(client):
    r = raw(client, 'GET http://a"b\\c<d>/ HTTP/1.1\r\nHost: x\r\n\r\n')
    shape(r, 400, "http_request_error")


def test_too_many_connections(make_proxy, origin):
    p = make_proxy("client { max_connections = 3 }\n")
    clients = []

    def taken():
        c = p.client()
        try:
            if c.get(origin.url()).status == 200:
                clients.append(c)
                return True
        except (Broken, OSError):
            pass
        c.close()
        return False
    for _ in range(3):
        wait_until(taken, what="a place: who looked whether it listens may have had one")
    with p.client() as c:
        c.sock.settimeout(1)
        try:
            c.request("GET", origin.url())
            c.fill()
        except OSError:
            pass
        assert c.buf == b"" or b" 503 " in c.buf
    clients.pop().close()
    wait_until(taken, what="the place of the one that left")
    for c in clients:
        c.close()


@pytest.mark.h1_only("lines of a head are framing that only HTTP/1 has")
def test_long_peer_texts_are_cut(client, serve):
    server = serve(answering(lambda r, c: b"HTTP/1.1 200 OK\r\n" + b"n" * 5000 + b"\r\n\r\n"))
    r = client.get(server.url())
    shape(r, 502, "http_protocol_error")
    assert len(r.text) < 900


def test_good_answers_carry_no_proxy_status(client, origin):
    assert client.get(origin.url()).get("Proxy-Status") is None
    assert ok() and client.get(origin.url("/x")).get("X-Content-Type-Options") is None
