# SPDX-License-Identifier: Apache-2.0
"""Connections upstream: reuse, limits, queue, retry, age, happy eyeballs; names and their cache."""
import signal
import socket
import threading
import time

import pytest

from testenv import SLOW, SOON
from testenv.client import Broken
from testenv.dns import Dns
from testenv.ports import free_port
from testenv.scripted import answering, ok
from testenv.wait import wait_until

pytestmark = pytest.mark.concurrent


@pytest.fixture
def one(make_proxy):
    """one(conf): a proxy with one worker, so that its pool is the only one; and a client of it."""
    clients = []

    def make(conf="", **kw):
        p = make_proxy("workers = 1\n" + conf, **kw)
        clients.append(p.client())
        return clients[-1], p
    yield make
    for c in clients:
        c.close()


def test_connections_are_reused(one, serve):
    server = serve(answering(lambda r, c: ok(r.target)))
    c, p = one()
    for i in range(20):
        assert c.get(server.url("/%d" % i)).text == "/%d" % i
    with p.client() as d:
        assert d.get(server.url("/other")).text == "/other"
    assert len(server.conns) == 1


def test_head_204_and_post_leave_the_connection_usable(one, serve):
    def app(r, c):
        if r.method == "HEAD":
            return b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
        return b"HTTP/1.1 204 No Content\r\n\r\n" if r.target == "/204" else ok(r.body)
    server = serve(answering(app))
    c, _ = one()
    assert c.exchange("HEAD", server.url()).status == 200
    assert c.get(server.url("/204")).status == 204
    assert c.exchange("POST", server.url(), body=b"body").text == "body"
    assert len(server.conns) == 1


def test_different_names_never_share_a_connection(one, serve):
    server = serve(answering(lambda r, c: ok(c.sni or "none")))
    c, _ = one()
    for name in ("a.localhost", "b.localhost", "a.localhost"):
        assert c.get(server.url(host=name)).text == name
    assert len(server.conns) == 2


def crowd(p, server, count, path="/x"):
    results, lock = [], threading.Lock()

    def ask(i):
        with p.client(timeout=20) as c:
            r = c.get(server.url("%s%d" % (path, i)))
            with lock:
                results.append(r)
    threads = [threading.Thread(target=ask, args=(i,)) for i in range(count)]
    for t in threads:
        t.start()
    return threads, results


def test_max_per_host_over_all_workers(make_proxy, serve, protocol):
    lock, inside, most = threading.Lock(), [0], [0]

    def app(r, c):
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        wait_until(lambda: inside[0] >= 1, 1)
        threading.Event().wait(0.01)
        with lock:
            inside[0] -= 1
        return ok("x")
    server = serve(answering(app))
    p = make_proxy("workers = 4\nupstream { max_per_host = 3 }\n")
    threads, results = crowd(p, server, 40)
    for t in threads:
        t.join(30 * SLOW)
    assert [r.status for r in results] == [200] * 40
    assert most[0] <= 3 and (protocol == "h1" or server.accepted <= 4)  # one for each worker


def test_rule_sets_its_own_limit(make_proxy, serve):
    go = threading.Event()
    server = serve(answering(lambda r, c: go.wait(10) and ok("x")))
    p = make_proxy('rule "localhost" { max_per_host = 2 }\n')
    threads, results = crowd(p, server, 6)
    server.wait_requests(2)
    with p.client() as c:  # the queue is of that host only
        assert c.get("http://127.0.0.1:1/").status == 502
    assert len(server.requests) == 2
    go.set()
    for t in threads:
        t.join(20 * SLOW)
    assert [r.status for r in results] == [200] * 6


def test_queue_timeout_is_503(one, serve):
    go = threading.Event()
    server = serve(answering(lambda r, c: go.wait(10) and ok("x")))
    c, p = one("upstream { max_per_host = 1 queue_timeout = 300ms }\n")
    c.request("GET", server.url("/first"))
    server.wait_requests(1)
    with p.client() as d:
        r = d.get(server.url("/second"))
        assert r.status == 503 and r.error == "connection_limit_reached" and r.get("Retry-After", "").isdigit()
    go.set()
    assert c.response().status == 200
    assert [r.target for r in server.requests] == ["/first"]


