# SPDX-License-Identifier: Apache-2.0
"""What TLS and TCP do a second time: a handshake without the session that it was refused with, a connection to an
origin that was about to start, an address behind many that are dead, a client certificate that is asked for later."""
import collections
import select
import socket
import ssl
import struct
import threading

import pytest

from testenv import SLOW, SOON
from testenv.apache import Apache
from testenv.dns import Dns
from testenv.listener import Listener, shut
from testenv.ports import free_port
from testenv.scripted import Server, answering, ok
from testenv.wait import wait_until

ALERT = b"\x15\x03\x03\x00\x02\x02\x28"
PRE_SHARED_KEY, SESSION_TICKET = 41, 35


def extensions(hello):
    """{number: bytes} of a ClientHello, which is one record."""
    at = 5 + 4 + 2 + 32
    at += 1 + hello[at]
    at += 2 + struct.unpack(">H", hello[at:at + 2])[0]
    at += 1 + hello[at]
    end = at + 2 + struct.unpack(">H", hello[at:at + 2])[0]
    at, found = at + 2, {}
    while at < end:
        number, size = struct.unpack(">HH", hello[at:at + 4])
        found[number] = hello[at + 4:at + 4 + size]
        at += 4 + size
    return found


def offers_session(hello):
    found = extensions(hello)
    return PRE_SHARED_KEY in found or bool(found.get(SESSION_TICKET))


class Front(Listener):
    """Before the server on PORT. From deaf() on, TREAT(front, sock, hello) has each handshake that offers a session."""

    def __init__(self, port, host="127.0.0.1"):
        self.target, self.treat = port, None
        self.seen = collections.Counter()
        self.socks, self.cuts, self.came, self.over, self.lock = [], 0, [], 0, threading.Lock()
        self.listen(host)

    def on_accept(self, sock):
        self.came.append(sock.getpeername())
        return super().on_accept(sock)

    def serve(self, sock):
        try:
            self._serve(sock)
        except OSError:
            pass
        sock.close()
        with self.lock:
            self.over += 1

    def _serve(self, sock):
        if self.cuts > 0:
            self.cuts -= 1
            self.seen["cut"] += 1
            self.treat(self, sock, b"")
            return
        hello = b""
        while len(hello) < 5 or len(hello) < 5 + struct.unpack(">H", hello[3:5])[0]:
            data = sock.recv(65536)
            if not data:
                return
            hello += data
        self.seen["resumed" if offers_session(hello) else "full"] += 1
        if self.treat and offers_session(hello):
            self.treat(self, sock, hello)
        else:
            self.relay(sock, hello)

    def relay(self, sock, first):
        with socket.create_connection(("127.0.0.1", self.target)) as other:
            self.socks += [sock, other]
            other.sendall(first)
            while True:
                for s in select.select([sock, other], [], [])[0]:
                    data = s.recv(65536)
                    if not data:
                        return
                    (other if s is sock else sock).sendall(data)

    def end(self, server):
        """Ends all connections to SERVER, those as well that are about to be made."""
        wait_until(lambda: self.cut() or not server.open_conns(), what="the origin to see its connections end")

    def end_all(self, server):
        """And those that have come no further than here: one of ours is accepted behind them."""
        with socket.create_connection((self.host, self.port)) as last:
            name = last.getsockname()
        wait_until(lambda: name in self.came and self.over == self.accepted or self.cut(), what="all to end here")
        self.end(server)

    def cut(self):
        socks, self.socks = self.socks, []
        for s in socks:
            shut(s)

    def stop(self):
        super().stop()
        self.cut()


@pytest.fixture
def front():
    made = []

    def make(port, **kw):
        made.append(Front(port, **kw))
        return made[-1]
    yield make
    for f in made:
        f.stop()


def alert(_front, sock, _hello):
    sock.sendall(ALERT)


def close(_front, _sock, _hello):
    pass


def reset(_front, sock, _hello):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def alert_behind_hello(front, sock, hello):
    """The server begins, and then cannot go on."""
    with socket.create_connection(("127.0.0.1", front.target)) as other:
        other.sendall(hello)
        data = other.recv(65536)
        sock.sendall(data[:5 + struct.unpack(">H", data[3:5])[0]] + ALERT)
        sock.recv(1)


