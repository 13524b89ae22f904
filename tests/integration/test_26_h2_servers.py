# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 servers of others behind tlsfan: nginx, nghttpd, Node, python3-h2; bursts, large bodies, real GOAWAYs."""
import glob
import hashlib
import json
import os
import re
import subprocess
import threading

import pytest

from testenv import SANITIZED, SLOW
from testenv.client import Broken
from testenv.crowd import CROWD, get_all
from testenv.h2origins import Nghttpd, NodeH2, Strict
from testenv.nginx import Nginx
from testenv.proxy import ROOT

MIB = 1 << 20
GIB = 1 << 30

HTTP2 = """
    server {
        listen 127.0.0.1:@PLAIN@ ssl http2 backlog=511;
        root @DIR@/html;
        location /small { return 200 "$uri $server_protocol $http_x_id\\n"; }
        location /few { keepalive_requests 20; return 200 "$uri $connection\\n"; }
        location /refuse { client_max_body_size 1k; return 200 "$request_length\\n"; }
        location /agent { return 200 "$http_cookie|$http_host|$host|$http_te|$http_connection\\n"; }
    }
"""


@pytest.fixture(scope="module")
def nginx2(tmp, ca):
    server = Nginx(tmp / "nginx2", ca.leaf(), servers=HTTP2 + "large_client_header_buffers 8 64k;")
    server.file("big.bin", bytes(range(256)) * 40960)
    server.file("empty.txt", b"")
    server.h2 = lambda path, host="localhost": "http://%s:%d%s" % (host, server.plain, path)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def nghttpd(tmp, ca):
    (tmp / "nghttpd").mkdir()
    server = Nghttpd(tmp / "nghttpd", ca.leaf(), "-m", "1000", "--trailer=x-sum: 42", "--echo-upload")
    server.file("small", b"small\n")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def node2(tmp, ca):
    (tmp / "node2").mkdir()
    server = NodeH2(tmp / "node2", ca.leaf())
    yield server
    server.stop()


@pytest.fixture
def strict(ca):
    server = Strict(ca.server_context(alpn=("h2",)))
    yield server
    server.stop()
    assert not server.faults, server.faults


def protocols(p, count):
    return {x["protocol"] for x in p.wait_access(lambda x: True, count)}


# --- nginx


@pytest.mark.concurrent
def test_nginx_fan_out(one, nginx2):
    c, p = one()
    for turn in range(5):
        got = get_all(c, [nginx2.h2("/small/%d/%d" % (turn, i)) for i in range(CROWD)])
        assert [r.text for r in got] == ["/small/%d/%d HTTP/2.0 \n" % (turn, i) for i in range(CROWD)]
    assert protocols(p, 5 * CROWD) == {"h2"}
    assert all(x["reused"] for x in p.access()[CROWD:])


def test_nginx_files(one, nginx2):
    c, _ = one()
    whole = bytes(range(256)) * 40960
    r = c.get(nginx2.h2("/big.bin"))
    assert r.body == whole and r.reason == "OK" and r.get("Content-Length") == str(len(whole)) and r.get("ETag")
    assert c.exchange("HEAD", nginx2.h2("/big.bin")).get("Content-Length") == str(len(whole))
    part = c.get(nginx2.h2("/big.bin"), "Range: bytes=1000000-1000999")
    assert part.status == 206 and part.reason == "Partial Content" and part.body == whole[1000000:1001000]
    assert c.get(nginx2.h2("/big.bin"), "If-None-Match: " + r.get("ETag")).status == 304
    assert c.get(nginx2.h2("/none")).status == 404 and c.get(nginx2.h2("/empty.txt")).body == b""
    got = get_all(c, [nginx2.h2("/big.bin") for _ in range(10)])
    assert all(r.body == whole for r in got)


