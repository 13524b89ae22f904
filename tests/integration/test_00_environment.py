# SPDX-License-Identifier: Apache-2.0
"""The test environment itself, without the proxy: servers, CA and clients do what the other tests take for granted."""
import socket
import ssl
import threading

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    DataReceived,
    InformationalResponseReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)

from testenv import SLOW
from testenv.client import Client
from testenv.dns import Dns, encode_name
from testenv.h2front import Frames, H2Front
from testenv.scripted import answering, ok
from testenv.wait import wait_until

pytestmark = pytest.mark.unsanitized("the program is not there")


def direct(ca, port, name="localhost"):
    c = Client(port)
    c.start_tls(ca.client_context(), name)
    return c


@pytest.mark.parametrize("name", ["origin.test", "localhost", "127.0.0.1"])
def test_good_certificate(ca, origin, name):
    with direct(ca, origin.port, name) as c:
        assert c.exchange("GET", "/x", host=name).text == "/x"
    assert origin.requests[-1].get("Host") == name


@pytest.mark.parametrize("kind, reason", [
    ("expired", "expired"), ("not_yet_valid", "not yet valid"), ("wrong_host", "mismatch"), ("san_wrong", "mismatch"),
    ("self_signed", "self.signed"), ("unknown_root", "unable to get local issuer"),
    ("missing_intermediate", "unable to get local issuer")])
def test_bad_certificates_are_bad(ca, serve, kind, reason):
    server = serve(answering(lambda r, c: ok()), kind=kind)
    with pytest.raises(ssl.SSLCertVerificationError, match=reason):
        direct(ca, server.port, "origin.test")
    assert server.received == b""


def test_revoked(ca, serve):
    server = serve(answering(lambda r, c: ok()), kind="revoked")
    ctx = ca.client_context()
    ctx.load_verify_locations(ca.crl())
    ctx.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
    with Client(server.port) as c, pytest.raises(ssl.SSLCertVerificationError, match="revoked"):
        c.start_tls(ctx, "origin.test")


def test_servers(ca, nginx, httpbin, node_origin):
    with direct(ca, nginx.port) as c:
        assert c.exchange("GET", "/small.txt", host="x").text == "small\n"
    with direct(ca, httpbin.port) as c:
        assert c.exchange("GET", "/status/418", host="x").status == 418
    with direct(ca, node_origin.port) as c:
        assert c.exchange("GET", "/delay/0.01", host="x").status == 200


def test_dns():
    server = Dns({"x.test": [("CNAME", "y.test", 5)], "y.test": [("A", "127.0.0.1", 9)]})
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(5)
        s.sendto(b"\1\2\1\0\0\1\0\0\0\0\0\0" + encode_name("X.test") + b"\0\1\0\1", ("127.0.0.1", server.port))
        reply = s.recv(4096)
    assert reply[:2] == b"\1\2" and reply[6:8] == b"\0\2"
    assert reply.endswith(b"\x7f\0\0\1") and server.count("x.test") == 1
    server.stop()


# --- scripted servers that speak HTTP/2

class H2Client:
    """One connection, without a window of its own making."""

    def __init__(self, ca, port):
        context = ca.client_context()
        context.set_alpn_protocols(["h2"])
        self.sock = context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="localhost")
        self.sock.settimeout(10 * SLOW)
        self.h2 = H2Connection(H2Configuration(header_encoding="latin-1"))
        self.h2.initiate_connection()
        self.frames, self.events = Frames(), []

    def request(self, method, path, *fields, end=True):
        stream = self.h2.get_next_available_stream_id()
        pseudo = [(":method", method), (":path", path), (":scheme", "https"), (":authority", "localhost")]
        self.h2.send_headers(stream, pseudo + list(fields), end_stream=end)
        self.flush()
        return stream

    def flush(self):
        self.sock.sendall(self.h2.data_to_send())

    def until(self, kind, stream):
        """The first event of KIND on STREAM, or None where the connection ends."""
        while True:
            for event in self.events:
                if isinstance(event, kind) and event.stream_id == stream:
                    self.events.remove(event)
                    return event
            data = self.sock.recv(65536)
            if not data:
                return None
            for frame in self.frames.cut(data):
                self.events += self.h2.receive_data(frame)
            self.flush()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.sock.close()


@pytest.fixture
def h2_serve(ca):
    made = []

    def make(handler, **kw):
        made.append(H2Front(handler, ca.server_context(), **kw))
        return made[-1]
    yield make
    for server in made:
        server.stop()


