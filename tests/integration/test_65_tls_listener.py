# SPDX-License-Identifier: Apache-2.0
"""tls: listeners: clients that speak TLS to the proxy, by certificate or without; real programs, and hostile ones."""
import base64
import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading

import pytest

from testenv import SLOW
from testenv.client import Client
from testenv.intercept import IGNORE_UNEXPECTED_EOF, Memory, OwnCA, TlsEnds
from testenv.ports import free_port
from testenv.proxy import binary, clean_env
from testenv.scripted import Server, answering, ok
from testenv.wait import can_connect, wait_until

V = ssl.TLSVersion
BOTH = pytest.mark.parametrize("version", [V.TLSv1_2, V.TLSv1_3], ids=lambda v: v.name)
pytestmark = pytest.mark.h1_only("it looks at the client's side, not at what origins speak")

# Puts the descriptor argv[1] at 3 and becomes argv[2:], as a service manager does.
BECOME = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.argv[2], sys.argv[2:])
"""


def conf_of(leaf, more=""):
    return 'client { cert = "%s"  key = "%s"  %s }\n' % (leaf.cert, leaf.key, more)


@pytest.fixture
def tell(serve):
    """An origin that tells what it was asked."""
    return serve(answering(lambda r, c: ok(json.dumps([r.method, r.target, r.fields, len(r.body)]))))


@pytest.fixture
def secured(make_proxy, ca):
    """secured(conf, client, leaf, ...): a proxy whose only listener speaks TLS; it shows LEAF."""
    def make(conf="", client="", leaf=None, **kw):
        kw.setdefault("listen", ["tls:127.0.0.1:PORT"])
        return make_proxy(conf_of(leaf or ca.leaf(), client) + conf, **kw)
    return make


@pytest.fixture
def context(ca):
    """context(version, leaf): of a client that trusts the CA, and shows LEAF."""
    def make(version=None, leaf=None, alpn=()):
        ctx = ssl.create_default_context(cafile=ca.root)
        ctx.options &= ~IGNORE_UNEXPECTED_EOF
        if version is not None:
            ctx.minimum_version = ctx.maximum_version = version
        if leaf is not None:
            ctx.load_cert_chain(leaf.cert, leaf.key)
        if alpn:
            ctx.set_alpn_protocols(list(alpn))
        return ctx
    return make


class Secure(TlsEnds, Client):
    """A client that speaks TLS to the proxy."""

    def __init__(self, proxy, ctx, name="localhost", session=None, **kw):
        super().__init__(getattr(proxy, "port", proxy), **kw)
        self.sock = ctx.wrap_socket(self.sock, server_hostname=name, suppress_ragged_eofs=False, session=session)


def failures(proxy):
    """{cause: count} of the metric, without those that are none."""
    lines = [x for x in proxy.fetch("/metrics").splitlines() if x.startswith("tlsfan_listener_tls_failures_total{")]
    counts = {x.split('"')[1]: int(x.split()[1]) for x in lines}
    return {cause: n for cause, n in counts.items() if n}


# ---- programs


def curl(proxy, ca, *args, timeout=20):
    command = ["curl", "-sS", "--max-time", str(timeout), "-x", "https://localhost:%d" % proxy.port,
               "--proxy-cacert", ca.root, "--cacert", ca.root, *args]
    return subprocess.run(command, capture_output=True, text=True, env=clean_env(), timeout=2 * timeout * SLOW)


@pytest.mark.parametrize("extra", [(), ("--http1.0",), ("--proxy-tlsv1",), ("--http2",)], ids=" ".join)
def test_curl(secured, ca, tell, extra):
    p = secured("destination { connect_ports = {%d} }\n" % tell.port)
    for url in (tell.url("/a"), "https://origin.test:%d/a" % tell.port):
        done = curl(p, ca, "--connect-to", "origin.test:%d:localhost:%d" % (tell.port, tell.port), *extra, url)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)[:2] == ["GET", "/a"]
    assert sorted(x["method"] for x in p.wait_access(lambda x: True, 2)) == ["CONNECT", "GET"]


def test_curl_explains(secured, ca, tell):
    """What its user reads where the port or the CA is another one."""
    p = secured(service=True)
    done = subprocess.run(["curl", "-sSi", "-x", p.url, tell.url()], capture_output=True, text=True, env=clean_env())
    assert done.stdout.startswith("HTTP/1.1 400 This port speaks TLS, write the proxy's URL with https://")
    assert "text/plain" in done.stdout and "write the proxy's URL with https://, not http://; a prog" in done.stdout
    done = subprocess.run(["curl", "-sS", "-x", p.url.replace("http", "https"), tell.url()], capture_output=True,
                          text=True, env=clean_env())
    assert "certificate" in done.stderr
    p.wait_log('the client 127.0.0.1 refused the certificate with the alert "unknown CA"; give it the CA of ')
    p.wait_log("speaks plain text to a port that speaks TLS")
    wait_until(lambda: failures(p) == {"trust": 1, "no_tls": 1})


def test_a_hello_at_a_plain_port(make_proxy):
    p = make_proxy()
    done = subprocess.run(["curl", "-sS", "-x", p.url.replace("http", "https"), "http://origin.test/"],
                          capture_output=True, text=True, env=clean_env())
    assert done.returncode != 0
    p.wait_log("write the proxy's URL with http://, not https://, or give it a tls: listener")


def test_urllib3_forwarding(secured, context, tell, ca):
    """https:// URLs in absolute form: tlsfan verifies the origin, the client has one handshake."""
    import urllib3
    p = secured()
    with urllib3.ProxyManager("https://localhost:%d" % p.port, proxy_ssl_context=context(), ssl_context=context(),
                              use_forwarding_for_https=True, retries=False, timeout=20) as pool:
        for scheme in ("https", "http"):
            for n in range(3):
                r = pool.request("POST", "%s://localhost:%d/%d" % (scheme, tell.port, n), body=b"x" * n)
                method, target, fields, length = json.loads(r.data)
                assert (r.status, method, target, length) == (200, "POST", "/%d" % n, n)
                assert not any(name.lower().startswith("proxy-") for name, _ in fields)
    lines = p.wait_access(lambda x: True, 6)
    assert {x["method"] for x in lines} == {"POST"} and {x["tls"] for x in lines} == {"TLSv1.3"}


