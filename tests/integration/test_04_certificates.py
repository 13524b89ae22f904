# SPDX-License-Identifier: Apache-2.0
"""Every bad certificate is 502 with the right text, and not one byte of the request reaches the origin."""
import ssl
import subprocess

import pytest

from testenv.scripted import answering, ok
from testenv.wait import wait_until

BAD = {  # kind: words of which one must be in the text
    "expired": ("expired",),
    "not_yet_valid": ("not yet valid",),
    "wrong_host": ("host", "name"),
    "cn_only": ("host", "name"),
    "san_wrong": ("host", "name"),
    "self_signed": ("self-signed", "self signed"),
    "unknown_root": ("issuer", "unable to get", "unknown"),
    "missing_intermediate": ("issuer", "unable to get", "intermediate"),
}
ISSUER = {"self_signed": "origin.test", "unknown_root": "stranger root"}


def refused(server, r, error="tls_certificate_error"):
    assert r.status == 502 and r.error == error, r
    assert r.get("Content-Type").startswith("text/plain") and r.get("X-Content-Type-Options") == "nosniff"
    assert server.received == b"" and server.requests == [] and server.heard == 0


@pytest.fixture
def target(serve, make_proxy):
    """target(kind, conf, server options) -> server, client: origin.test is that server."""
    clients = []

    def make(kind="good", conf="", rule=None, **kw):
        server = serve(answering(lambda r, c: ok("secret")), kind=kind, **kw)
        conf += 'connect_to = {"origin.test:443:127.0.0.1:%d"}\n' % server.port
        if rule is not None:
            conf += 'rule "origin.test" { %s }\n' % rule
        p = make_proxy(conf)
        clients.append(p.client())
        return server, clients[-1], p
    yield make
    for c in clients:
        c.close()


@pytest.mark.parametrize("kind", BAD)
def test_bad_certificate(target, kind):
    server, c, p = target(kind)
    for _ in range(2):  # also once it is known
        c.request("POST", "http://origin.test/login", "Authorization: Basic c2VjcmV0", body=b"password")
        r = c.response("POST")
        refused(server, r)
        text = r.text.lower()
        assert any(w in text for w in BAD[kind]), r.text
        assert "origin.test" in text
        assert ("elsewhere.test" if kind == "wrong_host" else "origin.test") in text
        assert ISSUER.get(kind, "tlsfan test intermediate") in r.text
        assert r.text.count("\n") <= 1 and 'details="' in r.get("Proxy-Status")


def test_good_certificate(target):
    server, c, _ = target()
    assert c.get("http://origin.test/").text == "secret"


def test_peer_texts_are_escaped_and_cut(serve, proxy, ca, tmp):
    """A subject that tries to write into our header."""
    cert, key = str(tmp / "evil.pem"), str(tmp / "evil.key")
    subprocess.run(["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                    "-utf8", "-keyout", key, "-out", cert, "-subj",
                    "/L=" + "l" * 100 + "/OU=" + "u" * 60 + "/CN=" + "e" * 60 + '/O=q"\\\\z\u00e9' + "y" * 50],
                   check=True, stderr=subprocess.DEVNULL)
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ctx.load_cert_chain(cert, key)
    server = serve(answering(lambda r, c: ok()), context=ctx)
    with proxy.client() as c:
        r = c.get(server.url())
    refused(server, r)
    assert r.head.isascii() and r.body.isascii() and "\\" in r.text and len(r.text) < 700


def test_address_without_ip_san(serve, proxy):
    server = serve(answering(lambda r, c: ok()), kind="name_no_ip")
    with proxy.client() as c:
        r = c.get(server.url(host="127.0.0.1"))
    refused(server, r)
    assert "127.0.0.1" in r.text


def test_ip_san_and_no_sni_for_addresses(serve, proxy):
    server = serve(answering(lambda r, c: ok()))
    with proxy.client() as c:
        assert c.get(server.url(host="127.0.0.1")).status == 200
        assert c.get(server.url(host="localhost")).status == 200
    assert [x.sni for x in server.conns] == [None, "localhost"]


