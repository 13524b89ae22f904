# SPDX-License-Identifier: Apache-2.0
"""How origins are spared: rate, Retry-After, and whose turn it is among those who wait."""
import functools
import re
import signal
import socket
import subprocess
import threading
import time

import pytest

from testenv.client import Client
from testenv.crowd import answers, pipeline
from testenv.ports import free_port
from testenv.proxy import run
from testenv.scripted import Server, answering, ok
from testenv.wait import wait_until

GAP = 0.05  # of 20/s
WAITS = "who waits has no connection yet"
LATE = 0.04  # what a busy machine may add to the way of a request


def timed(test):
    """What TEST measures may be spoiled by a busy machine: one of several runs has to be as it should."""
    @functools.wraps(test)
    def run_again(*args, **kw):
        for _ in range(5):
            try:
                return test(*args, **kw)
            except AssertionError as e:
                fault = e
        raise fault
    return run_again


class Origin:
    """Notes when each request came. Each waits at the gate, where there is one."""

    def __init__(self, serve, answer=None):
        self.came = []  # (time, target)
        self.lock = threading.Lock()
        self.gate = None
        self.answer = answer or (lambda request, n: ok("at " + request.target))
        self.server = serve(answering(self.handle))
        self.url = self.server.url

    def handle(self, request, conn):
        with self.lock:
            self.came.append((time.monotonic(), request.target))
            n = len(self.came)
        if self.gate is not None:
            self.gate.acquire(timeout=60)
        return self.answer(request, n)

    def targets(self):
        with self.lock:
            return [target for _, target in self.came]

    def close_gate(self):
        self.gate = threading.Semaphore(0)

    def until(self, target, few):
        """Lets one request after the other end, and another begin for each, until TARGET has: FEW at most."""
        for _ in range(few):
            n = len(self.came)
            self.gate.release()
            wait_until(lambda: len(self.came) > n, 20, "another request")
            if target in self.targets():
                break
        assert target in self.targets(), (len(self.came), self.targets()[-few:])
        self.open_gate()

    def open_gate(self):
        gate, self.gate = self.gate, None
        for _ in range(2000):
            gate.release()

    def spaced(self, gap, count):
        """COUNT requests have come, GAP apart."""
        times = sorted(t for t, _ in self.came)
        assert len(times) == count
        for i in range(count):
            for k in range(i + 2, count):
                assert times[k] - times[i] >= (k - i) * gap - LATE, (i, k, [t - times[0] for t in times])


def person(p, last, **kw):
    """A client that comes from 127.0.0.LAST."""
    sock = socket.create_connection(("127.0.0.1", p.port), source_address=("127.0.0.%d" % last, 0))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    c = Client.__new__(Client)
    c.sock, c.buf = sock, b""
    sock.settimeout(kw.get("timeout", 60))
    return c


def metric(p, name, *fields):
    with Client(p.service_port, timeout=30) as c:
        text = c.get("/metrics", *fields, host="127.0.0.1:%d" % p.service_port).text
    return int(re.search(r"^%s (\d+)" % name, text, re.M).group(1))


def lined_up(p, count, *fields):
    """COUNT requests for one origin are under way, and all but FEW's four wait for their turn."""
    under_way(p, count, *fields)
    wait_until(lambda: metric(p, "tlsfan_origin_requests_waiting{.*}", *fields) == count - 4, 30, "the others to wait")


def under_way(p, count, *fields):
    wait_until(lambda: metric(p, "tlsfan_exchanges_in_flight", *fields) == count, 30, "%d requests under way" % count)


# ---- whose turn


