# SPDX-License-Identifier: Apache-2.0
"""Before the answer: Expect: 100-continue with origins that say 100 and that never do; other 1xx; endless redirects."""
import shutil
import socket
import subprocess
import time

import pytest

from testenv import SLOW, SOON
from testenv.nginx import Nginx
from testenv.ports import free_port
from testenv.scripted import ok
from testenv.wait import wait_until

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
PATIENCE = 0.25  # s that tlsfan waits for the origin's 100
MIB = 1 << 20


def ask(c, url, method="POST", length=3, host="x", body=""):
    """A head whose body, or the rest of it, waits for 100."""
    framing = "Transfer-Encoding: chunked" if length is None else "Content-Length: %d" % length
    c.send("%s %s HTTP/1.1\r\nHost: %s\r\n%s\r\nExpect: 100-continue\r\n\r\n%s"
           % (method, url, host, framing, body))


def told(c):
    """Sends the body when it is asked for; gives the answer. There must be one 100 and no other."""
    assert c.head().status == 100
    c.send("abc")
    r = c.response()
    assert r.interim == [], r.interim
    return r


def silent(conn):
    """Never says 100, like nginx by HTTP/2."""
    while True:
        request = conn.read_request()
        if request is None:
            return
        assert request.get("Expect") == "100-continue"
        conn.send(ok(request.body))


def saying(first, after=b"", wait=0.0):
    """FIRST behind the head, which is final when it has a body; else WAIT seconds, AFTER, the body, an answer."""
    def handler(conn):
        while True:
            request = conn.read_head()
            if request is None:
                return
            conn.send(first)
            if b"Content-Length" in first:
                conn.hang()
                return
            if wait:
                time.sleep(wait)
            conn.send(after)
            conn.read_body(request)
            conn.send(ok(request.body))
    return handler


def test_an_origin_that_never_says_100(one, serve):
    server = serve(silent)
    c, _ = one()
    begun = time.monotonic()
    ask(c, server.url())
    assert told(c).text == "abc" and time.monotonic() - begun >= PATIENCE
    times = []
    for length in (3, None) * 4:  # it is remembered
        begun = time.monotonic()
        ask(c, server.url(), method="PUT", length=length)
        assert c.head().status == 100
        times.append(time.monotonic() - begun)
        c.send("abc" if length else "3\r\nabc\r\n0\r\n\r\n")
        r = c.response()
        assert r.interim == [] and r.text == "abc"
    assert min(times) < PATIENCE


@pytest.mark.parametrize("first, after, wait", [
    (CONTINUE, b"", 0), (CONTINUE, CONTINUE, 0), (b"", CONTINUE, 0.4), (b"", CONTINUE + CONTINUE, 0.4),
], ids=["once", "twice", "late", "late and twice"])
def test_one_100_reaches_the_client(one, serve, first, after, wait):
    server = serve(saying(first, after, wait))
    c, _ = one()
    for _ in range(2):
        ask(c, server.url())
        r = told(c)
        assert r.status == 200 and r.text == "abc"


@pytest.mark.parametrize("status", ["417 Expectation Failed", "401 Unauthorized", "200 OK"])
def test_an_early_answer_wins(one, serve, status):
    server = serve(saying(ok("no", status=status)))
    c, _ = one()
    ask(c, server.url())
    r = c.response()
    assert r.status == int(status[:3]) and r.interim == [] and r.text == "no" and c.closed()


@pytest.mark.h1_only("the client's side is what counts")
@pytest.mark.parametrize("size", [2, MIB])
def test_an_answer_right_behind_100(one, serve, size):
    """One read of a client's may not take both: there are those that lose the second then."""
    text = "x" * size
    server = serve(saying(CONTINUE + ok(text, status="401 Unauthorized")))
    c, _ = one()
    begun = time.monotonic()
    ask(c, server.url())
    r = c.response()
    assert len(r.interim) == 1 and r.status == 401 and r.text == text
    assert time.monotonic() - begun >= PATIENCE
    c.send("abc")  # the rest goes nowhere, and the connection goes on
    ask(c, server.url())
    assert c.head().status == 100
    c.send("a")
    r = c.response()
    assert r.status == 401 and r.text == text
    c.send("bc")
    ask(c, server.url(), length=20 * MIB)
    r = c.response()
    assert r.status == 401 and r.text == text and c.closed()


