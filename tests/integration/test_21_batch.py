# SPDX-License-Identifier: Apache-2.0
"""The batch call, through the service listener and through http://tlsfan.localhost/batch on a proxy listener."""
import base64
import email
import email.policy
import http.client
import io
import json
import signal
import subprocess
import sys
import threading
import time

import pytest

from test_06_clients import python2
from testenv import SANITIZED, SLOW, SOON
from testenv.client import Client
from testenv.proxy import clean_env
from testenv.scripted import answering, ok
from testenv.wait import wait_until

WAYS = ["service", "proxy"]


@pytest.fixture(params=WAYS)
def way(request):
    return request.param


@pytest.fixture
def batcher(make_proxy, way):
    """batcher(conf): a proxy with a service listener, and .batch() on it by this test's way."""

    def make(conf="", **kw):
        proxy = make_proxy(conf, service=True, **kw)
        proxy.call = lambda *a, **k: call(proxy, way, *a, **k)
        proxy.post = lambda *a, **k: post(proxy, way, *a, **k)
        return proxy

    return make


def post(proxy, way, body, fields=(), timeout=20, method="POST", path="/batch", length=None):
    """Sends a call and returns the client, on which the response can be read."""
    if isinstance(body, str):
        body = body.encode()
    client = Client(proxy.service_port if way == "service" else proxy.port, timeout=timeout)
    target = path if way == "service" else "http://tlsfan.localhost" + path
    host = "127.0.0.1:%d" % proxy.service_port if way == "service" else "tlsfan.localhost"
    lines = [
        "%s %s HTTP/1.1" % (method, target),
        "Host: " + host,
        "Content-Length: %d" % (len(body) if length is None else length),
        *fields,
    ]
    client.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
    return client


def call(proxy, way, items, *fields, ndjson=True, timeout=20):
    """A whole call: the decoded lines, or the parts as (content id, response bytes)."""
    kind = "text/plain" if isinstance(items, str) else "application/json"
    body = items if isinstance(items, str) else json.dumps(items)
    more = ["Content-Type: " + kind] + (["Accept: application/x-ndjson"] if ndjson else []) + list(fields)
    with post(proxy, way, body, more, timeout) as client:
        answer = client.response()
    assert answer.status == 200, answer
    if not ndjson:
        return parts(answer)
    assert answer.get("Content-Type") == "application/x-ndjson"
    return [json.loads(line) for line in answer.body.splitlines()]


def parts(answer):
    assert answer.get("Content-Type").startswith("multipart/mixed; boundary=")
    head = ("Content-Type: %s\r\n\r\n" % answer.get("Content-Type")).encode()
    message = email.message_from_bytes(head + answer.body, policy=email.policy.HTTP)
    assert message.is_multipart() and not message.defects
    return [(p["Content-ID"], p.get_payload(decode=True)) for p in message.get_payload()]


class Inner(io.BytesIO):
    def makefile(self, *_ignored):
        return self


def inner(part, method="GET"):
    """The response within a part, as the standard library reads it."""
    response = http.client.HTTPResponse(Inner(part[1]), method=method)
    response.begin()
    response.text = response.read()
    return response


def echo(request, _conn):
    fields = [["%s" % n, v] for n, v in request.fields]
    return ok(
        json.dumps(
            {
                "method": request.method,
                "target": request.target,
                "fields": fields,
                "body": base64.b64encode(request.body).decode(),
            }
        ),
        "Content-Type: application/json",
    )