FEW = "workers = %d\nclient { max_pipeline = 1000 }\nupstream { max_per_host = 4 }\n"


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_one_pipelines_a_thousand(make_proxy, serve, workers):
    """Another's single request waits for at most a few of them."""
    origin = Origin(serve)
    origin.close_gate()
    p = make_proxy(FEW % workers, service=True)
    with person(p, 2) as many, person(p, 3) as single:
        pipeline(many, [origin.url("/many/%d" % i) for i in range(1000)])
        lined_up(p, 1000)
        wait_until(lambda: len(origin.targets()) == 4, what="four to begin")
        single.request("GET", origin.url("/single"))
        lined_up(p, 1001)
        origin.until("/single", 2)
        assert single.response().text == "at /single"
        assert [r.text for r in answers(many, 1000)] == ["at /many/%d" % i for i in range(1000)]


@pytest.mark.parametrize("workers", [1, 4])
def test_a_hundred_connections_are_one_person(make_proxy, serve, workers):
    """An address takes turns as one, on however many connections it asks."""
    origin = Origin(serve)
    origin.close_gate()
    p = make_proxy(FEW % workers, service=True)
    many = [person(p, 2) for _ in range(100)]
    singles = [person(p, last) for last in (3, 4)]
    for i, c in enumerate(many):
        pipeline(c, [origin.url("/many/%d" % i)] * 5)
    under_way(p, 500)
    for i, c in enumerate(singles):
        c.request("GET", origin.url("/single/%d" % i))
    under_way(p, 502)
    wait_until(lambda: len(origin.targets()) == 4, what="four to begin")
    origin.until("/single/0", 3 * workers)
    for i, c in enumerate(singles):
        assert c.response().text == "at /single/%d" % i
    for i, c in enumerate(many):
        assert [r.text for r in answers(c, 5)] == ["at /many/%d" % i] * 5
    for c in many + singles:
        c.close()


def test_connections_of_one_person_take_turns(make_proxy, serve):
    origin = Origin(serve)
    origin.close_gate()
    p = make_proxy(FEW % 1, service=True)
    with person(p, 2) as many, person(p, 2) as single:
        pipeline(many, [origin.url("/many")] * 500)
        under_way(p, 500)
        single.request("GET", origin.url("/single"))
        under_way(p, 501)
        wait_until(lambda: len(origin.targets()) == 4, what="four to begin")
        origin.until("/single", 2)
        assert single.response().text == "at /single"
        answers(many, 500)


def test_credentials_are_persons(make_proxy, serve, tmp):
    """Two users behind one address; one of them on many connections, and however the credentials are written."""
    path = tmp / "politeness.htpasswd"
    with open(path, "w") as f:
        for user in ("alice", "bob"):
            hashed = subprocess.run(["openssl", "passwd", "-5", "-salt", "pepper", "wonder"], check=True,
                                    capture_output=True, text=True).stdout.strip()
            f.write("%s:%s\n" % (user, hashed))
    origin, known = Origin(serve), Origin(serve)
    origin.close_gate()
    p = make_proxy(FEW % 1 + 'client { auth_file = "%s" }\n' % path, service=True)
    alice = "Authorization: Basic YWxpY2U6d29uZGVy"
    spellings = ["Basic YWxpY2U6d29uZGVy", "basic YWxpY2U6d29uZGVy", "BASIC   YWxpY2U6d29uZGVy"]
    many = [person(p, 2) for _ in range(30)]
    for i, c in enumerate(many):
        c.request("GET", origin.url("/many"), "Proxy-Authorization: " + spellings[i % 3])
    under_way(p, 30, alice)
    with person(p, 2) as bob:
        assert bob.get(known.url("/"), "Proxy-Authorization: Basic Ym9iOndvbmRlcg==").status == 200
        bob.request("GET", origin.url("/single"), "Proxy-Authorization: Basic Ym9iOndvbmRlcg==")
        under_way(p, 31, alice)
        wait_until(lambda: len(origin.targets()) == 4, what="four to begin")
        origin.until("/single", 2)
        assert bob.response().text == "at /single"
    for c in many:
        assert c.response().status == 200
        c.close()


# ---- rate


