# SPDX-License-Identifier: Apache-2.0
"""GET /metrics, /status and /exchanges: what real traffic leaves there; promtool and Prometheus read it, too."""
import json
import re
import shutil
import ssl
import subprocess
import threading
import time

import pytest

from testenv import SLOW
from testenv.client import Broken
from testenv.ports import free_port
from testenv.prometheus import PROGRAM, Prometheus
from testenv.proxy import OPENER
from testenv.scripted import answering, ok
from testenv.wait import wait_until

pytestmark = pytest.mark.concurrent

SAMPLE = re.compile(r'^([a-z_]+)(?:\{(.*)\})? (-?[0-9.]+(?:e[+-]?[0-9]+)?)$')


def metrics(p):
    """{'name{labels}': value}; a line that is no sample fails."""
    found = {}
    for line in p.fetch("/metrics").splitlines():
        if not line.startswith("#"):
            name, labels, value = SAMPLE.match(line).groups()
            key = name + ("{%s}" % labels if labels else "")
            assert key not in found, key
            found[key] = float(value)
    return found


def status(p):
    return json.loads(p.fetch("/status"))


def exchanges(p, after=None):
    return json.loads(p.fetch("/exchanges" + ("" if after is None else "?after=" + after)))


def wait_metric(p, key, value):
    """An exchange is counted once its client has the answer, perhaps a moment later."""
    return wait_until(lambda: (lambda m: m if m.get(key) == value else None)(metrics(p)), 5,
                      "%s %s" % (key, value))


@pytest.fixture
def echo(serve):
    return serve(answering(lambda r, c: ok(r.body or b"x" * 1000)))


def test_promtool_has_nothing_to_say(make_proxy, echo):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool (Debian: prometheus)")
    p = make_proxy(service=True)
    with p.client() as c:
        assert c.get(echo.url()).status == 200
        assert c.get("http://127.0.0.1:%d/" % free_port()).status == 502
    wait_metric(p, 'tlsfan_exchanges_total{code="5xx"}', 1)
    with OPENER.open(p.service_url + "/metrics", timeout=10 * SLOW) as r:
        text, kind = r.read().decode("ascii"), r.headers.get("Content-Type")
    assert kind.startswith("text/plain; version=0.0.4")
    check = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True)
    assert (check.returncode, check.stdout, check.stderr) == (0, "", "")


def test_a_connection_and_its_reuse(make_proxy, echo, ca):
    p = make_proxy("workers = 1\n", service=True)
    with p.client() as c:
        for i in range(4):
            assert c.exchange("POST", echo.url("/%d" % i), body=b"y" * 100).status == 200
        m = wait_metric(p, 'tlsfan_exchanges_total{code="2xx"}', 4)
        assert m["tlsfan_client_connections"] == 1 and m["tlsfan_exchanges_in_flight"] == 0
    name = '{origin="localhost:%d"}' % echo.port
    assert m["tlsfan_origin_requests_total" + name] == 4
    assert m["tlsfan_origin_failed_total" + name] == 0
    assert m["tlsfan_origin_connections_opened_total" + name] == 1
    assert m["tlsfan_origin_connections_reused_total" + name] == 3
    assert m['tlsfan_origin_connections{origin="localhost:%d",state="idle"}' % echo.port] == 1
    assert m['tlsfan_origin_connections{origin="localhost:%d",state="busy"}' % echo.port] == 0
    lines = p.wait_access(lambda x: True, 4)
    assert m["tlsfan_received_bytes_total"] == sum(x["bytes_in"] for x in lines) >= 400
    assert m["tlsfan_sent_bytes_total"] == sum(x["bytes_out"] for x in lines) >= 400
    for phase, count in ("queue", 4), ("dns", 1), ("connect", 1), ("tls", 1), ("wait", 4), ("total", 4):
        assert m['tlsfan_phase_duration_seconds_count{phase="%s"}' % phase] == count, phase
        assert m['tlsfan_phase_duration_seconds_bucket{phase="%s",le="+Inf"}' % phase] == count
    total = sum(x["ms"]["total"] for x in lines) / 1000
    assert abs(m['tlsfan_phase_duration_seconds_sum{phase="total"}'] - total) < 1e-4
    cert = ssl._ssl._test_decode_cert(ca.leaf("good").cert)
    end = ssl.cert_time_to_seconds(cert["notAfter"])
    assert m["tlsfan_upstream_certificate_expiry_timestamp_seconds" + name] == end
    origin, = [o for o in status(p)["origins"] if o["origin"] == "localhost:%d" % echo.port]
    assert origin["certificate_expires"] == time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(end))
    assert (origin["requests"], origin["opened"], origin["reused"], origin["idle"]) == (4, 1, 3, 1)


