# SPDX-License-Identifier: Apache-2.0
"""Nothing but a certificate that is there, strong enough and valid now makes a verified connection.

Neither a list of suites, nor an old version, nor a session from before stands in for one."""
import re
import signal
import ssl
import subprocess
import time

import pytest

from testenv.ports import free_port
from testenv.scripted import answering, ok
from testenv.wait import can_connect, wait_until

WEAK = "ALL:@SECLEVEL=0"
V = ssl.TLSVersion
VERSIONS = pytest.mark.parametrize("version", [V.TLSv1, V.TLSv1_1, V.TLSv1_2, V.TLSv1_3], ids=lambda v: v.name)
RULES = pytest.mark.parametrize("rule", ['min_version = "1.0"', 'min_version = "1.0" ciphers = "%s"' % WEAK],
                                ids=["version", "suites"])
OLD = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def weak_context(version, leaf=None):
    """A server that takes anything, with LEAF or without a certificate, in VERSION alone."""
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ctx.set_ciphers("%s:COMPLEMENTOFALL" % WEAK)
    ctx.minimum_version = ctx.maximum_version = version
    if leaf is not None:
        ctx.load_cert_chain(leaf.cert, leaf.key)
    return ctx


@pytest.fixture(scope="module")
def small(ca):
    return ca.odd_leaf("small_key", ("-newkey", "rsa:1024"))


@pytest.fixture(scope="module")
def rsa(ca):
    return ca.odd_leaf("rsa", ("-newkey", "rsa:2048"))


@pytest.fixture(scope="module")
def sha1(ca):
    return ca.odd_leaf("sha1_leaf", digest="sha1")


def refused(server, r, *words):
    assert r.status == 502 and r.error == "tls_certificate_error", r
    assert any(w in r.text for w in words), r.text
    assert server.received == b"" and server.requests == [] and server.heard == 0


# ---- a certificate is shown ----

ANONYMOUS = ("AECDH-AES128-SHA", "ADH-AES128-SHA", "ADH-AES128-GCM-SHA256")


@pytest.mark.h1_only("its server takes no part in ALPN")
@pytest.mark.parametrize("suite", ANONYMOUS + ("ECDHE-ECDSA-NULL-SHA",))
@pytest.mark.parametrize("rule", ['ciphers = "%s"' % WEAK, 'ciphers = "%s" min_version = "1.0"' % WEAK,
                                  'ciphers = "%s" verify = off' % WEAK], ids=["suites", "version", "unverified"])
def test_server_that_proves_nothing(ca, make_proxy, suite, rule):
    """s_server that speaks one suite, without a certificate or without encryption."""
    port = free_port()
    leaf = ca.leaf()
    cert = ("-nocert",) if suite in ANONYMOUS else ("-cert", leaf.cert, "-key", leaf.key)
    server = subprocess.Popen(["openssl", "s_server", "-accept", "127.0.0.1:%d" % port, "-www", "-quiet", "-tls1_2",
                               "-cipher", suite + ":@SECLEVEL=0", *cert],
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: can_connect("127.0.0.1", port), what="s_server")
        p = make_proxy('rule "localhost" { %s }\n' % rule)
        with p.client() as c:
            r = c.get("http://localhost:%d/" % port)
            assert r.status == 502 and r.error in ("tls_alert_received", "tls_protocol_error"), r
    finally:
        server.kill()
        server.wait()


@pytest.mark.parametrize("where", ["tls { ciphers = %s }", 'rule "*.test" { ciphers = %s }'])
@pytest.mark.parametrize("text", ["aNULL", "eNULL", "COMPLEMENTOFALL", "DEFAULT:aNULL:@SECLEVEL=0",
                                  "HIGH,AECDH-AES128-SHA", "DEFAULT:NULL-SHA256", "ECDHE+AESGCM aPSK"])
def test_suites_that_prove_nothing_are_an_error(tlsfan, tmp, where, text):
    path = tmp / "suites.conf"
    path.write_text(where % ('"%s"' % text) + "\n")
    done = tlsfan("-t", "-c", str(path))
    assert done.returncode != 0 and re.search(r"suites\.conf:1: .*ciphers: .*no certificate", done.stderr), done.stderr
    path.write_text(where % ('"%s"' % WEAK) + "\n")
    assert tlsfan("-t", "-c", str(path)).returncode == 0


# ---- it is strong enough ----

@OLD
@VERSIONS
@RULES
def test_small_key(serve, make_proxy, small, version, rule):
    server = serve(answering(lambda r, c: ok()), context=weak_context(version, small))
    p = make_proxy('rule "localhost" { %s }\n' % rule)
    with p.client() as c:
        refused(server, c.get(server.url()), "its key is too small")


@OLD
@VERSIONS
@RULES
def test_weak_signature(serve, make_proxy, sha1, version, rule):
    server = serve(answering(lambda r, c: ok()), context=weak_context(version, sha1))
    p = make_proxy('rule "localhost" { %s }\n' % rule)
    with p.client() as c:
        refused(server, c.get(server.url()), "a hash that is too weak")


@OLD
def test_min_version_for_all(serve, make_proxy, small):
    server = serve(answering(lambda r, c: ok()), context=weak_context(V.TLSv1_3, small))
    p = make_proxy('tls { min_version = "1.0" }\n')
    with p.client() as c:
        refused(server, c.get(server.url()), "its key is too small")


@OLD
@VERSIONS
def test_old_versions_work(serve, make_proxy, ca, version):
    server = serve(answering(lambda r, c: ok("old")), context=weak_context(version, ca.leaf()))
    p = make_proxy('rule "localhost" { min_version = "1.0" }\n')
    with p.client() as c:
        assert c.get(server.url()).text == "old"