@timed
def test_evenly_over_all_workers(make_proxy, serve):
    """Three people, one with many connections, and two origins, each with a time of its own."""
    origins = [Origin(serve), Origin(serve)]
    p = make_proxy('workers = 4\nrule "localhost" { rate = "20/s" }\n', service=True)
    people = [person(p, last) for last in (2, 2, 2, 2, 3, 4)]
    begin = time.monotonic()
    for k, c in enumerate(people):
        pipeline(c, [origin.url("/%d/%d" % (k, i)) for i in range(2) for origin in origins])
    for k, c in enumerate(people):
        assert [r.text for r in answers(c, 4)] == ["at /%d/%d" % (k, i) for i in (0, 0, 1, 1)]
    assert time.monotonic() - begin < 10
    for origin in origins:
        origin.spaced(GAP, 12)
        early = origin.targets()[:3 + 2 * 4]
        assert any(t.startswith("/4/") for t in early) and any(t.startswith("/5/") for t in early)
    assert metric(p, "tlsfan_rate_waits_total") >= 18
    for c in people:
        c.close()
    line = max(p.wait_access(lambda x: True, count=24), key=lambda x: x["ms"]["queued"])
    assert line["ms"]["queued"] >= 300


@pytest.mark.h1_only(WAITS)
@timed
def test_no_burst_after_a_rest(one, serve):
    origin = Origin(serve)
    c, _ = one('rule "localhost" { rate = "600/m" }\n')
    assert c.get(origin.url("/0")).status == 200
    wait_until(lambda: time.monotonic() - origin.came[0][0] > 0.3, what="time that is not saved up")
    pipeline(c, [origin.url("/%d" % i) for i in range(1, 5)])
    answers(c, 4)
    del origin.came[0]
    origin.spaced(0.1, 4)


@pytest.mark.h1_only("a connection each: the slower case")
@timed
def test_a_high_rate_is_reached(one, serve):
    """Timers that are late do not make it half."""
    origin = Origin(serve)
    c, _ = one('client { max_pipeline = 400 }\nrule "localhost" { rate = "400/s" }\n')
    begin = time.monotonic()
    pipeline(c, [origin.url("/")] * 200)
    answers(c, 200)
    took = time.monotonic() - begin
    assert took >= 0.48, took
    assert origin.came[-1][0] - origin.came[0][0] >= 0.4
    assert took < 0.9, took


@pytest.mark.h1_only(WAITS)
def test_who_waits_too_long(one, serve):
    origin = Origin(serve)
    c, p = one('upstream { queue_timeout = 300ms }\nrule "localhost" { rate = "1/h" }\n')
    assert c.get(origin.url("/1")).status == 200
    r = c.get(origin.url("/2"))
    assert r.status == 503 and 3590 <= int(r.get("Retry-After")) <= 3600 and 'rate of rule "localhost"' in r.text
    assert "connection_limit_reached" in r.get("Proxy-Status")
    assert origin.targets() == ["/1"]
    line = p.wait_access(lambda x: x["status"] == 503)[0]
    assert 300 <= line["ms"]["queued"] < 5000


@pytest.mark.h1_only(WAITS)
def test_a_reload_and_another_rule_forget_nothing(make_proxy, serve):
    """The hour is the origin's, whatever the configuration that is in use."""
    origin = Origin(serve)
    conf = 'upstream { queue_timeout = 200ms }\nrule "localhost" { rate = "1/h" http2 = %s }\n'
    p = make_proxy(conf % "on")
    with p.client() as c:
        assert c.get(origin.url("/1")).status == 200
        p.write(conf % "off")
        p.signal(signal.SIGHUP)
        p.wait_log("reloaded")
        assert c.get(origin.url("/2")).status == 503


@pytest.mark.h1_only(WAITS)
def test_a_reload_to_a_higher_rate(make_proxy, serve):
    """It holds at once, and for who waits already."""
    origin = Origin(serve)
    conf = 'rule "localhost" { rate = "%s" }\n'
    p = make_proxy(conf % "1/h", service=True)
    with p.client() as c, p.client() as waits:
        assert c.get(origin.url("/1")).status == 200
        waits.request("GET", origin.url("/waits"))
        under_way(p, 1)
        p.write(conf % "20/s")
        p.signal(signal.SIGHUP)
        p.wait_log("reloaded")
        assert c.get(origin.url("/2")).text == "at /2"
        assert waits.response().text == "at /waits"


