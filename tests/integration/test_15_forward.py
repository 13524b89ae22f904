# SPDX-License-Identifier: Apache-2.0
"""Forward listeners: one origin, spoken for (contract sections 2 to 4)."""
import os

import pytest

from testenv.client import Client
from testenv.ports import free_port
from testenv.scripted import answering, ok
from testenv.wait import can_connect, wait_until


@pytest.fixture
def sidecar(make_proxy, serve):
    """sidecar(app, path, keys): the origin, a client of the forward listener, and its port."""
    clients = []

    def make(app=None, path="/v2", keys="", name="origin.test"):
        server = serve(answering(app or (lambda r, c: ok(r.target))))
        port = free_port()
        p = make_proxy('connect_to = {"%s:443:127.0.0.1:%d"}\nforward "127.0.0.1:%d" { to = "https://%s%s" %s }\n'
                       % (name, server.port, port, name, path, keys))
        wait_until(lambda: can_connect("127.0.0.1", port))
        clients.append(Client(port))
        server.proxy = p
        return server, clients[-1], port
    yield make
    for c in clients:
        c.close()


def get(c, target, *fields, host=None, method="GET"):
    lines = ["%s %s HTTP/1.1" % (method, target), "Host: " + (host or "localhost")]
    c.send("\r\n".join(lines + list(fields)) + "\r\n\r\n")
    return c.response(method)


@pytest.mark.parametrize("path, target, expected", [
    ("/v2", "/a?b=1", "/v2/a?b=1"), ("/v2", "/", "/v2/"), ("/v2/", "/a", "/v2/a"), ("", "/a", "/a"), ("/", "/a", "/a"),
    ("/v2", "/a/../b", "/v2/a/../b"),
    ("/v2", "/a/./b%20c", "/v2/a/./b%20c"), ("/v2", "/?x", "/v2/?x"), ("/v2", "http://localhost/abs", "/v2/abs")])
def test_path_is_put_before(sidecar, path, target, expected):
    server, c, _ = sidecar(path=path)
    r = get(c, target)
    assert r.status == 200
    assert r.text == expected or ".." in target and r.text == "/v2/b" or "/./" in target and r.text == "/v2/a/b%20c"


@pytest.mark.parametrize("target",
                         ["/..", "/../x", "/a/../../x", "/%2e%2e/x", "/.%2E/x", "/a/%2e%2e/%2e%2e/x", "/./../x",
                          "/..?x"])
def test_dot_segments_that_would_leave_are_400(sidecar, target):
    server, c, _ = sidecar()
    assert get(c, target).status == 400
    assert server.requests == []


def test_host_and_sni(sidecar):
    server, c, port = sidecar()
    assert get(c, "/", host="127.0.0.1:%d" % port).status == 200
    assert server.requests[0].get("Host") == "origin.test" and server.conns[0].sni == "origin.test"
    server, c, port = sidecar(keys="host = client")
    assert get(c, "/", host="localhost:%d" % port).status == 200
    assert server.requests[0].get("Host") == "localhost:%d" % port and server.conns[0].sni == "origin.test"


@pytest.mark.parametrize("host, status",
                         [("localhost", 200), ("127.0.0.1", 200), ("127.0.0.1:1234", 200), ("[::1]", 200),
                          ("10.1.2.3", 200), ("x.localhost", 200), ("origin.test", 200),
                                          ("ORIGIN.test.", 200), ("evil.test", 421), ("origin.test.evil.test", 421),
                          ("named.test", 421)])
def test_hosts(sidecar, host, status):
    server, c, _ = sidecar()
    r = get(c, "/", host=host)
    assert r.status == status
    if status == 421:
        assert "hosts" in r.text and r.error == "http_request_error" and server.requests == []
        assert get(c, "http://%s/" % host, host="localhost").status == 421  # an absolute target's host counts as Host
    server, c, _ = sidecar(keys='hosts = {"named.test"}')
    assert get(c, "/", host="Named.test:99").status == 200


def test_no_host_is_taken_from_10(sidecar):
    server, c, _ = sidecar()
    c.send("GET /old HTTP/1.0\r\n\r\n")
    assert c.response().text == "/v2/old" and c.closed()


def test_11_without_host_is_400(sidecar):
    _, c, _ = sidecar()
    c.send("GET /old HTTP/1.1\r\n\r\n")
    assert c.response().status == 400


