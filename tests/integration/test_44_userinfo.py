# SPDX-License-Identifier: Apache-2.0
"""What a target may carry besides host and path: credentials before the host, a fragment, ws://; and WebDAV's If.

Behind a proxy many clients leave "user:password@" in the URL for the proxy to make credentials of."""
import base64
import re
import shutil
import subprocess

import pytest

from testenv.client import Broken, Client
from testenv.ports import free_port
from testenv.proxy import clean_env
from testenv.scripted import answering, ok
from test_01_forms import websocket
from test_06_clients import need, python2, run
from test_21_batch import call, inner

SECRET = "s3cr3t"
LEAK = re.compile("s3cr3t|czNjcjN0|MzY3IzdA|zM2NyM3")  # and in Base64, at each of its three offsets


def basic(pair):
    return "Basic " + base64.b64encode(pair.encode() if isinstance(pair, str) else pair).decode()


def last(origin):
    return origin.requests[-1]


# --- credentials in the target

@pytest.mark.parametrize("userinfo, pair", [
    ("user:pw", "user:pw"),
    ("user", "user:"),
    ("user:", "user:"),
    (":pw", ":pw"),
    (":", ":"),
    ("", None),
    ("user:p:w", "user:p:w"),
    ("user:p%3Aw", "user:p:w"),
    ("us%65r:p%40w%2F%25", "user:p@w/%"),
    ("DOM%5Cuser:p^w{}|", "DOM\\user:p^w{}|"),
    ("user:p%C3%A4", "user:p\xe4"),
    ("user:%ff", b"user:\xff"),
    ("user:" + "x" * 3000, "user:" + "x" * 3000),
])
@pytest.mark.parametrize("url", ["http://%sorigin.test/a@b?c=d@e", "https://%sorigin.test:443/a@b?c=d@e"])
def test_credentials_become_authorization(client, origin, url, userinfo, pair):
    assert client.get(url % (userinfo + "@"), "X-Other: 1", host="origin.test").status == 200
    assert last(origin).all("Authorization") == ([] if pair is None else [basic(pair)])
    assert last(origin).target == "/a@b?c=d@e" and last(origin).get("Host") == "origin.test"


def test_credentials_of_the_client_itself_win(client, origin):
    """LWP sends both."""
    for own in ("Bearer mine", "Basic b3duOm93bg=="):
        assert client.get("http://user:pw@origin.test/", "Authorization: " + own, host="origin.test").status == 200
        assert last(origin).all("Authorization") == [own]


@pytest.mark.parametrize("userinfo, host", [
    ("user:pw", "user:pw@origin.test"),
    ("user:p%40w", "user:p%40w@origin.test"),
    ("user:p%40w", "user:p@w@origin.test"),  # urllib2, urllib.request
    ("user:p%20w", "user:p w@origin.test"),
    ("user:p%C3%A4", "user:p\xe4@origin.test"),  # Python 3
    ("user:p%C3%A4", "user:p\xc3\xa4@origin.test"),  # Python 2
    ("user", "user@origin.test"),
    ("", "@origin.test"),
    ("user:pw", "user:pw@another.test"),  # as for any Host, the target wins
])
def test_host_may_repeat_them(client, origin, userinfo, host):
    assert client.get("http://%s@origin.test/h" % userinfo, host=host).status == 200
    assert last(origin).all("Host") == ["origin.test"] and last(origin).target == "/h"


