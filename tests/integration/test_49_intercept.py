# SPDX-License-Identifier: Apache-2.0
"""Interception of CONNECT: what clients see of it, what goes to the origin, and what may not."""
import glob
import http.client
import json
import os
import re
import shutil
import ssl
import stat
import subprocess
import time

import pytest

from testenv import SLOW
from testenv.h2front import H2Front
from testenv.intercept import Inside, OwnCA, refused, to
from testenv.proxy import clean_env
from testenv.scripted import Server, answering, ok

V = ssl.TLSVersion
ALL = 'rule "*" { intercept = on }'
PYTHON2 = shutil.which("python2.7", path="/usr/bin:/usr/local/bin") or next(
    iter(glob.glob(os.path.expanduser("~/.pyenv/versions/2.7.*/bin/python2.7"))), None
)


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    return OwnCA(tmp_path_factory.mktemp("own") / "ca")


def tell(request, conn):
    return ok(json.dumps([request.method, request.target, request.fields]))


@pytest.fixture
def start(ca, make_proxy, own):
    """start(handler, conf="", ...): an origin of all hosts, and a proxy that intercepts them."""
    servers = []

    def make(handler=answering(tell), conf="", kind="good", rules=ALL, more="", h2=False, **kw):
        alpn = {"alpn": ("h2", "http/1.1")} if h2 else {}
        context = ca.server_context(kind, **alpn)
        servers.append((H2Front if h2 else Server)(handler, context))
        return make_proxy(to(servers[-1]) + conf + own.conf(more, rules), **kw), servers[-1]

    yield make
    for server in servers:
        server.stop()


# ---- clients