def test_a_resumed_session_has_its_certificate_too(make_proxy, serve, ca):
    server = serve(answering(lambda r, c: ok("x", "Connection: close")))
    p = make_proxy("workers = 1\n", service=True)
    with p.client() as c:
        c.get(server.url())
        c.get(server.url())
    wait_metric(p, 'tlsfan_exchanges_total{code="2xx"}', 2)
    assert server.conns[-1].resumed
    end = ssl.cert_time_to_seconds(ssl._ssl._test_decode_cert(ca.leaf("good").cert)["notAfter"])
    key = 'tlsfan_upstream_certificate_expiry_timestamp_seconds{origin="localhost:%d"}' % server.port
    assert metrics(p)[key] == end


def test_errors_by_type(make_proxy, serve, echo):
    expired = serve(answering(lambda r, c: ok()), kind="expired")
    cut = serve(lambda conn: conn.read_request() and conn.finish())
    closed = free_port()
    p = make_proxy(service=True)
    expected = {}
    for url, word in ((expired.url(), "tls_certificate_error"), (cut.url(), "connection_terminated"),
                      ("http://127.0.0.1:%d/" % closed, "connection_refused"),
                      ("http://no-such-name.invalid/", "dns_error"), ("http://user:sec@ret@h/", "http_request_error"),
                      ("http://169.254.169.254/", "destination_ip_prohibited")):
        with p.client() as c:
            assert c.get(url).status >= 400, url
        line, = p.wait_access(lambda x, word=word: x["error"] == word)
        expected[word] = 1
    wait_until(lambda: status(p)["exchanges"] == 6, 5, "six exchanges")
    s, m = status(p), metrics(p)
    assert s["errors"] == expected and s["failed"] == 6
    assert {k: v for k, v in m.items() if k.startswith("tlsfan_errors_total") and v} == {
        'tlsfan_errors_total{type="%s"}' % word: 1 for word in expected}
    assert m['tlsfan_errors_total{type="proxy_loop_detected"}'] == 0
    # Who cannot be found or may not be asked gets no name; who refuses or shows a bad certificate does.
    names = {o["origin"] for o in s["origins"]}
    assert names == {"localhost:%d" % expired.port, "localhost:%d" % cut.port, "127.0.0.1:%d" % closed, "other"}
    assert m['tlsfan_origin_failed_total{origin="localhost:%d"}' % expired.port] == 1
    told = exchanges(p)["exchanges"]
    assert [x["error"] for x in told] == list(expected)
    assert "has expired" in told[0]["sentence"] and not re.search("sec|ret@", json.dumps(told))


def test_a_client_that_leaves(make_proxy, serve):
    server = serve(lambda conn: conn.read_request() and conn.hang())
    p = make_proxy(service=True)
    with p.client() as c:
        c.send(b"GET %s HTTP/1.1\r\nHost: h\r\n\r\n" % server.url().encode())
        server.wait_requests(1)
        m = metrics(p)
        assert m["tlsfan_exchanges_in_flight"] == 1
        assert m['tlsfan_origin_requests_in_flight{origin="localhost:%d"}' % server.port] == 1
        assert m['tlsfan_origin_connections{origin="localhost:%d",state="busy"}' % server.port] == 1
    m = wait_metric(p, 'tlsfan_errors_total{type="client_gone"}', 1)
    assert m["tlsfan_exchanges_in_flight"] == 0 and m['tlsfan_exchanges_total{code="none"}'] == 1
    wait_metric(p, 'tlsfan_origin_connections{origin="localhost:%d",state="busy"}' % server.port, 0)


