# SPDX-License-Identifier: Apache-2.0
"""Read-ahead: loops that nobody changed become concurrent, nobody gets what is another's, and nothing is wasted.

The origin counts its hits. Waste is what it was asked for and no client got."""
import base64
import collections
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from test_06_clients import python2
from testenv import SANITIZED, SOON
from testenv.proxy import binary, clean_env
from testenv.scripted import answering, ok
from testenv.wait import wait_until

DELAY = 0.1  # s that a page takes
SIXTEEN = 'rule "localhost" { readahead = 16 }\n'


class Pages:
    """An origin whose pages say which they are; ANSWER(request, number of this hit) may say otherwise."""

    def __init__(self, serve, delay=0.0, answer=None, **kw):
        self.lock, self.hits, self.requests = threading.Lock(), collections.Counter(), []
        self.now, self.most = 0, 0
        self.open = threading.Event()  # until then what HOLDS says waits
        self.holds = lambda request: False
        self.delay, self.answer = delay, answer
        self.server = serve(answering(self.reply), **kw)

    def reply(self, request, conn):
        with self.lock:
            self.hits[request.target] += 1
            hit = self.hits[request.target]
            self.requests.append(request)
            self.now += 1
            self.most = max(self.most, self.now)
        if self.delay:
            conn.server.stopping.wait(self.delay)
        while self.holds(request) and not self.open.wait(0.05) and not conn.server.stopping.is_set():
            pass
        with self.lock:
            self.now -= 1
        reply = self.answer(request, hit) if self.answer else None
        return reply or ok("page " + request.target)

    def url(self, path):
        return self.server.url(path)

    def ahead(self):
        with self.lock:
            return [r.target for r in self.requests if r.get("Sec-Purpose") == "prefetch"]

    def targets(self):
        with self.lock:
            return [r.target for r in self.requests]


@pytest.fixture
def pages(serve):
    return lambda **kw: Pages(serve, **kw)


def metrics(p):
    text = p.fetch("/metrics")
    return [int(re.search(r"^tlsfan_readahead_%s_total (\d+)" % word, text, re.M).group(1))
            for word in ("issued", "used", "wasted")]


def settled(origin, count):
    """Waits until COUNT requests were made ahead, and answered."""
    wait_until(lambda: origin.now == 0 and len(origin.ahead()) == count,
               what="%d requests ahead: %s" % (count, origin.ahead()))


def walk(c, origin, numbers, form="/page?n=%d", fields=()):
    """GETs one after the other; each answer is the right one."""
    for n in numbers:
        path = form % n
        r = c.get(origin.url(path), *fields)
        assert (r.status, r.text) == (200, "page " + path), (n, r.status, r.text)


# ---- loops

LOOP = """
import sys
try:
    from urllib.request import urlopen
except ImportError:
    from urllib2 import urlopen
for n in range(1, int(sys.argv[2]) + 1):
    path = "/page?n=%d" % n
    assert urlopen(sys.argv[1] + path).read().decode() == "page " + path
"""
REQUESTS = """
import sys, requests
get = requests.Session().get if sys.argv[3:] == ["session"] else requests.get
for n in range(1, int(sys.argv[2]) + 1):
    path = "/page?n=%d" % n
    assert get(sys.argv[1] + path).text == "page " + path
"""


def timed(text):
    """TEXT, that also says how long its loop took, without the start of its interpreter."""
    text = text.replace("for n in", "begun = time.time()\nfor n in")
    return "import time\n%s\nprint(time.time() - begun)\n" % text


def loop(command, env):
    """Runs it; the seconds that it says."""
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


def interpreters():
    return [("python3-urllib", sys.executable, LOOP, ()), ("python3-requests", sys.executable, REQUESTS, ()),
            ("python3-session", sys.executable, REQUESTS, ("session",)), ("python2-urllib2", None, LOOP, ())]