@pytest.mark.parametrize("target, host", [
    ("http://user:s3cr3t@origin.test/", "user:other@origin.test"),
    ("http://user:s3cr3t@origin.test/", "user@origin.test"),
    ("http://user:s3cr3t@origin.test/", "@origin.test"),
    ("http://origin.test/", "user:s3cr3t@origin.test"),
    ("http://user:s3cr3t@origin.test/", "user:s3cr3t@a@origin.test"),
    ("http://user:s3cr3t@origin.test/", "user:s3cr3t@"),
    ("http://us@s3cr3t@origin.test/", "origin.test"),
    ("http://user:s3cr3t@@origin.test/", "origin.test"),
    ("http://user:a@s3cr3t%40origin.test/", "s3cr3t@origin.test"),  # wget makes this of "user:a@s3cr3t@"
    ("http://user:a@s3cr3t%40origin.test/", "origin.test"),
    ("http://user:s3cr3t%00@origin.test/", "origin.test"),
    ("http://user:s3cr3t%0d%0aX:%20y@origin.test/", "origin.test"),
    ("http://user:s3cr3t%0A@origin.test/", "origin.test"),
    ("http://user:s3cr3t%7f@origin.test/", "origin.test"),
    ("http://user:s3cr3t\x01@origin.test/", "origin.test"),
    ("http://user:s3cr3t\xe4@origin.test/", "origin.test"),
    ("http://user:s3cr3t%@origin.test/", "origin.test"),
    ("http://user:s3cr3t%4@origin.test/", "origin.test"),
    ("http://user:s3cr3t%zz@origin.test/", "origin.test"),
    ("http://s3cr3t%3Auser:pw@origin.test/", "origin.test"),
    ("http://evil.test\\s3cr3t@origin.test/", "origin.test"),
    ("http://user:s3cr3t@/", "origin.test"),
    ("http://user:s3cr3t@origin.test:99999/", "origin.test"),
    ("http://user:s3cr3t@or\xe4gin.test/", "origin.test"),
    ("http://user:s3cr3t" + "x" * 9000 + "@origin.test/", "origin.test"),
    ("http:user:s3cr3t@origin.test", "origin.test"),
    ("user:s3cr3t@origin.test/", "origin.test"),
])
def test_malformed_ones_are_400_and_are_not_shown(proxy, origin, target, host):
    with proxy.client() as c:
        c.request("GET", target, host=host)
        r = c.response()
    assert r.status == 400 and r.error == "http_request_error" and len(r.text.split()) > 3
    assert not LEAK.search(r.text + str(r.fields))
    assert origin.requests == []


def test_connect_takes_none(client):
    client.send("CONNECT user:s3cr3t@origin.test:443 HTTP/1.1\r\nHost: user:s3cr3t@origin.test:443\r\n\r\n")
    r = client.response("CONNECT")
    assert r.status == 400 and not LEAK.search(r.text + str(r.fields))


def test_inside_connect_and_in_an_upgrade(serve, make_proxy):
    server = serve(websocket)
    p = make_proxy('connect_to = {"origin.test:443:127.0.0.1:%d"}\n' % server.port)
    for inside in (False, True):
        with p.client() as c:
            if inside:
                c.send("CONNECT origin.test:80 HTTP/1.1\r\nHost: origin.test:80\r\n\r\n")
                assert c.response("CONNECT").status == 200
            c.request("GET", "http://user:pw@origin.test/chat", "Upgrade: websocket", "Connection: Upgrade",
                      "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
                      host="user:pw@origin.test")
            assert c.head().status == 101 and c.exactly(5) == b"HELLO"
        assert last(server).all("Authorization") == [basic("user:pw")] and last(server).all("Host") == ["origin.test"]


def test_trace_does_not_bring_them_back(client, origin):
    r = client.exchange("TRACE", "http://user:s3cr3t@origin.test/t", "Max-Forwards: 0",
                        "Referer: http://user:s3cr3t@origin.test/r")
    assert r.status == 200 and r.text.startswith("TRACE http://origin.test/t HTTP/1.1\r\n")
    assert "Host: origin.test\r\n" in r.text and not LEAK.search(r.text)
    assert origin.requests == []
    assert client.exchange("TRACE", "http://user:s3cr3t@origin.test/t", "Max-Forwards: 1").status == 200
    assert last(origin).get("Authorization") is None
    assert client.exchange("OPTIONS", "http://user:pw@origin.test", "Max-Forwards: 1").status == 200
    assert last(origin).target == "*" and last(origin).all("Authorization") == [basic("user:pw")]


@pytest.mark.parametrize("keys", ["", "rewrite { origin = off }\n"])
def test_referer_and_origin_leave_without(make_proxy, origin, keys):
    p = make_proxy(keys)
    scheme = "http" if keys else "https"
    with p.client() as c:
        for page in ("http://user:s3cr3t@localhost:%d/p?q=a@b" % origin.port, "ftp://user:s3cr3t@h/x"):
            assert c.get(origin.url(), "Referer: " + page, "Origin: " + page.split("/p")[0]).status == 200
            assert not LEAK.search(last(origin).head.decode("latin-1"))
    assert origin.requests[0].all("Referer") == ["%s://localhost:%d/p?q=a@b" % (scheme, origin.port)]
    assert origin.requests[0].all("Origin") == ["%s://localhost:%d" % (scheme, origin.port)]
    assert origin.requests[1].all("Referer") == ["ftp://h/x"]


