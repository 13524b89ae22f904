# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 origins whose connections carry few requests: what was not begun is asked again, in proportion and in time."""
import hashlib
import json
import re
import threading
from collections import Counter

import pytest

from testenv import h2server as h2
from testenv.client import Client
from testenv.crowd import get_all
from testenv.h2server import each, echo
from testenv.nginx import Nginx
from testenv.scripted import answering, ok
from testenv.wait import wait_until

CROWD = 400
CLIENTS = 20
MORE = 8  # connections beyond those that the limit asks for
TRIES = 11  # where the origin makes no progress
LIMITS = ["keepalive_requests 1;", "keepalive_requests 2;", "keepalive_requests 3;", "keepalive_requests 7;",
          "keepalive_timeout 0;"]


def pipeline(c, url, count=CROWD):
    """COUNT GETs in one write; url(path) each. Every answer has to be that of its request."""
    paths = ["/%d" % i for i in range(count)]
    got = get_all(c, [url(path) for path in paths])
    assert [(r.status, r.text.strip()) for r in got] == [(200, path) for path in paths], got


def side_by_side(p, function, count=CLIENTS):
    """FUNCTION(client, number) for COUNT clients at once; gives what they gave."""
    out = [None] * count

    def run(i):
        with p.client(timeout=30) as c:
            out[i] = function(c, i)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert None not in out
    return out


def chunked(body):
    return b"%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body) // 2, body[: len(body) // 2],
                                                   len(body) - len(body) // 2, body[len(body) // 2 :])


def post(c, url, body, how):
    field = "Transfer-Encoding: chunked" if how == "chunked" else "Content-Length: %d" % len(body)
    c.request("POST", url, field)
    c.send(chunked(body) if how == "chunked" else body)
    return c.response("POST")


# --- nginx


@pytest.fixture
def few(request, tmp_path, ca):
    """An nginx whose connections carry few requests; below /up/ it reads all of a body before it answers."""
    (tmp_path / "few").mkdir()
    answer = 'client_max_body_size 1m; location / { return 200 "$uri\\n"; }'
    text = """
    server { listen 127.0.0.1:@PLAIN@ ssl http2 backlog=511; %s %s
             location /up/ { proxy_pass https://127.0.0.1:@PORT@; } }
    """
    server = Nginx(tmp_path / "few", ca.leaf(), answer, text % (request.param, answer))
    server.limit = int((re.findall(r"requests (\d+)", request.param) or ["1"])[0])
    server.few = lambda path: "http://localhost:%d%s" % (server.plain, path)
    yield server
    server.stop()


def opened(p, server):
    """Connections that were made to SERVER."""
    with Client(p.service_port) as c:
        text = c.get(p.service_url + "/metrics").text
    (count,) = re.findall(r'connections_opened_total{origin="localhost:%d"} (\d+)' % server.plain, text)
    return int(count)


@pytest.mark.parametrize("few", LIMITS, indirect=True, ids=lambda x: x.rstrip(";"))
def test_nginx_whose_connections_carry_few(one, few):
    c, p = one(service=True)
    pipeline(c, few.few)
    assert opened(p, few) <= CROWD // few.limit + MORE
    # and the next ones know
    pipeline(c, few.few, 100)
    assert opened(p, few) <= (CROWD + 100) // few.limit + 2 * MORE
    assert {x["protocol"] for x in p.wait_access(lambda x: True, CROWD + 100)} == {"h2"}


@pytest.mark.parametrize("few", LIMITS[:2], indirect=True, ids=lambda x: x.rstrip(";"))
def test_nginx_that_is_posted_to(one, few):
    _, p = one(service=True)
    kinds = [(1000, "length"), (1000, "chunked"), (100 * 1024, "length"), (100 * 1024, "chunked")]

    def five(c, i):
        size, how = kinds[i % 4]
        got = [post(c, few.few("/up/%d/%d" % (i, n)), b"x" * size, how) for n in range(5)]
        return [(r.status, r.text) for r in got]

    got = side_by_side(p, five)
    assert got == [[(200, "/up/%d/%d\n" % (i, n)) for n in range(5)] for i in range(CLIENTS)]
    assert opened(p, few) <= 2 * 5 * CLIENTS // few.limit + MORE