@pytest.mark.h1_only(WAITS)
@pytest.mark.parametrize("how", ["refused", "left"])
def test_a_turn_that_nobody_used(make_proxy, serve, ca, how):
    """What has not begun does not count: a connection that is refused, a client that leaves while it is made."""
    port, listener = free_port(), None
    p = make_proxy('upstream { queue_timeout = 5s }\nrule "localhost" { rate = "1/h" }\n')
    url = "http://localhost:%d/" % port
    if how == "left":
        listener = socket.create_server(("127.0.0.1", port))
    with p.client() as c:
        if listener is None:
            assert c.get(url).status == 502
        else:
            c.request("GET", url)
            conn, _ = listener.accept()
    if listener is not None:
        p.wait_access(lambda x: True)
        conn.close()
        listener.close()
    server = Server(answering(lambda request, conn: ok("here")), ca.server_context("good"), port=port)
    with p.client() as c:
        assert c.get(url).text == "here"
    server.stop()


@pytest.mark.h1_only("a connection that is used is lost")
def test_another_try_goes_before_what_waits_for_it(one, serve):
    """What is behind it holds all slots but its own, and cannot end before it."""
    big, lost = b"z" * 500000, []

    def handler(conn):
        while True:
            request = conn.read_request()
            if request is None:
                return None
            if request.target == "/0" and not lost:
                lost.append(request)
                return conn.cut()
            conn.send(ok(big))

    server = serve(handler)
    c, _ = one('workers = 1\nclient { buffer = 16k }\nupstream { max_per_host = 2 queue_timeout = 5s }\n'
               'rule "localhost" { rate = "20/s" }\n')
    assert c.get(server.url("/warm")).status == 200
    pipeline(c, [server.url("/%d" % i) for i in range(6)])
    assert [(r.status, len(r.body)) for r in answers(c, 6)] == [(200, len(big))] * 6
    assert len(lost) == 1


def test_421_has_its_time(make_proxy, serve_h2):
    """Requests had their turn while the first connection was made, and begin one after the other; so does the one
    among them that is asked again, on a connection of its own."""
    came, shakes = [], threading.Event()

    def handler(conn):
        for stream in conn.incoming():
            came.append((stream.target, conn.number))
            if conn.number == 0 and stream.target == "/0":
                stream.respond("no", status=421)
            else:
                stream.respond("at " + stream.target)

    server = serve_h2(handler, gate=shakes)
    p = make_proxy('workers = 1\nrule "localhost" { rate = "40/s" }\n')
    with p.client() as c:
        pipeline(c, [server.url("/%d" % i) for i in range(14)])
        threading.Timer(0.2, shakes.set).start()
        assert [r.text for r in answers(c, 14)] == ["at /%d" % i for i in range(14)]
    assert came.index(("/0", 1)) - came.index(("/0", 0)) > 3, came


@pytest.mark.h1_only(WAITS)
@timed
def test_a_batch_waits_for_its_turn(make_proxy, serve):
    """Longer than queue_timeout, and as long as timeout_ms says."""
    origin = Origin(serve)
    p = make_proxy('upstream { queue_timeout = 100ms }\nrule "localhost" { rate = "20/s" }\n', service=True)
    with Client(p.service_port, timeout=30) as c:
        body = "".join(origin.url("/%d" % i) + "\n" for i in range(6)).encode()
        r = c.exchange("POST", "/batch", "Content-Type: text/plain", "Accept: application/x-ndjson", body=body,
                       host="127.0.0.1:%d" % p.service_port)
        assert r.text.count('"status":200') == 6, r.text
    origin.spaced(GAP, 6)