def test_urllib3_is_told_of_a_bad_origin(secured, context, serve):
    import urllib3
    p, bad = secured(), serve(answering(lambda r, c: ok("x")), kind="expired")
    with urllib3.ProxyManager("https://localhost:%d" % p.port, proxy_ssl_context=context(), ssl_context=context(),
                              use_forwarding_for_https=True, retries=False, timeout=20) as pool:
        r = pool.request("GET", "https://localhost:%d/" % bad.port)
    assert r.status == 502 and b"expired" in r.data and not bad.requests


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")  # requests verifies a proxy for https:// alone
def test_requests(secured, tell, ca):
    import requests
    p = secured("destination { connect_ports = {%d} }\n" % tell.port)
    url = "https://localhost:%d" % p.port
    with requests.Session() as s:
        s.trust_env, s.verify, s.proxies = False, ca.root, {"http": url, "https": url}
        for scheme in ("http", "https"):
            r = s.get("%s://localhost:%d/x" % (scheme, tell.port), timeout=20)
            assert r.json()[:2] == ["GET", "/x"]


def test_s_client(secured, ca):
    """Chain, ALPN, tickets, a proper end; and a renegotiation, which is refused."""
    p = secured()
    text = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    command = ["openssl", "s_client", "-connect", "127.0.0.1:%d" % p.port, "-CAfile", ca.root, "-verify_return_error",
               "-alpn", "h2,http/1.1", "-ign_eof", "-showcerts"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=20 * SLOW)
    assert done.returncode == 0, done.stderr
    assert "ALPN protocol: http/1.1" in done.stdout and "Verification: OK" in done.stdout
    assert done.stdout.count("BEGIN CERTIFICATE") >= 2 and "HTTP/1.1 400 " in done.stdout
    assert "New Session Ticket" in done.stdout or "Post-Handshake" in done.stdout
    done = subprocess.run([*command[:4], "-tls1_2", "-CAfile", ca.root], input="R\n", capture_output=True, text=True,
                          timeout=20 * SLOW)
    assert "no renegotiation" in done.stderr + done.stdout
    done = subprocess.run([*command[:4], "-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"], input="", capture_output=True,
                          text=True, timeout=20 * SLOW)
    assert done.returncode != 0 and "protocol version" in done.stderr
    p.wait_log("speaks no version of TLS that is allowed; it must speak TLS 1.2 or newer")
    p = secured()  # the log of the other one has had a line of this kind
    done = subprocess.run([*command[:3], "127.0.0.1:%d" % p.port, "-tls1_3", "-sigalgs", "ed25519"], input="",
                          capture_output=True, text=True, timeout=20 * SLOW)
    assert done.returncode != 0
    p.wait_log("knows no signature of the key that is used here; it must speak TLS 1.2 or newer, know the kind of key ")


