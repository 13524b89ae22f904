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
from testenv.proxy import run
from testenv.scripted import answering, ok
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


def under_way(p, count, *fields):
    wait_until(lambda: metric(p, "tlsfan_exchanges_in_flight", *fields) == count, 30, "%d requests under way" % count)


# ---- whose turn


FEW = "workers = %d\nclient { max_pipeline = 1000 }\nupstream { max_per_host = 4 }\n"


@pytest.mark.parametrize("workers", [1, 4])
def test_one_pipelines_a_thousand(make_proxy, serve, workers):
    """Another's single request waits for at most a few of them."""
    origin = Origin(serve)
    origin.close_gate()
    p = make_proxy(FEW % workers, service=True)
    with person(p, 2) as many, person(p, 3) as single:
        pipeline(many, [origin.url("/many/%d" % i) for i in range(1000)])
        under_way(p, 1000)
        wait_until(lambda: len(origin.targets()) == 4, what="four to begin")
        single.request("GET", origin.url("/single"))
        under_way(p, 1001)
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
    origin = Origin(serve)
    origin.close_gate()
    p = make_proxy(FEW % 1 + 'client { auth_file = "%s" }\n' % path, service=True)
    alice = "Authorization: Basic YWxpY2U6d29uZGVy"
    spellings = ["Basic YWxpY2U6d29uZGVy", "basic YWxpY2U6d29uZGVy", "BASIC   YWxpY2U6d29uZGVy"]
    many = [person(p, 2) for _ in range(30)]
    for i, c in enumerate(many):
        c.request("GET", origin.url("/many"), "Proxy-Authorization: " + spellings[i % 3])
    under_way(p, 30, alice)
    with person(p, 2) as bob:
        bob.request("GET", origin.url("/single"), "Proxy-Authorization: Basic Ym9iOndvbmRlcg==")
        under_way(p, 31, alice)
        wait_until(lambda: len(origin.targets()) == 4, what="four to begin")
        origin.until("/single", 2)
        assert bob.response().text == "at /single"
    for c in many:
        assert c.response().status == 200
        c.close()


# ---- rate


@pytest.mark.parametrize("workers", [1, 4])
@timed
def test_evenly_over_all_workers(make_proxy, serve, workers):
    """Three people, one with many connections, and two origins, each with a time of its own."""
    origins = [Origin(serve), Origin(serve)]
    p = make_proxy('workers = %d\nrule "localhost" { rate = "20/s" }\n' % workers, service=True)
    people = [person(p, last) for last in (2, 2, 2, 2, 3, 4)]
    begin = time.monotonic()
    for k, c in enumerate(people):
        pipeline(c, [origin.url("/%d/%d" % (k, i)) for i in range(2) for origin in origins])
    for k, c in enumerate(people):
        assert [r.text for r in answers(c, 4)] == ["at /%d/%d" % (k, i) for i in (0, 0, 1, 1)]
    assert time.monotonic() - begin < 10
    for origin in origins:
        origin.spaced(GAP, 12)
        early = origin.targets()[:3 + 2 * workers]
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
    wait_until(lambda: time.monotonic() - origin.came[0][0] > 0.5, what="time that is not saved up")
    pipeline(c, [origin.url("/%d" % i) for i in range(1, 5)])
    answers(c, 4)
    del origin.came[0]
    origin.spaced(0.1, 4)


@timed
def test_a_high_rate_is_reached(one, serve):
    """Timers that are late do not make it half."""
    origin = Origin(serve)
    c, _ = one('client { max_pipeline = 400 }\nrule "localhost" { rate = "400/s" }\n')
    begin = time.monotonic()
    pipeline(c, [origin.url("/")] * 400)
    answers(c, 400)
    took = time.monotonic() - begin
    assert took >= 0.98, took
    assert origin.came[-1][0] - origin.came[0][0] >= 0.9