def test_wildcard_covers_one_label(serve, make_proxy):
    server = serve(answering(lambda r, c: ok()), kind="wildcard")
    p = make_proxy('connect_to = {":443:127.0.0.1:%d"}\n' % server.port)
    with p.client() as c:
        assert c.get("http://a.wild.test/").status == 200
        assert c.get("http://a.b.wild.test/").error == "tls_certificate_error"
        assert c.get("http://wild.test/").error == "tls_certificate_error"


def test_revoked(target, ca):
    server, c, p = target("revoked")
    assert c.get("http://origin.test/").status == 200  # nobody said which are revoked
    p.stop()
    server, c, p = target("revoked", flags_conf(ca))
    r = c.get("http://origin.test/")
    refused(server, r)
    assert "revoked" in r.text


def flags_conf(ca):
    return 'tls { ca_file = "%s" crl_file = "%s" }\n' % (ca.root, ca.crl())


def test_crl_lets_the_others_pass(target, ca):
    _, c, _ = target("good", flags_conf(ca))
    assert c.get("http://origin.test/").status == 200


def old_tls(ca, version):
    ctx = ca.server_context()
    ctx.set_ciphers("ALL:@SECLEVEL=0")
    ctx.minimum_version = ctx.maximum_version = version
    return ctx


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tls_11_only_server(serve, make_proxy, ca):
    server = serve(answering(lambda r, c: ok()), context=old_tls(ca, ssl.TLSVersion.TLSv1_1))
    p = make_proxy()
    with p.client() as c:
        r = c.get(server.url())
        assert r.status == 502 and r.error in ("tls_protocol_error", "tls_alert_received"), r
    assert server.received == b""


def test_min_version(target, ca):
    ctx = ca.server_context()
    ctx.maximum_version = ssl.TLSVersion.TLSv1_2
    server, c, _ = target(context=ctx)
    assert c.get("http://origin.test/").status == 200
    server, c, _ = target(context=ctx, rule='min_version = "1.3"')
    r = c.get("http://origin.test/")
    assert r.status == 502 and r.error in ("tls_protocol_error", "tls_alert_received") and server.received == b""


def test_sni_override(target):
    server, c, _ = target("wrong_host", rule='sni = "elsewhere.test"')
    assert c.get("http://origin.test/").text == "secret"
    assert server.conns[0].sni == "elsewhere.test" and server.requests[0].get("Host") == "origin.test"


def test_verify_off_is_only_for_its_rule(target, serve):
    server, c, p = target("expired", rule="verify = off")
    other = serve(answering(lambda r, c: ok()), kind="expired")
    assert c.get("http://origin.test/").text == "secret"
    refused(other, c.get(other.url()))
    p.wait_log("verify")
    p.wait_log("origin.test")


def test_ca_of_a_rule(target, ca):
    server, c, _ = target("unknown_root", rule='ca_file = "%s"' % ca.path("stranger.pem"))
    assert c.get("http://origin.test/").text == "secret"
    server, c, _ = target("good", rule='ca_file = "%s"' % ca.path("stranger.pem"))
    refused(server, c.get("http://origin.test/"))


def test_ca_extra_and_system_store(serve, make_proxy, ca):
    server = serve(answering(lambda r, c: ok()))
    p = make_proxy('tls { ca_extra = "%s" }\n' % ca.root, tls=False)
    with p.client() as c:
        assert c.get(server.url()).status == 200
    p = make_proxy(tls=False)
    with p.client() as c:
        assert c.get(server.url()).error == "tls_certificate_error"


# The alert of a server that then closes may be overtaken by the reset.
BROKEN = ("tls_alert_received", "tls_protocol_error", "connection_terminated")