def test_curl(start, own):
    proxy, origin = start(service=True)
    command = ["curl", "-sS", "-v", "--max-time", "20", "-x", proxy.url, "--cacert", own.cert]
    done = subprocess.run(
        command + ["https://origin.test/a", "https://origin.test/b?c"],
        env=clean_env(), capture_output=True, text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('["GET", "/a"') == 1 and done.stdout.count('["GET", "/b?c"') == 1
    assert "server accepted http/1.1" in done.stderr and "subject: CN=origin.test" in done.stderr
    connect = proxy.wait_access(lambda x: x["method"] == "CONNECT")
    assert [(x["url"], x["status"]) for x in connect] == [("origin.test:443", 200)]
    gets = proxy.wait_access(lambda x: x["method"] == "GET", 2)
    assert [x["url"] for x in gets] == ["https://origin.test/a", "https://origin.test/b?c"]
    assert gets[0]["tls"].startswith("TLSv1") and gets[1]["reused"]
    assert origin.accepted == 1
    assert "\ntlsfan_intercepted_total 1\n" in proxy.fetch("/metrics")


def test_python3(start, own):
    proxy, _ = start()
    conn = http.client.HTTPSConnection("127.0.0.1", proxy.port, context=own.context(), timeout=10 * SLOW)
    conn.set_tunnel("origin.test", 443)
    for path in ("/a", "/b"):
        conn.request("GET", path)
        assert json.loads(conn.getresponse().read())[1] == path
    conn.close()
    requests = pytest.importorskip("requests")
    for url in ("https://origin.test/c", "https://origin.test:443/c"):
        answer = requests.get(url, proxies={"https": proxy.url}, verify=own.cert, timeout=10 * SLOW)
        assert answer.json()[1] == "/c"


TWO = """
import socket, ssl, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
s.sendall("CONNECT origin.test:443 HTTP/1.0\\r\\n\\r\\n")
assert " 200 " in s.recv(4096).split("\\n")[0]
s = ssl.wrap_socket(s, cert_reqs=ssl.CERT_REQUIRED, ca_certs=sys.argv[2], ssl_version=getattr(ssl, sys.argv[3]),
    ciphers="DEFAULT@SECLEVEL=0" if sys.argv[3] == "PROTOCOL_TLSv1" else None)
ssl.match_hostname(s.getpeercert(), "origin.test")
s.sendall("GET /two HTTP/1.0\\r\\n\\r\\n")
sys.stdout.write(s.makefile().read())
"""


@pytest.mark.parametrize("version", ["PROTOCOL_SSLv23", "PROTOCOL_TLSv1"])
def test_python2_without_sni(start, own, version):
    if PYTHON2 is None:
        pytest.skip("no Python 2.7")
    proxy, origin = start()
    done = subprocess.run([PYTHON2, "-c", TWO, str(proxy.port), own.cert, version], capture_output=True, text=True)
    if "no protocols available" in done.stderr or "UNSUPPORTED_PROTOCOL" in done.stderr:
        pytest.skip("its OpenSSL does not speak " + version)
    assert done.returncode == 0 and "/two" in done.stdout, done.stderr
    assert origin.requests[0].get("Host") == "origin.test"


def s_client(proxy, *args, host="origin.test", text="GET /s HTTP/1.0\r\n\r\n"):
    command = ["openssl", "s_client", "-proxy", "127.0.0.1:%d" % proxy.port, "-connect", host + ":443", "-ign_eof"]
    return subprocess.run(command + list(args), input=text, capture_output=True, text=True, timeout=30 * SLOW)


@pytest.mark.parametrize("version, name", [("-tls1", "TLSv1"), ("-tls1_1", "TLSv1.1"), ("-tls1_2", "TLSv1.2")])
def test_old_versions(start, own, version, name):
    proxy, _ = start()
    done = s_client(
        proxy, version, "-cipher", "DEFAULT@SECLEVEL=0", "-CAfile", own.cert, "-verify_return_error",
        "-servername", "origin.test",
    )
    assert "HTTP/1.1 200" in done.stdout and re.search(r"Protocol *: %s$" % re.escape(name), done.stdout, re.M)


def test_min_version(start, own):
    proxy, _ = start(more='min_version = "1.2"', service=True)
    with refused():
        Inside(proxy.port, own.context(V.TLSv1))
    proxy.wait_log("speaks no version of TLS that is allowed; it must speak TLS, of intercept.min_version or newer")
    Inside(proxy.port, own.context(V.TLSv1_2)).close()
    assert 'tlsfan_intercept_failures_total{cause="protocol"} 1' in proxy.fetch("/metrics")


def test_no_common_cipher(start, own):
    proxy, _ = start()
    context = own.context(V.TLSv1_2)
    context.set_ciphers("ADH-AES128-SHA:@SECLEVEL=0")
    with refused():
        Inside(proxy.port, context)
    proxy.wait_log("has no cipher of TLS that is spoken here")


@pytest.mark.parametrize("version", [V.TLSv1_2, V.TLSv1_3])
@pytest.mark.parametrize("tickets", [True, False])
def test_resumption(start, own, version, tickets):
    """By a ticket, or by the number of the session."""
    proxy, _ = start()
    context = own.context(version)
    if not tickets:
        context.options |= ssl.OP_NO_TICKET
    with Inside(proxy.port, context) as first:
        assert first.get("/1").status == 200
        session = first.sock.session
    for _ in range(3):
        with Inside(proxy.port, context, session=session) as again:
            assert again.sock.session_reused and again.get("/2").status == 200
            session = again.sock.session


@pytest.mark.parametrize("version", [V.TLSv1_2, V.TLSv1_3])
def test_alpn(start, own, version):
    proxy, _ = start()
    for offer, chosen in ((("h2", "http/1.1"), "http/1.1"), (("h2",), None), ((), None)):
        with Inside(proxy.port, own.context(version, offer)) as c:
            assert c.sock.selected_alpn_protocol() == chosen
            assert c.get("/").status == 200


JAVA = """
import java.io.*; import java.net.*;
public class Get {
    public static void main(String[] a) throws Exception {
        Proxy p = new Proxy(Proxy.Type.HTTP, new InetSocketAddress("127.0.0.1", Integer.parseInt(a[0])));
        for (int i = 0; i < 2; i++) {
            HttpURLConnection c = (HttpURLConnection) new URL("https://origin.test/java").openConnection(p);
            int status = c.getResponseCode();
            System.out.println(status + new BufferedReader(new InputStreamReader(c.getInputStream())).readLine());
        }
    }
}
"""


def test_java(start, own, tmp_path):
    if shutil.which("java") is None or shutil.which("keytool") is None:
        pytest.skip("no Java")
    proxy, _ = start()
    (tmp_path / "Get.java").write_text(JAVA)
    store = str(tmp_path / "store")
    subprocess.run(
        ["keytool", "-importcert", "-noprompt", "-file", own.cert, "-keystore", store, "-storepass", "secret"],
        check=True, capture_output=True,
    )
    command = ["java", "-XX:TieredStopAtLevel=1", str(tmp_path / "Get.java"), str(proxy.port)]
    trusting = ["-Djavax.net.ssl.trustStore=" + store, "-Djavax.net.ssl.trustStorePassword=secret"]
    done = subprocess.run(command[:1] + trusting + command[1:], capture_output=True, text=True, timeout=60 * SLOW)
    assert done.stdout.count('200["GET", "/java"') == 2, done.stderr
    done = subprocess.run(command, capture_output=True, text=True, timeout=60 * SLOW)
    assert done.returncode != 0
    proxy.wait_log("refused the certificate with the alert")


# ---- what is inside


def delayed(request, conn):
    conn.server.stopping.wait(0.4)
    return ok(request.target)


@pytest.mark.parametrize("h2", [False, True])
def test_pipelining_fans_out(start, own, h2):
    proxy, origin = start(answering(delayed), h2=h2)
    with Inside(proxy.port, own.context()) as c:
        begun = time.monotonic()
        c.send("".join("GET /%d HTTP/1.1\r\nHost: origin.test\r\n\r\n" % n for n in range(10)))
        assert [c.response().text for _ in range(10)] == ["/%d" % n for n in range(10)]
        assert time.monotonic() - begun < 3  # and one after the other is 4
    assert h2 == (origin.accepted == 1)


OTHERS = [
    ("GET / HTTP/1.1", "other.test"),
    ("GET / HTTP/1.1", "origin.test:8443"),
    ("GET / HTTP/1.1", "origin.test.evil.test"),
    ("GET / HTTP/1.1", "127.0.0.1"),
    ("GET / HTTP/1.0", "other.test"),
    ("GET https://other.test/ HTTP/1.1", "origin.test"),
    ("GET https://origin.test/ HTTP/1.1", "other.test"),
    ("GET https://origin.test:8443/ HTTP/1.1", "origin.test"),
    ("GET http://origin.test/ HTTP/1.1", "origin.test"),
    ("GET ftp://origin.test/ HTTP/1.1", "origin.test"),
    ("GET http://tlsfan.localhost/batch HTTP/1.1", "tlsfan.localhost"),
    ("POST /batch HTTP/1.1", "tlsfan.localhost"),
]


@pytest.mark.parametrize("line, host", OTHERS)
def test_another_host_is_421(start, own, line, host):
    proxy, origin = start()
    with Inside(proxy.port, own.context()) as c:
        c.send("%s\r\nHost: %s\r\nConnection: keep-alive\r\n\r\n" % (line, host))
        answer = c.response()
        assert answer.status == 421 and "CONNECT" in answer.text and answer.error == "http_request_error"
        assert c.get("/next").status == 200, "the connection goes on"
    assert [r.target for r in origin.requests] == ["/next"]
    assert proxy.wait_access(lambda x: x["status"] == 421)[0]["method"] == line.split()[0]


SAME = [
    ("GET / HTTP/1.1", "origin.test"),
    ("GET / HTTP/1.1", "ORIGIN.Test"),
    ("GET / HTTP/1.1", "origin.test."),
    ("GET / HTTP/1.1", "origin.test:443"),
    ("GET / HTTP/1.1", "Origin.TEST.:443"),
    ("GET / HTTP/1.0", None),
    ("GET https://origin.test/ HTTP/1.1", "origin.test"),
    ("GET https://ORIGIN.test:443/ HTTP/1.1", "origin.test"),
]


def test_the_same_host(start, own):
    proxy, origin = start()
    for connect in ("origin.test", "Origin.Test", "origin.test."):
        for line, host in SAME:
            with Inside(proxy.port, own.context(), connect, sni="origin.test") as c:
                c.send(line + "\r\n" + ("Host: %s\r\n" % host if host else "") + "\r\n")
                assert c.response().status == 200, (connect, line, host)
    assert {(r.target, r.get("Host")) for r in origin.requests} == {("/", "origin.test")}


@pytest.mark.parametrize("request_text, status", [
    ("GET / HTTP/1.1\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: origin.test\r\nHost: origin.test\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: origin.test, other.test\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: origin.test@other.test\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: origin.test\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400),
    ("CONNECT origin.test:443 HTTP/1.1\r\nHost: origin.test:443\r\n\r\n", 400),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
])
def test_strict_inside(start, own, request_text, status):
    proxy, origin = start()
    with Inside(proxy.port, own.context()) as c:
        c.send(request_text)
        assert c.response().status == status
    assert origin.requests == []


def test_trace_and_options(start, own):
    proxy, origin = start()
    with Inside(proxy.port, own.context()) as c:
        for line in ("OPTIONS *", "TRACE /t"):
            c.send(line + " HTTP/1.1\r\nHost: origin.test\r\n\r\n")
            assert c.response().status == 200
    assert [(r.method, r.target) for r in origin.requests] == [("OPTIONS", "*"), ("TRACE", "/t")]


FIELDS = (
    "Set-Cookie: a=b; Secure; SameSite=None; Partitioned",
    "Strict-Transport-Security: max-age=1",
    "Alt-Svc: h3=\":443\"",
    "Location: https://origin.test/there",
    "Content-Security-Policy: upgrade-insecure-requests",
    "Access-Control-Allow-Origin: https://origin.test",
    "Link: <https://origin.test/2>; rel=next",
)


@pytest.mark.parametrize("h2", [False, True])
def test_nothing_is_rewritten(start, own, h2):
    proxy, origin = start(answering(lambda request, conn: ok("x", *FIELDS, status="302 Found")), h2=h2)
    sent = ("Origin: http://origin.test", "Referer: http://origin.test/x", "X-Forwarded-Proto: http")
    with Inside(proxy.port, own.context()) as c:
        answer = c.get("/", *sent)
    have = {"%s: %s" % (n.lower(), v) for n, v in answer.fields}
    assert {f.partition(":")[0].lower() + ":" + f.partition(":")[2] for f in FIELDS} <= have
    arrived = {"%s: %s" % (n.lower(), v) for n, v in origin.requests[0].fields}
    assert {f.partition(":")[0].lower() + ":" + f.partition(":")[2] for f in sent} <= arrived


def test_rules_and_upstream_faults(start, own):
    rules = 'rule "origin.test" { intercept = on request_header = {"X-Key: 1", "X-Gone:"} }\n' + ALL
    proxy, origin = start(rules=rules)
    with Inside(proxy.port, own.context()) as c:
        assert c.get("/", "X-Gone: 2").status == 200
        assert origin.requests[0].get("X-Key") == "1" and origin.requests[0].get("X-Gone") is None
    with Inside(proxy.port, own.context(), "elsewhere.test") as c:
        answer = c.get("/", host="elsewhere.test")
        assert answer.status == 502 and answer.error == "tls_certificate_error" and "elsewhere.test" in answer.text


@pytest.mark.parametrize("kind", ["expired", "self_signed", "unknown_root"])
def test_bad_certificate_is_502_inside(start, own, kind):
    proxy, _ = start(kind=kind)
    with Inside(proxy.port, own.context()) as c:
        assert [c.get("/").error for _ in range(2)] == ["tls_certificate_error"] * 2


def test_a_tunnel_where_a_rule_says_so(start, own, ca):
    proxy, origin = start(rules='rule "origin.test" { intercept = off }\nrule "*" { intercept = on }')
    context = ssl.create_default_context(cafile=ca.root)
    with Inside(proxy.port, context) as c:
        assert c.get("/").get("Via") is None
        assert c.sock.getpeercert()["issuer"] == ((("commonName", "tlsfan test intermediate"),),)
    with Inside(proxy.port, own.context(), "other.test") as c:
        assert "tlsfan" in c.get("/", host="other.test").get("Via")


def test_destinations_and_credentials(start, own, tmp_path):
    users = tmp_path / "users"
    hashed = subprocess.run(["openssl", "passwd", "-6", "p"], capture_output=True, text=True).stdout
    users.write_text("u:" + hashed)
    proxy, origin = start(conf='client { auth_file = "%s" }\ndestination { deny_hosts = {"no.test"} }\n' % users)
    with proxy.client() as c:
        assert c.exchange("CONNECT", "origin.test:443", host="origin.test:443").status == 407
    basic = "Proxy-Authorization: Basic dTpw"
    with proxy.client() as c:
        assert c.exchange("CONNECT", "no.test:443", basic, host="no.test:443").status == 403
    with proxy.client() as c:
        assert c.exchange("CONNECT", "origin.test:22", basic, host="origin.test:22").status == 403
    with Inside(proxy.port, own.context(), fields=[basic]) as c:
        assert c.get("/a").status == 200 and c.get("/b", "Proxy-Authorization: Basic eDp4").status == 200
    assert [r.get("Proxy-Authorization") for r in origin.requests] == [None, None]
    assert {x["user"] for x in proxy.wait_access(lambda x: x["method"] == "GET", 2)} == {"u"}


def websocket(conn):
    request = conn.read_head()
    assert request.get("Upgrade") == "websocket"
    conn.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81\x02hi")
    while True:
        data = conn.recv()
        if not data:
            return
        conn.send(b"\x82" + data[1:])


def test_websocket_inside(start, own):
    proxy, _ = start(websocket)
    with Inside(proxy.port, own.context()) as c:
        c.request("GET", "/ws", "Connection: Upgrade", "Upgrade: websocket", host="origin.test")
        assert c.response().status == 101
        assert c.exactly(4) == b"\x81\x02hi"
        for n in range(3):
            c.send(b"\x82\x03abc")
            assert c.exactly(5) == b"\x82\x03abc"
    assert proxy.wait_access(lambda x: x["status"] == 101)[0]["url"] == "https://origin.test/ws"


def lengthy(conn):
    """By its path: whole or cut, by length, in chunks or until the end."""
    while True:
        request = conn.read_request()
        if request is None:
            return
        how, whole = request.target[1:].split("-")
        head = {"length": b"Content-Length: 8\r\n", "chunked": b"Transfer-Encoding: chunked\r\n", "close": b""}[how]
        body = b"4\r\nbody\r\n" if how == "chunked" else b"body"
        conn.send(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + body)
        if whole == "cut":
            conn.cut()
            return
        conn.send({"length": b"body", "chunked": b"0\r\n\r\n", "close": b""}[how])
        if how == "close":
            conn.finish()
            return


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("tls", [V.TLSv1_2, V.TLSv1_3])
def test_ends(start, own, version, tls):
    proxy, _ = start(lengthy)
    for how in ("length", "chunked", "close"):
        for whole in ("whole", "cut"):
            c = Inside(proxy.port, own.context(tls))
            c.request("GET", "/%s-%s" % (how, whole), "Connection: close", host="origin.test", version=version)
            got, end = c.ends()
            if whole == "whole":
                assert end == "close_notify" and b"body" in got, (how, got)
            else:
                assert end != "close_notify", (how, got)
            c.close()


def test_reload(start, own, tmp_path):
    """Sessions of one CA are none of the next; who is inside stays."""
    proxy, _ = start()
    context = own.context()
    first = Inside(proxy.port, context)
    assert first.get("/1").status == 200
    again = Inside(proxy.port, context, session=first.sock.session)
    assert again.sock.session_reused and again.get("/").status == 200
    other = OwnCA(tmp_path / "other")
    with open(proxy.conf_path) as f:
        conf = f.read()
    with open(proxy.conf_path, "w") as f:
        f.write(conf.replace(own.dir, other.dir))
    proxy.signal(1)
    proxy.wait_log("configuration")
    context.load_verify_locations(other.cert)
    new = Inside(proxy.port, context, session=first.sock.session)
    assert not new.sock.session_reused
    assert first.get("/2").status == 200 and new.get("/3").status == 200
    for c in (first, again, new):
        c.close()


# ---- names


@pytest.mark.parametrize("host, sni, expected", [
    ("origin.test", None, "origin.test"),
    ("origin.test", "other.test", "other.test"),
    ("127.0.0.1", None, "127.0.0.1"),
    ("[::1]", None, "0:0:0:0:0:0:0:1"),
])
def test_name_of_the_leaf(start, own, host, sni, expected):
    proxy, _ = start()
    with Inside(proxy.port, own.context(), host, sni) as c:
        assert c.names() == [expected]
        answer = c.get("/", host=host)
        assert answer.status != 421


def test_keys(start, own):
    """An RSA leaf where the client knows no ECDSA."""
    proxy, _ = start()
    context = own.context(V.TLSv1_2)
    context.set_ciphers("aRSA")
    with Inside(proxy.port, context) as c:
        assert "RSA" in c.sock.cipher()[0] and c.get("/").status == 200
    with Inside(proxy.port, own.context(V.TLSv1_2)) as c:
        assert "ECDSA" in c.sock.cipher()[0]


# ---- the CA


def test_make_ca(tlsfan, tmp_path, start):
    made = tlsfan("--make-ca", str(tmp_path / "ca"), "origin.test")
    assert made.returncode == 0 and "update-ca-certificates" in made.stdout
    assert stat.S_IMODE(os.stat(str(tmp_path / "ca" / "ca.key")).st_mode) == 0o600
    again = tlsfan("--make-ca", str(tmp_path / "ca"))
    assert again.returncode != 0
    os.chmod(str(tmp_path / "ca" / "ca.key"), 0o644)
    conf = "intercept.ca_cert=%s/ca/ca.pem" % tmp_path, "intercept.ca_key=%s/ca/ca.key" % tmp_path
    tested = tlsfan("-t", "-o", conf[0], "-o", conf[1], "-o", "rule[*].intercept=on")
    assert tested.returncode == 1 and "others can read" in tested.stderr