def test_h2_messages(ca, h2_serve):
    seen = []

    def app(request, conn):
        seen.append((request.fields, request.body, request.trailers))
        return (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
                b"X-One:  1 \r\n\r\n4\r\nwiki\r\n0\r\nX-T: end\r\n\r\n")
    server = h2_serve(answering(app))
    with H2Client(ca, server.port) as c:
        stream = c.request("POST", "/a", ("x-a", "b"), end=False)
        c.h2.send_data(stream, b"up")
        c.h2.send_headers(stream, [("x-sum", "2")], end_stream=True)
        c.flush()
        assert c.until(InformationalResponseReceived, stream).headers == [(":status", "103"), ("link", "</a>")]
        assert c.until(ResponseReceived, stream).headers == [(":status", "200"), ("x-one", "1")]
        assert c.until(DataReceived, stream).data == b"wiki"
        assert c.until(TrailersReceived, stream).headers == [("x-t", "end")]
        assert c.until(StreamEnded, stream)
    fields = [("Host", "localhost"), ("x-a", "b"), ("Transfer-Encoding", "chunked")]
    assert seen == [(fields, b"up", [("x-sum", "2")])]
    with direct(ca, server.port) as c:  # who does not ask for HTTP/2
        assert c.get("/x", host="localhost").text == "wiki"
    assert server.errors == []


def test_h2_flow_control(ca, h2_serve):
    sent, go = [], threading.Event()

    def handler(conn):
        conn.read_head()
        go.wait(10 * SLOW)
        conn.exactly(65535)
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        for _ in range(10):
            conn.send(bytes(100000))
            sent.append(1)
    server = h2_serve(handler)
    with H2Client(ca, server.port) as c:
        stream = c.request("POST", "/", ("content-length", "65536"), end=False)
        while c.h2.local_flow_control_window(stream):
            c.h2.send_data(stream, bytes(min(16384, c.h2.local_flow_control_window(stream))))
        c.flush()
        c.h2.ping(b"12345678")
        c.flush()
        wait_until(lambda: server.heard > 65535)
        assert c.h2.local_flow_control_window(stream) == 0  # nothing was credited
        go.set()
        assert c.until(WindowUpdated, stream)
        assert c.until(ResponseReceived, stream)
        got = 0
        while got < 65535:
            got += len(c.until(DataReceived, stream).data)
        assert sent == [] and got == 65535  # the window that a stream begins with
        c.h2.increment_flow_control_window(10000000)
        c.h2.increment_flow_control_window(10000000, stream)
        c.flush()
        while got < 1000000:
            got += len(c.until(DataReceived, stream).data)
        assert c.until(StreamEnded, stream)


@pytest.mark.parametrize("gentle", [False, True])
@pytest.mark.parametrize("how", ["cut", "reset", "finish"])
@pytest.mark.parametrize("say", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe", ok("hello")])
def test_h2_endings(ca, h2_serve, gentle, how, say):
    def handler(conn):
        conn.read_request()
        if say:
            conn.send(say)
        getattr(conn, how)()
    server = h2_serve(handler, gentle=gentle)
    with H2Client(ca, server.port) as c:
        stream = c.request("GET", "/")
        if say.endswith(b"hello"):
            if how != "reset":
                assert c.until(StreamEnded, stream)
        else:
            try:
                kept = c.until(StreamReset, stream) is not None
            except OSError:
                kept = False
            assert kept == (gentle or (say != b"" and how != "cut"))
    wait_until(lambda: server.open_conns() == [])


def test_h2_goaway_is_graceful(ca, h2_serve):
    """A connection that is to close after an answer carries the other requests to their ends, and takes no new ones."""
    go = threading.Event()
    server = h2_serve(answering(lambda r, c: ok("closed", "Connection: close") if r.target == "/close"
                                else go.wait(10 * SLOW) and ok("slow")))
    with H2Client(ca, server.port) as c:
        slow = c.request("GET", "/slow")
        server.wait_requests(1)
        close = c.request("GET", "/close")
        assert c.until(StreamEnded, close)
        assert c.frames.last == close
        c.request("GET", "/late")
        go.set()
        assert c.until(DataReceived, slow).data == b"slow"
        assert c.until(ResponseReceived, 5) is None
    assert [r.target for r in server.requests] == ["/slow", "/close"]
