# SPDX-License-Identifier: Apache-2.0
"""Interception of CONNECT under clients that are odd, late, hostile or many."""
import os
import random
import socket
import ssl
import struct
import subprocess
import threading
import time

import pytest

from testenv import SANITIZED, SLOW
from testenv.client import Broken, Client
from testenv.intercept import Inside, Memory, OwnCA, refused, to
from testenv.scripted import Server, answering, ok
from testenv.wait import wait_until

V = ssl.TLSVersion
CONNECT = b"CONNECT origin.test:443 HTTP/1.1\r\nHost: origin.test:443\r\n\r\n"


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    return OwnCA(tmp_path_factory.mktemp("own") / "ca")


@pytest.fixture(scope="module")
def origin(ca):
    """Answers with the target; /slow a moment later, /big with much."""

    def answer(request, conn):
        if request.target.startswith("/slow"):
            conn.server.stopping.wait(0.3)
        return ok(b"x" * 3000000 if request.target == "/big" else request.target)

    server = Server(answering(answer), ca.server_context())
    yield server
    server.stop()


@pytest.fixture
def start(origin, make_proxy, own):
    """start(conf=""): a proxy that intercepts CONNECT to any host, all of which are the origin."""
    del origin.requests[:]

    def make(conf="", rules='rule "*" { intercept = on }', **kw):
        return make_proxy(to(origin) + conf + own.conf(rules=rules), **kw)

    return make


@pytest.mark.parametrize("pieces", ["all", "bytes"])
def test_hello_behind_connect(start, own, pieces):
    """A client that does not wait for 200."""
    proxy = start()
    with proxy.client() as c:
        memory = Memory(own.context())
        if pieces == "all":
            c.send(CONNECT + memory.hello)
        else:
            for i in range(0, len(memory.hello) + len(CONNECT), 40):
                c.send((CONNECT + memory.hello)[i:i + 40])
        assert c.head().status == 200
        memory.finish(c)
        assert memory.get("/early")


@pytest.mark.parametrize("path, body", [("/slow", b"/slow"), ("/big", b"x" * 3000000)], ids=["slow", "big"])
def test_connect_behind_a_get(start, own, path, body):
    """The answer before may not have left yet when CONNECT is answered: TLS begins behind it."""
    proxy = start()
    with proxy.client() as c:
        memory = Memory(own.context())
        get = "GET http://origin.test%s HTTP/1.1\r\nHost: origin.test\r\n\r\n" % path
        c.send(get.encode() + CONNECT + memory.hello)
        assert c.response().body == body
        assert c.head().status == 200
        memory.finish(c)
        assert memory.get("/a")