@pytest.mark.h1_only("the client's side is what counts")
def test_who_is_not_told(one, serve):
    server = serve(lambda conn: (conn.read_request(), time.sleep(2 * PATIENCE), conn.send(ok("fin"))))
    c, _ = one()
    c.send("PUT %s HTTP/1.0\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n" % server.url())
    time.sleep(2 * PATIENCE)
    c.send("abc")
    r = c.response()
    assert r.text == "fin" and r.interim == []  # HTTP/1.0
    c, _ = one()
    ask(c, server.url(), body="a")
    c.send("bc")
    r = c.response()
    assert r.text == "fin" and r.interim == []  # does not wait
    c, _ = one()
    ask(c, server.url(), length=0)
    r = c.response()
    assert r.text == "fin" and r.interim == []  # has nothing to send


@pytest.mark.h1_only("the client's side is what counts")
@pytest.mark.parametrize("door", ["connect", "forward", "plain"])
def test_every_door(one, serve, door):
    server = serve(silent, tls=door != "plain")
    port = free_port()
    c, _ = one('forward "127.0.0.1:%d" { to = "https://localhost:%d" }\nrule "127.0.0.1" { upgrade = off }\n'
               'connect_to = {"localhost:443:localhost:%d"}\n' % (port, server.port, server.port))
    if door == "connect":
        c.send("CONNECT localhost:80 HTTP/1.1\r\nHost: localhost:80\r\n\r\n")
        assert c.head().status == 200
        ask(c, "/")
    elif door == "forward":
        c.sock = socket.create_connection(("127.0.0.1", port), 20)
        ask(c, "/", host="localhost")
    else:
        ask(c, "http://127.0.0.1:%d/" % server.port)
    assert told(c).text == "abc"


@pytest.mark.h1_only("the client's side is what counts")
def test_a_client_that_waits_is_not_late(one, make_proxy, serve):
    """client.body_timeout begins where it may send: behind another in the queue of an origin it waits for long."""
    def handler(conn):
        while True:
            request = conn.read_request()
            if request is None:
                return
            if request.target == "/first":
                wait_until(lambda: over, 10, "the end of the wait")
            conn.send(ok(request.body))

    over = []
    server = serve(handler)
    c, _ = one('client { body_timeout = 300ms }\nrule "localhost" { max_per_host = 1 }\n')
    with socket.create_connection(c.sock.getpeername()) as other:
        other.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % server.url("/first").encode())
        wait_until(lambda: server.requests, 5, "the first request")
        ask(c, server.url())
        c.sock.settimeout(1)
        with pytest.raises(TimeoutError):
            c.fill()
        c.sock.settimeout(20)
        over.append(True)
        assert told(c).text == "abc"
    ask(c, server.url())  # and who was told to send and does not is late
    assert c.head().status == 100
    assert c.response().status == 408


@pytest.mark.h1_only("the client's side is what counts")
@pytest.mark.parametrize("wait, sent", [(0, ""), (2 * PATIENCE, ""), (2 * PATIENCE, "a"), (0, "a")],
                         ids=["at once", "told", "told and begun", "begun"])
def test_a_long_early_answer_is_not_cut(one, serve, wait, sent):
    """Nobody sends a body whose answer has begun, so nobody is late with it."""
    def handler(conn):
        conn.read_head()
        if sent:
            conn.exactly(1)
        else:
            time.sleep(wait)
        conn.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 10\r\n\r\n")
        conn.drip(b"0123456789", 0.1)
        conn.hang()

    server = serve(handler)
    c, _ = one("client { body_timeout = 600ms }\n")
    ask(c, server.url(), body="" if wait else sent)
    if wait:
        assert c.head().status == 100
        c.send(sent)
    r = c.response()
    assert r.status == 413 and r.text == "0123456789" and r.interim == []


