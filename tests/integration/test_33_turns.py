# SPDX-License-Identifier: Apache-2.0
"""What small pieces cost, and whom they wake: records, writes and wake-ups are counted, seconds are not."""
import os
import re

import pytest

from test_29_upgrade import manage  # noqa: F401, a fixture
from testenv import h2server as h2
from testenv.client import Client
from testenv.h2server import each, frame
from testenv.scripted import answering, ok
from testenv.wait import wait_until

CHUNKS = 20000  # of one byte
CHUNK = b"1\r\nx\r\n"
READS = 60  # at most, in which 120 kB that were sent at once come to the proxy; each may be a record or two
ASK = "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n"


def counting(length):
    """An HTTP/1 origin that says how long the body was; its connections count records."""
    return answering(lambda request, conn: ok("%d" % length(request)))


@pytest.fixture
def counted(serve_h2, protocol):
    """An origin whose connections count the records that come, by HTTP/1.1 or HTTP/2."""
    handler = each(lambda s: s.respond("%d" % s.received))
    return serve_h2(handler, alpn=("h2", "http/1.1") if protocol == "h2" else ("http/1.1",),
                    h1=counting(lambda request: len(request.body)))


def records(conn):
    return conn.sock.records


@pytest.fixture
def one(make_proxy):
    """A proxy with one worker, and a client of it."""
    p = make_proxy("workers = 1\n")
    with p.client(timeout=60) as c:
        yield c


def upload(c, url, body, *fields):
    """POST with the encoded BODY, in as few segments as there can be; the answer's text."""
    head = ["POST %s HTTP/1.1" % url, "Host: h", "Transfer-Encoding: chunked", *fields]
    c.send("\r\n".join(head).encode() + b"\r\n\r\n" + body)
    return c.response("POST").text


@pytest.mark.parametrize("end", [b"0\r\n\r\n", b"0\r\nX-Sum: 1\r\n\r\n"], ids=["plain", "trailers"])
def test_an_upload_in_tiny_chunks(one, counted, end):
    """What a read has brought leaves in a record or two, not in one for each chunk."""
    assert upload(one, counted.url("/"), b"3\r\nabc\r\n" + end) == "3"
    conn = counted.conns[0]
    before = records(conn)
    assert upload(one, counted.url("/"), CHUNK * CHUNKS + end) == str(CHUNKS)
    assert records(conn) - before <= 2 * READS


def test_a_small_upload_is_one_record(one, counted):
    """Head, body in chunks, and end, where all came at once."""
    assert upload(one, counted.url("/"), b"3\r\nabc\r\n0\r\n\r\n") == "3"
    conn = counted.conns[0]
    before = records(conn)
    assert upload(one, counted.url("/"), CHUNK * 50 + b"0\r\n\r\n") == "50"
    assert records(conn) - before <= 2


def test_an_answer_in_tiny_chunks(one, serve_h2, protocol):
    """Towards the client it is a chunk for what a read has brought: the framing is made anew."""
    def small(stream):
        stream.head()
        stream.conn.raw(frame(h2.DATA, 0, stream.id, b"x") * 5000 + frame(h2.DATA, h2.END_STREAM, stream.id, b"x"))

    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    server = serve_h2(each(small), alpn=("h2", "http/1.1") if protocol == "h2" else ("http/1.1",),
                      h1=answering(lambda request, conn: head + CHUNK * 5001 + b"0\r\n\r\n"), judge=False)
    one.request("GET", server.url("/"))
    r = one.head()
    seen, body = 0, b""
    while True:
        size = int(one.until(b"\r\n"), 16)
        body += one.exactly(size)
        assert one.until(b"\r\n") == b"\r\n"
        if size == 0:
            break
        seen += 1
    assert r.status == 200 and body == b"x" * 5001
    assert seen <= READS, seen