def test_nothing_of_them_is_written_anywhere(make_proxy, serve):
    """Whether the request succeeds, is redirected, breaks off, is refused or goes nowhere."""
    def handler(conn):
        request = conn.read_request()
        conn.send(ok("x", "Location: " + server.url("/there"), status="302 Found") if request.target == "/moved"
                  else b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx" if request.target == "/short" else ok("x"))
        conn.finish()
    server = serve(handler, tls=False)
    p = make_proxy('rule "localhost" { upgrade = off }\nlog { level = debug access = "/dev/stderr" query = on }\n',
                   service=True)
    me = "user:%s@" % SECRET
    with p.client() as c:
        for path in ("/ok", "/moved"):
            r = c.get("http://%slocalhost:%d%s" % (me, server.port, path), "Referer: http://%slocalhost/" % me)
            assert not LEAK.search(str(r.fields))
        for host, status in (("localhost:%d" % free_port(), 502), ("other.invalid", 502), ("127.0.0.1:99999", 400),
                             ("user@h", 400), ("%41h", 400), ("169.254.169.254", 403)):
            r = c.get("http://%s%s/x" % (me, host), host="h")
            assert (r.status, bool(LEAK.search(r.text + str(r.fields)))) == (status, False), host
        assert c.exchange("DELETE", "http://%slocalhost/#x" % me).status == 400
        assert c.get("ftp://%slocalhost/x" % me, host="h").status == 501
        assert c.get("http://%stlsfan.localhost/x" % me).status == 404
    with p.client() as c:
        with pytest.raises(Broken):
            c.get("http://%slocalhost:%d/short" % (me, server.port), host="h")
    with p.client() as c:
        assert c.get("http://%slocalhost:%d/last" % (me, server.port)).status == 200
    assert call(p, "service", [{"url": "http://%sh@i/" % me}, {"url": "http://origin.test/b".replace("//", "//" + me)}])
    p.wait_log("/last")
    p.wait_log("http://localhost:%d/moved" % server.port)
    p.wait_log("ftp://localhost/x")
    assert not LEAK.search(p.log())
    for path in ("/status", "/exchanges", "/metrics"):
        assert not LEAK.search(p.fetch(path))
    assert server.requests[0].all("Authorization") == [basic("user:" + SECRET)]


def test_a_password_for_the_proxy_is_another(make_proxy, origin, tmp_path):
    """The request is routed again when its password has been hashed."""
    users = tmp_path / "users"
    users.write_text("alice:" + subprocess.run(["openssl", "passwd", "-6", "wonder"], capture_output=True, text=True,
                                               check=True).stdout)
    p = make_proxy('client { auth_file = "%s" }\n' % users)
    url, host = "http://user:p%%40w@localhost:%d/" % origin.port, "user:p@w@localhost:%d" % origin.port
    with p.client() as c:
        assert c.get(url, host=host).status == 407
        for _ in range(2):
            r = c.get(url, "Proxy-Authorization: " + basic("alice:wonder"), host=host)
            assert r.status == 200, r
            assert last(origin).all("Authorization") == [basic("user:p@w")]
            assert last(origin).get("Proxy-Authorization") is None
        assert c.get(url.replace("user:p%40w", "alice:wonder"), host="h").status == 407


def test_forward_listener(make_proxy, serve):
    server = serve(answering(lambda r, c: ok("x", "Location: https://origin.test/v2/there", status="201 Created")))
    port = free_port()
    p = make_proxy('connect_to = {"origin.test:443:127.0.0.1:%d"}\n'
                   'forward "127.0.0.1:%d" { to = "https://origin.test/v2" }\n' % (server.port, port))
    with Client(port) as c:
        r = c.get("http://user:p%%40w@localhost:%d/x" % port, host="user:p@w@localhost:%d" % port)
        assert r.status == 201 and r.get("Location") == "http://localhost:%d/there" % port
        assert last(server).target == "/v2/x" and last(server).all("Authorization") == [basic("user:p@w")]
        assert c.get("http://user:pw@evil.test/x", host="localhost").status == 421
        c.send("GET /x HTTP/1.1\r\nHost: user:s3cr3t@localhost:%d\r\n\r\n" % port)
        r = c.response()
        assert r.status == 400 and not LEAK.search(r.text)
    assert len(server.requests) == 1
    assert [x["url"] for x in p.wait_access(lambda x: "user" not in x["url"], 3)][:2] == [
        "http://localhost:%d/v2/x" % port, "http://evil.test/x"]


@pytest.mark.parametrize("way", ["service", "proxy"])
def test_batch(make_proxy, origin, way):
    p = make_proxy(service=True)
    url = origin.url("/b").replace("//", "//user:p%40w@")
    got = call(p, way, [
        {"url": url},
        {"url": url, "headers": {"authorization": "Bearer mine"}},
        {"url": url.replace("p%40w", SECRET + "@a")},
        {"url": url.replace("p%40w", SECRET + "%0a")},
        {"url": origin.url("/d/#x"), "method": "DELETE"},
        {"url": origin.url("/d/#x"), "method": "FROB"},
        {"url": origin.url("/g#x")},
        {"url": origin.url("/ws").replace("http:", "ws:")},
    ])
    assert [g["status"] for g in got] == [200, 200, 400, 400, 400, 400, 200, 400]
    assert not LEAK.search(str(got)) and "fragment" in got[4]["body"] and "http://" in got[7]["body"]
    assert sorted(v for r in origin.requests for v in r.all("Authorization")) == [basic("user:p@w"), "Bearer mine"]
    assert sorted(r.target for r in origin.requests) == ["/b", "/b", "/g"]
    part = call(p, way, url, ndjson=False)[0]
    assert inner(part).status == 200 and last(origin).all("Authorization") == [basic("user:p@w")]


# --- clients that do it

def target_of(origin, path="/real"):
    return origin.url(path).replace("//", "//user:p%40w@")


def test_wget(proxy, origin, tmp_path):
    out = run([need("wget"), "-q", "-t", "1", "-O", "-", target_of(origin)], proxy, tmp_path).stdout
    assert out == b"/real" and last(origin).all("Authorization") == [basic("user:p@w")]


PYTHON_2 = """
import sys, urllib, urllib2
print(urllib.urlopen(sys.argv[1]).read() + urllib2.urlopen(sys.argv[1]).read())
"""


def test_python_2_urllib(proxy, origin, tmp_path):
    interpreter = python2()
    if interpreter is None:
        pytest.skip("no Python 2.7 on this machine")
    out = run([interpreter, "-c", PYTHON_2, target_of(origin)], proxy, tmp_path).stdout
    assert out == b"/real/real\n" and [r.get("Authorization") for r in origin.requests] == [basic("user:p@w")] * 2


PYTHON_3 = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).read().decode())"


