# SPDX-License-Identifier: Apache-2.0
"""What programs ask of their proxy for the proxy itself: the service listener, forwards, tlsfan.internal.

Programs send URLs of loopback to their proxy, too, unless no_proxy says otherwise."""
import base64
import json
import re
import subprocess
import sys

import pytest

from test_08_access import outer_address
from test_17_docs import blocks, displays
from testenv.client import Client
from testenv.dns import Dns
from testenv.ports import free_port
from testenv.proxy import clean_env
from testenv.scripted import answering, ok
from testenv.wait import can_connect, wait_until

pytestmark = pytest.mark.h1_only("what is asked is tlsfan itself")
LINES = ["Content-Type: text/plain", "Accept: application/x-ndjson"]


@pytest.fixture
def echo(serve):
    return serve(answering(lambda r, c: ok(r.target + " " + r.body.decode(), "Location: https://origin.test/v2/next")))


@pytest.fixture
def with_forward(make_proxy, echo):
    """with_forward(conf, keys): a proxy with a service listener, and a forward at .forward for origin.test/v2."""
    def make(conf="", keys="", listener="127.0.0.1:%d", **kw):
        port = free_port()
        p = make_proxy('%s\nrule "origin.test" { connect_to = "127.0.0.1:%d" }\n'
                       'forward "%s" { to = "https://origin.test/v2" %s }\n'
                       % (conf, echo.port, listener % port, keys), service=True, **kw)
        wait_until(lambda: can_connect("127.0.0.1", port), 10, "the forward")
        p.forward = port
        return p
    return make


def unix_client(path):
    def opened():
        try:
            return Client(path)
        except OSError:
            return None
    return wait_until(opened, 10, "the unix: listener")