def test_nginx_by_rule(one, nginx2):
    c, p = one('rule "a.localhost" { http2 = off }\nrule "b.localhost" { http2 = on }\n')
    for name, version in (("a.localhost", "1.1"), ("b.localhost", "2.0"), ("localhost", "2.0")):
        assert c.get(nginx2.h2("/small/x", name)).text == "/small/x HTTP/%s \n" % version
    assert [x["protocol"] for x in p.wait_access(lambda x: True, 3)] == ["h1", "h2", "h2"]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_nginx_says_goaway_in_mid_fan_out(one, nginx2, method):
    """Every connection takes 20 requests: the rest of a fan-out of 100 goes on over others, unsafe requests too."""
    c, p = one()
    for turn in range(3):
        lines = "%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
        c.send("".join(lines % (method, nginx2.h2("/few/%d/%d" % (turn, i))) for i in range(CROWD)))
        got = [c.response() for _ in range(CROWD)]
        assert [r.status for r in got] == [200] * CROWD, [r for r in got if r.status != 200][:2]
        assert [r.text.split()[0] for r in got] == ["/few/%d/%d" % (turn, i) for i in range(CROWD)]
    assert protocols(p, 3 * CROWD) == {"h2"}


def test_nginx_refuses_a_body_early(one, nginx2):
    c, p = one()
    for _ in range(3):
        with p.client() as d:
            d.send("POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n" % nginx2.h2("/refuse"))
            r = d.response()
            assert r.status == 413 and r.reason
    assert c.get(nginx2.h2("/small/x")).status == 200


def test_nginx_sees_cookies_and_names(one, nginx2):
    c, _ = one()
    cookie = "; ".join("c%d=%s" % (i, "v" * 50) for i in range(400))
    r = c.get(nginx2.h2("/agent"), "Cookie: " + cookie, "Connection: close, x-y", "X-Y: 1")
    assert r.text == "%s|localhost:%d|localhost||\n" % (cookie, nginx2.plain)


def test_clients_that_leave_large_files_of_nginx(one, nginx2):
    """What was under way when they left is no flood: a download beside them goes on, on the same connection."""
    c, p = one()
    assert c.get(nginx2.h2("/small/x")).status == 200
    whole = bytes(range(256)) * 40960
    for turn in range(5):
        c.request("GET", nginx2.h2("/big.bin"))
        assert c.head().status == 200  # and its body waits for its reader
        for _ in range(20):
            with p.client() as gone:
                gone.request("GET", nginx2.h2("/big.bin"))
                gone.exactly(100000)
        assert c.exactly(len(whole)) == whole
    lines = p.wait_access(lambda x: x["url"].endswith("/big.bin") and x["status"] == 200 and not x["error"], 5)
    assert all(x["reused"] for x in p.access()[1:]), lines


def test_nginx_burst(make_proxy, nginx2, compile_c):
    """Thousands of requests of 64 clients, and of clients that come anew each time."""
    load = compile_c(*sorted(glob.glob(os.path.join(ROOT, "tests", "bench", "load*.c"))))
    nginx2.file("1k", bytes(1024))
    p = make_proxy("workers = 2\n")
    count = 1000 if SANITIZED else 5000
    for more in ((), ("-1",)):
        done = subprocess.run(
            [load, "-c", "64", "-n", str(count), "-l", "1024", *more, str(p.port), "localhost", nginx2.h2("/1k")],
            capture_output=True,
            text=True,
            timeout=60 * SLOW,
        )
        assert done.returncode == 0, done.stderr
        print(done.stdout.strip())
    assert protocols(p, 2 * count) == {"h2"}
    assert sum(not x["reused"] for x in p.access()) <= 2 * CROWD


# --- nghttpd


@pytest.mark.concurrent
def test_nghttpd_thousand_streams(make_proxy, nghttpd):
    p = make_proxy("workers = 1\nclient { max_pipeline = 1000 }\nupstream { max_per_host = 1000 }\n")
    with p.client(timeout=30) as c:
        got = get_all(c, [nghttpd.url("/small?%d" % i) for i in range(1000)])
    assert {(r.status, r.text) for r in got} == {(200, "small\n")}
    assert protocols(p, 1000) == {"h2"}