@pytest.mark.bench
@pytest.mark.parametrize("interpreter, text, more", [i[1:] for i in interpreters()], ids=[i[0] for i in interpreters()])
def test_a_blocking_loop(make_proxy, pages, interpreter, text, more):
    """A hundred pages of 0.1 s; alone they take more than ten seconds."""
    interpreter = interpreter or python2() or pytest.skip("no Python 2.7 on this machine")
    if text is REQUESTS:
        pytest.importorskip("requests")
    origin = pages(delay=DELAY)
    p = make_proxy(SIXTEEN, service=True)
    took = loop([interpreter, "-c", timed(text), origin.url(""),
                 "100", *more], p.environ())
    print("100 pages of 0.1 s: %.2f s" % took)
    assert took < 100 * DELAY / 3
    assert all(origin.hits["/page?n=%d" % n] == 1 for n in range(1, 101)), origin.hits
    assert sum(origin.hits.values()) <= 116
    issued, used, wasted = metrics(p)
    assert used >= 90 and issued - used <= 16 and wasted <= 16


@pytest.mark.h1_only("that nothing is asked ahead does not depend on what the origin speaks")
@pytest.mark.bench
def test_without_it_nothing_changes(make_proxy, pages):
    origin = pages(delay=DELAY)
    p = make_proxy(service=True)
    took = loop([sys.executable, "-c", timed(LOOP), origin.url(""), "20"], p.environ())
    print("20 pages of 0.1 s without read-ahead: %.2f s" % took)
    assert took >= 20 * DELAY
    assert origin.ahead() == [] and sum(origin.hits.values()) == 20 and metrics(p) == [0, 0, 0]


@pytest.mark.bench
def test_run_read_ahead(ca, pages):
    if binary() is None:
        pytest.skip("no tlsfan: build it, or set TLSFAN_BIN")
    origin = pages(delay=DELAY)
    took = loop([binary(), "-o", "tls.ca_file=" + ca.root, "run", "--read-ahead", "--", sys.executable, "-c",
                 timed(LOOP), origin.url(""), "100"], clean_env({"no_proxy": "", "NO_PROXY": ""}))
    print("run --read-ahead, 100 pages of 0.1 s: %.2f s" % took)
    assert took < 100 * DELAY / 3
    assert all(origin.hits["/page?n=%d" % n] == 1 for n in range(1, 101)) and sum(origin.hits.values()) <= 116


@pytest.mark.bench
@pytest.mark.parametrize("text, more", [(LOOP, []), (REQUESTS, []), (REQUESTS, ["session"])],
                         ids=["urllib", "requests", "session"])
def test_run_intercepted(ca, pages, text, more):
    """The same with https:// URLs. A connection for each page costs Python 20 ms: it reads all CAs for each."""
    if binary() is None:
        pytest.skip("no tlsfan: build it, or set TLSFAN_BIN")
    pytest.importorskip("testenv.intercept")
    if text is REQUESTS:
        pytest.importorskip("requests")
    origin = pages(delay=DELAY)
    took = loop([binary(), "-o", "tls.ca_file=" + ca.root, "-o", "destination.connect_ports=%d" % origin.server.port,
                 "run", "--intercept", "--read-ahead", "--", sys.executable, "-c", timed(text),
                 origin.url("").replace("http:", "https:"), "100", *more], clean_env({"no_proxy": "", "NO_PROXY": ""}))
    print("run --intercept --read-ahead, 100 pages of 0.1 s: %.2f s" % took)
    assert took < 100 * DELAY * 0.6  # one by one it is more than 12 s
    assert all(origin.hits["/page?n=%d" % n] == 1 for n in range(1, 101)) and sum(origin.hits.values()) <= 116