def test_clients_take_turns_in_the_queue(one, serve):
    go = threading.Event()
    server = serve(answering(lambda r, c: go.wait(10) and ok("x")))
    greedy, p = one("upstream { max_per_host = 1 }\n")
    greedy.send("".join("GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % server.url("/greedy%d" % i) for i in range(30)))
    server.wait_requests(1)
    with p.client() as modest:
        modest.request("GET", server.url("/modest"))
        modest_in = p.fds()
        wait_until(lambda: p.fds() >= modest_in)
        with p.client() as probe:  # the worker has read what came before this
            assert probe.get("http://127.0.0.1:1/").status == 502
        go.set()
        assert modest.response().status == 200
    for _ in range(30):
        assert greedy.response().status == 200
    order = [r.target for r in server.requests]
    assert order.index("/modest") <= 3, order


# --- retry

def flaky(ending="cut", first=1, say=b""):
    """Connection 0 answers FIRST requests, then reads one more, says SAY and ends; the others answer always."""
    def handler(conn):
        count = 0
        while True:
            request = conn.read_request()
            if request is None:
                return
            if conn.number == 0 and count == first:
                if say:
                    conn.send(say)
                getattr(conn, ending)()
                return
            conn.send(ok("%d" % conn.number))
            count += 1
    return handler


@pytest.mark.parametrize("ending", ["cut", "reset", "finish"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
def test_idempotent_request_lost_on_a_reused_connection_is_retried(one, serve, ending, method):
    server = serve(flaky(ending))
    c, p = one()
    assert c.get(server.url()).text == "0"
    r = c.exchange(method, server.url("/again"), body=b"small" if method == "PUT" else b"")
    assert r.status == 200 and r.text == "1"
    assert [x.target for x in server.requests].count("/again") == 2
    line, = p.wait_access(lambda x: x["url"].endswith("/again"))
    assert line["retries"] == 1
    if method == "PUT":
        assert server.requests[-1].body == b"small"


@pytest.mark.parametrize("method", ["POST", "PATCH", "FOO"])
def test_unsafe_request_is_not_retried(one, serve, method):
    server = serve(flaky())
    c, _ = one()
    assert c.get(server.url()).text == "0"
    r = c.exchange(method, server.url("/again"), body=b"x")
    assert r.status == 502 and r.error == "connection_terminated"
    assert "may have been carried out" in r.text
    assert [x.target for x in server.requests].count("/again") == 1


def test_not_retried_on_a_fresh_connection_nor_after_a_byte(one, serve, protocol):
    server = serve(flaky(first=0))
    c, _ = one()
    r = c.get(server.url())
    assert r.status == 502 and r.error == "connection_terminated" and len(server.requests) == 1
    if protocol == "h2":
        return  # an answer's head has no first byte there: it comes whole
    server = serve(flaky(say=b"HTTP/1.1 2"))
    assert c.get(server.url()).status == 200
    assert c.get(server.url()).status == 502 and len(server.requests) == 2


def test_retries_0(one, serve):
    server = serve(flaky())
    c, _ = one("upstream { retries = 0 }\n")
    assert c.get(server.url()).status == 200
    assert c.get(server.url()).status == 502 and len(server.requests) == 2


def test_stale_connection_is_noticed_before_an_unsafe_request(one, serve):
    def handler(conn):
        conn.read_request()
        conn.send(ok("%d" % conn.number))
        conn.finish()
    server = serve(handler)
    c, _ = one()
    for i in range(4):
        assert c.exchange("POST", server.url(), body=b"x").text == "%d" % i
        wait_until(lambda: server.conns[i].closed)


# --- age

def test_idle_timeout(one, serve):
    server = serve(answering(lambda r, c: ok("x")))
    c, _ = one("upstream { idle_timeout = 300ms }\n")
    assert c.get(server.url()).status == 200
    wait_until(lambda: server.conns[0].closed)
    assert c.get(server.url()).status == 200 and len(server.conns) == 2


def test_a_reload_shortens_idle_timeout(one, serve):
    """It holds for the next connection at once, not when the time of those before is over."""
    server = serve(answering(lambda r, c: ok()))
    c, p = one("upstream { idle_timeout = 10m }\n")
    assert c.get(server.url("/1")).status == 200
    p.write("workers = 1\nupstream { idle_timeout = 300ms }\n")
    p.signal(signal.SIGHUP)
    p.wait_log("configuration reloaded")
    wait_until(lambda: server.conns[0].closed, SOON, "the first connection to be closed")
    assert c.get(server.url("/2")).status == 200
    assert len(server.conns) == 2
    wait_until(lambda: server.conns[1].closed, SOON, "the second connection to be closed")


def test_max_age(one, serve):
    server = serve(answering(lambda r, c: ok("%d" % c.number)))
    c, _ = one("upstream { max_age = 400ms }\n")
    end = time.monotonic() + 5 * SLOW
    seen = set()
    while len(seen) < 3 and time.monotonic() < end:
        seen.add(c.get(server.url()).text)
    assert len(seen) == 3


# --- timeouts

def test_response_timeout(one, serve):
    server = serve(lambda conn: (conn.read_request(), conn.hang()))
    c, _ = one('upstream { response_timeout = 300ms }\nrule "a.localhost" { response_timeout = 700ms }\n')
    begun = time.monotonic()
    r = c.get(server.url())
    assert r.status == 504 and r.error == "http_response_timeout"
    assert 0.25 < time.monotonic() - begun < SOON
    begun = time.monotonic()
    assert c.get(server.url(host="a.localhost")).status == 504 and time.monotonic() - begun > 0.6
    wait_until(lambda: server.open_conns() == [])


def test_read_timeout(one, serve):
    def handler(conn):
        conn.read_request()
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        conn.hang()
    server = serve(handler)
    c, p = one("upstream { read_timeout = 300ms }\n")
    with pytest.raises(Broken):
        c.get(server.url("/stall"))
    line, = p.wait_access(lambda x: x["url"].endswith("/stall"))
    assert line["error"] in ("http_response_incomplete", "http_response_timeout")


class Dead:
    """An address that takes no connection: its backlog is full, so SYNs are dropped."""

    def __init__(self, host, port):
        self.listener = socket.socket()
        self.listener.bind((host, port))
        self.listener.listen(0)
        self.fillers = []
        for _ in range(4):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex((host, port))
            self.fillers.append(s)

    def stop(self):
        for s in self.fillers + [self.listener]:
            s.close()


def test_connect_timeout(one):
    dead = Dead("127.0.0.9", free_port())
    port = dead.listener.getsockname()[1]
    c, _ = one("upstream { connect_timeout = 500ms }\n")
    begun = time.monotonic()
    r = c.get("http://127.0.0.9:%d/" % port)
    assert r.status == 504 and r.error == "connection_timeout" and time.monotonic() - begun < SOON
    dead.stop()


@pytest.mark.h1_only("the handshake never begins")
def test_tls_handshake_counts_into_connect_timeout(one, serve):
    server = serve(lambda conn: conn.hang(), tls=False)
    c, _ = one("upstream { connect_timeout = 500ms }\n")
    r = c.get(server.url())
    assert r.status == 504 and r.error == "connection_timeout"


# --- happy eyeballs

@pytest.mark.parametrize("first", ["hangs", "refuses"])
@pytest.mark.parametrize("records",
                         [[("A", "127.0.0.9", 60), ("A", "127.0.0.1", 60)],
                          [("AAAA", "::1", 60), ("A", "127.0.0.1", 60)],
                                     [("AAAA", "100::1", 60), ("A", "127.0.0.1", 60)]])
def test_a_dead_first_address(one, serve, ca, first, records):
    server = serve(answering(lambda r, c: ok("alive")))
    dead = Dead("127.0.0.9", server.port) if first == "hangs" and records[0][1] == "127.0.0.9" else None
    dns = Dns({"origin.test": records})
    c, _ = one(dns.conf)
    begun = time.monotonic()
    assert c.get(server.url(host="origin.test")).text == "alive"
    assert time.monotonic() - begun < SOON
    dns.stop()
    if dead is not None:
        dead.stop()


def test_ipv6_goes_first_and_a_slow_aaaa_is_not_waited_for(one, serve):
    port = free_port()
    serve(answering(lambda r, c: ok("4", "Connection: close")), port=port)
    serve(answering(lambda r, c: ok("6", "Connection: close")), host="::1", port=port)
    dns = Dns({"origin.test": [("AAAA", "::1", 60), ("A", "127.0.0.1", 60)],
               "other.test": [("AAAA", "::1", 60, 60), ("A", "127.0.0.1", 60)]})
    c, _ = one(dns.conf.replace("timeout = 2s", "timeout = 30s"))
    assert c.get("http://origin.test:%d/" % port).text == "6"
    begun = time.monotonic()
    assert c.get("http://other.test:%d/" % port).text == "4"
    assert time.monotonic() - begun < SOON
    c, _ = one(dns.conf.replace("timeout", "family = ipv4 timeout", 1))
    assert c.get("http://origin.test:%d/" % port).text == "4"
    dns.stop()


# --- names

def test_answers_are_kept_for_their_ttl(one, serve):
    server = serve(answering(lambda r, c: ok("x", "Connection: close")))
    dns = Dns({"origin.test": [("A", "127.0.0.1", 1)], "other.test": [("CNAME", "x.test", 1)],
               "x.test": [("A", "127.0.0.1", 300)],
               "www.example.test": [("A", "127.0.0.1", 300)]})
    c, _ = one(dns.conf)
    for name in ("origin.test", "other.test", "www.example.test"):
        begun = time.monotonic()
        for _ in range(5):
            assert c.get(server.url(host=name)).status == 200
        assert dns.count(name) <= 2 + int(time.monotonic() - begun)  # one, and one more for each second that passed
    for name in ("origin.test", "other.test"):
        before = dns.count(name)
        wait_until(lambda: c.get(server.url(host=name)).status == 200 and dns.count(name) > before)
    assert c.get(server.url(host="www.example.test")).status == 200 and dns.count("www.example.test") == 1
    dns.stop()


def test_ttl_max_and_negative_ttl(one, serve):
    server = serve(answering(lambda r, c: ok("x", "Connection: close")))
    dns = Dns({"origin.test": [("A", "127.0.0.1", 300)]})
    c, _ = one(dns.conf.replace("timeout", "ttl_max = 1s timeout", 1))
    assert c.get(server.url(host="origin.test")).status == 200
    wait_until(lambda: c.get(server.url(host="origin.test")).status == 200 and dns.count("origin.test") > 1)
    for _ in range(5):
        r = c.get("http://nowhere.test/")
        assert r.status == 502 and r.error == "dns_error" and "nowhere.test" in r.text
    assert dns.count("nowhere.test") <= 2
    dns.zone["nowhere.test"] = [("A", "127.0.0.1", 60)]
    wait_until(lambda: c.get("http://nowhere.test:1/").error == "connection_refused", 4)
    dns.stop()


def test_queries_under_way_are_shared(one, serve, protocol):
    server = serve(answering(lambda r, c: ok("x")))
    dns = Dns({"origin.test": [("A", "127.0.0.1", 60, 0.1)]})
    c, _ = one(dns.conf)
    c.send("".join("GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % server.url(host="origin.test") for _ in range(20)))
    assert [c.response().status for _ in range(20)] == [200] * 20
    assert dns.count("origin.test") == 1 and (protocol == "h1" or server.accepted == 1)
    dns.stop()


def test_dns_timeout(one):
    dns = Dns({"silent.test": [("A", "silent", 1)]})
    c, _ = one(dns.conf.replace("timeout = 2s", "timeout = 500ms"))
    begun = time.monotonic()
    r = c.get("http://silent.test/")
    assert r.status == 504 and r.error == "dns_timeout" and time.monotonic() - begun < SOON
    dns.stop()


def test_localhost_names_and_literals_ask_nobody(one, serve):
    server = serve(answering(lambda r, c: ok("x")))
    dns = Dns()
    c, _ = one(dns.conf)
    for host in ("localhost", "a.localhost", "127.0.0.1"):
        assert c.get(server.url(host=host)).status == 200
    assert not dns.queries
    dns.stop()


def test_source_address(one, serve):
    seen = []
    server = serve(answering(lambda r, c: seen.append(c.sock.getpeername()[0]) or ok("x")))
    c, _ = one('upstream { bind = "127.0.0.44" }\n')
    assert c.get(server.url(host="127.0.0.1")).status == 200 and seen == ["127.0.0.44"]


def test_request_header_of_a_rule(one, origin):
    c, _ = one('rule "localhost" { request_header = {"X-Token: abc", "User-Agent:", "accept: x/y"} }\n')
    c.get(origin.url(), "x-token: mine", "User-Agent: old", "Accept: */*", "X-Stay: 1")
    r = origin.requests[-1]
    assert r.all("X-Token") == ["abc"] and r.all("User-Agent") == [] and r.all("Accept") == ["x/y"]
    assert r.get("X-Stay") == "1"
    # An origin sends a TRACE back as it came.
    c.exchange("TRACE", origin.url(), "x-token: mine", "X-Stay: 1")
    r = origin.requests[-1]
    assert (r.method, r.all("X-Token"), r.all("Accept"), r.get("X-Stay")) == ("TRACE", [], [], "1")
    c.get(origin.url(host="a.localhost"), "User-Agent: old")
    assert origin.requests[-1].get("User-Agent") == "old" and origin.requests[-1].get("X-Token") is None


def test_rule_patterns_and_first_match(one, serve):
    servers = [serve(answering(lambda r, c, i=i: ok(str(i)))) for i in range(4)]
    rules = zip(("origin.test:8080", "origin.test", "*.localhost", "*"), servers)
    c, _ = one("".join('rule "%s" { connect_to = "127.0.0.1:%d" }\n' % (pattern, s.port) for pattern, s in rules))
    for url, expected in (("http://origin.test/", "1"), ("http://origin.test:8080/", "0"), ("http://a.localhost/", "2"),
                          ("http://localhost/", "3"), ("http://other.test/", "3"), ("https://Origin.Test/", "1")):
        assert c.get(url).text == expected, url


def test_rule_port(one, origin):
    c, _ = one('rule "localhost" { port = %d }\n' % origin.port)
    assert c.get("http://localhost/moved").text == "/moved"
    assert origin.requests[-1].get("Host") in ("localhost", "localhost:%d" % origin.port)
