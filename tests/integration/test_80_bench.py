# SPDX-License-Identifier: Apache-2.0
"""The programs of tests/bench: load takes no answer that is wrong, floor relays every byte and verifies."""
import glob
import hashlib
import json
import os
import signal
import socket
import subprocess
import time

import pytest
from testenv import SLOW
from testenv.ports import free_port
from testenv.proxy import ROOT
from testenv.scripted import answering, ok
from testenv.wait import can_connect, wait_until

STRICT = ("-Wshadow", "-Wstrict-prototypes", "-Wmissing-prototypes", "-Wvla", "-Wpointer-arith",
          "-Wwrite-strings", "-Wformat=2")
BODY = b"0123456789abcde\n" * 64
MIB = 1 << 20
once = pytest.mark.h1_only("load speaks HTTP/1")
pytestmark = pytest.mark.unsanitized("tlsfan is not in it")


@pytest.fixture(scope="module")
def load(compile_c):
    return compile_c(*sorted(glob.glob(os.path.join(ROOT, "tests/bench/load*.c"))), *STRICT)


@pytest.fixture(scope="module")
def floor(compile_c):
    return compile_c(*sorted(glob.glob(os.path.join(ROOT, "tests/bench/floor*.c"))), *STRICT, "-lnghttp2")


@pytest.fixture
def plain(serve):
    """plain(function): a server without TLS that answers with what FUNCTION(request, conn) returns."""
    return lambda function: serve(answering(function), tls=False)


def run(load, server, *options, host="origin.test", target="/x"):
    return subprocess.run([load, *map(str, options), str(server.port), host, target], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60 * SLOW)


def figures(load, server, *options, **more):
    done = run(load, server, *options, **more)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def fault(load, server, *options, **more):
    done = run(load, server, *options, **more)
    assert done.returncode == 1 and not done.stdout
    return done.stderr


# --- load


@once
def test_load_counts(load, plain):
    server = plain(lambda request, conn: ok(BODY))
    got = figures(load, server, "-c", 4, "-n", 100)
    assert (got["requests"], got["bytes"]) == (100, 100 * len(BODY))
    assert 0 < got["p50_us"] <= got["p99_us"] <= got["max_us"] and got["per_second"] > 0
    assert len(server.requests) == 100 and len(server.conns) == 4


@once
def test_load_new_connections(load, plain):
    server = plain(lambda request, conn: ok(BODY))
    assert figures(load, server, "-1", "-c", 3, "-n", 20)["requests"] == 20
    assert len(server.conns) == 20


@once
@pytest.mark.parametrize("reply, text", (
    (ok(BODY[1:]), "Content-Length is 1023, not 1024"),
    (ok(BODY, status="404 Not Found"), "not a 200"),
    (ok(BODY, length=False), "no Content-Length"),
    (ok(BODY) + b"x", "more bytes than the answer has"),
    (ok(BODY)[:-1], "closed before the end of the answer"),
    (None, "closed before the end of the answer"),
), ids=("length", "status", "no length", "too much", "too little", "nothing"))
def test_load_takes_no_wrong_answer(load, plain, reply, text):
    def function(request, conn):
        if len(conn.requests) < 3:
            return ok(BODY)
        if reply is not None:
            conn.send(reply)
            conn.server.stopping.wait(0.2)  # so that a byte too much is seen as one
        return None
    assert text in fault(load, plain(function), "-c", 1, "-n", 10)


@once
def test_load_pipelines(load, serve):
    def handler(conn):
        for _ in range(4):
            assert all(conn.read_request() for _ in range(5))  # all five before the first answer
            conn.send(ok(BODY) * 5)
        conn.hang()
    server = serve(handler, tls=False)
    assert figures(load, server, "-c", 1, "-p", 5, "-n", 20)["bytes"] == 20 * len(BODY)
    assert not server.errors


@once
def test_load_heads_and_bodies_in_pieces(load, serve):
    def handler(conn):
        while conn.read_request():
            conn.drip(ok(BODY[:40]), 0.001)
    assert figures(load, serve(handler, tls=False), "-c", 3, "-n", 9, "-l", 40)["bytes"] == 360


@once
def test_load_uploads(load, plain):
    server = plain(lambda request, conn: ok(b"", status="201 Created"))
    assert figures(load, server, "-c", 2, "-n", 4, "-u", 3 * MIB)["bytes"] == 12 * MIB
    assert {(r.method, r.body == bytes(3 * MIB)) for r in server.requests} == {("PUT", True)}


@once
def test_load_upload_answered_early(load, serve):
    def handler(conn):
        conn.read_head()
        conn.send(ok(b""))
        conn.hang()
    assert "before the end of the upload" in fault(load, serve(handler, tls=False), "-c", 1, "-n", 1, "-u", 200 * MIB)


@once
@pytest.mark.parametrize("status, text", (("200 OK", None), ("403 Forbidden", "no tunnel")))
def test_load_tunnels(load, serve, status, text):
    def handler(conn):
        conn.read_request()
        conn.send(ok(status=status, length=False, body=b""))
        while conn.read_request():
            conn.send(ok(BODY))
    server = serve(handler, tls=False)
    if text:
        assert text in fault(load, server, "-C", "-c", 1, "-n", 3, host="origin.test:81")
        return
    figures(load, server, "-C", "-c", 1, "-n", 3, host="origin.test:81")
    assert [(r.method, r.target) for r in server.requests] == [("CONNECT", "origin.test:81")] + 3 * [("GET", "/x")]