def test_what_is_not_protected(make_proxy, serve):
    plain = serve(answering(lambda r, c: ok()), tls=False)
    loose = serve(answering(lambda r, c: ok()), kind="self_signed")
    p = make_proxy('rule "127.0.0.1" { upgrade = off }\nrule "localhost" { verify = off }\n', service=True)
    with p.client() as c:
        assert c.get(plain.url(host="127.0.0.1")).status == 200
        for _ in range(2):
            assert c.get(loose.url()).status == 200
    m = wait_metric(p, 'tlsfan_exchanges_total{code="2xx"}', 3)
    assert m["tlsfan_plain_requests_total"] == 1 and m["tlsfan_unverified_requests_total"] == 2
    assert m['tlsfan_rules{kind="verify_off"}'] == 1 and m['tlsfan_rules{kind="upgrade_off"}'] == 1
    assert 'tlsfan_upstream_certificate_expiry_timestamp_seconds{origin="127.0.0.1:%d"}' % plain.port not in m


def test_tunnels_and_retries(make_proxy, serve):
    seen = []

    def once(r, c):
        seen.append(c.number)
        return None if len(seen) == 2 else ok()
    server = serve(answering(once))
    p = make_proxy("workers = 1\ndestination { connect_ports = {%d} }\n" % server.port, service=True)
    with p.client() as c:
        assert [c.get(server.url()).status for _ in range(2)] == [200, 200]
    assert wait_metric(p, 'tlsfan_exchanges_total{code="2xx"}', 2)["tlsfan_retries_total"] == 1
    with p.client() as c:
        c.send(b"CONNECT localhost:%d HTTP/1.1\r\nHost: localhost:%d\r\n\r\n" % (server.port, server.port))
        assert c.head().status == 200
        m = wait_metric(p, "tlsfan_tunnels_total", 1)
        assert m["tlsfan_exchanges_in_flight"] == 1
    wait_metric(p, "tlsfan_exchanges_in_flight", 0)


def test_no_more_than_500_origins_by_name(make_proxy, serve):
    server = serve(answering(lambda r, c: ok("x", "Connection: close")), kind="wildcard")
    p = make_proxy('connect_to = {"::127.0.0.1:%d"}\n' % server.port, service=True)

    def ask(first):
        with p.client(timeout=30 * SLOW) as c:
            for i in range(first, 600, 4):
                assert c.get("http://h%d.wild.test/" % i).status == 200
    threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    m = wait_metric(p, 'tlsfan_exchanges_total{code="2xx"}', 600)
    series = {k: v for k, v in m.items() if k.startswith("tlsfan_origin_requests_total")}
    other = series.pop('tlsfan_origin_requests_total{origin="other"}')
    assert len(series) == 500 and set(series.values()) == {1} and other == 100
    origins = status(p)["origins"]
    assert len(origins) == 501 and origins[-1]["origin"] == "other" and origins[-1]["requests"] == 100


def test_exchanges_one_after_the_other(make_proxy, echo):
    p = make_proxy("workers = 2\n", service=True)
    cursor, seen = exchanges(p)["cursor"], []
    for _ in range(3):
        with p.client() as c:
            for i in range(5):
                c.get(echo.url("/%d?q=1" % i))
        wait_metric(p, "tlsfan_client_connections", 0)
        got = exchanges(p, cursor)
        assert got["skipped"] == 0
        cursor = got["cursor"]
        seen += got["exchanges"]
    lines = {x["id"]: x for x in p.wait_access(lambda x: True, 15)}
    assert len(seen) == 15 and {x["id"] for x in seen} == set(lines)
    for x in seen:
        line = lines[x["id"]]
        for key in "url", "client", "method", "status", "reused", "upstream", "tls", "bytes_in", "bytes_out", "error":
            assert x[key] == line[key], key
        assert x["host"] == "localhost"
        assert abs(sum(v for k, v in x["ms"].items() if k != "total") - x["ms"]["total"]) < 0.01
        assert abs(x["ms"]["total"] - line["ms"]["total"]) < 0.01
        assert abs(time.time() * 1000 - x["start"]) < 60000
    ends = [x["start"] + x["ms"]["total"] for x in seen]
    assert ends == sorted(ends)
    assert exchanges(p, cursor)["exchanges"] == []
    assert len(exchanges(p, "nonsense")["exchanges"]) == 15