@OLD
@VERSIONS
def test_client_certificate_with_old_versions(serve, make_proxy, ca, version):
    ctx = weak_context(version, ca.leaf())
    ctx.load_verify_locations(ca.root)
    ctx.verify_mode = ssl.CERT_REQUIRED
    server = serve(answering(lambda r, c: ok("known")), context=ctx)
    own = ca.leaf("client")
    p = make_proxy('rule "localhost" { min_version = "1.0" client_cert = "%s" client_key = "%s" }\n'
                   % (own.cert, own.key))
    with p.client() as c:
        assert c.get(server.url()).text == "known"


@pytest.mark.h1_only("its server takes no part in ALPN")
@pytest.mark.parametrize("flags", [("-cipher", "DHE:@SECLEVEL=0", "-dhparam"), ("-sigalgs", "RSA+SHA1")],
                         ids=["dh", "sha1"])
@pytest.mark.parametrize("version,good", [("-tls1", True), ("-tls1_1", True), ("-tls1_2", False)])
def test_what_old_versions_need_is_theirs_alone(ca, rsa, make_proxy, tmp, version, good, flags):
    """DH of 1,536 bits, or signatures with SHA-1 alone."""
    if flags[-1] == "-dhparam":
        path = str(tmp / "dh.pem")
        subprocess.run(["openssl", "genpkey", "-genparam", "-algorithm", "DH", "-pkeyopt", "group:modp_1536", "-out",
                        path], check=True, stderr=subprocess.DEVNULL)
        flags += (path,)
    else:
        flags += ("-cipher", WEAK)
    port = free_port()
    server = subprocess.Popen(["openssl", "s_server", "-accept", "127.0.0.1:%d" % port, "-www", "-quiet", version,
                               "-cert", rsa.cert, "-cert_chain", ca.path("inter.pem"), "-key", rsa.key, *flags],
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: can_connect("127.0.0.1", port), what="s_server")
        p = make_proxy('rule "localhost" { min_version = "1.0" }\n')
        with p.client() as c:
            r = c.get("http://localhost:%d/" % port)
            assert r.status == (200 if good else 502), r.text
            assert good or r.error in ("tls_alert_received", "tls_protocol_error"), r
    finally:
        server.kill()
        server.wait()


# ---- and valid now ----

EITHER = pytest.mark.parametrize("version", [V.TLSv1_2, V.TLSv1_3], ids=lambda v: v.name)


def resumes_until(make, seconds):
    """Resumes sessions of make(end) -> server, client until it is past end, SECONDS from now at first.

    Each resumption brings new tickets. A busy machine gets more time, where it has not come to one."""
    end = int(time.time()) + seconds
    server, client = make(end)
    if [client.get(server.url()).status for _ in range(3)] != [200] * 3 or time.time() >= end:
        assert seconds < 100, "too slow a machine to resume a session within a minute"
        return resumes_until(make, 4 * seconds)
    assert server.last_asked().resumed
    wait_until(lambda: client.get(server.url()) and time.time() > end + 1, seconds + 5)
    return server, client


@pytest.fixture
def closing(serve, make_proxy):
    """closing(context, conf) -> a server that takes one request a connection, and a client."""
    clients = []

    def make(ctx, conf=""):
        server = serve(answering(lambda r, c: ok("x", "Connection: close")), context=ctx)
        clients.append(make_proxy("workers = 1\n" + conf).client())
        return server, clients[-1]
    yield make
    for c in clients:
        c.close()


@pytest.mark.h1_only("a session is kept the same way for both")
@EITHER
def test_session_ends_with_the_certificate(closing, ca, version):
    def make(end):
        leaf = ca.odd_leaf("short", dates=(end - 86400, end))
        ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ctx.load_cert_chain(leaf.cert, leaf.key)
        ctx.maximum_version = version
        return closing(ctx)
    server, client = resumes_until(make, 4)
    count = len(server.requests)
    for _ in range(2):
        r = client.get(server.url())
        assert r.status == 502 and r.error == "tls_certificate_error" and "it has expired" in r.text, r
    assert len(server.requests) == count


@pytest.mark.h1_only("a session is kept the same way for both")
@EITHER
def test_session_ends_with_the_revocation_list(closing, ca, version):
    """A list that has ended says nothing any more about a certificate."""
    def make(end):
        ctx = ca.server_context()
        ctx.maximum_version = version
        return closing(ctx, 'tls { crl_file = "%s" }\n' % ca.short_crl(end - 3600, end))
    server, client = resumes_until(make, 4)
    r = client.get(server.url())
    assert r.status == 502 and r.error == "tls_certificate_error" and "has expired" in r.text, r


@EITHER
def test_reload_forgets_sessions(serve, make_proxy, ca, version):
    """What a new revocation list says holds for an origin whose sessions were kept."""
    ctx = ca.server_context("revoked")
    ctx.maximum_version = version
    server = serve(answering(lambda r, c: ok("x", "Connection: close")), context=ctx)
    p = make_proxy("workers = 1\n")
    with p.client() as c:
        for _ in range(3):
            assert c.get(server.url()).status == 200
        assert server.last_asked().resumed
        p.write('workers = 1\ntls { crl_file = "%s" }\n' % ca.crl())
        p.signal(signal.SIGHUP)
        wait_until(lambda: c.get(server.url()).status == 502, what="the new list to be in force")
        r = c.get(server.url())
        assert r.error == "tls_certificate_error" and "revoked" in r.text