@once
@pytest.mark.parametrize("kind, text", (("good", None), ("wrong_host", "hostname mismatch"), ("expired", "expired"),
                                        ("unknown_root", "issuer certificate")))
def test_load_verifies(load, serve, ca, kind, text):
    server = serve(answering(lambda request, conn: ok(BODY)), kind)
    how = (load, server, "-T", ca.root, "-c", 2, "-n", 10)
    assert figures(*how)["requests"] == 10 if text is None else text in fault(*how)


@once
def test_load_keeps_to_a_rate(load, plain):
    started = time.monotonic()
    got = figures(load, plain(lambda request, conn: ok(BODY)), "-c", 2, "-r", 100, "-n", 50)
    assert 0.45 < got["seconds"] < time.monotonic() - started
    assert got["per_second"] < 111


@once
def test_load_counts_what_waits(load, plain):
    """One slow answer makes all that were due meanwhile late: their time began when they were due."""
    def function(request, conn):
        if len(conn.requests) == 3:
            conn.server.stopping.wait(0.5)
        return ok(BODY)
    got = figures(load, plain(function), "-c", 1, "-r", 100, "-n", 40)
    assert got["max_us"] > 450_000 and got["p50_us"] > 150_000


@once
def test_load_holds(load, plain):
    server = plain(lambda request, conn: ok(BODY))
    command = [load, "-c", "100", "-i", "1", str(server.port), "origin.test", "/x"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert json.loads(holder.stdout.readline()) == {"ready": 100}
        assert len(server.requests) == 100 and len(server.conns) == 100 and holder.poll() is None
        holder.stdin.close()
        assert holder.wait(10) == 0


@once
def test_load_holds_none_that_was_closed(load, plain):
    server = plain(lambda request, conn: ok(BODY))
    command = [load, "-c", "5", "-i", "1", str(server.port), "origin.test", "/x"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as holder:
        holder.stdout.readline()
        server.conns[2].end_sending()
        assert holder.wait(10) == 1 and b"held was closed" in holder.stderr.read()


@once
def test_load_numbers_its_targets(load, plain):
    server = plain(lambda request, conn: ok(BODY))
    figures(load, server, "-c", 1, "-n", 6, "-t", 3, host="n%u.test", target="/%u")
    assert [(r.get("Host"), r.target) for r in server.requests] == 2 * [("n%d.test" % i, "/%d" % i) for i in range(3)]


# --- floor


@pytest.fixture
def relay(floor, ca, protocol):
    """relay(server, name, cafile): a floor before the server; its port and process. It ends with the test."""
    started = []

    def start(server, name="origin.test", cafile=None):
        port = free_port()
        flags = ["-2"] if protocol == "h2" else []
        started.append(subprocess.Popen([floor, *flags, "-w", "2", str(port), str(server.port), name,
                                         cafile or ca.root]))
        wait_until(lambda: can_connect("127.0.0.1", port), 10, "the floor listens")
        return port, started[-1]
    yield start
    for process in started:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def ask(sock, length, head=b"GET /x HTTP/1.1\r\nHost: origin.test\r\n\r\n"):
    sock.sendall(head)
    data, end = bytearray(), -1
    while end < 0 or len(data) < end + 4 + length:
        more = sock.recv(MIB)
        if not more:
            return None
        data += more
        end = data.find(b"\r\n\r\n") if end < 0 else end
    head, body = bytes(data[:end]), bytes(data[end + 4:])
    assert head.startswith(b"HTTP/1.1 200 ") and b"content-length: %d" % length in head.lower()
    return body


def test_floor_relays(relay, serve, load):
    server = serve(answering(lambda request, conn: ok(BODY)))
    port, _ = relay(server)
    done = subprocess.run([load, "-c", "20", "-n", "500", str(port), "origin.test", "/x"], capture_output=True,
                          text=True, timeout=60 * SLOW)
    assert done.returncode == 0, done.stderr
    assert {r.target for r in server.requests} == {"/x"}


def test_floor_waits_for_a_slow_client(relay, serve):
    """More than all buffers on the way hold, and every byte arrives in order."""
    body = b"".join(hashlib.sha256(b"%d" % i).digest() for i in range(600_000))
    port, _ = relay(serve(answering(lambda request, conn: ok(body))))
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
        sock.settimeout(30 * SLOW)
        sock.connect(("127.0.0.1", port))
        sock.sendall(b"GET /x HTTP/1.1\r\nHost: origin.test\r\n\r\n")
        time.sleep(0.5)
        assert ask(sock, len(body), b"") == body


def test_floor_uploads(relay, serve, load):
    server = serve(answering(lambda request, conn: ok(b"")))
    port, _ = relay(server)
    body = b"".join(hashlib.sha256(b"%d" % i).digest() for i in range(300_000))
    with socket.create_connection(("127.0.0.1", port), 30 * SLOW) as sock:
        assert ask(sock, 0, b"PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body) == b""
    assert server.requests[-1].body == body


@pytest.mark.parametrize("kind", ("wrong_host", "unknown_root", "expired"))
def test_floor_verifies(relay, serve, kind):
    server = serve(answering(lambda request, conn: ok(BODY)), kind)
    port, _ = relay(server)
    with socket.create_connection(("127.0.0.1", port), 10 * SLOW) as sock:
        try:
            assert ask(sock, len(BODY)) is None
        except ConnectionError:
            pass
    assert not server.requests