@pytest.mark.h1_only("windows and PING are HTTP/2's")
def test_what_many_frames_ask_for_leaves_together(one, serve_h2):
    """PINGs that come together are answered together, and so is body whose window is opened byte by byte."""
    def handler(conn):
        conn.auto.discard("stream window")
        for stream in conn.incoming("head"):
            if stream.method == "POST":
                wait_until(lambda: conn.acks > 0, 10, "the settings to be known")
                before = conn.channel.records
                stream.credit += SIZE
                conn.raw(h2.window(stream.id, 1) * SIZE)
                while stream.received < SIZE and conn.next_frame() is not None:
                    pass
                counts.append(conn.channel.records - before)
            else:
                before = conn.channel.records
                conn.raw(frame(h2.PING, payload=b"tlsfan??") * SIZE)
                while len(conn.pongs) < SIZE and conn.next_frame() is not None:
                    pass
                counts.append(conn.channel.records - before)
            stream.respond("done")

    SIZE = 300
    counts = []
    server = serve_h2(handler, settings={h2.INITIAL_WINDOW_SIZE: 0})
    assert one.get(server.url("/")).text == "done"
    assert one.exchange("POST", server.url("/"), body=b"x" * SIZE).text == "done"
    assert len(counts) == 2 and max(counts) <= 20, counts


# --- who wakes


def wake_ups(pid):
    """{worker: times that it went to sleep, to be woken}."""
    found = {}
    for task in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/status" % (pid, task)) as f:
            text = f.read()
        name = re.search(r"^Name:\s+(.*)", text, re.M).group(1)
        if name.startswith("worker"):
            found[name] = int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", text, re.M).group(1))
    return found


def ask_many(address, count):
    """COUNT connections, one behind the other, with a request each."""
    for _ in range(count):
        with Client(address) as c:
            c.send(ASK)
            assert c.response("OPTIONS").status == 200


def check_one_wakes(pid, address):
    """Of eight workers that could take a connection one is woken: to take it, for the request, for the end."""
    count = 100
    wait_until(lambda: len(wake_ups(pid)) == 8, 10, "the workers")
    ask_many(address, 20)
    before = sum(wake_ups(pid).values())
    ask_many(address, count)
    took = sum(wake_ups(pid).values()) - before
    print("%d connections: %d wake-ups" % (count, took))
    assert took <= 5 * count


@pytest.mark.unsanitized("it waits for locks, which are wake-ups, too")
@pytest.mark.h1_only("no origin is asked")
def test_a_unix_listener_wakes_one_worker(make_proxy, tmp_path):
    path = str(tmp_path / "s")
    p = make_proxy("workers = 8\n", listen=["unix:" + path], wait=False)
    p.wait_log("listening on unix:" + path)
    check_one_wakes(p.pid, path)


@pytest.mark.unsanitized("it waits for locks, which are wake-ups, too")
def test_passed_sockets_wake_one_worker(manage):  # noqa: F811
    manager = manage("workers = 8\ndrain_timeout = 5s")
    program = manager.ready(manager.start())
    check_one_wakes(program.pid, manager.path)
    check_one_wakes(program.pid, manager.port)
    manager.end(program)


def test_all_workers_are_dealt_to(make_proxy, tmp_path):
    """The connections of a socket that is shared are spread: each of eight workers serves its share."""
    path = str(tmp_path / "s")
    p = make_proxy("workers = 8\n", listen=["unix:" + path], wait=False)
    p.wait_log("listening on unix:" + path)

    wait_until(lambda: len(wake_ups(p.pid)) == 8, 10, "the workers")
    before = wake_ups(p.pid)
    ask_many(path, 80)
    after = wake_ups(p.pid)
    assert len(after) == 8
    assert all(after[name] > before[name] for name in after), (before, after)


def test_a_reload_keeps_who_has_connected(make_proxy, tmp_path):
    """To a shared socket that goes, and to one that stays; a new one is served as well."""
    paths = [str(tmp_path / ("s%d" % i)) for i in range(3)]
    p = make_proxy("workers = 4\n", listen=["unix:" + x for x in paths[:2]], wait=False)
    p.wait_log("listening on unix:" + paths[1])  # their paths are there before that
    clients = [Client(x) for x in paths[:2] for _ in range(8)]
    p.base = p.base.replace(paths[0], paths[2])
    p.write("workers = 4\n")
    p.signal(1)
    p.wait_log("configuration reloaded")
    ask_many(paths[1], 8)
    ask_many(paths[2], 8)
    assert not os.path.exists(paths[0])
    for c in clients:
        c.send(ASK)
        assert c.response("OPTIONS").status == 200
        c.close()
