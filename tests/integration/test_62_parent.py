# SPDX-License-Identifier: Apache-2.0
"""Origins that are reached through a parent proxy: real ones with authentication, and such as mean harm."""
import json
import os
import signal
import time

import pytest

from testenv import captured
from testenv.client import Client
from testenv.dns import Dns
from testenv.intercept import OwnCA
from testenv.parents import OPEN, Relay, Squid, Tinyproxy, basic
from testenv.ports import free_port
from testenv.proxy import run
from testenv.scripted import Server, answering, ok
from testenv.wait import wait_until

USER, PASSWORD = "otto", "s3cr%t@:pass"
ENCODED = "otto:s3cr%25t%40%3Apass"
# Tinyproxy's configuration has no quoting.
TINY = "plainS3cret"
NAMES = ("localhost", "origin.test", "other.test", "forbidden.test", "www.example.test")


@pytest.fixture(scope="module")
def squid():
    made = Squid({USER: PASSWORD}, NAMES)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def tinyproxy():
    made = Tinyproxy({USER: TINY})
    yield made
    made.stop()


@pytest.fixture
def relay():
    """relay(judge, ...): a parent of the test's own."""
    made = []

    def make(*args, **kw):
        made.append(Relay(*args, **kw))
        return made[-1]
    yield make
    for server in made:
        server.stop()


@pytest.fixture
def plain():
    server = Server(answering(lambda request, conn: ok(request.target)))
    yield server
    server.stop()


def through(url, *more):
    """Configuration with the parent URL, and MORE of the upstream section."""
    return "upstream { proxy = '%s' %s }\n" % (url, " ".join(more))


def error(answer):
    """(status, error type, sentence) of an answer of tlsfan's own."""
    status = answer.get("Proxy-Status") or ""
    return answer.status, status.partition("error=")[2].partition(";")[0], answer.text


def ask(proxy, url, *fields, method="GET", **kw):
    with proxy.client() as c:
        return c.exchange(method, url, *fields, **kw)


def secrets_of(*pairs):
    """What must stand nowhere."""
    return [word for pair in pairs for word in (pair.partition(":")[2], basic(pair).split()[1])]


def wrote(proxy):
    """All that tlsfan has written."""
    text = proxy.log()
    for name in os.listdir(proxy.dir):
        if name not in ("tlsfan.conf", "password"):
            with open(os.path.join(proxy.dir, name), errors="replace") as f:
                text += f.read()
    return text


# --- real ones


@pytest.mark.parametrize("kind", ["squid", "tinyproxy"])
def test_a_real_parent_with_credentials(request, kind, make_proxy, origin, protocol):
    parent = request.getfixturevalue(kind)
    user = {"squid": ENCODED, "tinyproxy": "%s:%s" % (USER, TINY)}[kind]
    before = len(parent.asked())
    proxy = make_proxy(through(parent.url(user)))
    with proxy.client() as c:
        for n in range(5):
            answer = c.exchange("GET", "http://localhost:%d/%d" % (origin.port, n),
                                "Proxy-Authorization: Basic Y2xpZW50OnB3")
            assert (answer.status, answer.text) == (200, "/%d" % n), (answer, proxy.log())
    assert [r.target for r in origin.requests] == ["/%d" % n for n in range(5)]
    assert not [f for r in origin.requests for f in r.fields if f[0].lower().startswith("proxy-")]
    lines = proxy.wait_access(lambda x: x["status"] == 200, 5)
    assert {x["upstream"] for x in lines} == {x["parent"] for x in lines} == {parent.shown}
    assert {x["protocol"] for x in lines} == {protocol} and [x["reused"] for x in lines] == [False] + 4 * [True]
    assert lines[0]["tls"].startswith("TLSv1.")
    proxy.stop()
    asked = wait_until(lambda: parent.asked()[before:], 5, "the parent's log")
    assert [a[:2] for a in map(list, asked)] == [["CONNECT", "localhost:%d" % origin.port]], asked
    for secret in secrets_of("%s:%s" % (USER, PASSWORD), "%s:%s" % (USER, TINY)):
        assert secret not in wrote(proxy)


@pytest.mark.parametrize("kind", ["squid", "tinyproxy"])
def test_a_real_parent_that_is_not_content(request, kind, make_proxy, origin):
    parent = request.getfixturevalue(kind)
    url = "http://localhost:%d/" % origin.port
    proxy = make_proxy(through(parent.url("otto:wr0ngS3cret")))
    status, kind_of, text = error(ask(proxy, url))
    assert (status, kind_of) == (502, "destination_unavailable")
    assert "the parent proxy %s answered CONNECT localhost:%d with 40" % (parent.shown, origin.port) in text
    assert {"squid": "407 Proxy Auth", "tinyproxy": "401 Unauth"}[kind] in text
    assert "does not take the user and password" in text
    for secret in secrets_of("otto:wr0ngS3cret"):
        assert secret not in wrote(proxy) and secret not in text
    (line,) = proxy.wait_access(lambda x: x["status"] == 502)
    assert line["error"] == "destination_unavailable" and parent.shown in line["details"]
    assert line["parent"] == parent.shown
    proxy = make_proxy(through(parent.url()))
    status, _, text = error(ask(proxy, url))
    assert status == 502 and "407 Proxy Authentication Required" in text
    assert "write them into `proxy`" in text
    assert not origin.requests