@pytest.mark.parametrize("password", ["p%40w", "p%C3%A4", "p%2F"])
def test_python_3_urllib(proxy, origin, tmp_path, password):
    out = run(["python3", "-c", PYTHON_3, target_of(origin).replace("p%40w", password)], proxy, tmp_path).stdout
    assert out == b"/real\n" and len(last(origin).all("Authorization")) == 1


def test_lwp(proxy, origin, tmp_path):
    script = "use LWP::UserAgent; $u = LWP::UserAgent->new; $u->env_proxy; print $u->get($ARGV[0])->content;"
    if shutil.which("perl") is None or subprocess.run(["perl", "-MLWP", "-e", "1"], env=clean_env(),
                                                      capture_output=True).returncode:
        pytest.skip("no libwww-perl on this machine")
    out = run(["perl", "-e", script, target_of(origin)], proxy, tmp_path).stdout
    assert out == b"/real" and last(origin).all("Authorization") == [basic("user:p@w")]


@pytest.mark.parametrize("program", [["w3m", "-dump_source"], ["lynx", "-source"]])
def test_text_browsers(proxy, origin, tmp_path, program):
    if shutil.which(program[0]) is None:
        pytest.skip(program[0] + " is not on this machine")
    out = run([*program, target_of(origin)], proxy, tmp_path, stdin=subprocess.DEVNULL).stdout
    assert out == b"/real" and last(origin).all("Authorization") == [basic("user:p@w")]


# --- ws://

def test_ws_is_read_as_http(proxy, origin, serve, make_proxy):
    with proxy.client() as c:
        for scheme in ("ws", "WS", "wss"):
            assert c.get("%s://origin.test/ws" % scheme).text == "/ws"
            assert last(origin).get("Host") == "origin.test"
        r = c.get("wsx://origin.test/")
        assert r.status == 501 and "wsx://" in r.text
    server = serve(websocket)
    p = make_proxy('connect_to = {"origin.test:443:127.0.0.1:%d"}\n' % server.port)
    with p.client() as c:
        c.request("GET", "ws://origin.test/chat", "Upgrade: websocket", "Connection: Upgrade",
                  "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", host="origin.test")
        assert c.head().status == 101 and c.exactly(5) == b"HELLO"
        c.send("abc")
        assert c.exactly(3) == b"ABC"


# --- fragments