def test_the_query_only_with_log_query(make_proxy, echo):
    p = make_proxy("log { access = off }\n", service=True)
    with p.client() as c:
        c.get(echo.url("/a?token=secret"))
    wait_metric(p, 'tlsfan_exchanges_total{code="2xx"}', 1)
    told, = exchanges(p)["exchanges"]
    assert told["url"] == echo.url("/a?...")


def test_read_while_it_is_written(make_proxy, echo):
    """Every answer fits together although four clients go on meanwhile, and none is neither told nor skipped."""
    p, over, asked = make_proxy("workers = 2\n", service=True), threading.Event(), []
    cursor = exchanges(p)["cursor"]  # without one, what has ended before is not counted as skipped

    def ask():
        with p.client(timeout=20 * SLOW) as c:
            while not over.is_set():
                assert c.get(echo.url("/abcdefghij")).status == 200
                asked.append(1)
    threads = [threading.Thread(target=ask) for _ in range(4)]
    for t in threads:
        t.start()
    told, skipped, last = 0, 0, 0
    wait_until(lambda: len(asked) > 300, 30, "more than one answer holds")
    for _ in range(30):
        got = exchanges(p, cursor)
        cursor, told, skipped = got["cursor"], told + len(got["exchanges"]), skipped + got["skipped"]
        assert all(x["url"] == echo.url("/abcdefghij") and x["status"] == 200 for x in got["exchanges"])
        s = status(p)
        assert s["exchanges"] >= last and 0 <= s["in_flight"] <= 4 and s["failed"] == 0
        last = s["exchanges"]
    over.set()
    for t in threads:
        t.join()
    wait_until(lambda: status(p)["exchanges"] == len(asked), 5, "all to be counted")
    got = exchanges(p, cursor)
    assert told + skipped + len(got["exchanges"]) + got["skipped"] == len(asked)


@pytest.fixture
def prometheus(tmp):
    """prometheus(proxy): a server that scrapes it; gives query(text) -> the values."""
    running = []
    if PROGRAM is None:
        pytest.skip("no prometheus (Debian: prometheus)")

    def start(p):
        running.append(Prometheus(tmp / "prometheus", p))
        return running[-1].values
    yield start
    for server in running:
        server.stop()


@pytest.mark.h1_only("a scraper reads what the other tests here read from both")
def test_prometheus_scrapes_it(make_proxy, prometheus, echo):
    p = make_proxy(service=True)
    with p.client() as c:
        for _ in range(7):
            c.get(echo.url())
    query = prometheus(p)
    wait_until(lambda: query('tlsfan_exchanges_total{code="2xx"}') == [7], 30 * SLOW, "the first scrape")
    assert query('up{job="tlsfan"}') == [1]
    assert query("sum(tlsfan_origin_requests_total)") == [7]
    assert query('tlsfan_phase_duration_seconds_count{phase="total"}') == [7]
    assert query("histogram_quantile(0.5, sum by (le) (tlsfan_phase_duration_seconds_bucket{phase='total'})) < 10")
    with p.client() as c:
        c.get("http://no-such-name.invalid/")
    wait_until(lambda: query('tlsfan_errors_total{type="dns_error"}') == [1], 30 * SLOW, "the next scrape")
    assert query("time() - process_start_time_seconds < 120")


def test_a_proxy_that_closed_is_gone(make_proxy, echo):
    """The pages do not outlive the proxy, and reading them never keeps it from ending."""
    p = make_proxy(service=True)
    with p.client() as c:
        c.get(echo.url())
    assert status(p)["version"]
    p.stop()
    with pytest.raises((OSError, Broken)):
        status(p)
