# SPDX-License-Identifier: Apache-2.0
"""The reason phrase says why, and so does the access log: for programs that print nothing else, and for those who
read what others were told."""
import base64
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import urllib.request

import pytest

from test_06_clients import python2
from testenv import SLOW
from testenv.client import Broken
from testenv.dns import Dns
from testenv.ports import free_port
from testenv.scripted import answering, ok
from testenv.wait import wait_until

ASCII = re.compile(r"[ -~]{1,80}$")


def phrase(r, status, *words):
    """R is an own answer whose phrase has WORDS."""
    assert r.status == status and r.error, r
    assert ASCII.match(r.reason), r.reason
    for word in words:
        assert word.lower() in r.reason.lower(), r.reason
    return r.reason


def raw(c, request):
    c.send(request)
    return c.response()


# ---- what it says

CERTIFICATES = {
    "expired": "Certificate of origin.test has expired",
    "not_yet_valid": "Certificate of origin.test is not yet valid",
    "wrong_host": "Certificate is for another host than origin.test",
    "cn_only": "Certificate is for another host than origin.test",
    "self_signed": "Certificate of origin.test is self-signed",
    "unknown_root": "Issuer of certificate of origin.test is unknown",
    "missing_intermediate": "Issuer of certificate of origin.test is unknown",
}


@pytest.mark.h1_only("a handshake that fails comes before any HTTP")
@pytest.mark.parametrize("kind", CERTIFICATES)
def test_certificates(serve, make_proxy, kind):
    server = serve(answering(lambda r, c: ok("secret")), kind=kind)
    p = make_proxy('connect_to = {"origin.test:443:127.0.0.1:%d"}\n' % server.port)
    with p.client() as c:
        for version in ("1.1", "1.0"):
            r = c.get("http://Origin.test/", version=version)
            assert phrase(r, 502) in (CERTIFICATES[kind], "Certificate of origin.test is by a CA that is not trusted")


@pytest.mark.h1_only("nothing of it comes to HTTP")
def test_connections(make_proxy, serve):
    dns = Dns({"silent.test": [("A", "silent", 1)], "empty.test": [], "h.test": [("A", "127.0.0.1", 1)]})
    plain = serve(lambda conn: (conn.recv(), conn.send(b"HTTP/1.1 400 Bad Request\r\n\r\n"), conn.finish()), tls=False)
    mute = socket.create_server(("127.0.0.1", 0))
    p = make_proxy(dns.conf.replace("timeout = 2s", "timeout = 300ms") + "upstream { connect_timeout = 1s }\n"
                   "destination { deny_hosts = {denied.test} deny = {10.0.0.0/8} connect_ports = {443} }\n")
    with p.client() as c:
        assert phrase(c.get("http://nowhere.test/"), 502) == "No such host: nowhere.test"
        assert phrase(c.get("http://empty.test/"), 502) == "No address of empty.test in the DNS"
        assert phrase(c.get("http://silent.test/"), 504) == "DNS lookup of silent.test timed out"
        assert phrase(c.get("http://h.test:1/"), 502) == "Connection to h.test refused"
        assert phrase(c.get("http://[::1]:1/"), 502) == "Connection to ::1 refused"
        assert phrase(c.get(plain.url()), 502) == "No TLS at localhost, which speaks plain HTTP"
        assert phrase(c.get("http://h.test:%d/" % mute.getsockname()[1]), 504) == "TLS handshake with h.test timed out"
        assert phrase(c.get("http://denied.test/"), 403) == "Access to denied.test is not allowed by the proxy"
        assert phrase(c.get("http://10.1.2.3/"), 403) == "Address of 10.1.2.3 is not allowed by the proxy"
        assert phrase(c.get("http://127.0.0.1:%d/" % p.port), 403) == "Address of 127.0.0.1 is this proxy itself"
        assert phrase(raw(c, "CONNECT h.test:22 HTTP/1.1\r\nHost: x\r\n\r\n"), 403) == \
            "Port of h.test is not allowed by the proxy"
        assert phrase(raw(c, "CONNECT nowhere.test:443 HTTP/1.1\r\nHost: x\r\n\r\n"), 502) == \
            "No such host: nowhere.test"
    mute.close()
    dns.stop()


def test_origins(serve, make_proxy):
    p = make_proxy('rule "localhost" { response_timeout = 300ms }\n')
    silent = serve(lambda conn: (conn.read_request(), conn.hang()))
    closing = serve(lambda conn: (conn.read_request(), conn.finish()))
    odd = serve(lambda conn: (conn.read_request(), conn.send(b"HTTP/1.1 200 OK\r\nA\0: x\r\n\r\n"), conn.finish()))
    with p.client() as c:
        assert phrase(c.get(silent.url()), 504) == "Response from localhost timed out"
        assert phrase(c.get(closing.url()), 502) == "Connection closed by localhost"
        assert phrase(c.get(odd.url()), 502, "localhost")