@pytest.mark.parametrize("few", LIMITS[:4], indirect=True, ids=lambda x: x.rstrip(";"))
@pytest.mark.parametrize("http2", ["on", "off"])
def test_nginx_that_answers_before_it_has_read(one, few, http2):
    """What is left of a body is passed over, and the client's connection goes on with the next request."""
    _, p = one('rule "localhost" { http2 = %s }\n' % http2)

    def pipelined(c, i):
        paths, body = ["/%d/%d" % (i, n) for n in range(20)], b"x" * 100 * 1024
        heads = ["POST %s HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n" % (
            few.few(path), "Transfer-Encoding: chunked" if n % 2 else "Content-Length: %d" % len(body))
            for n, path in enumerate(paths)]
        sender = threading.Thread(target=c.send, args=(b"".join(
            head.encode() + (chunked(body) if n % 2 else body) for n, head in enumerate(heads)),))
        sender.start()
        got = [c.response("POST") for _ in paths]
        sender.join()
        return [(r.status, r.text, r.get("Connection")) for r in got] == [(200, path + "\n", None) for path in paths]

    assert side_by_side(p, pipelined) == [True] * CLIENTS


@pytest.mark.parametrize("few", LIMITS[:2], indirect=True, ids=lambda x: x.rstrip(";"))
@pytest.mark.parametrize("conf", ["workers = 2\n", "workers = 1\nupstream { max_per_host = 3 }\n"])
def test_nginx_and_several_clients(make_proxy, few, conf):
    """Each worker learns for itself; who queues for a slot is served as well."""
    p = make_proxy(conf, service=True)
    side_by_side(p, lambda c, i: pipeline(c, few.few, 50) is None, 4)
    assert opened(p, few) <= 4 * 50 // few.limit + 4 * MORE


@pytest.mark.parametrize("few", LIMITS[:1], indirect=True, ids=lambda x: x.rstrip(";"))
def test_nginx_and_a_batch(make_proxy, few):
    p = make_proxy("workers = 1\n", service=True)
    body = "".join(few.few("/%d\n" % i) for i in range(100))
    with Client(p.service_port, timeout=20) as c:
        r = c.exchange("POST", p.service_url + "/batch", "Content-Type: text/plain", "Accept: application/x-ndjson",
                       body=body.encode())
    assert r.status == 200
    assert Counter(json.loads(line)["status"] for line in r.text.splitlines()) == {200: 100}
    assert opened(p, few) <= 100 + MORE


# --- an origin of our own, in all the ways in which a connection may end


def goaway(conn, last):
    conn.goaway(last)


def calm(conn, last):
    conn.goaway(last, h2.ENHANCE_YOUR_CALM, b"too_many")


def twice(conn, last):
    conn.goaway(h2.MAX_WINDOW)
    conn.goaway(last)


def hurried(conn, last):
    conn.goaway(last)
    conn.finish()


ENDINGS = {"goaway": goaway, "enhance your calm": calm, "twice": twice, "at once": hurried, "refused": None}


def limited(limit, ending, answer=echo):
    """Each connection answers LIMIT requests, and then it ends so; with None it refuses all that come after."""

    def handler(conn):
        last, n = 2 * limit - 1, 0
        for stream in conn.incoming():
            if stream.id <= last:
                answer(stream)
                n += 1
            elif ending is None:
                stream.refuse()
            if stream.id <= last and n == limit and ending is not None:
                ending(conn, last)

    return handler


