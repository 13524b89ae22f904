# SPDX-License-Identifier: Apache-2.0
"""The access log: one line an exchange, json and common, no credentials, no query unless asked for (section 8)."""
import json
import os
import re
import signal
import socket
import struct
import time

import pytest

from testenv.scripted import answering, ok
from testenv.wait import wait_until

KEYS = {"time", "id", "client", "method", "url", "status", "bytes_in", "bytes_out", "upstream", "protocol", "tls",
        "reused", "retries", "ms"}
PHASES = {"queued", "dns", "connect", "tls", "wait", "total"}


def phases(line):
    """The milliseconds, whether they are an object or keys of their own."""
    return line["ms"] if isinstance(line.get("ms"), dict) else line


def test_json_has_everything(make_proxy, serve, protocol):
    server = serve(answering(lambda r, c: ok(b"z" * 1000)))
    p = make_proxy("workers = 1\n")
    begun = time.time()
    with p.client() as c:
        c.exchange("POST", server.url("/first?q=1"), body=b"y" * 500)
        c.get(server.url("/second"))
    first, second = p.wait_access(lambda x: True, 2)
    print(json.dumps(first))
    assert KEYS <= set(first), sorted(first)
    assert PHASES <= set(phases(first)), sorted(first)
    assert first["method"] == "POST" and first["status"] == 200
    assert first["url"] == server.url("/first?q=1")
    assert first["client"].split(":")[0] == "127.0.0.1"
    assert first["upstream"] == "127.0.0.1:%d" % server.port
    assert first["bytes_in"] >= 500 and first["bytes_out"] >= 1000
    assert first["protocol"] == protocol and "1.3" in first["tls"]
    assert not first["reused"] and second["reused"] and first["retries"] == 0
    assert first["id"] != second["id"] and not first.get("error")
    assert phases(first)["tls"] > 0 and phases(first)["total"] >= phases(first)["wait"]
    stamp = first["time"]
    if isinstance(stamp, str):
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)$", stamp)
    else:
        assert begun - 2 <= stamp <= time.time() + 2


def test_waiting_shows_in_wait(make_proxy, httpbin):
    p = make_proxy()
    with p.client() as c:
        assert c.get(httpbin.url("/delay/0.3")).status == 200
    line, = p.wait_access(lambda x: True)
    assert 250 <= phases(line)["wait"] <= phases(line)["total"]


@pytest.fixture
def quiet(make_proxy, tmp):
    """A proxy with the log section given, and the path of its access log."""
    def make(keys):
        path = str(tmp / ("log%d" % len(os.listdir(str(tmp)))))
        return make_proxy('log { access = "%s" %s }\n' % (path, keys)), path
    return make


def lines(path, count):
    def read():
        if not os.path.exists(path):
            return None
        with open(path) as f:
            got = f.read().splitlines()
        return got if len(got) >= count else None
    return wait_until(read)


def test_query_is_cut(quiet, origin):
    p, path = quiet("")
    with p.client() as c:
        c.get(origin.url("/a?token=hunter2"), "Referer: http://x/?token=hunter2")
        c.get("http://127.0.0.1:1/?token=hunter2")
        c.get("http://127.0.0.1:1?token=hunter2")
    text = "\n".join(lines(path, 3))
    assert "hunter2" not in text
    assert [json.loads(x)["url"] for x in text.splitlines()] == [
        origin.url("/a?..."), "http://127.0.0.1:1/?...", "http://127.0.0.1:1/?..."]
    assert "hunter2" not in p.log()


def test_no_credentials(make_proxy, origin):
    p = make_proxy()
    with p.client() as c:
        c.get("http://alice:hunter2@localhost:%d/x" % origin.port)
        c.get(origin.url("/y"), "Authorization: Basic hunter2", "Cookie: hunter2", "Proxy-Authorization: Basic hunter2")
        c.send("CONNECT alice:hunter2@localhost:443 HTTP/1.1\r\nHost: x\r\n\r\n")
        c.response()
    p.wait_access(lambda x: x["url"].endswith("/y"))
    p.stop()
    with open(p.access_path) as f:
        assert "hunter2" not in f.read()
    assert "hunter2" not in p.log()