@pytest.mark.h1_only("line ends are HTTP/1's, and TLS comes before any HTTP")
def test_what_to_set_is_named(serve, make_proxy, ca):
    p = make_proxy()
    old = serve(lambda conn: (conn.read_request(), conn.send(b"HTTP/1.1 200 OK\nContent-Length: 0\n\n"), conn.finish()))
    asking = serve(answering(lambda r, c: ok()), context=ca.server_context(client_ca=True))
    with p.client() as c:
        assert phrase(c.get(old.url()), 502) == "Invalid response from localhost, which lenient = on takes"
        assert phrase(c.get(asking.url()), 502) == "Client certificate wanted by localhost"


REQUESTS = [
    (b"GET http://h/ HTTP/1.1\r\nHost: h\r\nA : b\r\n\r\n", 400, "white space before the colon"),
    (b"GET http://h/ HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400,
     "Content-Length twice"),
    (b"GET http://h/ HTTP/1.1\r\n\r\n", 400, "Host field"),
    (b"GET /path HTTP/1.1\r\nHost: h\r\n\r\n", 400, "this is a proxy"),
    (b"GET http://a%0d%0aX:y/ HTTP/1.1\r\nHost: h\r\n\r\n", 400, "request target"),
    (b"GET http://h/ HTTP/1.1\r\nHost: h'\"%s%n\r\n\r\n", 400, "Host field"),
    (b"GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n", 501, "scheme"),
    (b"GET http://h/ HTTP/3.0\r\nHost: h\r\n\r\n", 505, "version"),
    (b"GET http://h/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501, "transfer coding"),
    (b"GET http://h/ HTTP/1.1\r\nHost: h\r\nA: " + b"x" * 70000 + b"\r\n\r\n", 431, "head is larger"),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "HTTP/2"),
    (b"POST http://h/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n", 502, "h"),
    (b"CONNECT h:443 HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n", 400, "CONNECT"),
    (b"DELETE http://tlsfan.localhost/batch HTTP/1.1\r\nHost: h\r\n\r\n", 405, "POST"),
    (b"GET http://tlsfan.localhost/x HTTP/1.1\r\nHost: h\r\n\r\n", 404, "batch"),
]


@pytest.mark.parametrize("request_,status,word", REQUESTS, ids=[str(i) for i in range(len(REQUESTS))])
def test_requests(proxy, request_, status, word):
    with proxy.client() as c:
        phrase(raw(c, request_), status, word)


def test_credentials(make_proxy, tmp, origin):
    users = str(tmp / "users46")
    hashed = subprocess.run(["openssl", "passwd", "-5", "secret"], capture_output=True, text=True, check=True).stdout
    with open(users, "w") as f:
        f.write("alice:" + hashed)
    p = make_proxy('client { auth_file = "%s" }\n' % users)
    with p.client() as c:
        assert phrase(c.get(origin.url()), 407) == "Proxy Authentication Required"
        bad = base64.b64encode(b"alice:wrong").decode()
        assert phrase(c.get(origin.url(), "Proxy-Authorization: Basic " + bad), 407) == \
            "Proxy Authentication Required: wrong credentials"


def test_limits(make_proxy, serve):
    server = serve(lambda conn: (conn.read_request(), conn.hang()))
    p = make_proxy("upstream { max_per_host = 1 queue_timeout = 200ms }\nclient { max_connections = 2 }\n"
                   'workers = 1\nrule "localhost" { http2 = off }\n')
    with p.client() as a, p.client() as b:
        a.request("GET", server.url())
        b.get("http://127.0.0.1:1/")
        server.wait_requests(1)
        phrase(b.get(server.url()), 503, "too many requests", "localhost")
        with p.client() as c:
            phrase(c.response(), 503, "too many client connections")


# ---- what it does not say