def test_json_in_lines_out(batcher, serve, protocol):
    origin = serve(answering(echo))
    proxy = batcher()
    got = proxy.call(
        [
            {"url": origin.url("/a"), "id": "first", "headers": {"X-One": "1", "X-Two": ["a", "b"]}},
            {"url": origin.url("/b"), "method": "POST", "body": "h\u00e9\u0000llo", "id": 7},
            {
                "url": origin.url("/c"),
                "method": "PUT",
                "body_base64": base64.b64encode(b"\xff\x00\r\n").decode(),
                "headers": [["X-P", "1"], ["X-P", "2"]],
            },
        ]
    )
    assert [(g["index"], g["id"], g["status"], g["error"]) for g in got] == [
        (0, "first", 200, None),
        (1, 7, 200, None),
        (2, None, 200, None),
    ]
    asked = [json.loads(g["body"]) for g in got]
    assert [a["method"] for a in asked] == ["GET", "POST", "PUT"]
    assert [a["target"] for a in asked] == ["/a", "/b", "/c"]
    assert [v for n, v in asked[0]["fields"] if n.title() in ("X-One", "X-Two")] == ["1", "a", "b"]
    assert base64.b64decode(asked[1]["body"]) == "h\u00e9\0llo".encode()
    assert base64.b64decode(asked[2]["body"]) == b"\xff\x00\r\n"
    assert [v for n, v in asked[2]["fields"] if n.title() == "X-P"] == ["1", "2"]
    assert all(g["ms"] >= 0 and g["headers"]["Content-Type"] == "application/json" for g in got)
    lines = proxy.wait_access(lambda x: "tlsfan.localhost" not in x["url"], 3)
    assert sorted(x["method"] for x in lines) == ["GET", "POST", "PUT"]
    assert all(x["client"] == "127.0.0.1" and x["protocol"] == protocol for x in lines)


def test_text_in_parts_out(batcher, serve):
    origin = serve(answering(echo))
    got = batcher().call("%s\r\n\r\n  %s\n" % (origin.url("/a"), origin.url("/b")), ndjson=False)
    assert [p[0] for p in got] == ["<0>", "<1>"]
    assert [json.loads(inner(p).text)["target"] for p in got] == ["/a", "/b"]
    assert [inner(p).status for p in got] == [200, 200]


def test_binary_bodies_come_back(batcher, serve):
    raw = bytes(range(256)) * 100
    origin = serve(answering(lambda r, c: ok(raw)))
    proxy = batcher()
    (line,) = proxy.call([{"url": origin.url()}])
    assert base64.b64decode(line["body_base64"]) == raw and "body" not in line
    (part,) = proxy.call([{"url": origin.url(), "id": "a b<%>\u00e9"}], ndjson=False)
    assert inner(part).text == raw and part[0] == "<a%20b%3C%25%3E%C3%A9>"


@pytest.mark.concurrent
def test_order_is_that_of_the_request(batcher, serve):
    """The first is the slowest: all others are done before it, and still come behind it."""
    seen = threading.Semaphore(0)

    def reply(request, _conn):
        if request.target == "/0":
            for _ in range(9):
                seen.acquire(timeout=10)
        else:
            seen.release()
        return ok(request.target)

    origin = serve(answering(reply))
    proxy = batcher()
    got = proxy.call([{"url": origin.url("/%d" % n)} for n in range(10)])
    assert [g["body"] for g in got] == ["/%d" % n for n in range(10)]


def test_a_part_is_sent_as_soon_as_it_is_first_in_line(batcher, serve):
    hold = threading.Event()

    def reply(request, _conn):
        if request.target == "/slow":
            hold.wait(20)
        return ok(request.target)

    origin = serve(answering(reply))
    proxy = batcher()
    for accept in ("application/x-ndjson", "*/*"):
        hold.clear()
        fields = ["Content-Type: text/plain", "Accept: " + accept]
        with proxy.post("%s\n%s\n" % (origin.url("/fast"), origin.url("/slow")), fields) as client:
            got = b""
            while b"/fast" not in got:
                more = client.sock.recv(65536)
                assert more, got
                got += more
            assert b"/slow" not in got
            hold.set()
            while not got.endswith(b"0\r\n\r\n"):
                more = client.sock.recv(65536)
                assert more, got
                got += more
            assert b"/slow" in got


def test_a_first_part_streams(batcher, serve):
    """Its bytes are given on before it is whole."""
    hold = threading.Event()

    def reply(_request, conn):
        conn.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        hold.wait(20)
        conn.send(b"3\r\ntwo\r\n0\r\n\r\n")

    origin = serve(lambda conn: reply(conn.read_request(), conn))
    with batcher().post(origin.url(), ["Content-Type: text/plain"]) as client:
        got = b""
        while b"one" not in got:
            got += client.sock.recv(65536)
        hold.set()
        while not got.endswith(b"0\r\n\r\n"):
            got += client.sock.recv(65536)
        assert b"two" in got