@pytest.mark.h1_only("a connection each: the slower case")
@timed
def test_pages_ahead_wait_for_their_turn(make_proxy, serve):
    """They are fetched ahead of the client, and no faster than others."""
    origin = Origin(serve, answer=lambda request, n: time.sleep(0.1) or ok("at " + request.target))
    p = make_proxy('workers = 1\nrule "localhost" { readahead = 8 rate = "20/s" }\n', service=True)
    begin = time.monotonic()
    with p.client(timeout=30) as c:
        for n in range(1, 12):
            assert c.get(origin.url("/page?n=%d" % n)).text == "at /page?n=%d" % n
    took = time.monotonic() - begin
    times = sorted(t for t, _ in origin.came)
    assert all(b - a >= 2 * GAP - LATE for a, b in zip(times, times[2:]))
    assert metric(p, "tlsfan_readahead_used_total") >= 5
    assert took < 11 * 0.18


NO_RATES = ["10", "10/d", "0/s", "-1/s", "1.5/s", "/s", "10 /s", "10/s ", "9999999/s", "1000001/s", "10/S", "1e3/s",
            "0x10/s", "10/ss", "18446744073709551617/s", "+1/s"]


def test_what_is_no_rate():
    done = run("-t", *[x for i, text in enumerate(NO_RATES) for x in ("-o", "rule[r%d.test].rate=%s" % (i, text))])
    assert done.returncode == 1
    for text in NO_RATES:
        assert '"%s" is no rate' % text in done.stderr, (text, done.stderr)
    done = run("-t", *[x for i, text in enumerate(["1/h", "1000000/s", "1000000/h", ""])
                       for x in ("-o", "rule[r%d.test].rate=%s" % (i, text))])
    assert done.returncode == 0, done.stderr


# ---- Retry-After

OBEYS = 'rule "localhost" { retry_after = on %s }\n'


def busy(status, value, body="busy", *fields):
    return ok(body, "Retry-After: " + value, *fields, status=status)


def first(reply):
    """REPLY to the first request; the others are answered."""
    return lambda request, n: reply() if n == 1 else ok("at " + request.target)


def date(seconds):
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + seconds))


@pytest.mark.parametrize("status,fields", [
    pytest.param("429 Too Many Requests", lambda: ("1",), marks=pytest.mark.h1_only("date is the other's")),
    pytest.param("503 Service Unavailable", lambda: (date(3601), "Date: " + date(3600)))], ids=["seconds", "date"])
def test_it_is_waited_for_and_repeated(one, serve, status, fields):
    """A date is one of the origin's clock, which here is an hour ahead."""
    origin = Origin(serve, first(lambda: busy(status, fields()[0], "busy", *fields()[1:])))
    c, p = one(OBEYS % "", service=True)
    r = c.get(origin.url("/x"))
    assert (r.status, r.text) == (200, "at /x")
    assert origin.targets() == ["/x", "/x"]
    assert origin.came[1][0] - origin.came[0][0] >= 0.95
    line = p.wait_access(lambda x: True)[0]
    assert line["status"] == 200 and line["retries"] == 1 and line["ms"]["queued"] >= 950
    assert metric(p, "tlsfan_retry_after_total") == 1
    assert len(origin.server.conns) == 1


@timed
def test_all_wait_together(make_proxy, serve):
    """Nobody asks an origin that wants to be left alone, nor do all at once when that is over; another one is asked."""
    origin, other = Origin(serve, first(lambda: busy("429 Slow down", "1"))), Origin(serve)
    p = make_proxy("workers = 4\n" + OBEYS % "", service=True)
    people = [person(p, last) for last in range(2, 12)]
    people[0].request("GET", origin.url("/0"))
    wait_until(lambda: metric(p, "tlsfan_retry_after_total") == 1, what="a pause")
    people[1].request("POST", origin.url("/1"), body=b"body")
    for i, c in enumerate(people[2:], 2):
        pipeline(c, [origin.url("/%d" % i)] * 3)
    with p.client() as c:
        assert c.get(other.url("/other")).text == "at /other"
    assert len(origin.came) == 1
    for i, c in enumerate(people):
        count = 3 if i > 1 else 1
        assert [r.text for r in answers(c, count)] == ["at /%d" % i] * count
        c.close()
    times = sorted(t - origin.came[0][0] for t, _ in origin.came[1:])
    assert times[0] >= 0.95
    assert times[-1] - times[0] >= 24 * 0.01 - LATE