def test_who_waits_too_long(one, serve):
    origin = Origin(serve)
    c, p = one('upstream { queue_timeout = 300ms }\nrule "localhost" { rate = "1/h" }\n')
    assert c.get(origin.url("/1")).status == 200
    r = c.get(origin.url("/2"))
    assert r.status == 503 and r.get("Retry-After") and 'rate of rule "localhost"' in r.text
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
@timed
def test_a_batch_waits_for_its_turn(make_proxy, serve):
    """Longer than queue_timeout, and as long as timeout_ms says."""
    origin = Origin(serve)
    p = make_proxy('upstream { queue_timeout = 100ms }\nrule "localhost" { rate = "20/s" }\n', service=True)
    with Client(p.service_port, timeout=30) as c:
        body = "".join(origin.url("/%d" % i) + "\n" for i in range(10)).encode()
        r = c.exchange("POST", "/batch", "Content-Type: text/plain", "Accept: application/x-ndjson", body=body,
                       host="127.0.0.1:%d" % p.service_port)
        assert r.text.count('"status":200') == 10, r.text
    origin.spaced(GAP, 10)


@timed
def test_pages_ahead_wait_for_their_turn(make_proxy, serve):
    """They are fetched ahead of the client, and no faster than others."""
    origin = Origin(serve, answer=lambda request, n: time.sleep(0.1) or ok("at " + request.target))
    p = make_proxy('workers = 1\nrule "localhost" { readahead = 8 rate = "20/s" }\n', service=True)
    begin = time.monotonic()
    with p.client(timeout=30) as c:
        for n in range(1, 21):
            assert c.get(origin.url("/page?n=%d" % n)).text == "at /page?n=%d" % n
    took = time.monotonic() - begin
    times = sorted(t for t, _ in origin.came)
    assert all(b - a >= 2 * GAP - LATE for a, b in zip(times, times[2:]))
    assert metric(p, "tlsfan_readahead_used_total") >= 10
    assert took < 20 * 0.16


@pytest.mark.parametrize("text", ["10", "10/d", "0/s", "-1/s", "1.5/s", "/s", "10 /s", "10/s ", "9999999/s", "10/S"])
def test_what_is_no_rate(text):
    done = run("-t", "-o", "rule[*].rate=" + text)
    assert done.returncode == 1 and "is no rate" in done.stderr


# ---- Retry-After

OBEYS = 'rule "localhost" { retry_after = on %s }\n'


def busy(status, value, body="busy", *fields):
    return ok(body, "Retry-After: " + value, *fields, status=status)


def first(reply):
    """REPLY to the first request; the others are answered."""
    return lambda request, n: reply() if n == 1 else ok("at " + request.target)


def date(seconds):
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + seconds))


@pytest.mark.parametrize("status,value", [("429 Too Many Requests", lambda: "1"),
                                          ("503 Service Unavailable", lambda: date(2))], ids=["seconds", "date"])
def test_it_is_waited_for_and_repeated(one, serve, status, value):
    origin = Origin(serve, first(lambda: busy(status, value())))
    c, p = one(OBEYS % "", service=True)
    r = c.get(origin.url("/x"))
    assert (r.status, r.text) == (200, "at /x")
    assert origin.targets() == ["/x", "/x"]
    assert origin.came[1][0] - origin.came[0][0] >= 0.95
    line = p.wait_access(lambda x: True)[0]
    assert line["status"] == 200 and line["retries"] == 1 and line["ms"]["queued"] >= 950
    assert metric(p, "tlsfan_retry_after_total") == 1
    assert len(origin.server.conns) == 1


@pytest.mark.parametrize("workers", [1, 4])
@timed
def test_all_wait_together(make_proxy, serve, workers):
    """Nobody asks an origin that wants to be left alone; another one is asked."""
    origin, other = Origin(serve, first(lambda: busy("429 Slow down", "2"))), Origin(serve)
    p = make_proxy("workers = %d\n" % workers + OBEYS % "", service=True)
    people = [person(p, last) for last in range(2, 12)]
    people[0].request("GET", origin.url("/0"))
    wait_until(lambda: len(origin.came) == 1, what="the first")
    under_way(p, 1)
    wait_until(lambda: time.monotonic() - origin.came[0][0] > 0.3, what="its answer, on the way")
    for i, c in enumerate(people[1:], 1):
        if i == 1:
            c.request("POST", origin.url("/1"), body=b"body")
        else:
            c.request("GET", origin.url("/%d" % i))
    with p.client() as c:
        assert c.get(other.url("/other")).text == "at /other"
    assert len(origin.came) == 1
    for i, c in enumerate(people):
        assert c.response().text == "at /%d" % i
        c.close()
    assert min(t for t, _ in origin.came[1:]) - origin.came[0][0] >= 1.95