BAD_ITEMS = [
    (1, "an item is an object"),
    ({}, "url: not given"),
    ({"url": 1}, "url: no string"),
    ({"url": "ftp://h/"}, "http:// or https://"),
    ({"url": "/path"}, "http:// or https://"),
    ({"url": "http://h/a b"}, "url: "),
    ({"url": "http://h/\r\nX: y"}, "url: "),
    ({"url": "http://u:p@w@h/"}, "url: "),
    ({"url": "ws://h/"}, "http:// or https://"),
    ({"url": "http://h/\u00e9"}, "url: "),
    ({"url": "http://tlsfan.localhost/batch"}, "batch inside a batch"),
    ({"url": "http://h/", "method": "GET /x HTTP/1.1\r\nHost: a"}, "method: "),
    ({"url": "http://h/", "method": ""}, "method: "),
    ({"url": "http://h/", "method": "CONNECT"}, "CONNECT"),
    ({"url": "http://h/", "method": 1}, "method: no string"),
    ({"url": "http://h/", "headers": {"Host": "x"}}, "Host may not be given"),
    ({"url": "http://h/", "headers": {"content-LENGTH": "3"}}, "may not be given"),
    ({"url": "http://h/", "headers": {"Transfer-Encoding": "chunked"}}, "may not be given"),
    ({"url": "http://h/", "headers": {"Connection": "close"}}, "may not be given"),
    ({"url": "http://h/", "headers": {"Proxy-Authorization": "x"}}, "may not be given"),
    ({"url": "http://h/", "headers": {"Upgrade": "websocket"}}, "may not be given"),
    ({"url": "http://h/", "headers": {"X": "a\r\nY: b"}}, "control byte"),
    ({"url": "http://h/", "headers": {"X": "a\u0000b"}}, "control byte"),
    ({"url": "http://h/", "headers": {"X\r\nY": "a"}}, "no field name"),
    ({"url": "http://h/", "headers": {"X": 1}}, "no string"),
    ({"url": "http://h/", "headers": "X: y"}, "headers: "),
    ({"url": "http://h/", "headers": [["X"]]}, "headers: "),
    ({"url": "http://h/", "headers": [["X", None]]}, "no string"),
    ({"url": "http://h/", "body": "a", "body_base64": "YQ=="}, "both given"),
    ({"url": "http://h/", "body": {}}, "body: no string"),
    ({"url": "http://h/", "body_base64": "Y!=="}, "no base64"),
    ({"url": "http://h/", "body_base64": "YQ"}, "no base64"),
    ({"url": "http://h/", "timeout_ms": 0}, "timeout_ms"),
    ({"url": "http://h/", "timeout_ms": "1"}, "timeout_ms"),
    ({"url": "http://h/", "id": []}, "id: "),
    ({"url": "http://h/", "id": "x" * 201}, "id: "),
    ({"url": "http://h/", "methd": "GET"}, "'methd' is no member"),
]


def test_what_is_wrong_with_an_item_is_its_own_error(batcher, serve):
    origin = serve(answering(lambda r, c: ok("fine")))
    items = [item for item, _ in BAD_ITEMS] + [{"url": origin.url()}]
    proxy = batcher()
    got = proxy.call(items)
    assert len(got) == len(items) and got[-1]["body"] == "fine"
    for line, (item, text) in zip(got, BAD_ITEMS):
        assert (line["status"], line["error"]) == (400, "http_request_error"), (item, line)
        assert text in line["body"], (item, line["body"])
    for part, (item, text) in zip(proxy.call(items, ndjson=False), BAD_ITEMS):
        response = inner(part)
        assert response.status == 400 and "error=http_request_error" in response.getheader("Proxy-Status"), item
        assert text in response.text.decode(), item
    assert len(origin.requests) == 2