def test_chromium(secured, ca, serve, tmp_path):
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("no chromium")
    origin = serve(answering(lambda r, c: ok("<p id=x>by %s" % r.target, "Content-Type: text/html")))
    p = secured('connect_to = {"page.test:80:127.0.0.1:%d", "page.test:443:127.0.0.1:%d"}\n'
                'rule "page.test" { sni = "origin.test" }\n' % (origin.port, origin.port))
    spki = subprocess.run("openssl x509 -in %s -noout -pubkey | openssl pkey -pubin -outform der" % ca.leaf().cert,
                          shell=True, check=True, capture_output=True).stdout
    pin = base64.b64encode(hashlib.sha256(spki).digest()).decode()
    done = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
         "--user-data-dir=%s" % (tmp_path / "profile"), "--proxy-server=https://localhost:%d" % p.port,
         "--proxy-bypass-list=<-loopback>", "--ignore-certificate-errors-spki-list=" + pin,
         "--virtual-time-budget=5000", "--dump-dom", "http://page.test/seen"],
        capture_output=True, text=True, env=clean_env(), timeout=60 * SLOW)
    assert "by /seen" in done.stdout, done.stderr[-3000:] + p.log()


# ---- what is inside


@BOTH
def test_forms(secured, context, tell, version):
    p = secured()
    with Secure(p, context(version)) as c:
        for n in range(3):
            assert json.loads(c.get(tell.url("/%d" % n)).text)[1] == "/%d" % n
        assert json.loads(c.get("https://localhost:%d/s" % tell.port).text)[1] == "/s"
        assert c.exchange("GET", "/origin-form", host="a").status == 400
        chunked = b"5\r\n" + b"y" * 5 + b"\r\n0\r\n\r\n"
    with Secure(p, context(version)) as c:
        c.request("POST", tell.url("/"), "Transfer-Encoding: chunked", "Expect: 100-continue")
        c.send(chunked)
        assert json.loads(c.response("POST").text)[3] == 5
    with Secure(p, context(version)) as c:
        c.request("GET", tell.url("/ten"), version="1.0")
        got, end = c.ends()
        assert got.startswith(b"HTTP/1.") and b'"/ten"' in got and end == "close_notify"