AT_ONCE = ["3600", "31", "315360000", "99999999999999999999999", "-1", "soon", "1.5", "1, 2", "0x1", "+1", "1s", "",
           "Fri, 31 Dec 9999 23:59:59 GMT", "Sun, 06 Nov 1904 08:49:37 GMT", "Sun, 31 Feb"]


def test_what_is_given_at_once(one, serve):
    """Too long, or nonsense: it goes to the client as it came, and nobody else waits for it."""
    c, p = one(OBEYS % "")
    begin = time.monotonic()
    for value in AT_ONCE:
        origin = Origin(serve, first(lambda: busy("429 Too Many Requests", value, "busy!", "X-Quota: 0")))
        r = c.get(origin.url("/x"))
        assert (r.status, r.reason, r.text, r.get("X-Quota")) == (429, "Too Many Requests", "busy!", "0"), value
        assert r.get("Retry-After", "") == value
        assert c.get(origin.url("/y")).status == 200
        assert origin.targets() == ["/x", "/y"], value
    assert time.monotonic() - begin < 20
    assert all(x["retries"] == 0 for x in p.wait_access(lambda x: True, 2 * len(AT_ONCE)))


def test_503_without_it_is_an_answer(one, serve):
    origin = Origin(serve, lambda request, n: ok("down", status="503 Service Unavailable"))
    c, _ = one(OBEYS % "")
    assert [c.get(origin.url("/x")).text for _ in range(2)] == ["down"] * 2 and len(origin.came) == 2


RAW = [b"HTTP/1.1 429 Slow  down, you\r\nRetry-After: 1\r\nContent-Length: 4\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\n"
       b"X-Odd:  y \r\n\r\nbusy",
       b"HTTP/1.1 503 \r\nretry-after: 1\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n"
       b"3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n",
       b"HTTP/1.0 429 Old\r\nRetry-After: 1\r\n\r\nuntil the end",
       b"HTTP/1.1 429 None\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n",
       b"HTTP/1.1 503 Past\r\nRetry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 1\r\n\r\n.",
       b"HTTP/1.1 429 Twice\r\nRetry-After: 1\r\nRetry-After: 1\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n"
       b"\x00\x01\x02"]


def always(serve, raw):
    """A server that gives RAW, or its head alone."""
    def handler(conn):
        while True:
            request = conn.read_request()
            if request is None:
                return None
            conn.send(raw.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if request.method == "HEAD" else raw)
            if raw.startswith(b"HTTP/1.0"):
                return conn.finish()

    return serve(handler)


@pytest.mark.h1_only("bytes of HTTP/1.1")
@timed
def test_it_ends_with_queue_timeout(make_proxy, serve):
    """Then the answer is the client's, the last one: byte for byte what comes without retry_after, but for the name of
    this process. Who says 0, or a time that is past, is not hammered."""
    cases = [(always(serve, raw), method) for raw in RAW for method in ("GET", "HEAD")]
    numbered = Origin(serve, lambda request, n: busy("503 Later", "1", "no %d" % n))
    got = []
    for obeys in ("off", "on"):
        p = make_proxy('upstream { queue_timeout = 1500ms }\nrule "localhost" { retry_after = %s }\n' % obeys)
        begin = time.monotonic()
        clients = [p.client() for _ in cases]
        for c, (server, method) in zip(clients, cases):
            c.request(method, server.url("/"), "Connection: close")
        with p.client() as c:
            assert c.get(numbered.url("/last")).text == ("no 1" if obeys == "off" else "no 3")
        got.append([re.sub(rb"tlsfan-[0-9a-f]+", b"", c.rest()) for c in clients])
    assert 0.95 <= time.monotonic() - begin < 10
    assert got[0] == got[1]
    assert all(len(server.requests) == 3 for server, _ in cases)
    for line in p.wait_access(lambda x: True, len(cases) + 1):
        assert line["status"] in (429, 503) and line["retries"] == 1 and line["error"] in ("", None)