def at_once(proxy, urls, *args, method="GET", **kw):
    """What each of URLS gets, all asked at the same time."""
    out, gate = [None] * len(urls), threading.Barrier(len(urls))

    def ask(n):
        with proxy.client() as c:
            gate.wait()
            out[n] = c.exchange(method, urls[n], *args, **kw)
    threads = [threading.Thread(target=ask, args=(n,)) for n in range(len(urls))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return out


# ---- sessions that are refused ----

@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda v: v.name)
@pytest.mark.parametrize("treat", [alert, close, reset, alert_behind_hello])
def test_resumption_refused(ca, serve, front, make_proxy, protocol, version, treat):
    alpn = ("h2", "http/1.1") if protocol == "h2" else ("http/1.1",)
    ctx = ca.server_context(alpn=alpn)
    ctx.maximum_version = version
    server = serve(answering(lambda r, c: ok()), context=ctx)
    f = front(server.port)
    p = make_proxy("workers = 1\n")
    assert {r.status for r in at_once(p, [f.url()] * 4)} == {200}
    f.end(server)
    f.treat = treat
    for _ in range(2):
        got = at_once(p, [f.url("/%d" % n) for n in range(40)])
        assert {r.status for r in got} == {200}, [r.text for r in got if r.status != 200][:3]
        f.end(server)
    assert f.seen["resumed"] > 0
    assert len(server.requests) == 84, "nothing was asked twice"


@pytest.mark.h1_only("by HTTP/2 there is one handshake")
@pytest.mark.parametrize("treat", [alert, reset])
def test_second_use_refused(ca, serve, front, make_proxy, treat):
    """A server may take the second use of a ticket for an attack: it sees no other one for a while. A connection
    that is reset says nothing of that."""
    ctx = ca.server_context(alpn=("http/1.1",))
    server = serve(answering(lambda r, c: ok()), context=ctx)
    f = front(server.port)
    used, refused, lock = set(), [], threading.Lock()

    def once(front, sock, hello):
        offered = extensions(hello)[PRE_SHARED_KEY]
        ticket = offered[4:4 + struct.unpack(">H", offered[2:4])[0]]
        with lock:
            is_again = ticket in used
            used.add(ticket)
        if is_again:
            refused.append(ticket)
            treat(front, sock, hello)
        else:
            front.relay(sock, hello)
    f.treat = once
    p = make_proxy("workers = 1\n")
    assert {r.status for r in at_once(p, [f.url()])} == {200}
    f.end(server)
    bursts = 0

    def is_refused_in_a_burst():
        nonlocal bursts
        bursts += 1
        del refused[:]
        got = at_once(p, [f.url("/%d" % n) for n in range(40)])
        assert {r.status for r in got} == {200}, [r.text for r in got if r.status != 200][:3]
        f.end_all(server)
        return bool(refused)

    # On a slow machine one burst may have none.
    assert any(is_refused_in_a_burst() for _ in range(5)), f.seen
    if treat is reset:
        assert any(is_refused_in_a_burst() for _ in range(5)), f.seen
    else:
        assert not is_refused_in_a_burst(), f.seen
    assert len(server.requests) == 1 + 40 * bursts, "nothing was asked twice"


def spoil_finished(front, sock, hello):
    """The server takes the session, and cannot read the end of the handshake: it says so when requests are behind."""
    with socket.create_connection(("127.0.0.1", front.target)) as other:
        other.sendall(hello)
        data = b""
        while b"\x14\x03\x03\x00\x01\x01" not in data or len(data.partition(b"\x14\x03\x03\x00\x01\x01")[2]) < 45:
            data += other.recv(65536)
        sock.sendall(data)
        data = b""
        while len(data) < 6 + 45 + 50:  # with the beginning of a request
            data += sock.recv(65536)
        at = data.index(b"\x14\x03\x03\x00\x01\x01") + 20
        other.sendall(data[:at] + bytes([data[at] ^ 1]) + data[at + 1:])
        front.seen["spoilt"] += 1
        sock.sendall(other.recv(65536))
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(65536):
            pass


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_resumption_refused_behind_requests(ca, serve, front, make_proxy, protocol, method):
    """By TLS 1.2 the client is the last to speak: the server's alert finds requests that it has not read."""
    ctx = ca.server_context(alpn=("h2", "http/1.1") if protocol == "h2" else ("http/1.1",))
    ctx.maximum_version = ssl.TLSVersion.TLSv1_2
    server = serve(answering(lambda r, c: ok(r.target)), context=ctx)
    f = front(server.port)
    p = make_proxy("workers = 1\n")
    assert [r.status for r in at_once(p, [f.url()])] == [200]  # one: all connections have had a request
    f.end(server)
    f.treat = spoil_finished
    count = 40 if method == "GET" or protocol == "h1" else 1
    urls = [f.url("/%d" % n) for n in range(count)]
    got = at_once(p, urls, method=method)
    assert [(r.status, r.text) for r in got] == [(200, "/%d" % n) for n in range(count)]
    assert f.seen["spoilt"] > 0, f.seen
    assert len(server.requests) == 1 + count, "nothing was asked twice"