def test_nghttpd_trailers_and_echo(one, nghttpd):
    c, _ = one()
    r = c.get(nghttpd.url("/small"))
    assert r.text == "small\n" and (r.trailers == [("X-Sum", "42")] or r.get("Content-Length"))
    for size in (1, 100000, 5 * MIB):
        body = (hashlib.sha512(b"%d" % size).digest() * (size // 64 + 1))[:size]
        sender = threading.Thread(target=c.request, args=("POST", nghttpd.url("/up")), kwargs={"body": body})
        sender.start()
        r = c.response()
        sender.join(10)
        assert r.status == 200 and r.body == body


def drain(c, count):
    """Digest of the next COUNT bytes of a body, without keeping it."""
    digest, room = hashlib.sha1(c.buf[:count]), memoryview(bytearray(MIB))
    left = count - len(c.buf)
    c.buf = c.buf[count:]
    while left > 0:
        got = c.sock.recv_into(room[: min(MIB, left)])
        if got == 0:
            raise Broken("closed %d bytes short" % left)
        digest.update(room[:got])
        left -= got
    return digest.digest()


@pytest.mark.unsanitized("a gigabyte is for the normal build")
def test_a_gigabyte_down(one, nghttpd):
    nghttpd.file("giga", b"begin", GIB - 3)
    with open(os.path.join(nghttpd.dir, "giga"), "ab") as f:
        f.write(b"end")
    c, p = one()
    assert c.get(nghttpd.url("/small")).status == 200
    before = p.rss()
    c.request("GET", nghttpd.url("/giga"))
    r = c.head()
    assert r.get("Content-Length") == str(GIB)
    digest = drain(c, GIB)
    assert p.rss() - before < 8 * 1024
    with open(os.path.join(nghttpd.dir, "giga"), "rb") as f:
        expected = hashlib.sha1()
        for part in iter(lambda: f.read(MIB), b""):
            expected.update(part)
    assert digest == expected.digest()
    assert c.get(nghttpd.url("/small")).text == "small\n"


def test_a_body_up(one, node2):
    c, p = one()
    assert c.get(node2.url("/x")).status == 200
    before, size = p.rss(), (16 if SANITIZED else 200) * MIB
    part = hashlib.sha512(b"part").digest() * (MIB // 64)
    c.send("PUT %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (node2.url("/up"), size))
    digest = hashlib.sha256()
    for _ in range(size // MIB):
        c.send(part)
        digest.update(part)
    got = json.loads(c.response().text)
    assert got["size"] == size and got["sha256"] == digest.hexdigest()
    assert SANITIZED or p.rss() - before < 8 * 1024


# --- Node


def pattern(size):
    return (bytes(range(256)) * (size // 256 + 1))[:size]


@pytest.mark.concurrent
def test_node_fan_out(one, node2):
    c, p = one()
    got = get_all(c, [node2.url("/r%d" % i) for i in range(CROWD)], "Cookie: a=1; b=2", "X-Up: 1")
    told = [json.loads(r.text) for r in got]
    assert [t["headers"][":path"] for t in told] == ["/r%d" % i for i in range(CROWD)]
    assert all(t["headers"]["cookie"] == "a=1; b=2" and t["headers"]["x-up"] == "1" for t in told)
    assert len({t["seen"]["sessions"] for t in told}) == 1 and protocols(p, CROWD) == {"h2"}
    assert not any(t["push"] for t in told)
    assert all(t["headers"][":authority"] == "localhost:%d" % node2.port for t in told)


@pytest.mark.parametrize("path", ["body", "unknown"])
@pytest.mark.parametrize("size", [0, 1, 65536, 3000001])
def test_node_bodies(one, node2, path, size):
    c, _ = one()
    assert c.get(node2.url("/%s/%d" % (path, size))).body == pattern(size)
    got = get_all(c, [node2.url("/%s/%d" % (path, size // 10 + i)) for i in range(20)])
    assert all(r.body == pattern(size // 10 + i) for i, r in enumerate(got))


@pytest.mark.parametrize("size", [65535, 196605, 262144])
def test_node_bodies_as_long_as_a_window(one, node2, size):
    c, _ = one()
    for _ in range(3):
        assert c.get(node2.url("/body/%d" % size)).body == pattern(size)


def test_node_trailers_both_ways(one, node2):
    c, _ = one()
    r = c.get(node2.url("/trailers"))
    assert r.text == "body" and dict(r.trailers) == {"X-Sum": "42", "X-Long": "y" * 20000}
    c.send(
        "POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Up: 7\r\n\r\n"
        % node2.url("/up")
    )
    told = json.loads(c.response().text)
    assert told["size"] == 3 and told["trailers"].get("x-up") == "7"


@pytest.mark.parametrize("size", [1000, 17000, 50000])
def test_node_cookies(one, node2, size):
    c, _ = one()
    r = c.get(node2.url("/cookies/%d" % size))
    assert r.all("Set-Cookie") == ["a=" + "x" * size, "b=2"]
    cookie = "; ".join("c%d=%s" % (i, "v" * 40) for i in range(size // 50))
    assert json.loads(c.get(node2.url("/"), "Cookie: " + cookie).text)["headers"]["cookie"] == cookie


def test_node_interim_and_ping(one, node2):
    c, _ = one("client { early_hints = on }\n")
    r = c.get(node2.url("/hints"))
    assert r.text == "fin" and [i.status for i in r.interim] == [103]
    assert c.get(node2.url("/ping")).text == "pong"


def test_node_endings(one, node2):
    """Resets, GOAWAY, a graceful and an abrupt end, each with a fan-out under way on the same connection."""
    c, p = one()
    for how, status in (("/reset/2", 502), ("/reset/8", 502), ("/half/2", None), ("/goaway", 200), ("/close", 200)):
        with p.client() as d:
            slow = ["/delay/%d" % (10 + i) for i in range(20)]
            c.send("".join("GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % node2.url(path) for path in slow))
            try:
                r = d.exchange("POST", node2.url(how), "Content-Length: 0")
                assert r.status == status, (how, r)
            except Broken:
                assert status is None, how
            assert [c.response().text for _ in slow] == ["late"] * 20, how
    with p.client() as d:
        r = d.exchange("POST", node2.url("/destroy"), "Content-Length: 0")
        assert r.status == 502 and r.error == "connection_terminated"
    assert c.get(node2.url("/x")).status == 200


def test_node_changes_its_settings(one, node2):
    """Fewer streams, small windows, no header table: all of it followed."""
    c, _ = one()
    for _ in range(2):
        assert c.get(node2.url("/settings")).text == "set"
        body = pattern(30000)
        for i in range(5):
            r = c.exchange("POST", node2.url("/p%d" % i), body=body)
            assert json.loads(r.text)["sha256"] == hashlib.sha256(body).hexdigest()
        got = get_all(c, [node2.url("/delay/5") for _ in range(50)])
        assert [r.text for r in got] == ["late"] * 50


# --- python3-h2


@pytest.mark.concurrent
def test_a_strict_server(make_proxy, strict):
    """All kinds of requests at once, mixed: nothing that python3-h2 would not take."""
    p, wrong = make_proxy("workers = 1\n"), []

    def run(n):
        with p.client(timeout=30 * SLOW) as c:
            for i in range(20):
                body = b"%d-" % n * (i * i * 37)
                fields = ["Cookie: a=%s" % ("x" * (i * 1000)), "TE: trailers", "Connection: te, keep-alive"]
                r = c.exchange(("GET", "POST", "PUT")[n % 3], strict.url("/%d/%d" % (n, i)), *fields, body=body)
                if r.body != b"/%d/%d\n%s" % (n, i, body):
                    wrong.append((n, i, r))

    threads = [threading.Thread(target=run, args=(n,)) for n in range(12)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60 * SLOW)
    assert not wrong, wrong[:2]
    assert strict.conns == 1 and len(strict.fields) == 240
    assert not [n for fields in strict.fields for n, _ in fields if re.search("[A-Z]", n)]


def test_clients_that_leave_a_strict_server(make_proxy, strict):
    """Resets in every state of a stream."""
    p = make_proxy("workers = 1\n")
    url = strict.url("/x")
    message = ("POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n" % url).encode() + bytes(200000)
    with p.client() as c:  # who leaves during the handshake ends it
        assert c.get(url).text == "/x\n"
    for size in (100, 1000, 50000, 150000, len(message)):
        for _ in range(10):
            with p.client() as c:
                c.send(message[:size])
    with p.client() as c:
        assert c.get(url).text == "/x\n"
    assert strict.conns == 1