@pytest.mark.h1_only("the origin is not asked")
def test_squid_forbids_and_finds_no_name(make_proxy, squid, origin):
    proxy = make_proxy(through(squid.url(ENCODED)))
    status, kind, text = error(ask(proxy, "http://forbidden.test/"))
    assert (status, kind) == (502, "destination_unavailable")
    assert "answered CONNECT forbidden.test:443 with 403 Forbidden" in text and squid.shown in text
    assert "the parent proxy" in text and "407" not in text
    status, kind, text = error(ask(proxy, "http://no-such-name.test/"))
    assert (status, kind) == (502, "destination_unavailable")
    assert "with 50" in text and "(ERR_" in text, text
    with proxy.client() as c:
        c.send(b"CONNECT forbidden.test:443 HTTP/1.1\r\nHost: forbidden.test:443\r\n\r\n")
        assert error(c.response("CONNECT"))[:2] == (502, "destination_unavailable")


@pytest.mark.h1_only("plain HTTP")
def test_squid_answers_for_itself(make_proxy, squid):
    """A page of its own about a request that it was sent whole is no answer of the origin's."""
    proxy = make_proxy(through(squid.url(ENCODED)) + 'rule "*" { upgrade = off }')
    for url, told in (("http://forbidden.test/", "with 403 Forbidden (ERR_ACCESS_DENIED)"),
                      ("http://no-such-name.test/", "with 50"), ("http://localhost:%d/" % free_port(), "with 50")):
        status, kind, text = error(ask(proxy, url))
        assert (status, kind) == (502, "destination_unavailable")
        assert "the parent proxy %s answered the request %s" % (squid.shown, told) in text and "(ERR_" in text


@pytest.mark.h1_only("plain HTTP")
@pytest.mark.parametrize("via, method, told", [
    ("", "GET", "answered the request with 503 Service Unavailable (ERR_READ_TIMEOUT)"),
    ("Via: 1.1 parent (squid)\r\n", "POST", "which may have been carried out, with 503 Service Unavailable (ERR_READ"),
    ("Via: 1.1 front (squid), 1.1 parent (squid)\r\n", "GET", None),
    ("Via: 1.1 front (squid)\r\nVia: 1.1 parent (squid)\r\n", "GET", None)])
def test_whose_page_it_is(make_proxy, relay, via, method, told):
    """A Squid may stand before the origin, too: its page has come through the parent, and is the origin's."""
    page = ("HTTP/1.1 503 Busy\r\n%sX-Squid-Error: ERR_READ_TIMEOUT 0\r\nRetry-After: 1\r\n"
            "Content-Length: 4\r\n\r\npage" % via).encode()
    parent = relay(lambda request, conn: page)
    proxy = make_proxy(through(parent.address())
                       + 'rule "*" { upgrade = off retry_after = %s }' % ("on" if told else "off"))
    answer = ask(proxy, "http://origin.test/", method=method, body=b"x" if method == "POST" else b"")
    if told:
        assert error(answer)[:2] == (502, "destination_unavailable") and told in answer.text, answer.text
        assert len(parent.requests) == 1, "a pause of the parent's is none of the origin's"
    else:
        assert (answer.status, answer.text, answer.get("Proxy-Status")) == (503, "page", None)


@pytest.mark.h1_only("plain HTTP")
@pytest.mark.parametrize("kind", ["squid", "tinyproxy"])
def test_plain_http_in_the_absolute_form(request, kind, make_proxy, plain):
    parent = request.getfixturevalue(kind)
    user = {"squid": ENCODED, "tinyproxy": "%s:%s" % (USER, TINY)}[kind]
    proxy = make_proxy(through(parent.url(user)) + 'rule "*" { upgrade = off }')
    before = len(parent.asked())
    with proxy.client() as c:
        for n in range(3):  # Tinyproxy closes behind each without a word: what is unsafe comes first
            answer = c.exchange("GET" if n else "POST", "http://localhost:%d/%d?q" % (plain.port, n),
                                body=b"" if n else b"body")
            assert (answer.status, answer.text) == (200, "/%d?q" % n), (answer, proxy.log())
    assert not [f for r in plain.requests for f in r.fields if f[0].lower().startswith("proxy-a")]
    assert plain.requests[0].body == b"body"
    lines = proxy.wait_access(lambda x: x["status"] == 200, 3)
    assert {x["upstream"] for x in lines} == {x["parent"] for x in lines} == {parent.shown}
    asked = wait_until(lambda: len(parent.asked()) >= before + 3 and parent.asked()[before:], 5, "the parent's log")
    assert [list(a)[0] for a in asked] == ["POST", "GET", "GET"]
    assert "http://localhost:%d/1" % plain.port in str(asked[1])
    if kind == "squid":
        assert [x["reused"] for x in lines] == [False, True, True]
    if kind == "squid":  # the other one asks with 401, as an origin would
        wrong = make_proxy(through(parent.url("otto:wr0ngS3cret")) + 'rule "*" { upgrade = off }')
        status, kind_of, text = error(ask(wrong, "http://localhost:%d/" % plain.port, method="POST", body=b"x"))
        assert (status, kind_of) == (502, "destination_unavailable")
        assert "the parent proxy %s answered the request with 407" % parent.shown in text
        assert "may have been carried out" not in text
    assert len(plain.requests) == 3