def test_client_certificate(target, ca):
    leaf = ca.leaf("client")
    server, c, _ = target(context=ca.server_context(client_ca=True),
                          rule='client_cert = "%s" client_key = "%s"' % (leaf.cert, leaf.key))
    assert c.get("http://origin.test/").text == "secret"
    assert dict(x[0] for x in server.conns[0].sock.getpeercert()["subject"])["commonName"] == "tlsfan client"
    server, c, _ = target(context=ca.server_context(client_ca=True))
    r = c.get("http://origin.test/")
    assert r.status == 502 and r.error in BROKEN and server.requests == []


def test_connection_made_under_one_policy_never_serves_another(serve, make_proxy, ca):
    """Two names, one address: the lenient rule's connection is not the strict name's."""
    server = serve(answering(lambda r, c: ok()), kind="san_wrong")
    p = make_proxy('connect_to = {":443:127.0.0.1:%d"}\nrule "loose.test" { verify = off }\n' % server.port)
    with p.client() as c:
        assert c.get("http://loose.test/").status == 200
        count = len(server.requests)
        assert c.get("http://origin.test/").error == "tls_certificate_error"
    assert len(server.requests) == count


def test_alert_is_told_apart(serve, proxy):
    """A server that refuses the name with an alert."""
    def sni(sslobj, name, ctx):
        return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
    server = serve(answering(lambda r, c: ok()))
    server.tls.sni_callback = sni
    with proxy.client() as c:
        r = c.get(server.url())
    assert r.status == 502 and r.error == "tls_alert_received" and server.received == b""


@pytest.mark.h1_only("its origin speaks in clear, where there is no HTTP/2")
@pytest.mark.parametrize("first", [
    b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", b"<html>400 The plain HTTP request</html>",
    b"220 smtp ready\r\n"])
def test_port_that_speaks_plain(serve, proxy, first):
    def handler(conn):
        conn.recv()
        conn.send(first)
        conn.finish()
    server = serve(handler, tls=False)
    with proxy.client() as c:
        r = c.get(server.url())
    assert r.status == 502 and r.error == "tls_protocol_error", r
    assert b"secret" not in server.received
    if first.startswith(b"HTTP"):
        assert "upgrade = off" in r.text and "plain" in r.text.lower()
    else:
        assert first.startswith(b"<") or "upgrade = off" not in r.text


@pytest.mark.h1_only("its origin speaks in clear, where there is no HTTP/2")
def test_server_that_closes_in_the_handshake(serve, proxy):
    for ending in ("cut", "reset"):
        def handler(conn):
            conn.recv()
            getattr(conn, ending)()
        server = serve(handler, tls=False)
        with proxy.client() as c:
            r = c.get(server.url())
            assert r.status == 502 and r.error in ("tls_protocol_error", "connection_terminated")


@pytest.mark.h1_only("its origin speaks in clear, where there is no HTTP/2")
def test_upgrade_off_speaks_plain(serve, make_proxy):
    server = serve(answering(lambda r, c: ok("plain")), tls=False)
    p = make_proxy('rule "localhost" { upgrade = off }\nupstream { connect_timeout = 500ms }\n')
    with p.client() as c:
        assert c.get(server.url("/x")).text == "plain"
        assert server.requests[0].target == "/x"
        assert c.get("https://localhost:%d/" % server.port).status == 504  # https:// never goes in clear
    assert len(server.requests) == 1


def test_sessions_are_resumed(serve, make_proxy):
    server = serve(answering(lambda r, c: ok("x", "Connection: close")))
    p = make_proxy("workers = 1\n")
    with p.client() as c:
        for i in range(4):
            assert c.get(server.url()).status == 200
    wait_until(lambda: len(server.conns) == 4)
    assert [x.resumed for x in server.conns][0] is False and [x.resumed for x in server.conns][2:] == [True, True]
    p = make_proxy("workers = 1\n", flags=("-o", "tls.session_resumption=off"))
    with p.client() as c:
        for i in range(3):
            assert c.get(server.url()).status == 200
    assert not any(x.resumed for x in server.conns[4:])