@pytest.mark.h1_only("a handshake is looked at")
def test_certificate_is_final(ca, serve, front, make_proxy):
    """A certificate that does not verify is not asked for again, whether a session was offered or not."""
    good, bad = serve(answering(lambda r, c: ok())), serve(answering(lambda r, c: ok()), kind="expired")
    f = front(good.port)
    p = make_proxy("workers = 1\n")
    with p.client() as c:
        assert c.get(f.url(), "Connection: close").status == 200
    f.target = bad.port
    f.end(good)
    before = sum(f.seen.values())
    with p.client() as c:
        r = c.get(f.url())
    assert r.status == 502 and r.error == "tls_certificate_error", r.text
    assert sum(f.seen.values()) == before + 1 and f.seen["resumed"] == 1


# ---- origins that are not there yet ----

@pytest.mark.parametrize("treat", [close, reset])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_cut_before_anything_was_sent(serve, front, make_proxy, treat, method):
    server = serve(answering(lambda r, c: ok()))
    f = front(server.port)
    f.treat, f.cuts = treat, 1
    p = make_proxy()
    with p.client() as c:
        r = c.exchange(method, f.url(), body=b"body" if method == "POST" else b"")
    assert r.status == 200, r.text
    assert f.seen["cut"] == 1 and len(server.requests) == 1


@pytest.mark.h1_only("no handshake comes to an end")
def test_cut_again_and_again(serve, front, make_proxy):
    """Once more, and who comes next does not wait, either."""
    f = front(serve(answering(lambda r, c: ok())).port)
    f.treat, f.cuts = close, 1000
    p = make_proxy("workers = 1\n")
    with p.client() as c:
        r = c.get(f.url())
        assert r.status == 502 and r.error == "connection_terminated", r
        assert f.seen["cut"] == 2


@pytest.mark.h1_only("nothing listens")
def test_dead_origin(make_proxy):
    """Each kind of request has its answer, and a burst has it as soon as one."""
    port = free_port()
    p = make_proxy("workers = 1\nupstream { connect_timeout = 600s }\ndestination { connect_ports = {%d} }\n" % port)
    url = "http://localhost:%d/" % port
    for _ in range(2):
        got = at_once(p, [url] * 50)
        assert {(r.status, r.error) for r in got} == {(502, "connection_refused")}
    with p.client() as c:
        r = c.exchange("CONNECT", "localhost:%d" % port, host="localhost:%d" % port)
        assert (r.status, r.error) == (502, "connection_refused")


# ---- many addresses ----

@pytest.mark.h1_only("addresses are looked at")
@pytest.mark.parametrize("dead", ["refuse", "silent"])
def test_last_of_many_addresses(ca, make_proxy, dead):
    """Of sixty the last one answers: behind those that refuse, and behind those that say nothing."""
    server = Server(answering(lambda r, c: ok()), ca.server_context(), host="127.0.1.60")
    dns = Dns({"origin.test": [("A", "127.0.1.%d" % (n + 1), 60) for n in range(60)]})
    full = []
    try:
        for n in range(59 if dead == "silent" else 0):
            address = ("127.0.1.%d" % (n + 1), server.port)
            full.append(socket.create_server(address, backlog=0))
            for _ in range(2):  # and then it takes no more
                full.append(socket.socket())
                full[-1].setblocking(False)
                full[-1].connect_ex(address)
        p = make_proxy(dns.conf + "workers = 1\nupstream { connect_timeout = %ds }\n" % (2 * SLOW))
        with p.client() as c:
            r = c.get("http://origin.test:%d/" % server.port)
        assert r.status == 200, r.text
    finally:
        for s in full:
            s.close()
        dns.stop()
        server.stop()


@pytest.mark.h1_only("connections are counted")
def test_an_address_that_is_named_often(make_proxy, serve):
    """A name is no lever: an address stands for one attempt, however often it is named."""
    server = serve(lambda conn: conn.cut(), tls=False)
    dns = Dns({"origin.test": [("A", "127.0.0.1", 60)] * 200})
    try:
        p = make_proxy(dns.conf + "workers = 1\n")
        with p.client() as c:
            r = c.get("http://origin.test:%d/" % server.port)
        assert (r.status, r.error) == (502, "connection_terminated"), r.text
        assert server.accepted == 2  # one of them a moment later
    finally:
        dns.stop()


# ---- client certificates that are asked for behind the request ----

LOCATIONS = """
<Location /secure>
    SSLVerifyClient require
</Location>
<Location /either>
    SSLVerifyClient optional
</Location>
"""
NAME = "CN=tlsfan client"


@pytest.fixture(scope="module", params=["TLSv1.2", "TLSv1.3"])
def apache(request, ca, protocol):
    server = Apache(ca.leaf(), ca.root, LOCATIONS, version=request.param,
                    protocols="h2 http/1.1" if protocol == "h2" else "http/1.1")
    for name in ("open", "secure", "either"):
        server.script(name)
    server.version = request.param
    yield server
    server.stop()


def with_cert(ca, host="localhost"):
    return 'rule "%s" { client_cert = "%s" client_key = "%s" }\n' % ((host,) + tuple(ca.leaf("client")))