# --- whose connection it is


def test_every_kind_of_client(make_proxy, relay, ca, origin, protocol):
    """CONNECT, a batch, a forward listener, the server's first bytes."""
    parent = relay()
    listener = free_port()
    proxy = make_proxy(through(parent.address(ENCODED)) + """
        destination { connect_ports = {} }
        forward "127.0.0.1:%d" { to = "https://localhost:%d/base" }
    """ % (listener, origin.port), service=True)
    with proxy.client() as c:
        c.send(b"CONNECT localhost:%d HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic eDp5\r\n\r\n" % origin.port)
        assert c.response("CONNECT").status == 200
        c.start_tls(ca.client_context(), "localhost")
        if protocol == "h1":
            assert c.exchange("GET", "/blind", host="localhost").text == "/blind"
    with Client(listener) as c:
        assert c.exchange("GET", "/forward", host="127.0.0.1").text == "/base/forward"
    body = "http://localhost:%d/b1\nhttp://localhost:%d/b2\n" % (origin.port, origin.port)
    with Client(proxy.service_port) as c:
        answer = c.exchange("POST", "/batch", "Content-Type: text/plain", "Accept: application/x-ndjson",
                            host="localhost", body=body.encode())
    assert [json.loads(x)["body"] for x in answer.text.splitlines()] == ["/b1", "/b2"]
    assert set(parent.targets()) == {"localhost:%d" % origin.port}
    assert {r.get("Proxy-Authorization") for r in parent.requests} == {basic("%s:%s" % (USER, PASSWORD))}
    assert all(r.method == "CONNECT" and r.get("Via", "").startswith("1.1 tlsfan-") for r in parent.requests)


@pytest.mark.h1_only("no TLS at the origin")
def test_a_server_that_speaks_first(make_proxy, relay):
    """What comes in the parent's segment behind its 200 is the tunnel's."""
    def judge(request, conn):
        conn.send(OPEN + b"220 ready\r\n")
        assert conn.exactly(4) == b"QUIT"
        conn.send(b"221 bye\r\n")
        return False
    parent = relay(judge)
    proxy = make_proxy(through(parent.address()) + "destination { connect_ports = {} }")
    with proxy.client() as c:
        c.send(b"CONNECT mail.test:25 HTTP/1.1\r\nHost: mail.test:25\r\n\r\n")
        assert c.response("CONNECT").status == 200
        assert c.exactly(11) == b"220 ready\r\n"
        c.send(b"QUIT")
        assert c.rest() == b"221 bye\r\n"


@pytest.mark.h1_only("the origin is of the test's own")
def test_tls_that_the_server_begins_early(make_proxy, relay, ca):
    """The head comes with the first record behind it, and byte by byte."""
    origin = Server(answering(lambda request, conn: ok("early")), ca.server_context())
    slow = relay(lambda request, conn: conn.drip(OPEN[:-2] + b"Content-Length: 5\r\n\r\n", 0.001))
    slow.opening = b""
    proxy = make_proxy(through(slow.address()))
    assert ask(proxy, "http://localhost:%d/" % origin.port).text == "early"
    origin.stop()


REFUSAL = b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"
UPGRADE = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: x", "Sec-WebSocket-Version: 13")


def echo(conn):
    request = conn.read_request()
    if request.get("Upgrade") != "websocket":
        conn.send(ok("plain"))
        return
    conn.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhi")
    while True:
        data = conn.recv()
        if not data:
            return
        conn.send(data)


@pytest.mark.h1_only("WebSocket is asked by HTTP/1.1")
@pytest.mark.parametrize("tls", [True, False])
def test_websocket(make_proxy, relay, ca, tls):
    """ws:// that is not upgraded has a tunnel, too: a parent that reads would stop it."""
    origin = Server(echo, ca.server_context() if tls else None)
    parent = relay()
    proxy = make_proxy(through(parent.address()) + ("" if tls else 'rule "*" { upgrade = off }'))
    with proxy.client() as c:
        c.request("GET", "http://localhost:%d/" % origin.port, *UPGRADE)
        assert c.response().status == 101
        assert c.exactly(2) == b"hi"
        c.send(b"frame")
        assert c.exactly(5) == b"frame"
    assert ask(proxy, "http://localhost:%d/" % origin.port).text == "plain"
    assert [r.method for r in parent.requests] == ["CONNECT", "CONNECT" if tls else "GET"]
    origin.stop()