@pytest.mark.parametrize("conf,method", [("on", "POST"), ("on", "DELETE"), ("off", "GET")])
def test_what_is_not_repeated(one, serve, conf, method):
    origin = Origin(serve, lambda request, n: busy("429 Slow", "1"))
    c, _ = one('rule "localhost" { retry_after = %s }\n' % conf)
    r = c.exchange(method, origin.url("/x"), body=b"body" if method == "POST" else b"")
    assert (r.status, r.text) == (429, "busy") and len(origin.came) == 1


@pytest.mark.h1_only(WAITS)
def test_a_large_answer_and_who_leaves(make_proxy, serve):
    """What is too large to be set aside is the client's at once, and all others wait for what it asks. So they do when
    who was told has left."""
    big = b"z" * (32 << 20)
    large, small = [Origin(serve, first(lambda body=body: busy("429 Slow", "1", body))) for body in (big, b"busy")]
    p = make_proxy(OBEYS % "", service=True)
    with p.client() as leaves:
        leaves.request("GET", small.url("/x"))
        wait_until(lambda: metric(p, "tlsfan_retry_after_total") == 1, what="a pause")
    under_way(p, 0)
    with p.client() as c, p.client() as waits, p.client() as other:
        c.request("GET", large.url("/x"))
        assert c.head().status == 429
        waits.request("GET", large.url("/y"))
        other.request("GET", small.url("/y"))
        assert metric(p, "tlsfan_buffered_bytes") < 4 << 20
        left = len(big) - len(c.buf)
        while left > 0:
            left -= len(c.sock.recv(1 << 20))
        assert waits.response().text == other.response().text == "at /y"
    for origin in (large, small):
        assert origin.targets() == ["/x", "/y"]
        assert origin.came[1][0] - origin.came[0][0] >= 0.95


@pytest.mark.h1_only(WAITS)
@timed
def test_who_has_less_patience_than_is_asked_for(make_proxy, serve):
    """It waits with the others as long as it may, and is told for how long more."""
    origin = Origin(serve, first(lambda: busy("429 Slow", "1")))
    conf = "upstream { queue_timeout = %s }\n" + OBEYS % ""
    p = make_proxy(conf % "3s", service=True)
    with p.client() as c, p.client() as d:
        c.request("GET", origin.url("/x"))
        wait_until(lambda: metric(p, "tlsfan_retry_after_total") == 1, what="a pause")
        p.write(conf % "100ms")
        p.signal(signal.SIGHUP)
        p.wait_log("reloaded")
        r = d.get(origin.url("/y"))
        assert r.status == 503 and r.get("Retry-After") == "1" and "Retry-After" in r.text
        p.signal(signal.SIGTERM)
        assert c.response().text == "at /x"  # that it waits is no reason to be cut off
    assert origin.targets() == ["/x", "/x"]


@pytest.mark.h1_only(WAITS)
@timed
def test_own_503_is_no_pause(one, serve):
    """What tlsfan says itself holds nobody."""
    origin = Origin(serve)
    c, p = one('upstream { queue_timeout = 200ms max_per_host = 1 }\n' + OBEYS % "", service=True)
    origin.close_gate()
    with person(p, 2) as holds:
        holds.request("GET", origin.url("/1"))
        wait_until(lambda: origin.came, what="the first")
        assert c.get(origin.url("/2")).status == 503
        origin.open_gate()
        assert holds.response().status == 200
    begin = time.monotonic()
    assert c.get(origin.url("/3")).status == 200
    assert time.monotonic() - begin < 1
    assert metric(p, "tlsfan_retry_after_total") == 0