def connect(c, host):
    c.send("CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (host, host))
    return c.response("CONNECT").status


def check_forms(p, host):
    with p.client() as c:
        r = c.get("http://%s:%d/healthz" % (host, p.service_port))
        assert (r.status, r.body) == (200, b"ok\n")
        r = c.get("http://%s:%d/a?b" % (host, p.forward))
        assert (r.status, r.text) == (200, "/v2/a?b ")
        authority = "%s:%d" % (host.lower().rstrip("."), p.forward)
        assert r.get("Location") == "http://%s/next" % authority  # which leads here again
        assert c.get(r.get("Location")).text == "/v2/next "
        assert connect(c, "%s:%d" % (host, p.service_port)) == 200
        c.send("GET /healthz HTTP/1.1\r\nHost: %s\r\n\r\n" % host)
        assert c.response().body == b"ok\n"
    with p.client() as c:
        assert connect(c, "%s:%d" % (host, p.forward)) == 200
        c.send("POST /a HTTP/1.1\r\nHost: %s\r\nContent-Length: 3\r\n\r\nabc" % host)
        assert c.response().text == "/v2/a abc"


def test_forms(with_forward):
    p = with_forward()
    for host in ("127.0.0.1", "localhost", "LOCALHOST.", "x.localhost", "[::ffff:127.0.0.1]"):
        check_forms(p, host)


def test_ipv6(make_proxy):
    port = free_port()
    p = make_proxy('service = "[::1]:%d"\n' % port)
    with p.client() as c:
        for host in ("[::1]", "localhost"):
            assert c.get("http://%s:%d/healthz" % (host, port)).body == b"ok\n"


def test_what_leaves(with_forward, echo):
    """One Via, no pass, no rewriting twice; pages and bodies through one connection, pipelined."""
    p = with_forward()
    with p.client() as c:
        for n in range(4):
            c.request("GET", "http://127.0.0.1:%d/%d" % (p.forward, n), "Proxy-Authorization: Basic eDp5",
                      "Authorization: Basic b3du")
            c.request("GET", "http://127.0.0.1:%d/metrics" % p.service_port)
        for n in range(4):
            assert c.response().text == "/v2/%d " % n
            assert b"tlsfan_exchanges_total" in c.response().body
        metrics = c.get("http://127.0.0.1:%d/metrics" % p.service_port).text
    assert "tlsfan_plain_requests_total 0\n" in metrics  # nothing has gone on without TLS but to tlsfan itself
    for r in echo.requests:
        assert re.fullmatch(r"1\.1 tlsfan-[0-9a-f]{8}", r.get("Via")) and r.get("Proxy-Authorization") is None
        assert r.get("Host") == "origin.test" and r.get("Authorization") == "Basic b3du"


def test_rules_lead_nowhere_else(make_proxy):
    """connect_to, a parent and the upgrade are for origins."""
    dead = free_port()
    p = make_proxy('connect_to = {"::127.0.0.1:%d"}\nupstream { proxy = "http://127.0.0.1:%d" }\n' % (dead, dead),
                   service=True)
    with p.client() as c:
        assert c.get("http://localhost:%d/healthz" % p.service_port).body == b"ok\n"
        assert connect(c, "localhost:%d" % p.service_port) == 200


@pytest.mark.parametrize("key", ['deny_hosts = {"localhost", "127.0.0.1"}', 'deny = {"loopback"}', "ports = {443}",
                                 'allow_hosts = {"origin.test"}'])
def test_destination_holds(with_forward, key):
    p = with_forward("destination { %s }" % key)
    with p.client() as c:
        for url in ("http://localhost:%d/status" % p.service_port, "http://127.0.0.1:%d/" % p.forward):
            r = c.get(url)
            assert r.status == 403 and "destination." + key.split()[0] in r.text, r


def test_guards_hold(with_forward, echo):
    """Of the listener that is asked: web pages that a browser with this proxy shows reach neither."""
    p = with_forward()
    with p.client() as c:
        for field in ("Origin: http://evil.test", "Sec-Fetch-Site: cross-site"):
            for port in (p.service_port, p.forward):
                assert c.get("http://127.0.0.1:%d/" % port, field).status == 403
        own = "http://127.0.0.1:%d" % p.service_port
        assert c.get(own + "/status", "Origin: " + own).status == 200
        r = c.get(own + "/nothing")
        pages = set(re.findall(r"/\w*", r.text))
        assert r.status == 404 and {"/", "/status", "/exchanges", "/failures"} <= pages
        assert all(c.get(own + page).status == 200 for page in pages - {"/batch"})
        assert echo.requests == []


def test_who_is_not_led(with_forward, tmp):
    """Other machines, batches, https:// to what speaks none; and nobody gets to a proxy listener."""
    address = outer_address()
    listen = ["127.0.0.1:PORT"]
    if address is not None:
        outer = free_port()
        listen.append("%s:%d" % (address, outer))
    p = with_forward('client { allow = {"any"} }\ndestination { allow = {"any"} }\n', listen=listen)
    urls = ["http://127.0.0.1:%d/" % p.service_port, "http://localhost:%d/" % p.forward]
    with p.client() as c:
        for url in ("http://127.0.0.1:%d/" % p.port, "http://localhost:%d/" % p.port,
                    urls[0].replace("http:", "https:")):
            r = c.get(url)
            assert r.status == 403 and "is a listener of this proxy" in r.text, r
        r = c.exchange("POST", "http://tlsfan.internal/batch", *LINES, body="\n".join(urls).encode())
        for line in r.body.splitlines():
            item = json.loads(line)
            assert item["status"] == 403 and "not in a batch" in item["body"]
    if address is not None:
        wait_until(lambda: can_connect(address, outer))
        with Client((address, outer)) as c:
            for url in urls:
                r = c.get(url)
                assert r.status == 403 and "is a listener of this proxy" in r.text, r
            assert connect(c, "127.0.0.1:%d" % p.service_port) == 403


def test_unix_clients(with_forward, tmp):
    path = str(tmp / "own.sock")
    p = with_forward(listen=["127.0.0.1:PORT", "unix:" + path])
    with unix_client(path) as c:
        assert c.get("http://localhost:%d/healthz" % p.service_port).body == b"ok\n"
        assert c.get("http://localhost:%d/x" % p.forward).text == "/v2/x "


def test_passwords(with_forward, echo, tmp):
    """Who has shown them to the proxy listener need not do so again, and nobody gets by without."""
    users = tmp / "own_users"
    users.write_text("alice:%s\n" % subprocess.run(["openssl", "passwd", "-5", "wonder"], check=True, text=True,
                                                   capture_output=True).stdout.strip())
    p = with_forward('client { auth_file = "%s" }\n' % users)
    status = "http://127.0.0.1:%d/status" % p.service_port
    basic = "Basic " + base64.b64encode(b"alice:wonder").decode()
    with p.client() as c:
        assert c.get(status).status == 407
        assert c.get(status, "Authorization: " + basic).status == 407
        assert c.get(status, "Proxy-Authorization: " + basic).status == 200
        r = c.exchange("POST", status.replace("status", "batch"), "Proxy-Authorization: " + basic, *LINES,
                       body=b"http://origin.test/x")
        assert json.loads(r.body)["body"] == "/x "
        assert c.get("http://127.0.0.1:%d/" % p.forward, "Proxy-Authorization: " + basic).status == 200
        c.send("CONNECT localhost:%d HTTP/1.1\r\nHost: h\r\nProxy-Authorization: %s\r\n\r\n" % (p.service_port, basic))
        assert c.response("CONNECT").status == 200
        c.send("GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert c.response().status == 200
    assert all(r.get("Proxy-Authorization") is None for r in echo.requests)
    with Client(p.service_port) as c:
        for value in (basic.replace("Basic", "tlsfan"), "tlsfan " + "0" * 32, "tlsfan ", ""):
            c.send("GET /status HTTP/1.1\r\nHost: localhost\r\nProxy-Authorization: %s\r\n\r\n" % value)
            assert c.response().status == 401
            c.close()
            c.__init__(p.service_port)


def test_a_forward_with_tls(with_forward, ca):
    """It is upgraded like an origin, and its certificate is asked for."""
    leaf = ca.leaf()
    p = with_forward('client { cert = "%s" key = "%s" }\n' % (leaf.cert, leaf.key), listener="tls:127.0.0.1:%d")
    with p.client() as c:
        r = c.get("http://localhost:%d/x" % p.forward)
        assert (r.status, r.text) == (200, "/v2/x ")
        assert c.get("https://localhost:%d/x" % p.forward).text == "/v2/x "
        assert connect(c, "localhost:%d" % p.forward) == 200
        c.start_tls(ca.client_context(), "localhost")
        c.send("GET /y HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert c.response().text == "/v2/y "


def test_a_loop_is_still_seen(make_proxy, serve):
    """The forward's origin comes back through the proxy."""
    forward = free_port()

    def again(request, conn):
        with p.client() as c:
            r = c.get("http://localhost:%d/" % forward, "Via: " + request.get("Via"))
            return ok("%d %s" % (r.status, r.error))
    server = serve(answering(again))
    p = make_proxy('rule "origin.test" { connect_to = "127.0.0.1:%d" }\n' % server.port,
                   flags=("-f", "127.0.0.1:%d=https://origin.test" % forward))
    with p.client() as c:
        assert c.get("http://localhost:%d/" % forward).text == "508 proxy_loop_detected"


def test_reload(with_forward):
    """A forward that is gone is no own listener any more, and a new one is."""
    p = with_forward()
    url, new = "http://localhost:%d/x", free_port()
    with p.client() as c:
        assert c.get(url % p.forward).status == 200
        with open(p.conf_path) as f:
            text = f.read()
        with open(p.conf_path, "w") as f:
            f.write(text.replace(":%d" % p.forward, ":%d" % new))
        p.signal(1)
        p.wait_log("configuration reloaded")
        wait_until(lambda: not can_connect("127.0.0.1", p.forward) and can_connect("127.0.0.1", new), 10, "the reload")
        r = c.get(url % p.forward)
        assert r.status == 502 and r.error == "connection_refused"
        assert c.get(url % new).text == "/v2/x "


# ---- tlsfan.internal

@pytest.fixture
def asked(make_proxy):
    """asked(**kw): a proxy that asks a DNS server of the test's own, which is at .dns."""
    servers = []

    def make(conf="", **kw):
        servers.append(Dns({}))
        p = make_proxy('%s\ndns { servers = {"127.0.0.1:%d"} }\n' % (conf, servers[-1].port), **kw)
        p.dns = servers[-1]
        return p
    yield make
    for dns in servers:
        dns.stop()


def batch(c, url, *fields):
    return c.exchange("POST", url, *LINES, *fields, body=b"http://127.0.0.1:1/")


def item_of(r):
    return r.status == 200 and json.loads(r.body)["error"] == "connection_refused"


@pytest.mark.parametrize("kind", ["", "unix", "tls", "connect"])
def test_internal(asked, ca, tmp, kind):
    leaf = ca.leaf()
    path = str(tmp / "internal.sock")
    listen = {"unix": ["127.0.0.1:PORT", "unix:" + path], "tls": ["tls:127.0.0.1:PORT"]}.get(kind)
    p = asked('client { cert = "%s" key = "%s" }\n' % (leaf.cert, leaf.key), listen=listen)
    with unix_client(path) if kind == "unix" else p.client() as c:
        if kind == "tls":
            c.start_tls(ca.client_context(), "localhost")
        if kind == "connect":
            assert connect(c, "tlsfan.internal:80") == 200
        url = "/batch" if kind == "connect" else "http://tlsfan.internal/batch"
        c.request("POST", url, *LINES, body=b"http://127.0.0.1:1/", host="tlsfan.internal")
        assert item_of(c.response())
    assert not p.dns.queries


def test_internal_and_nothing_else(asked):
    """What is not the call gets an answer that says what it is, and no DNS hears of the name."""
    p = asked('rule "*.wild.test" { verify = off }\n')
    with p.client() as c:
        assert item_of(batch(c, "http://TLSFAN.internal.:80/batch?x", "Origin: http://tlsfan.internal"))
        for field in ("Origin: http://evil.test", "Origin: http://tlsfan.localhost", "Sec-Fetch-Site: cross-site"):
            assert batch(c, "http://tlsfan.internal/batch", field).status == 403
        assert c.get("http://tlsfan.internal/batch").status == 405
        for url in ("http://tlsfan.internal/", "http://tlsfan.internal/status"):
            r = c.get(url)
            assert r.status == 404 and "nothing but /batch at http://tlsfan.internal/" in r.text
        for url in ("https://tlsfan.internal/batch", "http://tlsfan.internal:81/batch"):
            r = batch(c, url)
            assert r.status == 404 and "with http:// and without a port" in r.text
        r = batch(c, "http://tlsfan.localhost/batch")
        assert item_of(r)
        r = c.exchange("POST", "http://tlsfan.localhost/batch", *LINES, body=b"http://tlsfan.internal/batch")
        assert "a batch inside a batch" in r.text
        c.send("CONNECT tlsfan.internal:443 HTTP/1.1\r\nHost: h\r\n\r\n")
        assert c.response().status == 404
    assert not p.dns.queries


def test_no_service_listener(make_proxy):
    """Where a program has been written for one, which `run` opens only when it is told to."""
    if can_connect("127.0.0.1", 3129):
        pytest.skip("something listens on port 3129 here")
    p = make_proxy()
    with p.client() as c:
        r = c.get("http://localhost:3129/status")
        assert r.status == 502 and "no service listener" in r.text and "http://tlsfan.internal/batch" in r.text
    assert "no service listener" in p.wait_access(lambda x: x["status"] == 502)[0]["details"]
    p = make_proxy(service=True)
    with p.client() as c:
        text = c.get("http://localhost:3129/status").text
        assert text.endswith("; the service listener of this tlsfan is at 127.0.0.1:%d\n" % p.service_port), text


def test_listeners_at_another_address(with_forward):
    """Both are on 127.0.0.1 alone; and what a proxy listener is asked for as an origin has advice, too."""
    p = with_forward()
    with p.client() as c:
        for port, what in ((p.service_port, "service listener"), (p.forward, "forward")):
            r = c.get("http://[::1]:%d/" % port)
            if "refused" in r.text:
                assert r.text.endswith("; the %s of this tlsfan is at 127.0.0.1:%d\n" % (what, port)), r.text
        r = c.get("http://127.0.0.1:%d/" % p.port)
        assert r.text == ("127.0.0.1:%d is a listener of this proxy, and has no pages; live page: "
                          "http://127.0.0.1:%d/\n" % (p.port, p.service_port))


# ---- the README, as one reads it: with http_proxy exported, and nothing else

@pytest.mark.parametrize("no_proxy", ["", "localhost,127.0.0.1"])
def test_the_readme_in_its_order(with_forward, echo, tmp_path, no_proxy):
    """Its batch lines, the manual's in Python, /status and a forward, with the proxy's address in the environment."""
    p = with_forward('rule "*" { connect_to = "127.0.0.1:%d" sni = "localhost" }\n' % echo.port)
    env = clean_env({"http_proxy": p.url, "no_proxy": no_proxy})

    def run(*command):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=env)
        assert done.returncode == 0, done
        return done.stdout

    def here(text):
        return text.replace(":3129", ":%d" % p.service_port).replace(":3128", ":%d" % p.port)

    for line in (x for x in blocks("sh") if "/batch" in x):
        assert run("sh", "-c", here(line)).count('"status":200') == 2
        assert run("sh", "-c", re.sub(r"http://[\w.:]+/batch", "http://tlsfan.internal/batch", line)) \
            .count('"status":200') == 2
    codes = [x for x in displays("tlsfan.8") if "urllib2" in x and "/batch" in x]
    assert codes
    for code in codes:
        script = tmp_path / "example.py"
        for text in (here(code), re.sub(r"http://[\w.:]+/batch", "http://tlsfan.internal/batch", code)):
            script.write_text(text)
            assert len(run(sys.executable, str(script)).splitlines()) == 100
    python = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).read().decode())"
    for tool in (["curl", "-sS", "--fail"], ["curl", "-sS", "--fail", "-p"], [sys.executable, "-c", python]):
        assert json.loads(run(*tool, "http://127.0.0.1:%d/status" % p.service_port))["version"]
        assert run(*tool, "http://localhost:%d/x" % p.forward).strip() == "/v2/x"