@pytest.mark.parametrize("value", ["3600", "31", "315360000", "99999999999999999999999", "-1", "soon", "1.5", "",
                                   "Fri, 31 Dec 9999 23:59:59 GMT", "Sun, 06 Nov 1904 08:49:37 GMT"])
def test_what_is_given_at_once(one, serve, value):
    """Too long, or nonsense: it goes to the client as it came, and nobody else waits for it."""
    origin = Origin(serve, first(lambda: busy("429 Too Many Requests", value, "busy!", "X-Quota: 0")))
    c, p = one(OBEYS % "")
    r = c.get(origin.url("/x"))
    assert (r.status, r.reason, r.text, r.get("X-Quota")) == (429, "Too Many Requests", "busy!", "0")
    assert r.get("Retry-After", "") == value
    assert c.get(origin.url("/y")).status == 200
    assert p.wait_access(lambda x: x["status"] == 429)[0]["retries"] == 0
    assert origin.targets() == ["/x", "/y"]


@pytest.mark.h1_only(WAITS)
@pytest.mark.parametrize("value", ["0", "Sun, 06 Nov 1994 08:49:37 GMT"])
@timed
def test_at_once_is_not_hammered(one, serve, value):
    origin = Origin(serve, lambda request, n: busy("503 Later", value))
    c, _ = one("upstream { queue_timeout = 2500ms }\n" + OBEYS % "")
    assert c.get(origin.url("/x")).status == 503
    assert len(origin.came) == 3


@pytest.mark.h1_only(WAITS)
@timed
def test_it_ends_with_queue_timeout(one, serve):
    """Then the answer is the client's, the last one, as it came."""
    origin = Origin(serve, lambda request, n: busy("503 Later", "1", "no %d" % n, "X-Number: %d" % n))
    c, p = one("upstream { queue_timeout = 2500ms }\n" + OBEYS % "")
    begin = time.monotonic()
    r = c.get(origin.url("/x"))
    assert 1.9 <= time.monotonic() - begin < 10
    assert (r.status, r.text, r.get("X-Number"), r.get("Retry-After")) == (503, "no 3", "3", "1")
    assert r.get("Proxy-Status") is None
    line = p.wait_access(lambda x: True)[0]
    assert line["status"] == 503 and line["retries"] == 2 and line["error"] in ("", None)


@pytest.mark.parametrize("conf,method", [("", "POST"), ("", "DELETE"), ("retry_after = off", "GET")])
def test_what_is_not_repeated(one, serve, conf, method):
    origin = Origin(serve, lambda request, n: busy("429 Slow", "1"))
    c, _ = one('rule "localhost" { %s }\n' % (conf or "retry_after = on"))
    r = c.exchange(method, origin.url("/x"), body=b"body" if method == "POST" else b"")
    assert (r.status, r.text) == (429, "busy") and len(origin.came) == 1


@pytest.mark.h1_only(WAITS)
def test_large_answers_and_head(one, serve):
    """A body that is too large to be set aside is the client's; HEAD has none, and is repeated."""
    big = b"z" * 100000
    origin = Origin(serve, lambda request, n: (
        ok(big, "Retry-After: 1", status="429 Slow") if request.target == "/big" else
        ok("x", "Retry-After: 1", status="429 Slow")[:-1] if request.method == "HEAD" and n == 2 else
        ok("x")[:-1] if request.method == "HEAD" else ok("at " + request.target)))
    c, _ = one(OBEYS % "")
    r = c.get(origin.url("/big"))
    assert r.status == 429 and r.body == big
    c.request("HEAD", origin.url("/head"))
    assert c.response("HEAD").status == 200
    assert origin.targets() == ["/big", "/head", "/head"]


@pytest.mark.h1_only(WAITS)
def test_who_leaves_while_it_waits(make_proxy, serve):
    origin = Origin(serve, first(lambda: busy("429 Slow", "2")))
    p = make_proxy("workers = 1\n" + OBEYS % "", service=True)
    with p.client() as c:
        c.request("GET", origin.url("/x"))
        wait_until(lambda: origin.came, what="the request")
        wait_until(lambda: time.monotonic() - origin.came[0][0] > 0.2, what="its answer, on the way")
    under_way(p, 0)
    with p.client() as c:
        assert c.get(origin.url("/y")).text == "at /y"
    assert origin.targets() == ["/x", "/y"]


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