def test_a_lost_connection_is_tried_again(one, serve):
    """Nothing of the body has left: the request goes by another connection, and who was told to send is not again."""
    def handler(conn):
        request = conn.read_request()
        conn.send(ok(request.body))
        request = conn.read_head()
        if request is not None and conn.number > 0:
            conn.read_body(request)
            conn.send(ok(request.body))
        elif request is not None:
            time.sleep(2 * PATIENCE)  # long enough for the client to be told

    server = serve(handler)
    c, _ = one("upstream { retries = 1 }\n")
    assert c.get(server.url("/0")).status == 200
    ask(c, server.url("/1"), method="PUT")
    assert c.head().status == 100
    wait_until(lambda: server.accepted == 2, 5, "the second connection")
    c.send("abc")
    r = c.response()
    assert r.status == 200 and r.interim == [] and r.text == "abc"


@pytest.mark.parametrize("method, size", [("PUT", 100), ("PUT", 100000), ("DELETE", 20000)])
def test_a_lost_connection_and_a_body_that_has_begun(one, serve, method, size):
    """What the lost connection got of it was kept, by either protocol."""
    def handler(conn):
        while True:
            request = conn.read_head()
            if request is None:
                return
            if conn.number == 0 and request.target == "/1":
                conn.exactly(50)
                lost.append(True)
                return
            conn.send(ok(conn.read_body(request).body))

    lost = []
    server = serve(handler)
    c, _ = one("upstream { retries = 1 }\n")
    assert c.get(server.url("/0")).status == 200
    body = b"0123456789" * (size // 10)
    c.send(b"%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s"
           % (method.encode(), server.url("/1").encode(), size, body[:size // 2]))
    wait_until(lambda: lost, 5, "the end of the first connection")
    c.send(body[size // 2:])
    r = c.response()
    assert r.status == 200 and r.body == body, r


# ---- real ones

@pytest.fixture(scope="module")
def store(tmp, ca, protocol):
    server = Nginx(tmp / ("store-" + protocol), ca.leaf(), protocol=protocol, locations="""
        location / { client_max_body_size 100m; dav_methods PUT; create_full_put_path on; }
        location /refuse { client_max_body_size 1m; dav_methods PUT; }""")
    yield server
    server.stop()


def need(program):
    if shutil.which(program) is None:
        pytest.skip(program + " is not on this machine")


def run(p, *args, **kw):
    done = subprocess.run(args, env=p.environ(), capture_output=True, text=True, timeout=25 * SLOW, **kw)
    assert done.returncode == 0, (done.stdout[-2000:], done.stderr[-2000:])
    return done


def test_curl_and_nginx(proxy, store, tmp_path):
    data = bytes(range(256)) * 6144
    (tmp_path / "data").write_bytes(data)
    for name in ("a", "b"):
        done = run(proxy, "curl", "-sSv", "--fail", "--expect100-timeout", "100", "-H", "Expect: 100-continue", "-T",
                   str(tmp_path / "data"), store.url("/" + name))
        assert done.stderr.count("100 Continue") == 1 and " 201 " in done.stderr
        with open(store.html + "/" + name, "rb") as f:
            assert f.read() == data
    done = run(proxy, "curl", "-sSv", "--expect100-timeout", "100", "-H", "Expect: 100-continue", "-T",
               str(tmp_path / "data"), store.url("/refuse"))
    assert " 413 " in done.stderr and done.stderr.count("100 Continue") <= 1


NODE = """
const http = require('http'), [,, port, url] = process.argv;
let n = 0;
const req = http.request({host: '127.0.0.1', port: +port, method: 'PUT', path: url, headers: {Host: new URL(url).host,
  Expect: '100-continue', 'Content-Length': 1 << 20}}, res => {
  res.resume(); res.on('end', () => { console.log(res.statusCode, n); process.exit(0); }); });
req.on('continue', () => { n++; req.end(Buffer.alloc(1 << 20)); });
req.flushHeaders();
"""


def test_node_and_nginx(proxy, store, tmp_path):
    need("node")
    (tmp_path / "c.js").write_text(NODE)
    assert run(proxy, "node", str(tmp_path / "c.js"), str(proxy.port), store.url("/node")).stdout == "201 1\n"


JAVA = """
import java.net.*;
import java.net.http.*;
public class Put {
    public static void main(String[] args) throws Exception {
        byte[] data = new byte[1 << 20];
        InetSocketAddress at = new InetSocketAddress("127.0.0.1", Integer.parseInt(args[0]));
        Proxy proxy = new Proxy(Proxy.Type.HTTP, at);
        HttpURLConnection c = (HttpURLConnection) new URL(args[1] + "url").openConnection(proxy);
        c.setRequestMethod("PUT");
        c.setRequestProperty("Expect", "100-Continue");
        c.setFixedLengthStreamingMode(data.length);
        c.setDoOutput(true);
        long begun = System.nanoTime();
        c.getOutputStream().write(data);
        boolean soon = System.nanoTime() - begun < 4500000000L;
        System.out.println(c.getResponseCode() + " " + soon);
        HttpClient client = HttpClient.newBuilder().proxy(ProxySelector.of(at)).build();
        HttpRequest put = HttpRequest.newBuilder(URI.create(args[1] + "client")).expectContinue(true)
            .version(HttpClient.Version.HTTP_1_1).PUT(HttpRequest.BodyPublishers.ofByteArray(data)).build();
        System.out.println(client.send(put, HttpResponse.BodyHandlers.discarding()).statusCode());
    }
}
"""


def test_java_and_nginx(proxy, store, tmp_path):
    need("java")
    (tmp_path / "Put.java").write_text(JAVA)
    program = str(tmp_path / "Put.java")
    done = run(proxy, "java", "-XX:TieredStopAtLevel=1", program, str(proxy.port), store.url("/java-"))
    assert done.stdout == "201 true\n201\n"


# ---- what else comes before an answer

INTERIM = ("102 Processing", "103 Early Hints", "104 Upload Resumption Supported", "199 Whatever")


@pytest.mark.parametrize("key", ["off", "on"])
def test_other_interim_answers(make_proxy, serve, key):
    def handler(conn):
        request = conn.read_request()
        for line in INTERIM:
            conn.send(b"HTTP/1.1 %s\r\nLink: </a>\r\n\r\n" % line.encode())
        conn.send(ok(request.target))

    server = serve(handler)
    with make_proxy("client { early_hints = %s }\n" % key).client() as c:
        r = c.get(server.url("/x"))
    assert r.text == "/x" and [i.status for i in r.interim] == ([102, 103, 104, 199] if key == "on" else [])


def test_interim_answers_are_no_answer(make_proxy, serve):
    """They neither put response_timeout off nor come without end."""
    def handler(conn):
        request = conn.read_request()
        pause = 0.05 if request.target == "/slow" else 0
        while not conn.server.stopping.wait(pause):
            conn.send(b"HTTP/1.1 102 Processing\r\nX: %s\r\n\r\n" % (b"x" * (100 if pause else 4000)))

    server = serve(handler)
    with make_proxy().client() as c:
        r = c.get(server.url("/fast"))
        assert r.status == 502 and r.error == "http_protocol_error"
    with make_proxy('rule "*" { response_timeout = 500ms }\n').client() as c:
        begun = time.monotonic()
        r = c.get(server.url("/slow"))
        assert r.status == 504 and time.monotonic() - begun < SOON


# ---- redirects that go round

BACK = "redirects a request that was upgraded to TLS back to the same http:// URL"


def warned(p, host):
    return sum(BACK in line and 'rule "%s" { upgrade = off }' % host in line for line in p.log().splitlines())


@pytest.fixture
def bouncing(make_proxy, serve):
    """bouncing(status, location): sends everything there; %H is the host that is asked, %T the target."""
    def make(status, location, *fields):
        def handler(conn):
            while True:
                request = conn.read_request()
                if request is None:
                    return
                to = location.replace("%H", request.get("Host")).replace("%T", request.target)
                conn.send(ok("", "Location: " + to, *fields, status="%d There" % status))
        server = serve(handler)
        return make_proxy("".join('connect_to += {"%s:443:127.0.0.1:%d"}\n' % (host, server.port) for host in (
            "origin.test", "other.test", *("h%d.localhost" % i for i in range(100))))
            + 'rule "*.localhost" { sni = "localhost" }\n'
            'forward "127.0.0.1:%d" { to = "https://origin.test" }\n' % forward)

    forward = free_port()
    make.forward = forward
    return make


@pytest.mark.h1_only("the client's side is what counts")
def test_an_endless_redirect_is_warned_of(bouncing):
    """Once a minute for each host, and for no more hosts than there is room for."""
    p = bouncing(301, "http://%H%T#part")
    hosts = ["h%d.localhost" % i for i in range(100)]
    for n in (10, 10, 100, 10):
        with p.client() as c:
            for host in hosts[:n]:
                r = c.get("http://%s/a?b=secret" % host)
                assert r.status == 301 and r.get("Location") == "http://%s/a?b=secret#part" % host
    assert [warned(p, host) for host in hosts[:10]] == [1] * 10
    counts = [warned(p, host) for host in hosts]
    assert max(counts) == 1 and sum(counts) == p.log().count(BACK) == 64
    assert "secret" not in p.log()


@pytest.mark.h1_only("the client's side is what counts")
@pytest.mark.parametrize("status, location, url, method", [
    (302, "http://%H/", "http://origin.test", "GET"),
    (302, "http://%H?q", "http://origin.test/?q", "GET"),
    (303, "HTTP://Origin.Test.:80%T", "http://origin.test/x", "HEAD"),
    (308, "http://%H%T", "http://origin.test:80/x", "POST"),
    (307, "http://%H%T", "http://origin.test/x", "DELETE"),
])
def test_the_same_url_by_other_letters(bouncing, status, location, url, method):
    p = bouncing(status, location)
    with p.client() as c:
        assert c.exchange(method, url).status == status
    p.wait_log(BACK)
    assert warned(p, "origin.test") == 1


@pytest.mark.h1_only("the client's side is what counts")
@pytest.mark.parametrize("status, location, method", [
    (302, "https://%H%T", "GET"), (302, "%T", "GET"), (302, "//%H%T", "GET"), (302, "http://%H%T/", "GET"),
    (302, "http://other.test%T", "GET"), (302, "http://%H:8080%T", "GET"), (302, "http://%H%T?", "GET"),
    (303, "http://%H%T", "POST"), (201, "http://%H%T", "PUT"), (304, "http://%H%T", "GET"),
])
def test_other_redirects_are_not(bouncing, status, location, method):
    p = bouncing(status, location)
    with p.client() as c:
        assert c.exchange(method, "http://origin.test/x").status == status
    assert BACK not in p.log()


@pytest.mark.h1_only("the client's side is what counts")
def test_nor_where_nothing_was_upgraded(bouncing):
    p = bouncing(302, "http://origin.test/x")
    with p.client() as c:
        assert c.get("https://origin.test/x").status == 302
    with socket.create_connection(("127.0.0.1", bouncing.forward), 10) as s:
        s.sendall(b"GET /x HTTP/1.1\r\nHost: origin.test\r\n\r\n")
        assert b" 302 " in s.recv(4096)
    assert BACK not in p.log()
