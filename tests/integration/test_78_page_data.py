# SPDX-License-Identifier: Apache-2.0
"""What the live page is given: exchanges under way, failures kept apart, what a pause leaves, connections,
certificates, and fields without credentials."""
import json
import re
import signal
import threading
import time
from pathlib import Path

import pytest

from testenv import SLOW
from testenv.client import Client
from testenv.ports import free_port
from testenv.scripted import answering, ok
from testenv.wait import wait_until

pytestmark = pytest.mark.concurrent

ONCE = pytest.mark.h1_only("what is told, whatever the origin speaks")


def get(p, path):
    return json.loads(p.fetch(path))


def running(p, count=1):
    """COUNT exchanges under way, as they are told when there are so many."""
    return wait_until(lambda: (lambda r: r if len(r) == count else None)(get(p, "/exchanges")["running"]), 10,
                      "%d exchanges under way" % count)


def none_runs(p):
    wait_until(lambda: get(p, "/exchanges")["running"] == [], 10, "nothing to be under way")


def ended(p, count, after=""):
    """The last COUNT that have ended, when there are so many."""
    return wait_until(lambda: (lambda r: r if len(r) == count else None)(
        get(p, "/exchanges?after=" + after)["exchanges"]), 10, "%d exchanges" % count)


def phases_add_up(x):
    ms = dict(x["ms"])
    total = ms.pop("total")
    return min(ms.values()) >= 0 and abs(sum(ms.values()) - total) < 0.01


def test_a_hung_request_is_shown_for_as_long_as_it_runs(one, serve, protocol):
    server = serve(lambda conn: conn.read_request() and conn.hang())
    c, p = one(service=True)
    c.request("GET", server.url("/hangs?secret=1"))
    server.wait_requests(1)
    x, = running(p)
    assert x["phase"] == "wait" and x["doing"] == "waits for the answer"
    assert x["method"] == "GET" and x["url"] == server.url("/hangs?secret=1") and x["host"] == "localhost"
    assert x["protocol"] == protocol and x["tls"].startswith("TLSv1") and x["upstream"].endswith(":%d" % server.port)
    assert x["status"] == 0 and x["bytes_out"] == 0 and x["bytes_in"] > 0 and x["client_position"] == 1
    assert x["client_connection"] and x["upstream_connection"] and x["upstream_position"] == 1
    assert x["origin"] == "localhost:%d" % server.port
    assert x["stream"] % 2 == 1 if protocol == "h2" else x["stream"] == 0

    def grown():
        later, = running(p)
        assert later["id"] == x["id"] and later["start"] == pytest.approx(x["start"], abs=50) and phases_add_up(later)
        return later if later["ms"]["wait"] > x["ms"]["wait"] + 300 else None
    later = wait_until(grown, 10, "the wait to grow")
    assert later["ms"]["total"] - later["ms"]["wait"] == pytest.approx(x["ms"]["total"] - x["ms"]["wait"], abs=1)
    c.close()
    none_runs(p)
    failed, = get(p, "/failures")["failures"]
    assert failed["id"] == x["id"] and failed["kind"] == "client" and "client" in failed["sentence"]
    assert get(p, "/exchanges")["exchanges"][-1]["id"] == x["id"]