@pytest.mark.h1_only("a handshake that fails comes before any HTTP")
def test_no_byte_of_a_certificate(serve, proxy, tmp):
    cert, key = str(tmp / "evil46.pem"), str(tmp / "evil46.key")
    subprocess.run(["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                    "-utf8", "-keyout", key, "-out", cert, "-subj", "/O=evil\r\nX-Evil: 1/CN=evil"],
                   check=True, stderr=subprocess.DEVNULL)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server = serve(answering(lambda r, c: ok()), context=context)
    with proxy.client() as c:
        r = c.get(server.url())
    assert phrase(r, 502) == "Certificate of localhost is self-signed" and r.get("X-Evil") is None


def test_no_byte_of_an_answer(serve, proxy):
    server = serve(lambda conn: (conn.read_request(), conn.send(b"HTTP/1.1 abc evil\r\n\r\n"), conn.finish()))
    with proxy.client() as c:
        assert "evil" not in phrase(c.get(server.url()), 502)


@pytest.mark.parametrize("host", ["a" * 60 + "." + "b" * 60 + ".evil.test", "xn--mller-kva.test", "a_b.test",
                                  "~x.test"])
def test_hosts(make_proxy, host):
    dns = Dns({})
    p = make_proxy(dns.conf)
    with p.client() as c:
        said = phrase(c.get("http://%s/" % host), 502, "No such host: ")
    shown = said[len("No such host: "):]
    assert shown == host or shown == "the host" or (shown[:3] == "..." and host.endswith(shown[3:]) and len(said) == 80)
    dns.stop()


# ---- who prints it

def test_wget(make_proxy, serve):
    if shutil.which("wget") is None:
        pytest.skip("no wget")
    server = serve(answering(lambda r, c: ok()), kind="expired")
    p = make_proxy('connect_to = {"origin.test:443:127.0.0.1:%d"}\n' % server.port)
    run = subprocess.run(["wget", "-O-", "-t1", "http://origin.test/"], env=p.environ(), capture_output=True, text=True,
                         timeout=20 * SLOW)
    assert "ERROR 502: Certificate of origin.test has expired." in run.stderr and run.stdout == ""


def test_pythons(make_proxy, serve):
    server = serve(answering(lambda r, c: ok()), kind="expired")
    p = make_proxy('connect_to = {"origin.test:443:127.0.0.1:%d"}\n' % server.port)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": p.url}))
    with pytest.raises(urllib.error.HTTPError) as e:
        opener.open("http://origin.test/", timeout=10 * SLOW)
    assert "502: Certificate of origin.test has expired" in str(e.value)
    old = python2()
    if old is not None:
        run = subprocess.run([old, "-c", "import urllib2; urllib2.urlopen('http://origin.test/')"], env=p.environ(),
                             capture_output=True, text=True, timeout=20 * SLOW)
        assert "HTTP Error 502: Certificate of origin.test has expired" in run.stderr


def test_batch_parts(make_proxy, serve):
    server = serve(answering(lambda r, c: ok()), kind="expired")
    p = make_proxy('connect_to = {"origin.test:443:127.0.0.1:%d"}\n' % server.port)
    items = json.dumps([{"url": "http://origin.test/"}, {"url": "nonsense"}])
    with p.client() as c:
        r = c.exchange("POST", "http://tlsfan.localhost/batch", "Content-Type: application/json", body=items.encode())
        assert b"HTTP/1.1 502 Certificate of origin.test has expired\r\n" in r.body
        assert b"HTTP/1.1 400 Malformed item of the batch\r\n" in r.body
        r = c.exchange("POST", "http://tlsfan.localhost/batch", "Content-Type: application/json", body=b"[x")
        phrase(r, 400, "JSON")


# ---- the access log

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"


def broken(p, url):
    with p.client() as c:
        c.request("GET", url)
        with pytest.raises(Broken):
            c.response()
    line, = p.wait_access(lambda x: x["url"] == url)
    assert line["status"] == 200 and line["error"] and line["details"] and line["details"].isascii()
    return line


@pytest.mark.parametrize("say", [LENGTH, CHUNKED], ids=["length", "chunked"])
@pytest.mark.parametrize("how", ["finish", "cut", "reset"])
def test_a_body_that_breaks_off_has_its_reason_in_the_log(proxy, serve, say, how):
    server = serve(lambda conn: (conn.read_request(), conn.send(say), getattr(conn, how)()))
    line = broken(proxy, server.url("/%s/%d" % (how, len(say))))
    assert "body" in line["details"] and line["user"] == ""


def test_a_body_that_pauses_has_its_reason_in_the_log(make_proxy, serve):
    server = serve(lambda conn: (conn.read_request(), conn.send(LENGTH), conn.hang()))
    p = make_proxy("upstream { read_timeout = 300ms }\n")
    assert "(read_timeout)" in broken(p, server.url("/pause"))["details"]


@pytest.mark.h1_only("chunks are HTTP/1's")
def test_a_bad_chunk_has_its_reason_in_the_log(proxy, serve):
    server = serve(lambda conn: (conn.read_request(), conn.send(CHUNKED + b"zz\r\n"), conn.finish()))
    assert "chunk size" in broken(proxy, server.url("/chunk"))["details"]


def test_keys_stand_in_order(proxy, origin):
    with proxy.client() as c:
        c.get(origin.url("/order"))
    proxy.wait_access(lambda x: x["url"].endswith("/order"))
    line, = [x for x in proxy.access() if x["url"].endswith("/order")]
    assert list(line)[-3:] == ["error", "details", "user"] and line["error"] == line["details"] == line["user"] == ""


def test_a_client_that_is_gone_has_its_reason_in_the_log(make_proxy, serve):
    server = serve(lambda conn: (conn.read_request(), conn.send(LENGTH), conn.hang()))
    p = make_proxy()
    with p.client() as c:
        c.request("GET", server.url("/gone"))
        c.until(b"abc")
    line, = p.wait_access(lambda x: x["url"].endswith("/gone"))
    assert line["error"] == "client_gone" and "client" in line["details"]


def test_a_client_that_takes_nothing_has_its_reason_in_the_log(make_proxy, serve):
    server = serve(answering(lambda r, c: ok(b"z" * 40000000)))
    p = make_proxy("client { write_timeout = 300ms }\n")
    with p.client() as c:
        c.request("GET", server.url("/stall"))
        line, = p.wait_access(lambda x: x["url"].endswith("/stall"))
    assert line["error"] == "client_gone" and "client.write_timeout" in line["details"]


def test_an_answer_that_the_end_of_the_proxy_cuts_has_its_reason_in_the_log(make_proxy, serve):
    server = serve(lambda conn: (conn.read_request(), conn.send(LENGTH), conn.hang()))
    p = make_proxy("drain_timeout = 200ms\n")
    with p.client() as c:
        c.request("GET", server.url("/end"))
        c.until(b"abc")
        p.stop()
    line, = [x for x in p.access() if x["url"].endswith("/end")]
    assert "tlsfan ended" in line["details"] and "drain_timeout" in line["details"]


@pytest.fixture
def with_users(make_proxy, tmp):
    path = str(tmp / "users46b")
    hashed = subprocess.run(["openssl", "passwd", "-5", "secret"], capture_output=True, text=True, check=True).stdout
    with open(path, "w") as f:
        f.write("alice b:" + hashed)
    return lambda conf="", **kw: make_proxy('client { auth_file = "%s" }\n%s' % (path, conf), **kw)


GOOD = "Basic " + base64.b64encode(b"alice b:secret").decode()
BAD = "Basic " + base64.b64encode(b"alice b:guess").decode()


def test_who_was_authenticated_is_in_the_log(with_users, serve):
    origin = serve(answering(lambda r, c: ok(r.target)))
    p = with_users('rule "*" { connect_to = "127.0.0.1:%d" verify = off }\n' % origin.port, service=True)
    with p.client() as c:
        assert c.get("http://h.test/a", "Proxy-Authorization: " + BAD).status == 407
        for path in ("/b", "/c"):  # checked, and remembered
            assert c.get("http://h.test" + path, "Proxy-Authorization: " + GOOD).status == 200
        item = json.dumps([{"url": "http://h.test/d"}]).encode()
        fields = ["Content-Type: application/json", "Proxy-Authorization: " + GOOD]
        assert c.exchange("POST", "http://tlsfan.localhost/batch", *fields, body=item).status == 200
    with p.client() as c:
        connect = "CONNECT h.test:80 HTTP/1.1\r\nHost: h.test\r\nProxy-Authorization: %s\r\n\r\n"
        c.send(connect % GOOD)
        assert c.response("CONNECT").status == 200
        assert raw(c, "GET /e HTTP/1.1\r\nHost: h.test\r\n\r\n").status == 200
    rq = urllib.request.Request(p.service_url + "/batch", json.dumps([{"url": "http://h.test/f"}]).encode(),
                                {"Content-Type": "application/json", "Authorization": GOOD})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    assert opener.open(rq, timeout=10 * SLOW).status == 200
    lines = p.wait_access(lambda x: x["url"][-2] == "/", 6)
    users = {x["url"][-2:]: x["user"] for x in lines}
    assert users.pop("/a") == ""
    assert [users["/" + x] for x in "bcdef"] == ["alice b"] * 5
    refused, = [x for x in lines if x["url"].endswith("/a")]
    assert refused["details"] == "the proxy credentials are wrong"
    p.stop()
    with open(p.access_path) as f:
        assert "secret" not in f.read()


def test_the_user_in_common_format(with_users, tmp_path, origin):
    path = str(tmp_path / "access")
    p = with_users('log { access = "%s" format = common }\n' % path)
    with p.client() as c:
        assert c.get(origin.url("/x"), "Proxy-Authorization: " + GOOD).status == 200
        c.get(origin.url("/y"))
    text = wait_until(lambda: (lambda t: t if t.count("\n") >= 2 else None)(open(path).read() if os.path.exists(path)
                                                                          else ""))
    first, second = text.splitlines()
    assert first.startswith("127.0.0.1 - alice\\u0020b [") and second.startswith("127.0.0.1 - - [")