def test_faults_of_origins_are_items(batcher, serve):
    good, bad = serve(answering(lambda r, c: ok("fine"))), serve(answering(lambda r, c: ok()), kind="expired")
    broken = serve(
        lambda conn: (conn.read_request(), conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfour"), conn.cut())
    )
    vague = serve(
        lambda conn: (
            conn.read_request(),
            conn.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n"),
            conn.cut(),
        )
    )
    urls = [
        bad.url(),
        "http://no.such.name.invalid/",
        "http://169.254.169.254/",
        broken.url(),
        vague.url(),
        good.url(),
    ]
    proxy = batcher()
    got = proxy.call("\n".join(urls))
    assert [(g["status"], g["error"]) for g in got] == [
        (502, "tls_certificate_error"),
        (502, "dns_error"),
        (403, "destination_ip_prohibited"),
        (502, "http_response_incomplete"),
        (502, "http_response_incomplete"),
        (200, None),
    ]
    assert "expired" in got[0]["body"] and "four" not in got[3]["body"] + got[4]["body"]
    got = proxy.call("\n".join(urls), ndjson=False)
    assert [inner(p).status for p in got[:3]] == [502, 502, 403]
    assert b"\r\nContent-Length: 10\r\n" in got[3][1] and got[3][1].endswith(b"\r\n\r\nfour")
    assert got[4][1].endswith(b"\r\n4\r\nfour\r\n")
    assert inner(got[5]).text == b"fine"


def test_no_length_is_chunked_inside_and_bare_answers_have_no_body(batcher, serve):
    def reply(request, conn):
        if request.method == "HEAD":
            return b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n"
        if request.target == "/204":
            return b"HTTP/1.1 204 No Content\r\n\r\n"
        conn.send(b"HTTP/1.1 200 OK\r\n\r\nuntil the end")
        conn.finish()

    origin = serve(answering(reply))
    items = [{"url": origin.url(), "method": "HEAD"}, {"url": origin.url("/204")}, {"url": origin.url("/close")}]
    proxy = batcher()
    head, empty, closed = proxy.call(items, ndjson=False)
    assert (
        b"\r\nContent-Length: 1234\r\n" in head[1] and head[1].endswith(b"\r\n\r\n") and b"204 No Content" in empty[1]
    )
    assert b"Transfer-Encoding: chunked" in closed[1] and inner(closed).text == b"until the end"
    assert [(g["status"], g.get("body")) for g in proxy.call(items)] == [(200, ""), (204, ""), (200, "until the end")]


def test_names_that_come_twice_are_lists(batcher, serve):
    origin = serve(
        answering(lambda r, c: ok(b"", "Set-Cookie: a=1; Secure", "X-One: 1", "set-cookie: b=2", "X-Raw: \xff"))
    )
    (line,) = batcher().call([{"url": origin.url()}])
    assert line["headers"]["Set-Cookie"] == ["a=1", "b=2"] and line["headers"]["X-One"] == "1"
    assert line["headers"]["X-Raw"] == "\xff"


def test_timeout_of_an_item(batcher, serve):
    origin = serve(answering(lambda r, c: c.hang() if r.target == "/hang" else ok("fine")))
    proxy = batcher()
    got = proxy.call([{"url": origin.url("/hang"), "timeout_ms": 200}, {"url": origin.url("/")}])
    assert (got[0]["status"], got[0]["error"]) == (504, "http_response_timeout") and "timeout_ms (200)" in got[0][
        "body"
    ]
    assert got[0]["ms"] >= 200 and got[1]["body"] == "fine"


@pytest.mark.parametrize(
    "kind, body, status, text",
    [
        ("application/json", "nonsense", 400, "no JSON array"),
        ("application/json", "", 400, "no JSON array"),
        ("application/json", "{}", 400, "no JSON array"),
        ("application/json", "[]", 400, "empty"),
        ("application/json", '[{"url":"http://h/"},]', 400, "not JSON: item 1"),
        ("application/json", '[{"url":"http://h/"}', 400, "neither a comma nor ]"),
        ("application/json", '[{"url":"http://h/"}] x', 400, "follows the array"),
        ("application/json", '[{"url":"http://h/","url":"http://i/"}]', 400, "not JSON"),
        ("application/json", "[" * 5000, 400, "not JSON"),
        ("application/json", "[\xff]", 400, "not JSON"),
        ("application/json", json.dumps([{"url": "http://h/"}] * 11), 413, "batch.max_items"),
        ("text/plain", "\n".join(["http://h/"] * 11), 413, "batch.max_items"),
        ("text/plain", "\r\n\n", 400, "empty"),
        ("application/x-www-form-urlencoded", "http://h/", 415, "application/json or text/plain"),
        ("text/plain", "x" * 70000, 413, "batch.max_size"),
    ],
)
def test_what_is_wrong_with_the_whole(batcher, kind, body, status, text):
    proxy = batcher("batch { max_items = 10 max_size = 64k }")
    with proxy.post(body.encode("latin-1"), ["Content-Type: " + kind]) as client:
        answer = client.response()
    assert answer.status == status and text in answer.text, answer
    assert answer.error == "http_request_error"


def test_other_refusals(batcher):
    proxy = batcher()
    for fields, method, path, status in (
        (["Content-Type: text/plain", "Content-Encoding: gzip"], "POST", "/batch", 415),
        ([], "POST", "/batch", 415),
        (["Content-Type: text/plain"], "PUT", "/batch", 405),
        (["Content-Type: text/plain"], "POST", "/other", 404),
        (["Content-Type: text/plain", "Origin: http://evil.example"], "POST", "/batch", 403),
        (["Content-Type: text/plain", "Origin: null"], "POST", "/batch", 403),
        (["Content-Type: text/plain", "Sec-Fetch-Site: cross-site"], "POST", "/batch", 403),
    ):
        with proxy.post("http://h/", fields, method=method, path=path) as client:
            answer = client.response()
        assert answer.status == status, (fields, answer)
    if status == 405:
        assert answer.get("Allow") == "POST"


def test_limit_of_one_body(batcher, serve):
    origin = serve(answering(lambda r, c: ok(b"x" * (40000 if r.target == "/big" else 10))))
    proxy = batcher("batch { max_item_response = 32k }")
    items = [{"url": origin.url("/small")}, {"url": origin.url("/big")}, {"url": origin.url("/small")}]
    got = proxy.call(items)
    assert [(g["status"], g["error"]) for g in got] == [(200, None), (502, "http_response_body_size"), (200, None)]
    assert "batch.max_item_response" in got[1]["body"]
    assert [len(inner(p).text) for p in proxy.call(items, ndjson=False)] == [10, 40000, 10]


def test_a_line_that_max_memory_has_no_room_for(batcher, serve):
    """It is an error of its item, and what it held is free again; a part needs no more room than streaming takes."""
    size = 8 << 20
    origin = serve(answering(lambda r, c: ok(b"x" * (size if r.target == "/big" else 10))))
    proxy = batcher("max_memory = 4m")
    items = [{"url": origin.url("/big")}, {"url": origin.url("/small")}]
    for _ in range(2):
        big, small = proxy.call(items)
        assert (big["status"], big["error"]) == (503, "connection_limit_reached")
        assert "max_memory" in big["body"] and small["status"] == 200
    assert [len(inner(p).text) for p in proxy.call(items, ndjson=False)] == [size, 10]


@pytest.mark.parametrize("number", ["7", "-1.5", "0.1", "123456789.12345678", "0.30000000000000004"])
def test_a_number_as_id_keeps_its_digits(batcher, serve, number):
    origin = serve(answering(lambda r, c: ok("fine")))
    proxy = batcher()
    body = '[{"url":"%s","id":%s}]' % (origin.url(), number)
    for accept, shown in (("application/x-ndjson", '"id":%s,'), ("*/*", "Content-ID: <%s>\r\n")):
        with proxy.post(body, ["Content-Type: application/json", "Accept: " + accept]) as client:
            answer = client.response()
        assert (shown % number).encode() in answer.body, answer.body


@pytest.mark.concurrent
def test_as_many_at_once_as_max_per_host(batcher, serve):
    """With a queue_timeout that would not let them wait for each other in the queue."""
    now, most, lock = [0], [0], threading.Lock()

    def reply(_request, conn):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        conn.server.stopping.wait(0.1)
        with lock:
            now[0] -= 1
        return ok()

    origin = serve(answering(reply))
    proxy = batcher("upstream { max_per_host = 4 queue_timeout = 100ms }")
    got = proxy.call([{"url": origin.url(), "method": "POST"} for _ in range(24)])
    assert [g["status"] for g in got] == [200] * 24 and most[0] == 4


def test_items_wait_for_each_other_under_a_rule(batcher, serve):
    """A rule that lets two go at once, and a queue_timeout that is much shorter than the whole takes."""
    origin = serve(answering(lambda r, c: (c.server.stopping.wait(0.1), ok())[1]))
    proxy = batcher('rule "localhost" { max_per_host = 2 }\nupstream { queue_timeout = 200ms }')
    got = proxy.call([{"url": origin.url()} for _ in range(12)])
    assert [g["status"] for g in got] == [200] * 12


def test_a_caller_that_leaves_cancels(batcher, serve):
    origin = serve(answering(lambda r, c: c.hang()))
    proxy = batcher()
    client = proxy.post("\n".join([origin.url()] * 5), ["Content-Type: text/plain"])
    origin.wait_requests(5)
    client.close()
    wait_until(lambda: not origin.open_conns(), 5 * SLOW, "the origin's connections to end")
    lines = proxy.wait_access(lambda x: x["error"] == "client_gone", 5)
    assert len([x for x in lines if x["url"].startswith("http://localhost")]) == 5


def test_a_slow_reader_grows_nothing(batcher, serve):
    """64 answers of 1 MiB that nobody reads: what waits is bounded, and comes whole in the end."""
    size = 1 << 20
    origin = serve(answering(lambda r, c: ok(b"x" * size)))
    proxy = batcher("client { buffer = 64k }")
    count = 64
    before = proxy.rss()
    with proxy.post("\n".join([origin.url()] * count), ["Content-Type: text/plain"], timeout=60) as client:
        origin.wait_requests(count, 20 * SLOW)
        wait_until(lambda: len(origin.open_conns()) >= count, 10 * SLOW, "all to be under way")
        time_quiet(lambda: len(origin.received))
        grown = proxy.rss() - before
        assert SANITIZED or grown < 24 * 1024, "%d KiB" % grown
        answer = http.client.HTTPResponse(client.sock)
        answer.begin()
        answer.body, answer.get = answer.read(), answer.getheader
    assert [len(inner(p).text) for p in parts(answer)] == [size] * count


def time_quiet(measure, quiet=0.3):
    """Waits until MEASURE() has not changed for a while."""
    state = [measure(), time.monotonic()]

    def settled():
        value = measure()
        if value != state[0]:
            state[:] = [value, time.monotonic()]
        return time.monotonic() - state[1] > quiet

    wait_until(settled, 20 * SLOW, "everything to stand still")


def test_credentials(batcher, serve, tmp_path):
    origin = serve(answering(lambda r, c: ok("fine")))
    users = tmp_path / "users"
    users.write_text(
        "bob:%s\n"
        % subprocess.run(
            ["openssl", "passwd", "-6", "secret"], capture_output=True, text=True, check=True
        ).stdout.strip()
    )
    proxy = batcher('client { auth_file = "%s" }' % users)
    good = base64.b64encode(b"bob:secret").decode()
    bad = base64.b64encode(b"bob:other").decode()
    name = "Proxy-Authorization: Basic "
    kinds = ["Content-Type: text/plain", "Accept: application/x-ndjson"]
    for body in (origin.url(), "\n".join([origin.url("/" + "x" * 1000)] * 200)):
        for fields, status in (([name + good], 200), ([name + bad], (401, 407)), ([], (401, 407))):
            with proxy.post(body, kinds + fields) as client:
                answer = client.response()
            assert answer.status == status if status == 200 else answer.status in status, answer
            if answer.status == 401:
                assert answer.get("WWW-Authenticate").startswith("Basic ")
    assert not any(b"secret" in bytes(c.received) or good.encode() in bytes(c.received) for c in origin.conns)


def test_rules_hold_for_items(batcher, serve):
    origin = serve(answering(echo))
    proxy = batcher(
        'rule "api.test" { connect_to = "127.0.0.1:%d" sni = "localhost" request_header = {"X-Key: k"} }' % origin.port
    )
    (line,) = proxy.call([{"url": "http://api.test/x"}])
    asked = {n.title(): v for n, v in json.loads(line["body"])["fields"]}
    assert asked["X-Key"] == "k" and asked["Host"] == "api.test"
    assert asked["Via"].startswith("1.1 tlsfan-")


def test_a_large_body_and_small_reads(batcher, serve):
    """4,000 items in a MiB, whole and byte by byte at its end."""
    origin = serve(answering(lambda r, c: ok(r.target)))
    proxy = batcher("batch { max_items = 5000 }")
    pad = "x" * 200
    got = proxy.call(
        [{"url": origin.url("/%d" % n), "headers": {"X-Pad": pad}} for n in range(4000 if not SANITIZED else 500)],
        timeout=60,
    )
    assert [g["body"] for g in got] == ["/%d" % n for n in range(len(got))]


def test_memory_for_json_is_bounded(batcher):
    """Ten MiB of empty arrays in one item would be half a gigabyte as a tree: what is no body is short. And a
    short item may not become a large tree either."""
    proxy = batcher()
    before = proxy.rss()
    for count, status, word in (3000000, 413, "besides its body"), (100000, 400, "memory"):
        body = b"[[" + b"[]," * count + b"[]]]"
        with proxy.post(body, ["Content-Type: application/json"], timeout=60) as client:
            answer = client.response()
        assert answer.status == status and word in answer.text, answer
    assert SANITIZED or proxy.rss() - before < 100 * 1024
    assert not proxy.dead()


CALL = r"""
import json, sys
try:
    from urllib2 import Request, ProxyHandler, build_opener
except ImportError:
    from urllib.request import Request, ProxyHandler, build_opener
url, proxies, target = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
body = "\n".join([target] * 100).encode("ascii")
fields = {"Content-Type": "text/plain", "Accept": "application/x-ndjson"}
answer = build_opener(ProxyHandler(proxies)).open(Request(url, body, fields))
items = [json.loads(line.decode("utf-8")) for line in answer]
print("%d %s" % (len(items), sorted({item["status"] for item in items})))
"""


@pytest.mark.bench
def test_a_hundred_delays_in_one_blocking_call(way, make_proxy, node_origin):
    proxy = make_proxy(service=True)
    url = proxy.service_url + "/batch" if way == "service" else "http://tlsfan.localhost/batch"
    proxies = {} if way == "service" else {"http": proxy.url}
    python = python2() or sys.executable
    begun = time.monotonic()
    done = subprocess.run(
        [python, "-c", CALL, url, json.dumps(proxies), node_origin.url("/delay/1")],
        capture_output=True,
        text=True,
        timeout=60,
        env=clean_env(),
    )
    took = time.monotonic() - begun
    print("100 x /delay/1 in one call (%s, %s): %.2f s" % (python.split("/")[-1], way, took))
    assert done.stdout.strip() == "100 [200]", done.stderr
    assert took < 3 * SOON  # and one after the other is 100 s


def test_what_follows_a_call_on_its_connection(make_proxy, serve):
    """On the service listener the connection ends with a streamed answer; on a proxy listener it goes on."""
    origin = serve(answering(lambda r, c: ok("fine")))
    proxy = make_proxy(service=True)
    for way in WAYS:
        with post(proxy, way, origin.url(), ["Content-Type: text/plain"]) as client:
            client.send(
                b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
                if way == "service"
                else ("GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % origin.url()).encode()
            )
            answer = client.response()
            assert answer.status == 200
            if way == "service":
                assert answer.get("Connection") == "close" and client.sock.recv(10) == b""
            else:
                assert client.response().body == b"fine"


def test_expect_continue(batcher, serve):
    """Who waits for 100 before sending the list gets it."""
    origin = serve(answering(lambda r, c: ok("fine")))
    proxy = batcher()
    body = origin.url().encode()
    more = ["Content-Type: text/plain", "Accept: application/x-ndjson", "Expect: 100-continue"]
    with proxy.post(b"", more, length=len(body)) as client:
        assert client.head().status == 100
        client.send(body)
        assert json.loads(client.response().body)["body"] == "fine"


def test_memory_that_is_spent(batcher, serve):
    """A call whose body finds no room is told so, and another one a moment later is not."""
    origin = serve(answering(lambda r, c: ok("fine")))
    proxy = batcher("max_memory = 1m")
    with proxy.post(b"http://h/\n" + b"x" * 3000000, ["Content-Type: text/plain"]) as client:
        answer = client.response()
    assert answer.status == 503 and "max_memory" in answer.text and answer.get("Retry-After"), answer
    wait_until(lambda: proxy.call(origin.url())[0]["status"] == 200, 5 * SLOW, "room again")


def test_an_http_1_0_caller(make_proxy, serve):
    origin = serve(answering(lambda r, c: ok("fine")))
    proxy = make_proxy(service=True)
    body = origin.url().encode()
    with Client(proxy.service_port) as client:
        client.send(
            b"POST /batch HTTP/1.0\r\nContent-Type: text/plain\r\nAccept: application/x-ndjson\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        head, _, rest = b"".join(iter(lambda: client.sock.recv(65536), b"")).partition(b"\r\n\r\n")
    assert b"Transfer-Encoding" not in head and json.loads(rest)["body"] == "fine"


def test_a_cut_answer_has_no_proper_end(make_proxy, serve):
    """HTTP/1.0 knows the end by the connection's: it is reset where the process ends first."""
    origin = serve(answering(lambda r, c: c.hang() if r.target == "/hang" else ok("fine")))
    proxy = make_proxy("drain_timeout = 300ms", service=True)
    body = ("%s\n%s" % (origin.url("/a"), origin.url("/hang"))).encode()
    with Client(proxy.service_port) as client:
        client.send(
            b"POST /batch HTTP/1.0\r\nContent-Type: text/plain\r\nAccept: application/x-ndjson\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        got = b""
        while b"fine" not in got:
            got += client.sock.recv(65536)
        proxy.signal(signal.SIGTERM)
        with pytest.raises(ConnectionResetError):
            while client.sock.recv(65536):
                pass


def test_inside_connect_to_port_80(make_proxy, serve):
    origin = serve(answering(lambda r, c: ok("fine")))
    proxy = make_proxy()
    with Client(proxy.port) as client:
        client.send(b"CONNECT tlsfan.localhost:80 HTTP/1.1\r\nHost: tlsfan.localhost:80\r\n\r\n")
        assert client.response("CONNECT").status == 200
        body = origin.url().encode()
        client.send(
            b"POST /batch HTTP/1.1\r\nHost: tlsfan.localhost\r\nContent-Type: text/plain\r\n"
            b"Accept: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n"
            % (len(body), body)
        )
        assert json.loads(client.response().body)["body"] == "fine"


def test_a_forward_listener_knows_no_batch(make_proxy, serve):
    origin = serve(answering(lambda r, c: ok("the origin's")))
    proxy = make_proxy('forward "127.0.0.1:0" { to = "https://localhost:%d" }' % origin.port)
    wait_until(lambda: proxy.log().count("listening on 127.0.0.1:") == 2, 5, "both listeners")
    port = int(proxy.log().split("listening on 127.0.0.1:")[2].split(" ")[0])
    with Client(port) as client:
        client.send(b"POST /batch HTTP/1.1\r\nHost: tlsfan.localhost\r\nContent-Length: 0\r\n\r\n")
        assert client.response().body == b"the origin's"