def test_two_programs_at_once(make_proxy, pages):
    """Each gets its own: each page is fetched twice, though they come from one address with one set of fields."""
    origin = pages(delay=0.02, answer=lambda request, hit: ok("page " + request.target))
    p = make_proxy(SIXTEEN)
    faults = []

    def program():
        try:
            for n in range(1, 61):
                with p.client(timeout=30) as c:
                    walk(c, origin, [n])
        except Exception as e:
            faults.append(e)
    threads = [threading.Thread(target=program) for _ in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not faults, faults
    assert all(origin.hits["/page?n=%d" % n] == 2 for n in range(1, 61)), origin.hits
    assert sum(origin.hits.values()) <= 120 + 32


# ---- which requests are a walk

FORMS = {
    "path": ("/p/%d/x.html", range(1, 21)), "padded": ("/p%03d.html", range(95, 115)),
    "step": ("/?from=%d", range(0, 200, 10)), "late": ("/v2/7?page=%d&per=50", range(90, 110)),
}


@pytest.mark.parametrize("form", FORMS, ids=list(FORMS))
def test_forms(make_proxy, pages, form):
    form, numbers = FORMS[form]
    origin = pages()
    p = make_proxy(SIXTEEN, service=True)
    with p.client() as c:
        for n in numbers:
            walk(c, origin, [n], form)
    assert all(origin.hits[form % n] == 1 for n in numbers), origin.hits
    assert metrics(p)[1] == len(numbers) - 3
    lines = p.wait_access(lambda x: True, len(numbers))
    assert [x.get("readahead", False) for x in lines] == [False] * 3 + [True] * (len(numbers) - 3)
    assert all(x["upstream"] and x["tls"] and x["status"] == 200 for x in lines)
    shown = [x["readahead"] for x in json.loads(p.fetch("/exchanges"))["exchanges"]]
    assert shown.count(True) == len(numbers) - 3


@pytest.mark.parametrize("unit", [1, 1000])
def test_a_clock_is_no_page(make_proxy, pages, unit):
    """Who polls with the time in the query, or with a counter that began there, gets what is so now."""
    origin = pages()
    p = make_proxy(SIXTEEN, service=True)
    now = int(time.time()) * unit
    with p.client() as c:
        walk(c, origin, range(now, now + 8))
        walk(c, origin, range(now - 7200 * unit, now, 600 * unit))
    assert origin.ahead() == [] and metrics(p)[0] == 0


def test_offset_and_limit_together(make_proxy, pages):
    origin = pages()
    p = make_proxy(SIXTEEN, service=True)
    with p.client() as c:
        for n in range(0, 100, 10):
            path = "/?from=%d&to=%d" % (n, n + 9)
            assert c.get(origin.url(path)).text == "page " + path
    assert metrics(p)[1] == 7


def test_the_window_grows(make_proxy, pages):
    """2, and twice as many with each hit, up to the rule's number."""
    origin = pages()
    p = make_proxy('rule "localhost" { readahead = 5 }\n', service=True)
    with p.client() as c:
        for n, most in ((1, 0), (2, 0), (3, 2), (4, 5), (5, 7), (6, 8)):
            walk(c, origin, [n])
            settled(origin, most)
    assert origin.most <= 5


def test_what_is_sent_ahead(make_proxy, pages):
    """The very same request, and what it is for."""
    origin = pages()
    p = make_proxy(SIXTEEN, service=True)
    with p.client() as c:
        walk(c, origin, range(1, 4), fields=("X-Own: 1", "Authorization: Basic eDp5", "User-Agent: u"))
        settled(origin, 2)
    with origin.lock:
        asked, ahead = origin.requests[0], [r for r in origin.requests if r.get("Sec-Purpose")]
    assert len(ahead) == 2
    for r in ahead:
        assert [f for f in r.fields if f[0].lower() != "sec-purpose"] == asked.fields and r.method == "GET"


NEVER = {
    "range": ["Range: bytes=0-1"], "if-none-match": ['If-None-Match: "a"'], "no-cache": ["Cache-Control: no-cache"],
    "no-store": ["Cache-Control: max-age=5, no-store"], "pragma": ["Pragma: no-cache"],
}


@pytest.mark.parametrize("fields", NEVER.values(), ids=list(NEVER))
def test_never_for(make_proxy, pages, fields):
    origin = pages()
    p = make_proxy(SIXTEEN, service=True)
    with p.client() as c:
        walk(c, origin, range(1, 7), fields=fields)
        walk(c, origin, range(1, 4))
        settled(origin, 2)
        assert len(origin.ahead()) == 2
        walk(c, origin, [4], fields=fields)  # what is there is for none of these
    assert origin.hits["/page?n=4"] == 3


def test_no_head_and_no_body(make_proxy, pages):
    origin = pages()
    p = make_proxy(SIXTEEN, service=True)
    with p.client() as c:
        for n in range(1, 7):
            assert c.exchange("GET", origin.url("/a?n=%d" % n), body=b"x").status == 200
        walk(c, origin, range(1, 4))
        settled(origin, 2)
        assert c.exchange("HEAD", origin.url("/page?n=4")).status == 200
    assert len(origin.ahead()) == 2 and origin.hits["/page?n=4"] == 2


def test_not_in_a_batch(make_proxy, pages):
    origin = pages()
    p = make_proxy(SIXTEEN, service=True)
    with p.client(timeout=30) as c:
        body = "\n".join(origin.url("/page?n=%d" % n) for n in range(1, 9)).encode()
        assert c.exchange("POST", "http://tlsfan.localhost/batch", "Content-Type: text/plain", body=body).status == 200
    assert origin.ahead() == [] and metrics(p)[0] == 0


# ---- nobody gets what is another's

def test_other_credentials_and_fields(make_proxy, pages):
    """Who asks with another field gets what was fetched for him alone, each the answer to his own."""
    origin = pages(answer=lambda request, hit: ok("for " + request.get("Authorization", "nobody")))
    p = make_proxy(SIXTEEN, service=True)
    with p.client() as a, p.client() as b:
        for n in range(1, 4):
            a.get(origin.url("/page?n=%d" % n), "Authorization: Basic a")
        settled(origin, 2)
        assert len(origin.ahead()) == 2
        for field in ("Authorization: Basic b", "Accept: x", "Cookie: c=1"):
            r = b.get(origin.url("/page?n=4"), field)
            assert r.text == "for " + (field[15:] if field.startswith("Auth") else "nobody")
        assert b.get(origin.url("/page?n=4")).text == "for nobody"
        assert a.get(origin.url("/page?n=4"), "Authorization: Basic a").text == "for Basic a"
    assert origin.hits["/page?n=4"] == 5 and metrics(p)[1] == 1


def test_other_proxy_credentials(make_proxy, pages, tmp_path):
    users = tmp_path / "users"
    hashed = subprocess.run(["openssl", "passwd", "-5", "word"], check=True, capture_output=True, text=True).stdout
    users.write_text("ann:%sbob:%s" % (hashed, hashed))
    origin = pages()
    p = make_proxy(SIXTEEN + 'client { auth_file = "%s" }\n' % users, service=True)
    auth = {u: "Proxy-Authorization: Basic " + base64.b64encode((u + ":word").encode()).decode()
            for u in ("ann", "bob")}
    with p.client(timeout=30) as c:
        walk(c, origin, range(1, 4), fields=[auth["ann"]])
        wait_until(lambda: len(origin.ahead()) == 2, what="prefetches")
        walk(c, origin, [4], fields=[auth["bob"]])
        assert origin.hits["/page?n=4"] == 2
        walk(c, origin, [4], fields=[auth["ann"]])
    assert origin.hits["/page?n=4"] == 2


def test_another_address(make_proxy, pages):
    origin = pages()
    p = make_proxy(SIXTEEN, service=True)
    with p.client() as c:
        walk(c, origin, range(1, 4))
        settled(origin, 2)
    s = socket.create_connection(("127.0.0.1", p.port), 10, source_address=("127.0.0.2", 0))
    s.sendall(("GET %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" % origin.url("/page?n=4")).encode())
    text = b""
    while b"page /page?n=4" not in text:
        more = s.recv(65536)
        assert more, text
        text += more
    s.close()
    assert origin.hits["/page?n=4"] == 2 and metrics(p)[1] == 0


def test_once(make_proxy, pages):
    origin = pages()
    p = make_proxy(SIXTEEN, service=True)
    with p.client() as c:
        walk(c, origin, range(1, 4))
        settled(origin, 2)
        walk(c, origin, [4])
        walk(c, origin, [4])
    assert origin.hits["/page?n=4"] == 2 and metrics(p)[1] == 1


# ---- where it ends

def test_a_cookie_ends_it(make_proxy, pages):
    origin = pages(answer=lambda request, hit: ok("page " + request.target, "Set-Cookie: a=1")
                   if request.target.endswith("=5") else None)
    p = make_proxy(SIXTEEN, service=True)
    with p.client() as c:
        walk(c, origin, range(1, 6))
        walk(c, origin, [6, 7])
        wait_until(lambda: origin.now == 0, what="what was asked ahead")
    # Who asks for 5 before its answer has come widens the window once more, to 8.
    assert max(int(t.split("=")[1]) for t in origin.ahead()) <= 13
    assert origin.hits["/page?n=5"] == 1 and metrics(p)[1] == 2


def test_cookies_from_the_beginning(make_proxy, pages):
    origin = pages(answer=lambda request, hit: ok("page " + request.target, "Set-Cookie: a=1"))
    p = make_proxy(SIXTEEN, service=True)
    with p.client() as c:
        walk(c, origin, range(1, 9))
    assert origin.ahead() == [] and metrics(p)[0] == 0


def test_the_end_is_asked_again(make_proxy, pages):
    """404 is told as the origin says it to who asks, not to who asks ahead."""
    def answer(request, hit):
        if int(request.target.split("=")[1]) > 10:
            return ok("end %d %s" % (hit, request.get("Sec-Purpose")), status="404 Not Found")
    origin = pages(answer=answer)
    p = make_proxy(SIXTEEN, service=True)
    with p.client() as c:
        walk(c, origin, range(1, 11))
        wait_until(lambda: any(int(t.split("=")[1]) > 10 for t in origin.ahead()), what="the end to be asked ahead")
        assert any(int(t.split("=")[1]) > 10 for t in origin.ahead())
        r = c.get(origin.url("/page?n=11"))
        assert (r.status, r.text) == (404, "end 2 None")
    assert all(origin.hits["/page?n=%d" % n] == 1 for n in range(1, 11))


def test_an_unsafe_request_ends_it(make_proxy, pages):
    """What was fetched before it may not be what the client would get behind it."""
    state = []

    def answer(request, hit):
        if request.method == "POST":
            state.append(1)
        return ok("after" if state else "before")
    origin = pages(answer=answer)
    p = make_proxy(SIXTEEN, service=True)
    with p.client() as c, p.client() as other:
        for n in range(1, 4):
            assert c.get(origin.url("/page?n=%d" % n)).text == "before"
        settled(origin, 2)
        other.exchange("POST", origin.url("/page"), body=b"x")
        assert c.get(origin.url("/page?n=4")).text == "after"
    assert metrics(p) == [2, 0, 2]


@pytest.mark.parametrize("fields", [[], ["TE: trailers"], ["Authorization: Basic eDp5"]], ids=["", "te", "other"])
def test_what_it_changes_while_it_takes(make_proxy, pages, fields):
    """What is fetched while it is carried out may be from before; whatever its fields are."""
    state = []

    def answer(request, hit):
        if request.method == "POST":
            state.append(1)
        return ok("after" if state else "before")
    origin = pages(answer=answer)
    origin.holds = lambda request: request.method == "POST"
    p = make_proxy(SIXTEEN, service=True)
    with p.client() as c, p.client() as other:
        other.request("POST", origin.url("/page"), *fields, body=b"x")
        wait_until(lambda: origin.now == 1, what="the POST")
        for n in range(1, 4):
            assert c.get(origin.url("/page?n=%d" % n)).text == "before"
        wait_until(lambda: len(origin.ahead()) == 2 and origin.now == 1, what="prefetches")
        origin.open.set()
        assert other.response().status == 200
        assert c.get(origin.url("/page?n=4")).text == "after"
    assert metrics(p) == [2, 0, 2]


def test_what_a_batch_changes(make_proxy, pages):
    origin = pages()
    p = make_proxy(SIXTEEN + "workers = 1\n", service=True)
    item = json.dumps([{"method": "POST", "url": origin.url("/page"), "body": "x"}]).encode()
    with p.client() as c:
        walk(c, origin, range(1, 4))
        settled(origin, 2)
        r = c.exchange("POST", "http://tlsfan.localhost/batch", "Content-Type: application/json", body=item)
        assert r.status == 200 and b"page /page" in r.body
        walk(c, origin, [4])
    assert origin.hits["/page?n=4"] == 2 and metrics(p) == [2, 0, 2]


def test_who_walks_is_remembered(make_proxy, pages):
    """Others whose requests are each of a kind of their own do not make it forget a walk."""
    origin = pages()
    p = make_proxy(SIXTEEN + "workers = 1\n", service=True)
    with p.client() as c, p.client() as other:
        walk(c, origin, range(1, 5))
        settled(origin, 5)
        for n in range(300):
            assert other.get(origin.url("/x?n=7"), "X-Request-Id: %d" % n).status == 200
        walk(c, origin, range(5, 9))
    assert all(n == 1 for t, n in origin.hits.items() if t.startswith("/page")), origin.hits


@pytest.mark.parametrize("field, status", [("Vary: *", "200 OK"), ("Vary: Accept, sec-purpose", "200 OK"),
                                           ("A: b", "500 No"), ("A: b", "206 Partial Content")])
def test_answers_that_are_not_handed_out(make_proxy, pages, field, status):
    origin = pages(answer=lambda request, hit: ok("bad", field, status=status) if request.get("Sec-Purpose") else None)
    p = make_proxy(SIXTEEN, service=True)
    with p.client() as c:
        walk(c, origin, range(1, 9))
        wait_until(lambda: metrics(p)[0] == metrics(p)[2], what="what was asked ahead")
    issued, used, wasted = metrics(p)
    assert used == 0 and wasted == issued > 0


def test_lost_in_flight(make_proxy, pages):
    """Who waits for a request that was made ahead and comes to nothing is asked for anew."""
    origin = pages(answer=lambda request, hit: b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"
                   if request.get("Sec-Purpose") else None)
    origin.holds = lambda request: request.get("Sec-Purpose") is not None
    p = make_proxy(SIXTEEN, service=True)
    with p.client() as c:
        walk(c, origin, range(1, 4))
        wait_until(lambda: origin.now == 2, what="prefetches under way")
        c.request("GET", origin.url("/page?n=4"))
        wait_until(lambda: re.search(r'"in_flight": ?1', p.fetch("/status")), what="the demand")
        assert origin.hits["/page?n=4"] == 1  # it waits for the one that is under way
        origin.open.set()
        assert c.response().text == "page /page?n=4"
    assert origin.hits["/page?n=4"] == 2


def test_waits_for_what_is_under_way(make_proxy, pages):
    origin = pages()
    origin.holds = lambda request: request.get("Sec-Purpose") is not None
    p = make_proxy(SIXTEEN, service=True)
    with p.client() as c:
        walk(c, origin, range(1, 4))
        wait_until(lambda: origin.now == 2, what="prefetches under way")
        c.request("GET", origin.url("/page?n=4"))
        wait_until(lambda: re.search(r'"in_flight": ?1', p.fetch("/status")), what="the demand")
        origin.open.set()
        assert c.response().text == "page /page?n=4"
    assert origin.hits["/page?n=4"] == 1 and metrics(p)[1] == 1


def test_the_demands_own_timeout(make_proxy, pages):
    origin = pages()
    origin.holds = lambda request: request.get("Sec-Purpose") is not None
    p = make_proxy('rule "localhost" { readahead = 16 response_timeout = 1s }\n', service=True)
    with p.client() as c:
        walk(c, origin, range(1, 4))
        wait_until(lambda: origin.now == 2, what="prefetches under way")
        assert c.get(origin.url("/page?n=4")).status in (200, 504)


def test_who_waits_in_vain_ends_it(make_proxy, pages):
    """An origin may leave unanswered what is made ahead: the next page is asked for as if nothing were."""
    origin = pages()
    origin.holds = lambda request: request.get("Sec-Purpose") is not None
    p = make_proxy(SIXTEEN, service=True)
    with p.client() as c:
        walk(c, origin, range(1, 4))
        wait_until(lambda: origin.now == 2, what="prefetches under way")
        c.request("GET", origin.url("/page?n=4"))
        wait_until(lambda: re.search(r'"in_flight": ?1', p.fetch("/status")), what="the demand")
    wait_until(lambda: metrics(p)[2] == metrics(p)[0], what="all to be given up")
    with p.client() as c:
        walk(c, origin, range(4, 6))
    assert origin.hits["/page?n=5"] == 2


def test_a_miss_ends_it(make_proxy, pages):
    origin = pages()
    p = make_proxy(SIXTEEN, service=True)
    with p.client() as c:
        walk(c, origin, range(1, 5))
        settled(origin, 5)
        before = len(origin.ahead())
        walk(c, origin, [50, 5, 6])
        assert len(origin.ahead()) == before
    issued, used, wasted = metrics(p)
    assert issued == before and used == 1 and wasted == issued - 1
    assert origin.hits["/page?n=5"] == 2


def test_memory(make_proxy, pages):
    """An answer for which there is no memory left ends the walk, one without an end, too."""
    big = b"x" * 700000

    def answer(request, hit):
        if request.get("Sec-Purpose"):
            return ok(big)
    origin = pages(answer=answer)
    p = make_proxy(SIXTEEN + "readahead_memory = 1m\n", service=True)
    with p.client(timeout=30) as c:
        walk(c, origin, range(1, 4))
        wait_until(lambda: metrics(p)[2] >= 1, what="the second one to be given up")
        r = c.get(origin.url("/page?n=4"))
        assert r.status == 200 and r.body in (big, b"page /page?n=4")
        assert c.get(origin.url("/page?n=5")).status == 200
    assert metrics(p)[0] == 2


def test_a_large_page_that_streams(make_proxy, pages):
    """More than a buffer, to a client that takes its time."""
    body = bytes(range(256)) * 12000
    origin = pages(answer=lambda request, hit: ok(body))
    p = make_proxy(SIXTEEN, service=True)
    with p.client(timeout=30) as c:
        for n in range(1, 9):
            assert c.get(origin.url("/page?n=%d" % n)).body == body
    assert all(origin.hits["/page?n=%d" % n] == 1 for n in range(1, 9)) and metrics(p)[1] >= 4


def test_demand_goes_first(make_proxy, pages):
    """max_per_host holds for both, and no page is fetched ahead while somebody waits."""
    origin = pages(delay=0.02)
    p = make_proxy('workers = 1\nrule "localhost" { readahead = 16 max_per_host = 2 }\n', service=True)
    done = []

    def other(k):
        with p.client(timeout=30) as c:
            for word in "abcdefghij":
                assert c.get(origin.url("/%s/%s" % (k, word))).status == 200
            done.append(k)
    threads = [threading.Thread(target=other, args=(k,)) for k in "xyz"]
    with p.client(timeout=30) as c:
        walk(c, origin, range(1, 10))
        for t in threads:
            t.start()
        walk(c, origin, range(10, 20))
        for t in threads:
            t.join()
    assert sorted(done) == ["x", "y", "z"] and origin.most <= 2
    assert all(origin.hits["/page?n=%d" % n] == 1 for n in range(1, 20))


def test_one_place_is_kept(make_proxy, pages):
    """Who asks never waits for what nobody has asked for, however slow that is."""
    origin = pages()
    origin.holds = lambda request: request.get("Sec-Purpose") is not None
    p = make_proxy('rule "localhost" { readahead = 16 max_per_host = 2 }\n', service=True)
    with p.client() as c, p.client() as other:
        walk(c, origin, range(1, 4))
        wait_until(lambda: origin.now == 1, what="a prefetch under way")
        assert other.get(origin.url("/other")).status == 200
        assert origin.now == 1


# ---- links

def linked(form):
    def answer(request, hit):
        n = "abcdef".index(request.target[-1])
        fields = [form % "abcdef"[n + 1]] if n < 5 else []
        return ok("page " + request.target, *fields)
    return answer


LINKS = ["Link: </list/%s>; rel=next", 'Link: </x>; rel="prev", <%s>; title="a, b"; rel="last next"',
         'link: <http://localhost:@/list/%s>; REL=next', 'Link: <https://localhost:@/list/%s>; rel=next']


@pytest.mark.parametrize("form", LINKS)
def test_links(make_proxy, serve, form):
    holder = {}
    origin = Pages(serve, answer=lambda r, hit: linked(form.replace("@", str(holder["o"].server.port)))(r, hit))
    holder["o"] = origin
    p = make_proxy(SIXTEEN, service=True)
    with p.client() as c:
        for k, word in enumerate("abcdef"):
            r = c.get(origin.url("/list/" + word))
            assert r.text == "page /list/" + word
            settled(origin, min(k + 1, 5))
    assert metrics(p) == [5, 5, 0] and all(n == 1 for n in origin.hits.values())


def test_a_link_to_another_host(make_proxy, pages, ca):
    """No credentials, no cookies, nothing else that is the client's own; and only where policy allows it."""
    target = pages(kind="good")
    origin = pages(answer=lambda request, hit: ok("page", 'Link: <https://origin.test/next>; rel=next'))
    conf = 'connect_to = {"origin.test:443:127.0.0.1:%d"}\nrule "*" { readahead = 16 }\n' % target.server.port
    p = make_proxy(conf, service=True)
    fields = ["Authorization: Basic eDp5", "Cookie: a=1", "X-Api-Key: k", "User-Agent: u"]
    with p.client() as c:
        assert c.get(origin.url("/a"), *fields).text == "page"
        wait_until(lambda: target.ahead() == ["/next"], what="the page of the other host")
        sent = target.requests[0]
        assert not any(sent.get(n) for n in ("Authorization", "Cookie", "X-Api-Key")) and sent.get("User-Agent") == "u"
        assert c.get("http://origin.test/next", *fields).text == "page /next"
        assert target.hits["/next"] == 2
        assert c.get("http://origin.test/next", "User-Agent: u").text == "page /next"
        assert target.hits["/next"] == 2
    q = make_proxy(conf + 'destination { deny_hosts = {"origin.test"} }\n', service=True)
    with q.client() as c:
        assert c.get(origin.url("/a")).text == "page"
        assert c.get(origin.url("/b")).text == "page"
    assert target.hits["/next"] == 2 and metrics(q)[0] == 0


LIES = ["http://127.0.0.1:@/x", "http://localhost/x", "//10.0.0.1/x", "https://intern/x", "ftp://h.test/x", "/a b", "%",
        "http://u:p@h.test:0/", "http://tlsfan.localhost/batch", "javascript:alert(1)", "?", "\x80", "http://", "//"]


def test_links_that_lie(make_proxy, serve):
    holder = {}

    def answer(request, hit):
        if not re.match("^/./[0-9]+$", request.target):
            return None
        lie = LIES[int(request.target[3:])].replace("@", str(holder["o"].server.port + 1))
        return ok("page " + request.target, "Link: <%s>; rel=next" % lie)
    holder["o"] = origin = Pages(serve, answer=answer)
    p = make_proxy('rule "*" { readahead = 16 }\n', service=True)
    for n in range(len(LIES)):
        with p.client() as c:
            assert c.get(origin.url("/%c/%d" % (97 + n, n))).status == 200
    assert len(origin.ahead()) <= 3 and not any("127" in t for t in origin.targets())


# ---- life

def test_reload_and_end(make_proxy, pages):
    origin = pages()
    p = make_proxy(SIXTEEN, service=True)
    with p.client() as c:
        walk(c, origin, range(1, 6))
        p.signal(signal.SIGHUP)
        wait_until(lambda: metrics(p)[0] == sum(metrics(p)[1:]), what="what was fetched to be dropped")
        walk(c, origin, range(6, 12))
        origin.holds = lambda request: request.get("Sec-Purpose") is not None
        walk(c, origin, [50, 60, 70])
        wait_until(lambda: origin.now > 0, what="prefetches under way")
    begun = time.monotonic()
    p.stop()
    assert time.monotonic() - begun < SOON


def test_thousands_of_walks(make_proxy, pages):
    """Bounded, whatever a client does, and each answer its own."""
    origin = pages()
    p = make_proxy(SIXTEEN + "readahead_memory = 1m\nworkers = 1\n", service=True)
    with p.client(timeout=30) as c:
        for k in range(600):
            for n in range(1, 4):
                c.request("GET", origin.url("/%s?n=%d" % ("abcdefghij"[k % 10] * (k // 10 + 1), n)))
                assert c.response().text.endswith("n=%d" % n)
    assert SANITIZED or p.rss() < 200 * 1024


def test_numbers_at_the_edge(make_proxy, pages):
    origin = pages()
    p = make_proxy(SIXTEEN, service=True)
    with p.client() as c:
        walk(c, origin, range(2 ** 64 - 5, 2 ** 64 + 3))
        walk(c, origin, [0, 2 ** 63, 10 ** 40])
    assert all(n <= 1 for n in origin.hits.values()) and len(origin.ahead()) <= 2