def test_apache_asks_in_a_location(ca, apache, make_proxy):
    p = make_proxy(with_cert(ca))
    with p.client() as c:
        assert c.get(apache.url("/open")).text == "|0"
        for path in ("/secure", "/either", "/open", "/secure"):
            r = c.get(apache.url(path))
            assert (r.status, r.text) == (200, NAME + "|0"), r.text


@pytest.mark.parametrize("waits", [False, True], ids=["plain", "expect"])
@pytest.mark.parametrize("path", ["/secure", "/either"])
def test_apache_asks_of_a_body(ca, apache, make_proxy, path, waits):
    """Apache keeps the body while it asks, or has not asked for it yet."""
    body = b"x" * 100000
    p = make_proxy(with_cert(ca))
    before = apache.log().count("POST %s 200" % path)
    with p.client() as c:
        if waits:
            c.request("POST", apache.url(path), "Expect: 100-continue", "Content-Length: %d" % len(body))
            assert c.head().status == 100
            c.send(body)
            r = c.response("POST")
        else:
            r = c.exchange("POST", apache.url(path), body=body)
        assert (r.status, r.text) == (200, NAME + "|100000"), r.text
        assert c.get(apache.url("/open")).status == 200
    wait_until(lambda: apache.log().count("POST %s 200" % path) > before, what="the log of Apache")
    assert apache.log().count("POST %s 200" % path) == before + 1, "it was carried out twice"


def test_apache_asks_many(ca, apache, make_proxy):
    p = make_proxy(with_cert(ca))
    got = at_once(p, [apache.url("/secure"), apache.url("/open")] * 10)
    assert {r.status for r in got} == {200}
    assert {r.text for r in got[::2]} == {NAME + "|0"}


def test_apache_asks_who_has_none(ca, apache, make_proxy):
    """Neither an answer nor a certificate of another rule."""
    p = make_proxy(with_cert(ca, "a.localhost"))
    with p.client() as c:
        assert c.get(apache.url("/secure").replace("localhost", "a.localhost")).text == NAME + "|0"
        for _ in range(2):
            r = c.get(apache.url("/secure"))
            assert r.status == (403 if apache.version == "TLSv1.3" else 502), r
            assert c.get(apache.url("/open")).text == "|0"
        if apache.version == "TLSv1.2":
            assert "refused TLS with the alert" in p.client().get(apache.url("/either")).text


def asking(ca, alpn):
    ctx = ca.server_context(alpn=alpn, client_ca=True)
    ctx.minimum_version = ssl.TLSVersion.TLSv1_3
    ctx.post_handshake_auth = True
    return ctx


def ask(sock):
    """Asks for a certificate, and reads until it has come; the client says nothing else meanwhile."""
    sock.verify_client_post_handshake()
    sock.do_handshake()
    sock.setblocking(False)
    try:
        while select.select([sock], [], [], SOON)[0]:
            try:
                assert sock.recv(1), "the client has ended the connection"
            except ssl.SSLWantReadError:
                return
    finally:
        sock.setblocking(True)


@pytest.mark.h1_only("its server says itself what it speaks")
def test_asked_by_http2(ca, make_proxy):
    """RFC 8740: HTTP/2 does not allow it, and no certificate is shown."""
    shown = []

    def handler(conn):
        conn.recv()
        conn.sock.verify_client_post_handshake()
        conn.sock.do_handshake()
        conn.send(b"\0\0\0\4\0\0\0\0\0")
        while conn.recv():
            shown.append(conn.sock.getpeercert())
    server = Server(handler, asking(ca, ("h2",)))
    try:
        p = make_proxy(with_cert(ca) + "upstream { retries = 0 }\n")
        with p.client(timeout=SOON) as c:
            r = c.get(server.url())
        assert r.status == 502 and "client certificate over HTTP/2" in r.text, r.text
        assert r.reason == "Client certificate asked for over HTTP/2 by localhost"
        assert not any(shown)
    finally:
        server.stop()


@pytest.mark.h1_only("its server says itself what it speaks")
@pytest.mark.parametrize("times", [1, 2])
def test_asked_within_a_request(ca, make_proxy, times):
    """Once in each of two requests of a connection; not twice in one."""
    def handler(conn):
        for _ in range(2):
            conn.read_request()
            for _ in range(times):
                ask(conn.sock)
            conn.send(ok())
    server = Server(handler, asking(ca, ("http/1.1",)))
    try:
        p = make_proxy(with_cert(ca))
        with p.client() as c:
            for _ in range(2 if times == 1 else 1):
                r = c.get(server.url())
                assert r.status == (200 if times == 1 else 502), r.text
        if times == 1:
            assert len(server.conns) == 1
        else:
            assert "more than once" in r.text
    finally:
        server.stop()