def test_interception(make_proxy, relay, ca, origin, tmp_path):
    own = OwnCA(tmp_path)
    parent = relay()
    proxy = make_proxy(through(parent.address()) + "destination { connect_ports = {} }\n" + own.conf())
    with proxy.client() as c:
        c.send(b"CONNECT localhost:%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % origin.port)
        assert c.response("CONNECT").status == 200
        c.start_tls(own.context(), "localhost")
        assert c.exchange("GET", "/inside", host="localhost:%d" % origin.port).text == "/inside"
    assert parent.targets() == ["localhost:%d" % origin.port]


def test_read_ahead(make_proxy, relay, origin):
    parent = relay()
    proxy = make_proxy(through(parent.address()) + 'rule "localhost" { readahead = 4 }')
    with proxy.client() as c:
        for page in range(1, 8):
            assert c.exchange("GET", "http://localhost:%d/p?page=%d" % (origin.port, page)).status == 200
    assert any(r.get("Sec-Purpose") == "prefetch" for r in origin.requests)
    assert set(parent.targets()) == {"localhost:%d" % origin.port}


@pytest.mark.h1_only("plain HTTP")
def test_read_ahead_of_plain_http(make_proxy, relay, plain):
    parent = relay()
    proxy = make_proxy(through(parent.address(ENCODED)) + 'rule "localhost" { readahead = 4 upgrade = off }')
    with proxy.client() as c:
        for page in range(1, 8):
            assert c.exchange("GET", "http://localhost:%d/p?page=%d" % (plain.port, page)).text == "/p?page=%d" % page
    ahead = [r for r in parent.requests if r.get("Sec-Purpose") == "prefetch"]
    assert ahead and all(r.target.startswith("http://localhost:%d/p" % plain.port) for r in ahead)
    assert all(r.get("Proxy-Authorization") == basic("%s:%s" % (USER, PASSWORD)) for r in parent.requests)


@pytest.mark.h1_only("a program is captured")
@pytest.mark.skipif(bool(captured.why_not()), reason=str(captured.why_not()))
def test_a_captured_program(relay, ca, plain):
    """Its names are the parent's to resolve: nobody else is asked for them."""
    origin = Server(answering(lambda request, conn: ok("captured " + request.target)), ca.server_context())
    parent = relay(leads={"only.there.test": ("127.0.0.1", origin.port), "origin.test": ("127.0.0.1", origin.port)})
    done = run("-o", "tls.ca_file=" + ca.root, "-o", "upstream.proxy=" + parent.address(ENCODED), "-o",
               "dns.servers=127.0.0.1:1", "-o", "capture.host_loopback=%d" % plain.port, "run", "--capture", "--",
               "curl", "-sS", "-m", "20", "http://origin.test/x", "http://127.0.0.1:%d/here" % plain.port, timeout=40)
    assert done.stdout == "captured /x/here", (done, parent.targets())
    assert parent.targets() == ["origin.test:443"], "the host's loopback is nobody else's to reach"
    origin.stop()


@pytest.mark.h1_only("a program is captured")
@pytest.mark.skipif(bool(captured.why_not()), reason=str(captured.why_not()))
@pytest.mark.parametrize("how", [[], ["--intercept"]], ids=["blind", "intercepted"])
def test_tls_of_a_captured_program(relay, ca, how):
    """By name and by address; a name of no_proxy is looked up here, and a refusal ends the connection."""
    origin = Server(answering(lambda request, conn: ok("captured " + request.target)), ca.server_context())
    dns = Dns({"other.test": [("A", "127.0.0.1", 60)]})
    parent = relay(lambda request, conn: REFUSAL if request.target.startswith("no.test") else None,
                   leads={"origin.test": ("127.0.0.1", origin.port), "192.0.2.9": ("127.0.0.1", origin.port)})
    trust = [] if how else ["--cacert", ca.root]
    script = "for url in https://origin.test/a https://192.0.2.9/b https://other.test/c https://no.test/d; do " \
             "curl -sS -m 20 %s $url; echo =; done" % " ".join(trust)
    done = run("-o", "tls.ca_file=" + ca.root, "-o", "upstream.proxy=" + parent.address(ENCODED), "-o",
               "dns.servers=127.0.0.1:%d" % dns.port, "-o", "upstream.no_proxy=other.test", "-o",
               "connect_to=other.test:443::%d" % origin.port, "-o", "destination.allow=127.0.0.1",
               "run", "--capture", *how, "--", "sh", "-c", script, timeout=90)
    assert parent.targets()[0] == "origin.test:443" and "192.0.2.9:443" in parent.targets(), done
    assert "no.test:443" in parent.targets() and not [t for t in parent.targets() if "other" in t]
    got = done.stdout.split("=\n")
    assert got[0] == "captured /a" and got[2] == "captured /c", done
    if how:
        assert "certificate" in got[1] and "the parent proxy %s answered CONNECT no.test:443" % parent.shown in got[3]
    assert {name for name, _ in dns.queries} <= {"other.test"}
    dns.stop()
    origin.stop()


# --- which parent


def test_rules_choose(make_proxy, relay, origin):
    one, two = relay(), relay()
    proxy = make_proxy(through(one.address(), 'no_proxy = {"b.localhost", "*.test", "127.0.0.0/8"}') + """
        rule "c.localhost" { proxy = "http://%s" }
        rule "www.example.test" { proxy = "http://%s" }
        rule "other.test" { proxy = "" }
        rule "localhost:1" { proxy = "none" }
        connect_to = {"www.example.test::127.0.0.1:", "other.test::127.0.0.1:"}
    """ % (two.shown, two.shown))
    hosts = {"a.localhost": one, "c.localhost": two, "b.localhost": None, "127.0.0.1": None, "other.test": None}
    for host, parent in hosts.items():
        del one.requests[:], two.requests[:]
        assert ask(proxy, "http://%s:%d/" % (host, origin.port)).status == 200, host
        assert [one.targets(), two.targets()] == [["%s:%d" % (host, origin.port)] if p is parent else []
                                                  for p in (one, two)], host
    # The rule's own is meant, whatever no_proxy says; and what is CONNECTed is the mapped address.
    assert ask(proxy, "http://www.example.test:%d/" % origin.port).status == 200
    assert two.targets()[-1:] == ["127.0.0.1:%d" % origin.port]


def test_none_is_directly(make_proxy, relay, origin):
    one = relay()
    proxy = make_proxy(through(one.address()) + 'rule "localhost" { proxy = "none" }')
    assert ask(proxy, "http://localhost:%d/" % origin.port).status == 200
    assert not one.requests
    (line,) = proxy.wait_access(lambda x: x["status"] == 200)
    assert "parent" not in line


@pytest.mark.h1_only("plain HTTP")
def test_what_is_mapped_keeps_its_host(make_proxy, relay, plain):
    """A parent would make the mapped address the Host: there is a tunnel instead."""
    parent = relay()
    proxy = make_proxy(through(parent.address()) + 'rule "*" { upgrade = off }\n'
                       'connect_to = {"plain.test:80:127.0.0.1:%d"}' % plain.port)
    assert ask(proxy, "http://plain.test/").status == 200
    assert [(r.method, r.target) for r in parent.requests] == [("CONNECT", "127.0.0.1:%d" % plain.port)]
    assert plain.requests[0].get("Host") == "plain.test" and plain.requests[0].target == "/"


@pytest.mark.h1_only("nothing of it is the origin's")
def test_names_are_the_parents_to_look_up(make_proxy, relay, ca):
    dns = Dns({"parent.test": [("A", "127.0.0.1", 60)]})
    origin = Server(answering(lambda request, conn: ok("found")), ca.server_context())
    parent = relay(leads={"origin.test": ("127.0.0.1", origin.port)})
    proxy = make_proxy(through("http://parent.test:%d" % parent.port) + dns.conf)
    assert ask(proxy, "http://origin.test/").text == "found"
    assert ask(proxy, "http://Origin.test./").text == "found"
    assert parent.targets() == 2 * ["origin.test:443"], "the dot is for who looks the name up"
    assert {name for name, _ in dns.queries} == {"parent.test"}
    status, kind, text = error(ask(make_proxy(through("http://gone.test:3128") + dns.conf), "http://origin.test/"))
    assert (status, kind) == (502, "dns_error") and "(the parent proxy gone.test:3128)" in text
    dns.stop()
    origin.stop()


@pytest.mark.h1_only("the origin is of the test's own")
def test_a_certificate_of_the_parents(make_proxy, relay, ca):
    """Who reads TLS on the way is named beside what does not verify."""
    origin = Server(answering(lambda request, conn: ok()), ca.server_context("self_signed"))
    parent = relay()
    status, kind, text = error(ask(make_proxy(through(parent.address())), "http://localhost:%d/" % origin.port))
    assert (status, kind) == (502, "tls_certificate_error")
    assert "through the parent proxy %s" % parent.shown in text, text
    origin.stop()


@pytest.mark.h1_only("the origin is not asked")
def test_what_is_denied(make_proxy, relay):
    """Names and written addresses are judged here; the parent's own address is the operator's word."""
    parent = relay()
    proxy = make_proxy(through(parent.address())
                       + 'destination { deny = {"127.0.0.0/8", "169.254.0.0/16"} deny_hosts = {"bad.test"} }')
    assert error(ask(proxy, "http://169.254.169.254/latest/"))[:2] == (403, "destination_ip_prohibited")
    assert error(ask(proxy, "http://[::ffff:169.254.169.254]/"))[:2] == (403, "destination_ip_prohibited")
    assert error(ask(proxy, "http://localhost/"))[:2] == (403, "destination_ip_prohibited")
    # A name in disguise: who asks for it by libcurl, as px does, decodes that.
    for name in ("bad.test", "b%61d.test", "169.254.169.%32%35%34", "169.254.169.254%20", "a;b.test", "b(a)d.test"):
        assert error(ask(proxy, "http://%s/" % name))[:2] == (403, "http_request_denied"), name
        with proxy.client() as c:
            c.send("CONNECT %s:443 HTTP/1.1\r\nHost: x\r\n\r\n" % name)
            assert c.response("CONNECT").status == 403, name
    with proxy.client() as c:
        c.send(b"CONNECT 169.254.169.254:443 HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = c.response("CONNECT")
    assert answer.status == 403 and "the parent proxy" not in answer.text
    assert parent.accepted == 0


@pytest.mark.h1_only("the origin is not asked")
def test_ourselves(make_proxy, relay):
    """A parent that is this proxy, at once and by a detour."""
    own = free_port()
    proxy = make_proxy(through("http://localhost:%d" % own), listen=["127.0.0.1:%d" % own], wait=False)
    proxy.port = own
    wait_until(proxy.listens, 10, "the proxy")
    status, kind, text = error(ask(proxy, "http://origin.test/"))
    assert (status, kind) == (403, "destination_ip_prohibited")
    assert "is a listener of this proxy (the parent proxy localhost:%d)" % own in text

    def again(request, conn):
        with Client(round_about.port) as c:
            c.send(request.head)
            head = c.head()
            conn.send(ok(c.exactly(int(head.get("Content-Length"))), status="%d Looped" % head.status))
        return False
    parent = relay(again)
    round_about = make_proxy(through(parent.address()) + 'rule "plain.test" { upgrade = off }')
    status, kind, text = error(ask(round_about, "http://origin.test/"))
    assert (status, kind) == (502, "destination_unavailable") and "with 508 Loop Detected" in text
    assert len(parent.requests) == 1
    assert ask(round_about, "http://plain.test/").status == 508
    assert len(parent.requests) == 2


# --- its life


def test_connections_age_and_the_password_changes(make_proxy, relay, origin, tmp_path):
    secret = tmp_path / "password"
    secret.write_text("first one\n")
    secret.chmod(0o644)
    parent = relay(lambda request, conn: None if request.get("Proxy-Authorization") in allowed
                   else b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n")
    allowed = {basic("otto:first one")}
    proxy = make_proxy(through("http://otto:{file:%s}@%s" % (secret, parent.shown), "max_age = 400ms"))
    proxy.wait_log("{file:%s} can be read by every user" % secret)
    url = "http://localhost:%d/" % origin.port
    assert ask(proxy, url).status == 200
    wait_until(lambda: ask(proxy, url).status == 200 and len(parent.requests) >= 2, 5, "another connection")
    secret.write_text("second: one")
    proxy.wait_log("configuration reloaded", 20)
    status, _, text = error(ask(proxy, url))
    assert status == 502 and "does not take the user and password" in text
    assert parent.requests[-1].get("Proxy-Authorization") == basic("otto:second: one")
    allowed.add(basic("otto:second: one"))
    assert ask(proxy, url).status == 200
    for word in secrets_of("otto:first one", "otto:second: one"):
        assert word not in wrote(proxy)


@pytest.mark.parametrize("how", ["gone", "empty"])
def test_the_last_good_password_stays(make_proxy, relay, origin, tmp_path, how):
    """With the rest of a reload, as of every other secret; and the next good one comes by itself."""
    secret = tmp_path / "password"
    secret.write_text("first one\n")
    secret.chmod(0o600)
    parent = relay()
    conf = through("http://otto:{file:%s}@%s" % (secret, parent.shown))
    proxy = make_proxy(conf)
    url = "http://localhost:%d/" % origin.port
    assert ask(proxy, url).status == 200
    if how == "gone":
        secret.unlink()
    else:
        secret.write_text("")
    proxy.write(conf + 'rule "localhost" { request_header = {"X-New: 1"} }')
    proxy.signal(signal.SIGHUP)
    proxy.wait_log("configuration reloaded")
    proxy.wait_log("the last value stays in use")
    assert ask(proxy, url).status == 200
    assert origin.requests[-1].get("X-New") == "1"
    assert [r.get("Proxy-Authorization") for r in parent.requests] == 2 * [basic("otto:first one")]
    secret.write_text("second one")
    wait_until(lambda: proxy.log().count("configuration reloaded") >= 2, 20, "the watcher")
    assert ask(proxy, url).status == 200
    assert parent.requests[-1].get("Proxy-Authorization") == basic("otto:second one")
    for word in secrets_of("otto:first one", "otto:second one"):
        assert word not in wrote(proxy)


def test_a_variable_and_the_dump(make_proxy, relay, origin):
    parent = relay()
    proxy = make_proxy(through("http://otto:{env:PARENT_PASSWORD}@" + parent.shown), env={"PARENT_PASSWORD": "a%b @c"})
    assert ask(proxy, "http://localhost:%d/" % origin.port).status == 200
    assert parent.requests[0].get("Proxy-Authorization") == basic("otto:a%b @c")
    done = run("-o", "upstream.proxy=http://otto:literal%40@p.test:1", "-o",
               "rule[x.test].proxy=http://otto:{env:HOME}@p.test:2", "-T")
    assert 'proxy = "http://********@p.test:1"' in done.stdout, done
    assert 'proxy = "http://otto:{env:HOME}@p.test:2"' in done.stdout
    assert "literal" not in done.stdout + done.stderr


@pytest.mark.parametrize("url, told", [
    ("https://otto:S3cret@p.test:1", "TLS to a parent proxy is not spoken"),
    ("http://otto:S3cret@p.test", "HOST:PORT"),
    ("otto:S3cret@p.test:1", "HOST:PORT"),
    ("http://otto:S3cret%zz@p.test:1", "%25"),
    ("http://otto:S3cret%0a@p.test:1", "control byte"),
    ("http://:S3cret@p.test:1", "has no user"),
    ("http://otto:{env:NOT_THERE_S3cret}@p.test:1", "is not set"),
    ("http://otto:{file:/no/such/file}@p.test:1", "{file:/no/such/file}: No such file"),
])
@pytest.mark.h1_only("nothing runs")
def test_urls_that_are_refused(url, told):
    for key in ("upstream.proxy", "rule[a.test].proxy"):
        done = run("-o", key + "=" + url, "-t")
        assert done.returncode == 1 and told in done.stderr, done
        assert "S3cret" not in done.stderr + done.stdout or "NOT_THERE" in url


# --- dead and hostile ones


def test_a_dead_parent(make_proxy, origin):
    gone = free_port()
    proxy = make_proxy(through("http://127.0.0.1:%d" % gone) + 'rule "other.test" { proxy = "none" '
                       'connect_to = "127.0.0.1:%d" }' % origin.port)
    answer = ask(proxy, "http://localhost:%d/" % origin.port)
    status, kind, text = error(answer)
    assert (status, kind) == (502, "connection_refused") and "(the parent proxy 127.0.0.1:%d)" % gone in text
    assert "Parent proxy" in answer.reason
    # Nobody else is blamed for it.
    assert ask(proxy, "http://other.test/").status == 200
    begin = time.monotonic()
    assert ask(proxy, "http://localhost:%d/" % origin.port).status == 502
    assert time.monotonic() - begin < 5


def test_a_dead_origin_is_not_the_parents_fault(make_proxy, relay, ca, origin, protocol):
    """One cuts off every handshake; the other's requests go on through the same parent."""
    cutting = Server(lambda conn: conn.cut(), None)
    parent = relay()
    proxy = make_proxy(through(parent.address()))
    for _ in range(2):
        status, kind, text = error(ask(proxy, "http://a.localhost:%d/" % cutting.port))
        assert (status, kind) == (502, "connection_terminated") and "the TLS handshake" in text
        assert text.startswith("a.localhost:%d (through the parent proxy %s)" % (cutting.port, parent.shown)), text
    assert ask(proxy, "http://localhost:%d/" % origin.port).status == 200
    cutting.stop()


PAGE = b"<html>" + b"x" * 300000
NTLM = b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM\r\n" \
       b"Content-Length: 0\r\n\r\n"
REFUSALS = {
    "page": (b"HTTP/1.1 407 Log in\r\nProxy-Authenticate: Digest a=\"Basic\", basic realm=\"y\"\r\n"
             b"Content-Length: %d\r\n\r\n" % len(PAGE) + PAGE,
             "destination_unavailable", "407 Proxy Authentication Required: it does not take the user"),
    "ntlm": (NTLM, "destination_unavailable", "chain to cntlm or px"),
    "redirect": (b"HTTP/1.1 302 Found\r\nLocation: http://login.test/\r\n\r\n", "destination_unavailable",
                 "302 Found: a redirect is not followed"),
    "unknown": (b"HTTP/1.1 777 otto:S3cret b3R0bzpTM2NyZXQ=\r\nX-Squid-Error: ERR_b3R0bzpTM2NyZXQ= 0\r\n\r\n",
                "destination_unavailable", "with 777"),
    "garbage": (b"220 smtp.test ESMTP\r\n\r\n", "http_protocol_error", "not valid HTTP"),
    "switch": (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "http_protocol_error", "another protocol"),
    "interim": (b"HTTP/1.1 100 Continue\r\n\r\n" * 100, "http_protocol_error", "interim"),
    "head": (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100000, "http_protocol_error", "64 KiB"),
    "endless": (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100000, "http_protocol_error", "64 KiB"),
}


@pytest.mark.parametrize("kind", sorted(REFUSALS))
@pytest.mark.h1_only("the origin is not asked")
def test_refusals(make_proxy, relay, kind):
    reply, error_type, sentence = REFUSALS[kind]
    parent = relay(lambda request, conn: reply)
    proxy = make_proxy(through(parent.address("otto:S3cret")))
    for url in ("http://origin.test/", "http://b.localhost/"):
        status, found, text = error(ask(proxy, url))
        assert (status, found) == (502, error_type) and sentence in text, text
        assert parent.shown in text
        for secret in secrets_of("otto:S3cret"):
            assert secret not in text and secret not in wrote(proxy)
    assert len(parent.conns) == 2, "a connection was kept after a refusal, or made again"


@pytest.mark.h1_only("the origin is not asked")
def test_parents_that_close(make_proxy, relay):
    """Asked again as an origin would be, and told as what it is."""
    for end, told in ((lambda conn: conn.finish(), "closed the connection before it answered"),
                      (lambda conn: conn.reset(), "asked for CONNECT"),
                      (lambda conn: (conn.send(b"HTTP/1.1 200 OK\r\n"), conn.finish()), "inside its answer to")):
        parent = relay(lambda request, conn: end(conn) or False)
        proxy = make_proxy(through(parent.address()))
        status, kind, text = error(ask(proxy, "http://origin.test/"))
        assert (status, kind) == (502, "connection_terminated") and told in text, text
        assert "the parent proxy %s" % parent.shown in text
        assert len(parent.conns) <= 4
        proxy = make_proxy(through(parent.address()) + 'rule "*" { upgrade = off }')
        answer = ask(proxy, "http://origin.test/")
        status, kind, text = error(answer)
        assert (status, kind) == (502, "connection_terminated") and "the parent proxy %s" % parent.shown in text, text
        assert answer.reason == "Connection closed by the parent proxy"


@pytest.mark.h1_only("the origin is not asked")
def test_parents_that_say_nothing(make_proxy, relay):
    parent = relay(lambda request, conn: conn.hang() or False)
    drip = relay(lambda request, conn: conn.drip(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000, 0.05) or False)
    for server in (parent, drip):
        proxy = make_proxy(through(server.address(), "connect_timeout = 700ms"))
        status, kind, text = error(ask(proxy, "http://origin.test/"))
        assert (status, kind) == (504, "connection_timeout")
        assert "the parent proxy %s did not answer CONNECT origin.test:443 within 700 ms" % server.shown in text
        wait_until(lambda: not server.open_conns(), 5, "the connection to end")


@pytest.mark.parametrize("opening", [b"HTTP/1.0 200 OK\r\n\r\n", b"HTTP/1.1 200\r\n\r\n",
                                     b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nTransfer-Encoding: chunked\r\n\r\n",
                                     b"HTTP/1.1 200 OK\nServer: old\n\n",
                                     b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 299 Fine\r\nConnection: close\r\n\r\n"])
def test_odd_ways_to_say_yes(make_proxy, relay, origin, opening):
    parent = relay(opening=opening)
    proxy = make_proxy(through(parent.address()))
    with proxy.client() as c:
        for n in range(2):
            assert c.exchange("GET", "http://localhost:%d/%d" % (origin.port, n)).text == "/%d" % n
    assert len(parent.requests) == 1


def test_a_parent_by_ipv6(make_proxy, relay, origin):
    parent = relay(host="::1")
    proxy = make_proxy(through(parent.address()))
    assert ask(proxy, "http://localhost:%d/" % origin.port).status == 200
    assert ask(proxy, "http://[::1]:1/").status == 502
    assert parent.targets()[:2] == ["localhost:%d" % origin.port, "[::1]:1"]


@pytest.mark.h1_only("plain HTTP")
def test_what_the_parent_reads(make_proxy, relay, plain):
    """OPTIONS * has no path; TRACE, which it could answer itself, no credentials; its 407 is not the client's."""
    parent = relay(lambda request, conn: ok(request.head) if request.method in ("TRACE", "OPTIONS") else NTLM)
    proxy = make_proxy(through(parent.address(ENCODED)) + 'rule "*" { upgrade = off }')
    base = "http://localhost:%d" % plain.port
    assert ask(proxy, base, method="OPTIONS").status == 200
    assert parent.requests[0].target == base and parent.requests[0].get("Proxy-Authorization")
    assert "Proxy-Authorization" not in ask(proxy, base + "/", method="TRACE").text
    answer = ask(proxy, base + "/")
    assert error(answer)[:2] == (502, "destination_unavailable") and "chain to cntlm or px" in answer.text
    assert answer.get("Proxy-Authenticate") is None