FOREIGN = [
    (b"GET / HTTP/1.1\r\nHost: origin.test\r\n\r\n", "speaks plain HTTP, not TLS"),
    (b"SSH-2.0-OpenSSH_9.0\r\n", "speaks something else than TLS"),
    (b"\x05\x01\x00\x00\x00\x00", "speaks something else than TLS"),
    (b"\x16\x03\x01\x40\x01" + b"\x01" * 16385, "failed"),
    (b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", "failed"),
    (b"\x15\x03\x01\x00\x02\x02\x30", "failed"),
    (b"\x17\x03\x03\x00\x05hello", "speaks something else than TLS"),
]


@pytest.mark.parametrize("data, said", FOREIGN, ids=range(len(FOREIGN)))
@pytest.mark.parametrize("early", [False, True])
def test_garbage(start, data, said, early):
    proxy = start(service=True)
    with proxy.client() as c:
        c.send(CONNECT + (data if early else b""))
        assert c.head().status == 200
        if not early:
            c.send(data)
        c.rest()
    proxy.wait_log(said)
    assert 'rule "origin.test" { intercept = off }' in proxy.log()
    failures = [x for x in proxy.fetch("/metrics").splitlines() if x.startswith("tlsfan_intercept_failures_total")]
    assert sum(int(x.split()[1]) for x in failures) == 1


def test_a_client_of_http2_alone(start, own):
    """gRPC leaves when ALPN has chosen nothing: the log says why, before that."""
    proxy = start()
    for offer in ([], ["h2", "http/1.1"], ["http/1.0"]):
        Inside(proxy.port, own.context(alpn=offer)).close()
    assert "ALPN" not in proxy.log()
    Inside(proxy.port, own.context(alpn=["grpc-exp", "h2"])).close()
    proxy.wait_log("offers no HTTP/1 by ALPN")


def test_hello_of_ssl2(start):
    """That of OpenSSL 0.9.8 and Java 6, whose suites have three bytes each (RFC 5246 appendix E.2):
    here they are of RSA and DSS, of which 00,00,13 is none of TLS 1.3."""
    proxy = start()
    suites = b"".join(b"\0\0" + bytes([s]) for s in (0x39, 0x38, 0x35, 0x16, 0x13, 0x0A, 0x33, 0x32, 0x2F))
    hello = b"\x01" + struct.pack(">4H", 0x0301, len(suites), 0, 16) + suites + os.urandom(16)
    with proxy.client() as c:
        c.send(CONNECT + struct.pack(">H", 0x8000 | len(hello)) + hello)
        assert c.head().status == 200
        while b"origin.test" not in c.buf:  # the certificate
            data = c.sock.recv(65536)
            assert data, c.buf
            c.buf += data
        assert c.buf[:3] == b"\x16\x03\x01"


@pytest.mark.parametrize(
    "data",
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x00\x05hello", b"EHLO a\r\n\r\n", b"\x10\x0c\x00\x04MQTT"],
    ids=["http2", "tls", "words", "no_end"],
)
def test_another_protocol_inside(start, own, data):
    """It is not the proxy's URL that is wrong: the log names the host, and the way out."""
    proxy = start("client { header_timeout = 1s }\n")
    with Inside(proxy.port, own.context()) as c:
        c.send(data)
        assert c.ends()[1] == "close_notify"
    proxy.wait_log("is no request of HTTP/1.1; other protocols")
    log = proxy.log()
    assert 'rule "origin.test" { intercept = off }' in log and "proxy's URL" not in log
    assert "without a request" not in log


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01", b"half"], ids=["none", "some", "half"])
def test_no_hello(start, own, sent):
    proxy = start("client { header_timeout = 300ms }\n", service=True)
    with proxy.client() as c:
        if sent == b"half":
            sent = Memory(own.context()).hello[:100]
        c.send(CONNECT + sent)
        assert c.head().status == 200
        assert c.closed()
    proxy.wait_log("sent no TLS hello within client.header_timeout")
    assert 'tlsfan_intercept_failures_total{cause="timeout"} 1' in proxy.fetch("/metrics")


def test_half_a_handshake(start, own):
    proxy = start("client { header_timeout = 1s }\n")
    with proxy.client() as c:
        c.send(CONNECT + Memory(own.context()).hello)
        assert c.head().status == 200
        c.rest()
    proxy.wait_log("the TLS handshake took longer than client.header_timeout")


@pytest.mark.parametrize("version", [V.TLSv1_2, V.TLSv1_3])
def test_distrust(start, own, version):
    proxy = start(service=True)
    with refused():
        Inside(proxy.port, own.context(version, trusts=False))
    proxy.wait_log('refused the certificate with the alert "unknown CA"')
    assert 'rule "origin.test" { intercept = off }' in proxy.log() and "CONNECT to origin.test:443" in proxy.log()
    assert 'tlsfan_intercept_failures_total{cause="trust"} 1' in proxy.fetch("/metrics")


def test_log_is_bounded(start, own):
    proxy = start()
    for _ in range(30):
        with refused():
            Inside(proxy.port, own.context(trusts=False))
    proxy.wait_log("refused the certificate")
    assert proxy.log().count("refused the certificate") < 10


ODD_SNI = [
    b"", b".", b"..", b"a..b", b"*.test", b"1.2.3.4", b"1", b"::1", b"a b", b"a\0b", b"\xff\xfe", b"a/b", b"a:443",
    b"-" * 64, b"x" * 254, b"a." * 200, b"%00", b"a'b", b"\n",
]


def hello_with(sni):
    """A ClientHello of TLS 1.2 with these bytes as its name."""
    ciphers = b"\xc0\x2b\xc0\x2f\x00\x9c\x00\x2f"
    name = struct.pack(">BH", 0, len(sni)) + sni
    exts = [(0, struct.pack(">H", len(name)) + name), (10, b"\x00\x02\x00\x17"), (11, b"\x01\x00"),
            (13, b"\x00\x04\x04\x03\x04\x01")]
    ext = b"".join(struct.pack(">HH", t, len(v)) + v for t, v in exts)
    body = b"\x03\x03" + os.urandom(32) + b"\0" + struct.pack(">H", len(ciphers)) + ciphers + b"\x01\x00"
    body += struct.pack(">H", len(ext)) + ext
    hand = b"\x01" + struct.pack(">I", len(body))[1:] + body
    return b"\x16\x03\x01" + struct.pack(">H", len(hand)) + hand


@pytest.mark.parametrize("sni", ODD_SNI, ids=range(len(ODD_SNI)))
def test_odd_sni(start, sni):
    """The name is ignored, or OpenSSL refuses the hello; a good one is in the certificate."""
    proxy = start()
    with proxy.client() as c:
        c.send(CONNECT + hello_with(sni))
        assert c.head().status == 200
        got = c.buf
        while b"\x0b\x00" not in got and not got.startswith(b"\x15"):
            data = c.sock.recv(65536)
            if not data:
                break
            got += data
        if got.startswith(b"\x16"):
            assert b"origin.test" in got


def test_many_sni_of_one_connection_each(start, own):
    """More names than are kept."""
    proxy = start("workers = 2\n")
    with proxy.client() as c:
        c.send(CONNECT + hello_with(b"Name.Other.TEST."))
        assert c.head().status == 200
        got = c.buf
        while b"name.other.test" not in got:
            got += c.exactly(1)


@pytest.mark.concurrent
def test_clients_that_leave_at_any_time(start, own):
    """While their leaf is made, by FIN or by RST, after any number of bytes."""
    proxy = start()
    rnd = random.Random(5)
    hello = Memory(own.context()).hello
    fds = proxy.fds()
    for n in range(150):
        c = Client(proxy.port)
        data = CONNECT + hello_with(b"n%d.test" % n) if n % 2 else CONNECT + hello
        c.send(data[:rnd.choice([len(data), rnd.randrange(len(data))])])
        if rnd.random() < 0.3:
            c.sock.settimeout(0.05)
            try:
                c.sock.recv(rnd.choice([1, 100, 65536]))
            except OSError:
                pass
        if rnd.random() < 0.5:
            c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        c.close()
    with Inside(proxy.port, own.context()) as c:
        assert c.get("/still").text == "/still"
    wait_until(lambda: proxy.fds() <= fds + 8, 10, "descriptors: %d" % proxy.fds())


def test_reset_inside(start, own):
    proxy = start()
    for path in ("/big", "/slow", None):
        c = Inside(proxy.port, own.context())
        if path:
            c.request("GET", path, host="origin.test")
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        c.close()
    with Inside(proxy.port, own.context()) as c:
        assert len(c.get("/big").body) == 3000000


def test_renegotiation_is_refused(start, own):
    proxy = start()
    command = ["openssl", "s_client", "-proxy", "127.0.0.1:%d" % proxy.port, "-connect", "origin.test:443", "-tls1_2"]
    s = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    s.stdin.write(b"R\n")
    s.stdin.flush()
    out = s.communicate(timeout=20 * SLOW)[0]
    assert b"RENEGOTIATING" in out and b"no renegotiation" in out
    with Inside(proxy.port, own.context()) as c:
        assert c.get("/a").status == 200


def test_early_data_is_not_taken(start, own, tmp_path):
    proxy = start()
    session, early = str(tmp_path / "session"), tmp_path / "early"
    early.write_text("GET /early HTTP/1.1\r\nHost: origin.test\r\n\r\n")
    base = ["openssl", "s_client", "-proxy", "127.0.0.1:%d" % proxy.port, "-connect", "origin.test:443", "-tls1_3"]
    request = b"GET /a HTTP/1.0\r\n\r\n"
    subprocess.run(base + ["-sess_out", session, "-ign_eof"], input=request, capture_output=True, timeout=20 * SLOW)
    done = subprocess.run(
        base + ["-sess_in", session, "-early_data", str(early), "-ign_eof"], input=request, capture_output=True,
        timeout=20 * SLOW,
    )
    assert b"Reused, TLSv1.3" in done.stdout and b"Early data was not sent" in done.stdout
    assert done.stdout.count(b"HTTP/1.1 200") == 1


def test_slow_reader_and_large_answers(start, own):
    proxy = start()
    with Inside(proxy.port, own.context()) as c:
        for _ in range(3):
            c.request("GET", "/big", host="origin.test")
        assert [len(c.response().body) for _ in range(3)] == [3000000] * 3


def test_drain(start, own, origin):
    """Who is inside gets his answer, and is told that it is the last one; who has begun nothing is not waited for."""
    proxy = start("drain_timeout = 60s\n")
    silent = proxy.client()
    silent.send(CONNECT)
    assert silent.head().status == 200
    idle = Inside(proxy.port, own.context())
    assert idle.get("/a").status == 200
    with Inside(proxy.port, own.context()) as c:
        c.request("GET", "/slow", host="origin.test")
        origin.wait_requests(2)
        proxy.signal(15)
        answer = c.response()
        assert answer.text == "/slow" and c.ends()[1] == "close_notify"
    assert idle.ends()[1] == "close_notify"
    assert silent.closed()
    proxy.process.wait(5 * SLOW)
    idle.close()
    silent.close()


@pytest.mark.concurrent
def test_answers_reach_who_asked(start, own):
    proxy = start("workers = 2\n")
    faults = []

    def run(n):
        try:
            for host in ("origin.test", "other.test", "localhost"):
                with Inside(proxy.port, own.context(), host) as c:
                    paths = ["/%d/%s/%d" % (n, host, i) for i in range(20)]
                    c.send("".join("GET %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (p, host) for p in paths))
                    assert [c.response().text for _ in paths] == paths
        except (OSError, AssertionError, Broken) as e:
            faults.append(repr(e))

    threads = [threading.Thread(target=run, args=(n,)) for n in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert faults == []


@pytest.mark.load
def test_many_idle_clients(start, own):
    proxy = start("workers = 2\n")
    context = own.context()
    with Inside(proxy.port, context) as c:
        assert c.get("/a").status == 200
    before = proxy.rss()
    clients = []
    for _ in range(1000):
        clients.append(Inside(proxy.port, context))
        assert clients[-1].get("/a").status == 200
    each = (proxy.rss() - before) / 1000
    print("intercepted idle clients: %.1f KiB each" % each)
    for c in clients:
        c.close()
    assert SANITIZED or each < 80


def mint(proxy, names):
    """CONNECTs to all of them at once; each has its leaf when this returns."""
    clients = [proxy.client(timeout=30) for _ in names]
    for c, name in zip(clients, names):
        c.send(CONNECT.replace(b"origin.test", name) + hello_with(name))
    for c, name in zip(clients, names):
        assert c.head().status == 200
        while name not in c.buf:
            assert c.fill()
        c.close()


def measure(proxy, names):
    """The times of plain requests while leaves for NAMES are made, s, sorted."""
    begun, stop, times = threading.Event(), threading.Event(), []

    def others():
        with proxy.client() as c:
            while not stop.is_set():
                start = time.monotonic()
                assert c.get("http://origin.test/a").status == 200
                times.append(time.monotonic() - start)
                begun.set()

    thread = threading.Thread(target=others)
    thread.start()
    begun.wait(10 * SLOW)
    del times[:]
    mint(proxy, names)
    stop.set()
    thread.join()
    return sorted(times)


@pytest.mark.bench
def test_new_names_do_not_delay_others(start, own):
    """p99 of plain requests while 200 leaves are made; a machine that is busy otherwise gets three tries."""
    proxy = start("workers = 2\n")
    mint(proxy, [b"first.test"])
    best = 1
    for n in range(3):
        times = measure(proxy, [b"n%d-%d.test" % (n, i) for i in range(200)])
        p99 = times[len(times) * 99 // 100]
        print("%d requests while 200 leaves were made: p99 %.1f ms, most %.1f ms"
              % (len(times), p99 * 1000, times[-1] * 1000))
        best = min(best, p99)
        if best < 0.02:
            return
    assert best < 0.02