@pytest.mark.parametrize("limit", [1, 3])
@pytest.mark.parametrize("ending", ENDINGS)
def test_ways_of_carrying_few(one, serve_h2, ending, limit):
    server = serve_h2(limited(limit, ENDINGS[ending]))
    c, _ = one()
    pipeline(c, server.url, 100)
    assert server.accepted <= 2 * 100 // limit + MORE
    assert Counter(server.paths())["/99"] <= 3 + (ending == "refused")


@pytest.mark.parametrize("limit", [1, 3])
def test_no_goaway_at_all(one, serve_h2, limit):
    """TCP ends behind an answer: what is safe is asked again as long as others are answered."""
    server = serve_h2(limited(limit, lambda conn, last: conn.cut()))
    c, _ = one()
    pipeline(c, server.url, 100)
    assert server.accepted <= 2 * 100 // limit + MORE


def test_none_is_asked_again_without_retries(one, serve_h2):
    server = serve_h2(limited(1, lambda conn, last: conn.cut()))
    c, _ = one("upstream { retries = 0 }\n")
    c.send("".join("GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % server.url("/%d" % i) for i in range(20)))
    got = [c.response() for _ in range(20)]
    assert {r.status for r in got} == {200, 502}
    assert not [path for path, n in Counter(server.paths()).items() if n > 1]


def test_limits_that_vary(one, serve_h2):
    def handler(conn):
        return limited(1 + conn.number * 5 % 7, goaway)(conn)

    server = serve_h2(handler)
    c, _ = one()
    pipeline(c, server.url, 200)
    assert server.accepted <= 200


@pytest.mark.parametrize("ending", ["goaway", "at once", "refused"])
def test_posts_are_carried_out_once(one, serve_h2, ending):
    done = []

    def answer(stream):
        done.append(stream.target)
        stream.respond(stream.digest.hexdigest())

    server = serve_h2(limited(2, ENDINGS[ending], answer), keep=False)
    _, p = one()

    def three(c, i):
        size, how = [(10, "length"), (10, "chunked"), (100 * 1024, "length"), (100 * 1024, "chunked")][i % 4]
        body = hashlib.sha512(b"%d" % i).digest() * (size // 64 + 1)
        for n in range(3):
            r = post(c, server.url("/%d/%d" % (i, n)), body, how)
            assert r.status == 200 and r.text == hashlib.sha256(body).hexdigest(), r
        return True

    side_by_side(p, three)
    assert sorted(done) == sorted("/%d/%d" % (i, n) for i in range(CLIENTS) for n in range(3))
    assert server.accepted <= 2 * 3 * CLIENTS // 2 + MORE


def test_posts_that_may_have_been_carried_out_are_not_asked_again(one, serve_h2):
    """No GOAWAY: the origin may have begun with each of them."""
    held = []

    def handler(conn):
        for stream in conn.incoming():
            held.append(stream)
            if conn.number == 0 and len(held) == 10:
                echo(held[0])
                return conn.finish()
            if conn.number > 0:
                echo(stream)

    server = serve_h2(handler)
    _, p = one()

    def ask(c, i):
        c.request("POST", server.url("/%d" % i), "Content-Length: 0")
        return c.response("POST")

    got = side_by_side(p, ask, 10)
    assert Counter(r.status for r in got) == {200: 1, 502: 9} and len(server.requests) == 10
    assert all("may have been carried out" in r.text for r in got if r.status == 502)


# --- origins that make no progress


def none_at_all(conn):
    conn.begin()
    conn.goaway(h2.MAX_WINDOW)
    conn.goaway(0)
    conn.hang()


def none_in_one_breath(conn):
    conn.begin(h2.goaway(h2.MAX_WINDOW) + h2.goaway(0))
    conn.hang()


def turned_away(conn):
    for _ in conn.incoming():
        conn.goaway(0, h2.ENHANCE_YOUR_CALM)
        return conn.finish()


def refused(conn):
    for stream in conn.incoming():
        stream.refuse()


@pytest.mark.parametrize("handler", [none_at_all, none_in_one_breath, turned_away, refused], ids=lambda x: x.__name__)
def test_no_progress_ends_with_a_sentence(one, serve_h2, handler):
    """On few connections, and nobody else waits for it."""
    server, other = serve_h2(handler), serve_h2(each(echo))
    c, p = one("upstream { max_per_host = 30 }\n")
    c.send("".join("GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % server.url("/%d" % i) for i in range(30)))
    with p.client() as d:
        pipeline(d, other.url, 20)
    got = [c.response() for _ in range(30)]
    assert {(r.status, r.error) for r in got} == {(502, "connection_terminated")}
    assert {"%d times and never begun" % TRIES in r.text for r in got} == {True}, got[0].text
    # who is asked again at about the same time shares them
    assert server.accepted <= 5 * TRIES and max(Counter(server.paths()).values(), default=0) <= TRIES


def test_one_that_is_always_refused_ends_in_time(one, serve_h2):
    """Others are answered all the while: time is the bound, not their number."""
    server = serve_h2(each(lambda s: s.refuse() if s.target == "/never" else echo(s)))
    c, p = one("upstream { queue_timeout = 2s }\n")
    c.request("GET", server.url("/never"))
    over = threading.Event()

    def others():
        with p.client() as d:
            while not over.is_set():
                assert d.get(server.url("/a")).status == 200

    thread = threading.Thread(target=others)
    thread.start()
    r = c.response()
    over.set()
    thread.join()
    assert r.status == 502 and "within 2000 ms (upstream.queue_timeout)" in r.text, r.text
    assert server.paths().count("/never") <= 20 and server.accepted <= 20


def test_a_body_that_is_gone_is_told(one, serve_h2):
    def handler(conn):
        for stream in conn.incoming("head"):
            while stream.received < 300000 and conn.next_frame() is not None:
                pass
            stream.refuse()
            conn.hang()

    server = serve_h2(handler)
    _, p = one("client { buffer = 64k }\n")
    with p.client() as c:
        c.send(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" % server.url("/up").encode())
        c.send(b"x" * 400000)
        r = c.response("POST")
    assert r.status == 502 and "was not carried out, but more of its body had been sent" in r.text, r.text


# --- an estimate is one


def test_a_restart_is_no_limit(one, serve_h2):
    """One connection ends after few; the next one carries all the others."""

    def handler(conn):
        return limited(5 if conn.number == 0 else 10000, goaway)(conn)

    server = serve_h2(handler)
    c, _ = one()
    for _ in range(3):
        pipeline(c, server.url, 100)
    assert server.accepted <= 3


def test_a_limit_that_is_gone_is_forgotten(one, serve_h2):
    """Connections that carry more than was thought do; in the end few of them are in use."""
    limits = [1]

    def handler(conn):
        n = 0
        for stream in conn.incoming():
            n += 1
            echo(stream)
            if n == limits[0]:
                conn.goaway(stream.id)
                break
        conn.hang()

    server = serve_h2(handler)
    c, _ = one()
    pipeline(c, server.url, 50)
    limits[0] = 10000
    for _ in range(12):
        pipeline(c, server.url, 100)
    before = len(server.requests)
    pipeline(c, server.url, 100)
    assert len({s.conn.number for s in server.requests[before:]}) <= 5
    wait_until(lambda: server.accepted == len(server.conns), 5, "the handshakes")


def test_goaway_that_wants_http1(one, serve_h2):
    def handler(conn):
        for stream in conn.incoming():
            return conn.goaway(0, h2.HTTP_1_1_REQUIRED)

    server = serve_h2(handler, h1=answering(lambda r, c: ok(r.target)))
    c, p = one()
    pipeline(c, server.url, 100)
    assert len(server.h2) <= 3
    assert Counter(x["protocol"] for x in p.wait_access(lambda x: True, 100)) == {"h1": 100}