@pytest.mark.parametrize("method", ["DELETE", "POST", "PUT", "PATCH", "MKCOL", "MOVE", "FROB", "delete", "get"])
def test_an_unsafe_method_takes_no_fragment(client, origin, method):
    for url in ("http://origin.test/coll/#x", "http://origin.test#", "http://origin.test/c?q=1#x",
                "http://user:pw@origin.test/coll/#x"):
        r = client.exchange(method, url, host="origin.test")
        assert r.status == 400 and "fragment" in r.text and "%23" in r.text
    assert client.exchange(method, "http://origin.test/coll/%23x").status == 200
    assert [r.target for r in origin.requests] == ["/coll/%23x"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PROPFIND", "REPORT"])
def test_a_safe_one_loses_it(client, origin, method):
    assert client.exchange(method, "http://origin.test/coll/?a#x#y").status == 200
    assert last(origin).target == "/coll/?a"


def test_fragments_at_other_doors(proxy, origin, serve, make_proxy):
    port = free_port()
    server = serve(answering(lambda r, c: ok(r.target)))
    make_proxy('forward "127.0.0.1:%d" { to = "%s" }\n' % (port, server.url("").replace("http:", "https:")))
    with Client(port) as c, proxy.client() as inside:
        inside.send("CONNECT origin.test:80 HTTP/1.1\r\nHost: origin.test:80\r\n\r\n")
        assert inside.response("CONNECT").status == 200
        for door in (c, inside):
            assert door.exchange("GET", "/coll/#x", host="localhost").text == "/coll/"
            assert door.exchange("DELETE", "/coll/#x", host="localhost").status == 400
            assert door.exchange("FROB", "/#", host="localhost").status == 400
    assert [r.method for r in server.requests + origin.requests] == ["GET", "GET"]


# --- WebDAV

def test_if_is_mapped_as_destination_is(make_proxy, serve):
    server = serve(answering(lambda r, c: ok("x")))
    port = free_port()
    p = make_proxy('connect_to = {"origin.test:443:127.0.0.1:%d"}\nrule "plain.test" { upgrade = off }\n'
                   'forward "127.0.0.1:%d" { to = "https://origin.test/dav" }\n' % (server.port, port))
    one = "localhost:%d" % port
    tail = '(<http://localhost/t)> ["<http://localhost/>"]) (Not <DAV:no-lock>) <http://plain.test/b> (<t:2>)'
    with p.client() as c:
        assert c.exchange("MOVE", "http://origin.test/a", "Destination: http://origin.test/b",
                          "If: <http://origin.test/b> " + tail).status == 200
        assert last(server).get("Destination") == "https://origin.test/b"
        assert last(server).all("If") == ["<https://origin.test/b> " + tail]
        assert c.exchange("LOCK", "http://origin.test/a", "If: (<http://origin.test/token>)").status == 200
        assert last(server).all("If") == ["(<http://origin.test/token>)"]
    with Client(port) as c:
        assert c.exchange("MOVE", "/a", "Destination: http://%s/b" % one, "If: <http://%s/b> %s </c> (<t:3>)"
                          % (one, tail), host=one).status == 200
        assert last(server).get("Destination") == "https://origin.test/dav/b"
        assert last(server).all("If") == ["<https://origin.test/dav/b> %s </dav/c> (<t:3>)" % tail]


@pytest.mark.parametrize("method", ["MOVE", "LOCK"])
def test_webdav_urls_lose_credentials_as_the_target_does(make_proxy, serve, method):
    """"curl -X MOVE --header 'Destination: http://user:pw@host/b'": a server holds it against its own URL."""
    server = serve(answering(lambda r, c: ok("x")))
    port = free_port()
    p = make_proxy('connect_to = {"origin.test:443:127.0.0.1:%d"}\n'
                   'forward "127.0.0.1:%d" { to = "https://origin.test/dav" }\n' % (server.port, port))
    for door, host, to in ((p.port, "origin.test", "https://origin.test"),
                           (port, "localhost:%d" % port, "https://origin.test/dav")):
        with Client(door) as c:
            url = "http://user:s3cr3t@%s" % host
            assert c.exchange(method, url + "/a", "Destination: %s/b@c" % url,
                              "If: <%s/b@c> (<urn:x@y>) <urn:u@v> (<http://user@h/>)" % url, host=host).status == 200
        assert last(server).get("Destination") == to + "/b@c"
        assert last(server).all("If") == ["<%s/b@c> (<urn:x@y>) <urn:u@v> (<http://user@h/>)" % to]
        assert last(server).all("Authorization") == [basic("user:s3cr3t")]