def test_common_format(quiet, origin):
    p, path = quiet("format = common")
    with p.client() as c:
        c.get(origin.url("/c?x=1"))
    line, = lines(path, 1)
    m = re.match(r'127\.0\.0\.1 - - \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "GET (\S+) HTTP/1\.1" 200 '
                 r'(\d+)', line)
    assert m and m.group(1) == origin.url("/c?..."), line
    with p.client() as c:
        c.send("GET\r\n\r\n")
        c.closed()
    assert re.search(r'] "-" 400 \d+$', lines(path, 2)[1])


@pytest.mark.parametrize("url, status, error", [
    ("http://127.0.0.1:1/r", 502, "connection_refused"), ("http://169.254.169.254/r", 403, "destination_ip_prohibited"),
    ("/r", 400, "http_request_error"), ("http://a..b/", 502, "dns_error")])
def test_errors_are_named(make_proxy, url, status, error):
    p = make_proxy()
    with p.client() as c:
        assert c.get(url, host="x").status == status
    line, = p.wait_access(lambda x: True)
    assert line["status"] == status and line["error"] == error and "asked" not in line["details"]


@pytest.mark.h1_only("its origin speaks in clear, where there is no HTTP/2")
def test_tunnels_have_a_line(make_proxy, serve):
    server = serve(lambda conn: conn.send(b"0123456789"), tls=False)
    p = make_proxy("destination { connect_ports = {%d} }\n" % server.port)
    with p.client() as c:
        c.send("CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: x\r\n\r\nabc" % server.port)
        assert c.response("CONNECT").status == 200 and c.exactly(10) == b"0123456789"
    line, = p.wait_access(lambda x: True)
    assert line["method"] == "CONNECT" and line["status"] == 200 and line["bytes_out"] >= 10


def test_a_client_that_left_is_logged(make_proxy, serve):
    server = serve(lambda conn: (conn.read_request(), conn.hang()))
    p = make_proxy()
    with p.client() as c:
        c.request("GET", server.url("/gone"))
        server.wait_requests(1)
    line, = p.wait_access(lambda x: True)
    assert line["url"].endswith("/gone") and line["error"] == "client_gone"


def test_what_clients_write_cannot_break_the_line(make_proxy, origin):
    p = make_proxy()
    with p.client() as c:
        c.get(origin.url('/"quote\\back'))
        c.exchange("X'\"Y".replace('"', ""), origin.url("/m"))
        c.send(b'GE"T http://x/ HTTP/1.1\r\nHost: x\r\n\r\n')
        c.response()
    assert len(p.wait_access(lambda x: True, 3)) == 3


def test_access_off_and_streams(tmp, ca, origin, make_proxy):
    p = make_proxy("log { access = off }\n")
    with p.client() as c:
        assert c.get(origin.url("/silent")).status == 200
    p.stop()
    assert "/silent" not in p.log()
    p = make_proxy("log { access = stderr }\n")
    with p.client() as c:
        assert c.get(origin.url("/spoken")).status == 200
    p.wait_log("/spoken")


def test_a_full_sink_never_stops_a_worker(make_proxy, origin):
    p = make_proxy('log { access = "/dev/full" }\n')
    with p.client() as c:
        for i in range(50):
            assert c.get(origin.url("/%d" % i)).status == 200


# --- lines that a peer can cause

HELD = re.compile(r" (\d+) more like it held back")


def said(p, text):
    """How many lines with TEXT there were to be, and how many of these were written one by one."""
    written = held = 0
    for line in p.log().splitlines():
        if text not in line:
            continue
        more = HELD.search(line)
        written += more is None
        held += int(more.group(1)) if more else 0
    return written + held, written