def test_pipelining_fans_out(secured, context, serve):
    """Twenty requests that wait for each other at the origin."""
    gate = threading.Barrier(20)

    def app(request, conn):
        gate.wait(20 * SLOW)
        return ok(request.target)
    origin = serve(answering(app))
    with Secure(secured(), context(), timeout=30) as c:
        c.send("".join("GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % origin.url("/%d" % n) for n in range(20)))
        assert [c.response().text for _ in range(20)] == ["/%d" % n for n in range(20)]


@BOTH
def test_large_both_ways(secured, context, serve, version):
    body = os.urandom(1 << 20) * 6
    origin = serve(answering(lambda r, c: ok(r.body)))
    with Secure(secured(), context(version), timeout=30) as c:
        assert c.exchange("POST", origin.url(), body=body).body == body


def test_websocket(secured, context, serve):
    def upgrade(conn):
        assert conn.read_head().get("Upgrade") == "websocket"
        conn.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhi")
        while True:
            data = conn.recv()
            if not data:
                return conn.finish()
            conn.send(data.upper())
    origin = serve(upgrade)
    with Secure(secured(), context()) as c:
        c.request("GET", origin.url("/ws"), "Connection: Upgrade", "Upgrade: websocket")
        assert c.response().status == 101 and c.exactly(2) == b"hi"
        c.send(b"abc")
        assert c.exactly(3) == b"ABC"


def test_tunnel_and_interception(secured, context, tell, ca, tmp_path):
    """TLS in TLS, blind and read; how either ends inside is the client's to see."""
    own = OwnCA(tmp_path / "own")
    hosts = "origin.test", "other.test"
    p = secured("connect_to = {%s}\n" % ", ".join('"%s:443:127.0.0.1:%d"' % (h, tell.port) for h in hosts)
                + own.conf(rules='rule "other.test" { intercept = on }'))
    inner = own.context()
    inner.load_verify_locations(ca.root)
    for host, issuer in zip(hosts, ("tlsfan test intermediate", "tlsfan CA")):
        with Secure(p, context()) as c:
            c.send("CONNECT %s:443 HTTP/1.1\r\nHost: %s\r\n\r\n" % (host, host))
            assert c.response("CONNECT").status == 200
            inside = Memory(inner, host)
            c.send(inside.hello)
            inside.finish(c)
            names = dict(x[0] for x in inside.tls.getpeercert()["issuer"])
            assert names["commonName"].startswith(issuer)
            inside.all_of(inside.tls.write, b"GET /in HTTP/1.1\r\nHost: %s\r\n\r\n" % host.encode())
            got = b""
            while b'"/in"' not in got:
                got += inside.all_of(inside.tls.read, 65536)
            assert got.startswith(b"HTTP/1.1 200")


@BOTH
def test_tunnel_is_ended_one_side_at_a_time(secured, context, version):
    """The client says close_notify, and then reads on what the other side has to say to all of it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        p = secured("destination { connect_ports = {%d} }\n" % port)
        with p.client() as c:
            outer = Memory(context(version), "localhost")
            c.send(outer.hello)
            outer.finish(c)
            outer.all_of(outer.tls.write, b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: x\r\n\r\nabc" % port)
            far, _ = listener.accept()
            with far:
                assert outer.all_of(outer.tls.read, 65536).startswith(b"HTTP/1.1 200 ")
                c.send(outer.try_to(outer.tls.unwrap)[1])
                far.settimeout(10 * SLOW)
                got = b""
                while not got or data:
                    data = far.recv(100)
                    got += data
                far.sendall(b"got " + got)
                assert outer.all_of(outer.tls.read, 65536) == b"got abc"
            with pytest.raises(ssl.SSLZeroReturnError):
                outer.all_of(outer.tls.read, 65536)


@BOTH
def test_a_tunnel_that_is_cut_has_no_proper_end(secured, context, serve, version):
    """Of TLS on both sides: close_notify is passed on, and its absence, too."""
    def upgrade(conn):
        how = conn.read_head().target
        conn.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhi")
        conn.cut() if how == "/cut" else conn.finish()
    p, origin = secured(), serve(upgrade)
    for path, end in (("/whole", "close_notify"), ("/cut", "cut")):
        with Secure(p, context(version)) as c:
            c.request("GET", origin.url(path), "Connection: Upgrade", "Upgrade: websocket")
            got, how = c.ends()
            assert got.endswith(b"hi") and how == end


def lengthy(conn):
    """By its path: whole or cut, by length, in chunks or until the end."""
    request = conn.read_request()
    how, whole = request.target[1:].split("-")
    head = {"length": b"Content-Length: 8\r\n", "chunked": b"Transfer-Encoding: chunked\r\n", "close": b""}[how]
    conn.send(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + (b"4\r\nbody\r\n" if how == "chunked" else b"body"))
    if whole == "cut":
        conn.cut()
        return
    conn.send({"length": b"body", "chunked": b"0\r\n\r\n", "close": b""}[how])
    conn.finish()


@pytest.mark.parametrize("http", ["1.0", "1.1"])
@BOTH
def test_ends(secured, context, serve, http, version):
    """close_notify behind all of an answer, and never behind a part of one."""
    p, origin = secured(), serve(lengthy)
    for how in ("length", "chunked", "close"):
        for whole in ("whole", "cut"):
            with Secure(p, context(version)) as c:
                c.request("GET", origin.url("/%s-%s" % (how, whole)), "Connection: close", version=http)
                got, end = c.ends()
                assert (end == "close_notify") == (whole == "whole"), (how, whole, got, end)
                assert b"body" in got or whole == "cut"


def test_who_leaves_is_forgotten(secured, context, serve):
    """close_notify, FIN and RST of a client in the middle of it all: what it asked for is cancelled."""
    origin = serve(lambda conn: conn.read_request() and conn.hang())
    p = secured(service=True)
    base = p.fds()
    for leave in ("unwrap", "close", "reset"):
        c = Secure(p, context())
        c.request("GET", origin.url("/"))
        origin.wait_requests(1)
        del origin.requests[:]
        if leave == "unwrap":
            c.sock.settimeout(0.05)
            with contextlib.suppress(OSError):
                c.sock.unwrap()
        elif leave == "reset":
            c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        c.close()
        wait_until(lambda: p.fds() <= base, 5, "the connections to go")


# ---- who may come


def test_client_certificates(secured, context, tell, ca):
    p = secured(client='client_ca = "%s"' % ca.root, service=True)
    for version in (V.TLSv1_2, V.TLSv1_3):
        with Secure(p, context(version, ca.leaf("client"))) as c:
            assert c.get(tell.url()).status == 200
    assert p.wait_access(lambda x: True, 2)[0]["user"] == ""  # a certificate is no user
    for n, leaf in enumerate((None, ca.leaf("self_signed"), ca.leaf("good"), ca.leaf("unknown_root"))):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            with Secure(p, context(leaf=leaf)) as c:
                c.get(tell.url())
        wait_until(lambda: failures(p) == {"unknown": n + 1})
    log = p.log()
    assert "showed no certificate; client.client_ca demands one" in log
    assert 'self-signed certificate (its subject is "/CN=origin.test"); client.client_ca demands' in log
    assert "unsuitable certificate purpose" in log and "unable to get local issuer" in log
    done = curl(p, ca, "--proxy-cert", ca.leaf("client").cert, "--proxy-key", ca.leaf("client").key, tell.url("/c"))
    assert done.returncode == 0 and '"/c"' in done.stdout, done.stderr
    done = curl(p, ca, tell.url("/c"))
    assert done.returncode != 0 and "certificate required" in done.stderr


def test_who_has_no_certificate_reads_why(secured, context, ca):
    """By TLS 1.3 its request is on the way by then, and what is not read must not reset the connection."""
    p = secured(client='client_ca = "%s"' % ca.root, service=True)
    fds = p.fds()
    for _ in range(10):
        with pytest.raises(ssl.SSLError, match="(?i)certificate required"):
            with Secure(p, context(V.TLSv1_3)) as c:
                c.send(b"POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 99999\r\n\r\n" + b"x" * 99999)
                c.sock.recv(1)
    wait_until(lambda: p.fds() <= fds, 10, "their descriptors to be closed")


def test_passwords_and_networks_hold(secured, context, tell, ca, tmp_path):
    users = tmp_path / "users"
    users.write_text("u:" + subprocess.run(["openssl", "passwd", "-5", "pw"], check=True, capture_output=True,
                                           text=True).stdout)
    basic = "Proxy-Authorization: Basic " + base64.b64encode(b"u:pw").decode()
    p = secured(client='client_ca = "%s"  auth_file = "%s"' % (ca.root, users))
    with Secure(p, context(leaf=ca.leaf("client"))) as c:
        assert c.get(tell.url()).status == 407
        assert c.get(tell.url(), basic).status == 200
    assert p.wait_access(lambda x: x["status"] == 200)[0]["user"] == "u"
    p = secured(client='allow = {"192.0.2.0/24"}')
    with pytest.raises(ssl.SSLError, match="access denied"):
        Secure(p, context())
    p.wait_log("a client that may not come was turned away")


def test_beyond_loopback(tlsfan, ca):
    leaf = ca.leaf()
    base = ["-t", "-l", "tls:0.0.0.0:3130", "-o", "client.cert=" + leaf.cert, "-o", "client.key=" + leaf.key,
            "-o", "client.client_ca=" + ca.root]
    done = tlsfan(*base)
    assert done.returncode == 1 and "set client.allow" in done.stderr  # client_ca does not say who may come
    assert tlsfan(*base, "-o", "client.allow=private").returncode == 0


def test_configurations(tlsfan, ca, tmp_path):
    leaf, old = ca.leaf(), ca.leaf("expired")

    def fails(why, *options):
        done = tlsfan("-t", "-l", "tls:127.0.0.1:1", *(x for o in options for x in ("-o", o)))
        assert done.returncode == 1 and why in done.stderr, done.stderr
    fails("listener tls:127.0.0.1:1 has no certificate to show: set client.cert and client.key")
    fails("client.cert: is set, but client.key is not", "client.cert=" + leaf.cert)
    fails("it is not the key of the first certificate", "client.cert=" + leaf.cert, "client.key=" + old.key)
    fails("No such file", "client.cert=" + leaf.cert, "client.key=/nonexistent")
    public = tmp_path / "public.key"
    shutil.copyfile(leaf.key, public)
    public.chmod(0o644)
    fails("others can read or write this key: chmod 600 it", "client.cert=" + leaf.cert, "client.key=%s" % public)
    done = tlsfan("-t", "-l", "tls:127.0.0.1:1", "-o", "client.cert=" + old.cert, "-o", "client.key=" + old.key)
    assert done.returncode == 0 and "a certificate has expired: /CN=origin.test" in done.stderr
    env = {"TLSFAN_LISTEN": "tls:127.0.0.1:1", "TLSFAN_CLIENT_CERT": leaf.cert, "TLSFAN_CLIENT_KEY": leaf.key}
    assert tlsfan("-t", env=env).returncode == 0
    assert 'client.key = "%s"' % leaf.key in tlsfan("-T", env=env).stdout or leaf.key in tlsfan("-T", env=env).stdout


# ---- changes


def shown(proxy, context):
    with Secure(proxy, context) as c:
        return dict(x[0] for x in c.sock.getpeercert()["subject"])["commonName"]


def test_files_are_read_again(secured, context, tell, ca, tmp_path):
    """A renewed certificate is shown to new connections, without a signal; who is there stays."""
    first, second = ca.leaf(), ca.issue("renewed", "subjectAltName = DNS:localhost")
    paths = [str(tmp_path / name) for name in ("cert.pem", "key.pem", "ca.pem")]
    for source, path in zip((*first, ca.root), paths):
        shutil.copy(source, path)
        os.chmod(path, 0o600)
    leaf = type(first)(*paths[:2])
    p = secured(leaf=leaf, client='client_ca = "%s"' % paths[2])
    known = context(leaf=ca.leaf("client"))
    old = Secure(p, known)
    assert old.get(tell.url()).status == 200 and shown(p, known) == "origin.test"
    session = old.sock.session
    shutil.copyfile(second.key, paths[1])  # for a moment it is not the certificate's
    p.wait_log("it is not the key of the first certificate")
    assert shown(p, known) == "origin.test"
    shutil.copyfile(second.cert, paths[0])
    wait_until(lambda: shown(p, known) == "renewed", 10)
    shutil.copyfile(ca.path("stranger.pem"), paths[2])
    p.wait_log("configuration reloaded")

    def is_out():
        try:
            with Secure(p, known, session=session) as c:
                c.get(tell.url())
            return False
        except (ssl.SSLError, ConnectionError):
            return True
    wait_until(is_out, 10, "the new client_ca to hold, for resumed sessions, too")
    with old:
        assert old.get(tell.url()).status == 200


def test_a_port_changes_what_it_speaks(secured, context, tell):
    """By HUP, with the socket it has: from plain to TLS and back."""
    p = secured(listen=["127.0.0.1:PORT"])
    plain, with_tls = '"127.0.0.1:%d"' % p.port, '"tls:127.0.0.1:%d"' % p.port
    with p.client() as kept:
        assert kept.get(tell.url()).status == 200
        for n, (old, new) in enumerate(((plain, with_tls), (with_tls, plain))):
            with open(p.conf_path) as f:
                text = f.read()
            with open(p.conf_path, "w") as f:
                f.write(text.replace(old, new))
            p.signal(signal.SIGHUP)
            wait_until(lambda: p.log().count("configuration reloaded") == n + 1)
            if new == with_tls:
                with Secure(p, context()) as c:
                    assert c.get(tell.url()).status == 200
                with p.client() as c:
                    assert c.get(tell.url()).status == 400
            else:
                with p.client() as c:
                    assert c.get(tell.url()).status == 200
        assert kept.get(tell.url()).status == 200


def test_drain(secured, context, serve):
    """Idle ones end with close_notify, a silent one at once, who waits gets the answer and its proper end."""
    go = threading.Event()

    def app(request, conn):
        go.wait(20 * SLOW)
        return ok("late")
    origin = serve(answering(app))
    p = secured("drain_timeout = 60s\n")
    idle, busy, silent = Secure(p, context()), Secure(p, context()), p.client()
    busy.request("GET", origin.url())
    origin.wait_requests(1)
    p.signal(signal.SIGTERM)
    assert idle.ends()[1] == "close_notify"
    assert silent.sock.recv(1) == b""
    go.set()
    assert busy.response().text == "late" and busy.ends()[1] == "close_notify"
    p.process.wait(10 * SLOW)
    for c in (idle, busy, silent):
        c.close()


def test_the_socket_of_a_service_manager(ca, context, tell, tmp_path):
    leaf, s = ca.leaf(), socket.create_server(("127.0.0.1", 0))
    port = s.getsockname()[1]
    log = open(tmp_path / "log", "wb")
    program = subprocess.Popen(
        [sys.executable, "-I", "-c", BECOME, str(s.fileno()), binary(), "-l", "tls:127.0.0.1:%d" % port, "-s", "off",
         "-o", "client.cert=" + leaf.cert, "-o", "client.key=" + leaf.key, "-o", "tls.ca_file=" + ca.root],
        pass_fds=[s.fileno()], env=clean_env(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        with Secure(port, context(), timeout=20) as c:
            assert c.get(tell.url("/passed")).status == 200
    finally:
        program.terminate()
        program.wait(20 * SLOW)
        log.close()
        s.close()
    assert program.returncode == 0, (tmp_path / "log").read_text()


def test_key_log(secured, context, tell, tmp_path):
    ours, theirs = str(tmp_path / "ours"), str(tmp_path / "theirs")
    p = secured('tls { keylog = "%s" }\n' % ours)
    ctx = context()
    ctx.keylog_filename = theirs
    with Secure(p, ctx) as c:
        assert c.get(tell.url()).status == 200
    with open(theirs) as f:
        wanted = {line for line in f if line.startswith("CLIENT_TRAFFIC")}
    wait_until(lambda: wanted and wanted <= set(open(ours)))


# ---- forward


def test_forward(make_proxy, context, serve, ca):
    """A listener for one origin, by TLS: its URLs say https://, and what is secure stays so."""
    origin = serve(answering(lambda r, c: ok(
        r.target, "Location: https://origin.test/v2/next", "Set-Cookie: a=b; Secure; Domain=origin.test",
        "Strict-Transport-Security: max-age=1", "X-Origin: %s" % r.get("Origin"))))
    port = free_port()
    p = make_proxy('connect_to = {"origin.test:443:127.0.0.1:%d"}\n' % origin.port + conf_of(ca.leaf())
                   + 'forward "tls:127.0.0.1:%d" { to = "https://origin.test/v2" }\n' % port)
    wait_until(lambda: can_connect("127.0.0.1", port))
    self = "https://localhost:%d" % port
    with Secure(port, context()) as c:
        r = c.exchange("GET", "/a", "Origin: " + self, host="localhost:%d" % port)
        assert (r.status, r.text, r.get("Location")) == (200, "/v2/a", self + "/next")
        assert r.get("Set-Cookie") == "a=b; Secure" and r.get("Strict-Transport-Security") is None
        assert r.get("X-Origin") == "https://origin.test"
        assert c.exchange("GET", "/a", "Origin: http://localhost:%d" % port, host="localhost:%d" % port).status == 403
    with Client(port) as c:
        assert c.exchange("GET", "/a", host="localhost").status == 400
    p.wait_log("listening on tls:127.0.0.1:%d for https://origin.test:443/v2" % port)


# ---- who does not keep to it


def test_other_protocols_and_slow_ones(secured, context, tell):
    p = secured(client="header_timeout = 300ms", service=True)
    for first in (b"\5\1\0", b"\0" * 9, b"\x16\3\1\0\2hi", b"\x80\x2e\1\3\0", b"\x15\3\1\0\2\2\0"):
        with p.client() as c:
            c.send(first)
            with contextlib.suppress(ConnectionResetError):
                assert c.sock.recv(100)[:1] in (b"", b"\x15")
    with p.client() as c:
        c.send(b"\x16\x03\x01")
        with contextlib.suppress(ConnectionResetError):
            assert c.sock.recv(100) == b""
    p.wait_log("took longer than client.header_timeout; raise that")
    assert failures(p)["timeout"] >= 1 and failures(p)["no_tls"] == 2
    ctx = context(alpn=["h2"])
    with pytest.raises(ssl.SSLError, match="no application protocol"):
        Secure(p, ctx)
    p.wait_log("offers no HTTP/1 by ALPN")
    with Secure(p, context()) as c:
        c.sock.sendall(b"\x16\x03\x01\x02\x00")  # TLS inside TLS that nobody asked for
        assert c.ends()[0] == b""
    with Secure(p, context()) as c:
        assert c.get(tell.url()).status == 200


def test_many_leave_nothing(secured, context):
    p = secured("workers = 2\n", service=True)
    ctx = context()

    def holds_nothing():
        """But for who asks: two of them hold less than a client with TLS."""
        page = dict(x.rsplit(" ", 1) for x in p.fetch("/metrics").splitlines())
        return page["tlsfan_client_connections"] == "0" and int(page["tlsfan_buffered_bytes"]) < 20000
    fds = p.fds()
    for _ in range(3):
        clients = [Secure(p, ctx) for _ in range(60)] + [p.client() for _ in range(20)]
        assert not holds_nothing()
        for c in clients[:60:3]:
            c.send(b"GET http://")
        for c in clients:
            c.close()
        wait_until(holds_nothing, 10, "all of them to be forgotten")
        wait_until(lambda: p.fds() <= fds, 10, "their descriptors to be closed")


@BOTH
def test_sessions_resume_on_any_worker(secured, context, tell, version):
    p = secured("workers = 2\n")
    ctx, session, reused = context(version), None, 0
    for _ in range(12):
        with Secure(p, ctx, session=session) as c:
            assert c.get(tell.url()).status == 200
            session, reused = c.sock.session, reused + c.sock.session_reused
    assert reused == 11