@ONCE
def test_where_it_hangs(one, serve):
    """For a slot, in a handshake, while a body comes, behind another answer, in a tunnel."""
    gate = threading.Event()
    slow = serve(answering(lambda r, c: gate.wait(20 * SLOW) and ok("done")), kind="good")
    raw = serve(lambda conn: conn.hang(), raw=True)
    part = serve(answering(lambda r, c: c.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart") or c.hang()))
    quick = serve(answering(lambda r, c: ok("quick")))
    c, p = one('rule "localhost:%d" { max_per_host = 1 }\ndestination { connect_ports = {%d} }\n'
               % (slow.port, raw.port), service=True)
    clients = [p.client(timeout=30) for _ in range(4)]
    c.request("GET", slow.url("/1"))
    slow.wait_requests(1)
    clients[0].request("GET", slow.url("/2"))
    clients[1].request("GET", raw.url("/3"))
    clients[2].request("GET", part.url("/4"))
    clients[3].send("CONNECT localhost:%d HTTP/1.1\r\nHost: localhost:%d\r\n\r\n" % (raw.port, raw.port))
    assert clients[3].head().status == 200
    c.request("GET", quick.url("/6"))

    def told():
        found = {re.sub("^.*/", "", x["url"]): (x["phase"], x["doing"]) for x in get(p, "/exchanges")["running"]}
        good = {"1": ("wait", "waits for the answer"), "2": ("queue", "waits for others to this host (max_per_host)"),
                "3": ("tls", "is in the TLS handshake"), "4": ("transfer", "gets the body of the answer"),
                "localhost:%d" % raw.port: ("transfer", "is a tunnel"),
                "6": ("deliver", "is answered; the client has not taken it all yet")}
        return found if found == good else None
    wait_until(told, 10, lambda: "the phases: %r" % get(p, "/exchanges")["running"])
    list_ = get(p, "/exchanges")["running"]
    starts = [x["start"] for x in list_]
    assert list_[-1]["doing"] == "is a tunnel" and starts[:-1] == sorted(starts[:-1]), "the oldest first, tunnels last"
    over = [x for x in list_ if x["phase"] == "deliver"][0]
    assert all(phases_add_up(x) for x in list_)
    assert running(p, 6) and [x for x in running(p, 6) if x["id"] == over["id"]][0]["ms"] == over["ms"]
    gate.set()
    assert c.response().text == "done" and c.response().text == "quick"
    for other in clients:
        other.close()
    none_runs(p)


@ONCE
def test_failures_survive_a_flood(one, serve):
    server = serve(answering(lambda r, c: ok("no", status="503 No") if r.target == "/503" else ok()))
    c, p = one(service=True)
    nobody = free_port()
    assert c.get("http://localhost:%d/" % nobody).status == 502
    assert c.get(server.url("/503")).status == 503
    for _ in range(20):
        for _ in range(50):
            c.request("GET", server.url("/"))
        assert [c.response().status for _ in range(50)] == [200] * 50
    wait_until(lambda: get(p, "/status")["exchanges"] == 1002, 10, "all to be counted")
    got = get(p, "/failures")
    first, second = got["failures"]
    assert first["kind"] == "tlsfan" and first["host"] == "localhost" and first["error"] == "connection_refused"
    assert "refused" in first["sentence"]
    assert first["end"] == pytest.approx(first["start"] + first["ms"]["total"], abs=0.01)
    assert second["kind"] == "origin" and second["status"] == 503 and second["error"] == ""
    # What was not watched has its fields all the same.
    assert "Host" in [f["name"] for f in first["request"]["fields"]] and first["response"] is None
    assert "Content-Length" in [f["name"] for f in second["response"]["fields"]]
    assert not {first["id"], second["id"]} & {x["id"] for x in get(p, "/exchanges?limit=1000")["exchanges"]}
    none = get(p, "/failures?after=" + got["cursor"])
    assert (none["cursor"], none["gone"], none["failures"]) == (got["cursor"], 0, [])
    for _ in range(3):
        c.get("http://localhost:%d/" % nobody)
    wait_until(lambda: len(get(p, "/failures?after=" + got["cursor"])["failures"]) == 3, 10, "three more")


@ONCE
def test_the_clock_by_which_times_are_told(one):
    """By as much as it moves, a reader moves what it has: it is the wall's without the time since the boot."""
    _, p = one(service=True)
    for path in ("/exchanges", "/failures", "/exchanges?after=&limit=0"):
        began = time.time() - time.monotonic()
        assert abs(get(p, path)["clock"] / 1000 - began) < 0.5 * SLOW


@ONCE
def test_the_benefit_is_a_figure(one, serve):
    """Ten that take 0.3 s each, at once: what they waited together, and in which time."""
    together = threading.Barrier(10)
    server = serve(answering(lambda r, c: together.wait(20 * SLOW) >= 0 and not c.server.stopping.wait(0.3) and ok()))
    c, p = one(service=True)
    for _ in range(10):
        c.request("GET", server.url("/"))
    assert [c.response().status for _ in range(10)] == [200] * 10
    got = ended(p, 10)
    waited = sum(x["ms"]["total"] for x in got)
    took = max(x["end"] for x in got) - min(x["start"] for x in got)
    assert waited >= 3000 and took >= 300 and waited > 4 * took


@ONCE
def test_a_pause_loses_nothing_that_is_kept(one, serve):
    server = serve(answering(lambda r, c: ok()))
    c, p = one(service=True)
    paused = get(p, "/exchanges")["cursor"]
    for i in range(30):
        assert c.get(server.url("/%d" % i)).status == 200
    wait_until(lambda: get(p, "/status")["exchanges"] == 30, 10, "all to be counted")
    got = get(p, "/exchanges?limit=0&after=" + paused)
    assert (got["cursor"], got["waiting"], got["gone"], got["exchanges"]) == (paused, 30, 0, [])
    seen, cursor = [], paused
    for left in (18, 6, 0):
        got = get(p, "/exchanges?limit=12&after=" + cursor)
        assert (got["waiting"], got["gone"]) == (left, 0)
        seen, cursor = seen + got["exchanges"], got["cursor"]
    assert [x["url"] for x in seen] == [server.url("/%d" % i) for i in range(30)]
    assert [x["client_position"] for x in seen] == list(range(1, 31))
    assert len({x["client_connection"] for x in seen}) == 1
    for _ in range(12):
        for _ in range(50):
            c.request("GET", server.url("/"))
        assert [c.response().status for _ in range(50)] == [200] * 50
    wait_until(lambda: get(p, "/status")["exchanges"] == 630, 10, "all to be counted")
    got = get(p, "/exchanges?limit=0&after=" + paused)
    assert (got["waiting"], got["gone"]) == (512, 118)
    for bad in ("limit=-1", "limit=x", "limit=", "limit=99999999999999999999", "limit=%00"):
        assert len(get(p, "/exchanges?" + bad)["exchanges"]) <= 200


def test_connections_and_certificate(one, serve, protocol):
    server = serve(answering(lambda r, c: ok("x" * 1234)))
    c, p = one(service=True)
    assert [c.get(server.url("/%d" % i)).status for i in range(3)] == [200] * 3
    got = ended(p, 3)
    assert [(x["upstream_position"], x["reused"]) for x in got] == [(1, False), (2, True), (3, True)]
    assert len({x["upstream_connection"] for x in got}) == 1
    assert [x["stream"] for x in got] == ([1, 3, 5] if protocol == "h2" else [0] * 3)
    assert {x["body"] for x in got} == {1234} and got[0]["bytes_out"] > 1234
    assert {(x["version"], x["address"], x["parent"], x["kind"]) for x in got} == {("1.1", "127.0.0.1", "", "")}
    s = get(p, "/status")
    assert s["proxy"] == "127.0.0.1:%d" % p.port and s["fields"] == "names"
    origin, = [o for o in s["origins"] if o["origin"] == got[0]["origin"]]
    shown = origin["certificate"]
    assert set(shown) == {"subject", "issuer", "expires"} and shown["expires"] == origin["certificate_expires"]
    assert "CN=" in shown["issuer"] or "O=" in shown["issuer"]


@ONCE
def test_a_worker_has_one_number(one, serve):
    """What names a worker to a person, and to top and gdb, counts from 1."""
    server = serve(answering(lambda r, c: ok()))
    c, p = one(service=True)
    assert c.get(server.url("/")).status == 200
    names = [comm.read_text().strip() for comm in Path("/proc/%d/task" % p.pid).glob("*/comm")]
    worker = ended(p, 1)[0]["client_connection"].split(".")[0]
    assert "worker " + worker in names, names


SECRETS = ("Authorization: Bearer hide-me-a", "Cookie: a=hide-me-2", "X-Api-Key: hide-me-3",
           "Proxy-Authorization: hide-me-4", "X-Custom: Basic hide-me-5", "X-Session: hide-me-6",
           "Referer: http://u:hide-me-7@h/?q=hide-me-8")
ANSWERED = ("Set-Cookie: b=hide-me-9", "WWW-Authenticate: Negotiate hide-me-10",
            "Location: http://hide-me-11@h/x?c=hide-me-12", "X-Plain: <b>\xe9\"",
            "Content-Location: x?c=hide-me-15", "X-Put: hide-me-13", "X-Echo: you sent hide-me-13!")


@pytest.mark.parametrize("values", [False, True])
def test_fields_without_credentials(one, serve, tmp_path, values):
    server = serve(answering(lambda r, c: ok("x", *ANSWERED, status="404 No" if r.target == "/404" else "200 OK")))
    (tmp_path / "secret").write_text("hide-me-13\n")
    (tmp_path / "secret").chmod(0o600)
    c, p = one('log { access = off fields = %s }\n'
               'rule "localhost:%d" { request_header = {"X-Put: {file:%s}", "X-Fixed: hide-me-14"} }\n'
               % ("on" if values else "off", server.port, tmp_path / "secret"), service=True)
    get(p, "/exchanges")  # somebody watches
    for path in ("/", "/404"):
        c.get(server.url(path), "Accept: text/plain", *SECRETS)
    c.get("http://localhost:%d/" % free_port(), *SECRETS)
    got = ended(p, 3)
    for path in ("/exchanges", "/exchanges?limit=9", "/failures", "/status", "/metrics", "/"):
        assert "hide-me" not in p.fetch(path)
    assert server.requests[0].all("X-Put") == ["hide-me-13"]
    for x in got[:2] + get(p, "/failures")["failures"][-1:]:
        fields = {f["name"].title(): f for f in x["request"]["fields"]}
        assert (fields["Authorization"]["size"], fields["Cookie"]["size"]) == (16, 11)
        assert ("hidden" in fields["Authorization"]) == values and "value" not in fields["Authorization"]
    x = got[0]
    sent = {f["name"].title(): f for f in x["request"]["fields"]}
    came = {f["name"].title(): f for f in x["response"]["fields"]}
    assert sent["X-Put"]["size"] == -1 and sent["X-Fixed"]["size"] == -1
    assert sent["Accept"]["size"] == 10 and sent["Accept"].get("value") == ("text/plain" if values else None)
    assert set(ANSWERED[i].split(":")[0].title() for i in range(3)) <= set(came)
    if values:
        assert came["Location"]["value"] == "http://h/x" and came["Location"]["cut"]
        assert came["X-Plain"]["value"] == "<b>\\xe9\""
        assert sent["Referer"]["value"] == "https://h/"  # as it went up


@ONCE
def test_values_go_when_they_are_switched_off(one, serve):
    """Those, too, that were noted before."""
    server = serve(answering(lambda r, c: ok("x", status="404 No")))
    c, p = one("log { access = off fields = on }\n", service=True)
    get(p, "/exchanges")
    c.get(server.url("/"), "X-Mine: shown")
    ended(p, 1)
    for path in ("/exchanges", "/failures"):
        assert '"shown"' in p.fetch(path)
    p.write("workers = 1\nlog { access = off }\n")
    p.signal(signal.SIGHUP)
    wait_until(lambda: get(p, "/status")["fields"] == "names", 10, "the reload")
    for path in ("/exchanges", "/failures"):
        told = p.fetch(path)
        assert '"X-Mine"' in told and '"shown"' not in told


@ONCE
def test_nobody_watches(one, serve):
    """Fields are noted for who watches alone, of so many as he can see."""
    server = serve(answering(lambda r, c: ok()))
    c, p = one(service=True)
    assert c.get(server.url("/before")).status == 200
    assert ended(p, 1)[0]["request"] is None
    cursor = get(p, "/exchanges")["cursor"]
    for _ in range(4):
        for _ in range(40):
            c.request("GET", server.url("/"))
        assert [c.response().status for _ in range(40)] == [200] * 40
    got = ended(p, 160, cursor)
    assert sum(x["request"] is not None for x in got) == 100


def test_many_ask_at_once_and_some_leave(one, serve):
    server = serve(lambda conn: conn.read_request() and conn.hang())
    c, p = one(service=True)
    c.request("GET", server.url("/"))
    server.wait_requests(1)
    ask = b"GET /exchanges HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for _ in range(30):
        with Client(p.service_port) as leaves:
            leaves.send(ask)
    asking = [Client(p.service_port, timeout=30) for _ in range(10)]
    for one_ in asking:
        one_.send(ask * 3 + ask.replace(b"GET", b"HEAD"))
    for one_ in asking:
        for _ in range(3):
            assert len(json.loads(one_.response().body)["running"]) == 1
        assert one_.response("HEAD").status == 200
        one_.close()