def test_connect_is_405(sidecar):
    server, c, _ = sidecar()
    c.send("CONNECT origin.test:443 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    r = c.response()
    assert r.status == 405 and r.error == "http_request_error"


def test_foreign_origins_are_403(sidecar):
    server, c, port = sidecar(keys='origins = {"http://app.test:8080"}')
    for fields, status in ((["Origin: http://evil.test"], 403), (["Sec-Fetch-Site: cross-site"], 403),
                           (["Origin: null"], 403), (["Origin: http://app.test:8080"], 200),
                           (["Sec-Fetch-Site: same-origin"], 200), (["Sec-Fetch-Site: none"], 200),
                           (["Origin: http://localhost:%d" % port], 200), ([], 200),
                           (["Origin: http://app.test:8080", "Sec-Fetch-Site: cross-site"], 200),
                           (["Origin: http://app.test"], 403)):
        r = get(c, "/", *fields, host="localhost:%d" % port)
        assert r.status == status, (fields, r)
        if status == 403:
            assert r.error == "http_request_denied" and "origins" in r.text


def test_locations_come_back_as_the_listener(sidecar):
    def app(r, conn):
        return ok("", "%s: %s" % (r.get("X-Name"), r.get("X-Value")), status="299 x")
    server, c, port = sidecar(app)
    own = "http://localhost:%d" % port
    wrong = []
    for name, value, expected in (
            ("Location", "https://origin.test/v2/a?b", own + "/a?b"),
            ("Location", "https://origin.test:443/v2/a", own + "/a"), ("Location", "/v2/a", "/a"),
            ("Location", "https://origin.test/v2", own + "/"),
            ("Content-Location", "https://origin.test/v2/c", own + "/c"),
            ("Link", "<https://origin.test/v2/?p=2>; rel=next", "<%s/?p=2>; rel=next" % own),
            ("Location", "https://elsewhere.test/v2/a", "https://elsewhere.test/v2/a"),
            ("Location", "relative", "relative"),
            ("Location", "https://origin.test/v20/x", "https://origin.test/v20/x"),
            ("Set-Cookie", "a=1; Domain=origin.test; Path=/; Secure", "a=1; Path=/")):
        got = get(c, "/", "X-Name: " + name, "X-Value: " + value, host="localhost:%d" % port).get(name)
        if got != expected and not (expected == own + "/" and got == own):
            wrong.append("%s: %s -> %r, expected %r" % (name, value, got, expected))
    assert not wrong, "\n".join(wrong)


def test_origin_and_referer_become_the_targets(sidecar):
    server, c, port = sidecar()
    get(c, "/", "Origin: http://localhost:%d" % port, "Referer: http://localhost:%d/page?x" % port,
        host="localhost:%d" % port)
    r = server.requests[0]
    assert r.get("Origin") == "https://origin.test" and r.get("Referer") in ("https://origin.test/v2/page?x",
            "https://origin.test/page?x")


def test_credentials_are_never_asked(make_proxy, origin, tmp):
    path = tmp / "fw.htpasswd"
    path.write_text("u:$2y$05$abcdefghijklmnopqrstuuM0cHYG8pvvn4KpIGdJhE1Vb1CkZkZ8a\n")
    port = free_port()
    make_proxy('client { auth_file = "%s" }\nconnect_to = {"origin.test:443:127.0.0.1:%d"}\n'
               'forward "127.0.0.1:%d" { to = "https://origin.test" }\n' % (path, origin.port, port))
    with Client(port) as c:
        assert get(c, "/free").text == "/free"


def test_pipelines_fan_out_too(sidecar):
    server, c, _ = sidecar()
    c.send("".join("GET /%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % i for i in range(30)))
    assert [c.response().text for _ in range(30)] == ["/v2/%d" % i for i in range(30)]


def test_ipv6_and_unix_and_flag(make_proxy, origin, tmp):
    six, path = free_port("::1"), str(tmp / "forward.sock")
    conf = ('connect_to = {"origin.test:443:127.0.0.1:%d"}\n'
            'forward "[::1]:%d" { to = "https://origin.test/six" }\n' % (origin.port, six))
    make_proxy(conf, flags=("-f", "unix:%s=https://origin.test/unix" % path))
    wait_until(lambda: can_connect("::1", six) and os.path.exists(path))
    with Client(("::1", six)) as c:
        assert get(c, "/a").text == "/six/a"
    with Client(path) as c:
        assert get(c, "/b").text == "/unix/b"


@pytest.mark.h1_only("its origin speaks in clear, where there is no HTTP/2")
def test_target_in_clear(make_proxy, serve):
    server = serve(answering(lambda r, c: ok(r.target)), tls=False)
    port = free_port()
    make_proxy('upstream { connect_timeout = 500ms }\n'
               'forward "127.0.0.1:%d" { to = "https://127.0.0.1:%d" }\n' % (port, server.port))
    with Client(port) as c:
        assert get(c, "/").status == 504  # tlsfan never falls back
    assert b"GET" not in server.received


def test_max_forwards_options_star(sidecar):
    server, c, _ = sidecar()
    assert get(c, "*", method="OPTIONS").status == 200
    assert get(c, "/", "Max-Forwards: 0", method="TRACE").status == 200