def say_hello(p, count):
    for _ in range(count):
        with p.client() as c:
            c.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
            assert c.closed()


def test_a_peer_cannot_fill_the_log(make_proxy):
    p = make_proxy()
    say_hello(p, 300)
    wait_until(lambda: said(p, "TLS hello")[0] == 300, 20, "what was held back")
    say_hello(p, 100)
    p.stop()  # what is held back then comes at the end
    lines, written = said(p, "TLS hello")
    assert lines == 400 and written < 100, (lines, written)


def test_debug_lines_are_limited_too(make_proxy):
    p = make_proxy('log { access = off level = debug }\n')
    for _ in range(200):
        with p.client() as c:
            c.send("GET http://x/ HTTP/1.1\r\n")
            c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    # Not the moves of state machines, which builds that check them write one by one.
    fault = " 127.0.0.1: "
    wait_until(lambda: said(p, fault)[0] >= 200, 20, "what was held back")
    assert said(p, fault)[1] < 100


def test_what_the_operator_does_is_not_limited(make_proxy):
    p = make_proxy()
    for i in range(20):
        p.signal(signal.SIGUSR1)
        wait_until(lambda: p.log().count("log files were opened again") == i + 1)


def test_levels(make_proxy, origin):
    p = make_proxy("log { access = off level = error }\n")
    with p.client() as c:
        assert c.get("http://127.0.0.1:1/").status == 502
    p.stop()
    assert p.log() == ""


TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize("fields,trace", [
    (["traceparent: 00-%s-%s-01" % (TRACE, PARENT), "tracestate: a=1,b=t61rcWkgMzE"], TRACE),
    (["Traceparent: 01-%s-%s-00-more" % (TRACE, PARENT), "tracestate: a=1", "tracestate: b=2"], TRACE),
    (["traceparent: ff-%s-%s-01" % (TRACE, PARENT), "tracestate: a=1"], None),
    (["traceparent: 00-%s-%s-01" % ("0" * 32, PARENT)], None),
    (["traceparent: 00-%s-%s-01" % (TRACE.upper(), PARENT)], None),
    (["traceparent: 00-%s-%s-01" % (TRACE, PARENT)] * 2, None),
    (['traceparent: "}', "tracestate: " + "x" * 2000], None),
], ids=["good", "later", "ff", "zeros", "capitals", "two", "nonsense"])
def test_trace(proxy, origin, fields, trace):
    """The trace is named where it is valid; the fields travel on as they are in any case."""
    path = "/trace%d" % abs(hash(tuple(fields)))
    with proxy.client() as c:
        assert c.get(origin.url(path), *fields).status == 200
    line, = proxy.wait_access(lambda x: x["url"].endswith(path))
    assert line.get("trace_id") == trace and ("trace_id" in line) == (trace is not None)
    said = [(n.lower(), v) for n, v in origin.requests[-1].fields if n.lower().startswith("trace")]
    assert said == [(n.lower(), v) for n, v in (f.split(": ", 1) for f in fields)]


def test_trace_of_batch_items(make_proxy, origin):
    """Each item's is its own, and not that of the call."""
    p = make_proxy(service=True)
    items = [{"url": origin.url("/item%d" % i), "headers": {"traceparent": "00-%s%d-%s-01" % (TRACE[:-1], i, PARENT)}}
             for i in range(2)] + [{"url": origin.url("/item2")}]
    with p.client() as c:
        r = c.exchange("POST", "http://tlsfan.localhost/batch", "Content-Type: application/json",
                       "traceparent: 00-%s-%s-01" % (TRACE, PARENT), body=json.dumps(items).encode())
    assert r.status == 200
    lines = {x["url"].rpartition("/")[2]: x.get("trace_id") for x in p.wait_access(lambda x: True, 4)}
    assert lines == {"item0": TRACE[:-1] + "0", "item1": TRACE[:-1] + "1", "item2": None, "batch": TRACE}
