# SPDX-License-Identifier: Apache-2.0
"""Which names a certificate stands for, what may be trusted, and what the sentence about it names.

Where curl judges by itself, tlsfan judges as it does."""
import socket
import ssl
import subprocess

import pytest

from testenv.ports import free_port
from testenv.proxy import clean_env
from testenv.scripted import answering, ok

ONE_IS_ENOUGH = pytest.mark.h1_only("a certificate is judged before either is spoken")


def context(leaf):
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ctx.load_cert_chain(leaf.cert, leaf.key)
    return ctx


@pytest.fixture
def target(serve, make_proxy):
    """target(leaf, conf, **kw) -> a server that shows LEAF and stands for all hosts, and a client."""
    clients = []

    def make(leaf, conf="", **kw):
        server = serve(answering(lambda r, c: ok("secret", "Connection: close")), context=context(leaf))
        p = make_proxy('workers = 1\nconnect_to = {":443:127.0.0.1:%d"}\n%s' % (server.port, conf), **kw)
        clients.append(p.client())
        return server, clients[-1]
    yield make
    for c in clients:
        c.close()


def refused(server, r, *words):
    assert r.status == 502 and r.error == "tls_certificate_error", r
    for w in words:
        assert w in r.text, r.text
    assert server.received == b"" and server.requests == [] and server.heard == 0


def curl(cafile, host, port):
    """What curl says of a server, 0: good."""
    done = subprocess.run(["curl", "-q", "-s", "-o", "/dev/null", "--noproxy", "*", "--http1.1", "--cacert", cafile,
                           "--resolve", "%s:%d:127.0.0.1" % (host, port), "https://%s:%d/" % (host, port)],
                          env=clean_env(), timeout=20)
    return done.returncode


SERVER = "basicConstraints = CA:false\nsubjectAltName = %s"
CA = "basicConstraints = critical,CA:true\nkeyUsage = critical,keyCertSign,cRLSign\n%s"


@pytest.fixture(scope="module")
def leaf(ca):
    made = {}

    def make(san):
        if san not in made:
            made[san] = ca.issue("named%d" % len(made), SERVER % san)
        return made[san]
    return make


# ---- names ----

@pytest.mark.parametrize("san,good,bad", [
    ("DNS:*.s3.example", ("my_bucket.s3.example", "mybucket.s3.example", "_x.s3.example"),
     ("a_b.c.s3.example", "s3.example", "my_bucket.s4.example")),
    ("DNS:*.my_x.s3.example", ("a_b.my_x.s3.example",), ("a_b.my_y.s3.example",)),
    ("DNS:a_*.s3.example", (), ("a_b.s3.example",)),
    ("DNS:*.example", (), ("a_b.example",)),
    ("DNS:dot.example.", ("dot.example", "dot.example."), ("x.dot.example",)),
    ("DNS:*.dot.example.", ("x.dot.example", "x_y.dot.example"), ("dot.example",)),
], ids=["wildcard", "below", "partial", "top", "dot", "wildcard-dot"])
def test_names(target, ca, leaf, protocol, san, good, bad):
    server, c = target(leaf(san))
    for name in bad:
        refused(server, c.get("http://%s/" % name), "not for this host")
    for name in good:
        assert c.get("http://%s/" % name).text == "secret", name
    for name in good + bad if protocol == "h1" else ():
        if name != "a_b.example":  # curl does not ask for two labels behind the star
            assert (curl(ca.root, name, server.port) == 0) == (name in good), name


@ONE_IS_ENOUGH
def test_sni_is_the_name_that_counts(target, leaf):
    server, c = target(leaf("DNS:*.s3.example"), 'rule "plain.test" { sni = "my_bucket.s3.example" }\n'
                       'rule "my_bucket.s3.example" { sni = "other.test" }\n')
    refused(server, c.get("http://my_bucket.s3.example/"), "not for this host")
    assert c.get("http://plain.test/").text == "secret"
    assert server.last_asked().sni == "my_bucket.s3.example"


# ---- what is trusted ----

@pytest.mark.parametrize("where", ["tls { ca_file = %s }", "tls { ca_extra = %s }", "tls { ca_dir = %s }",
                                   'rule "*" { ca_file = %s }'], ids=["file", "extra", "dir", "rule"])
@pytest.mark.parametrize("anchor", ["inter", "leaf"])
@ONE_IS_ENOUGH
def test_trust_below_the_root(target, ca, tmp, where, anchor):
    """The chain leads to no root: neither is that trusted, nor does the server show more than its own."""
    kept = tmp / ("trusted-" + anchor)
    kept.mkdir(exist_ok=True)
    path = kept / "ca.pem"
    path.write_text(open(ca.path("inter.pem") if anchor == "inter" else ca.leaf("missing_intermediate").cert).read())
    conf = where % ('"%s"' % (kept if "ca_dir" in where else path)) + "\n"
    server, c = target(ca.leaf("missing_intermediate"), conf, tls=False)
    refused(server, c.get("http://elsewhere.test/"), "not for this host")
    for _ in range(3):
        assert c.get("http://origin.test/").text == "secret"
    assert server.last_asked().resumed
    assert curl(str(path), "origin.test", server.port) == 0
    server, c = target(ca.leaf("unknown_root"), conf, tls=False)
    refused(server, c.get("http://origin.test/"), "its issuer is unknown")
    assert curl(str(path), "origin.test", server.port) == 60


@ONE_IS_ENOUGH
def test_revocation_below_the_root(target, ca):
    """The lists of the root and the intermediate are there, but the root is not."""
    conf = 'tls { ca_file = "%s" crl_file = "%s" }\n' % (ca.path("inter.pem"), ca.crl())
    server, c = target(ca.leaf("revoked"), conf, tls=False)
    refused(server, c.get("http://origin.test/"), "it has been revoked")
    server, c = target(ca.leaf(), conf, tls=False)
    assert c.get("http://origin.test/").text == "secret"


# ---- constraints ----

@pytest.mark.parametrize("kind,limits,san,good,bad,words", [
    ("excluded", "nameConstraints = critical,excluded;DNS:bar.example.com", "DNS:*.example.com",
     ("foo.example.com", "foobar.example.com"), "bar.example.com", "excludes bar.example.com"),
    ("dotted", "nameConstraints = excluded;DNS:bar.example.com", "DNS:bar.example.com.,DNS:a.test",
     ("a.test",), "bar.example.com", "excludes bar.example.com"),
    ("permitted", "nameConstraints = critical,permitted;DNS:example.org", "DNS:*.example.com",
     (), "bar.example.com", "does not permit bar.example.com"),
    ("address", "nameConstraints = critical,excluded;IP:127.0.0.0/255.0.0.0", "IP:127.0.0.1,DNS:a.test",
     (), "127.0.0.1", "excludes 127.0.0.1"),
], ids=lambda v: v if isinstance(v, str) and v.isalpha() else "")
@pytest.mark.parametrize("deep", [False, True], ids=["issuer", "above"])
@ONE_IS_ENOUGH
def test_constraints(target, ca, kind, limits, san, good, bad, words, deep):
    name = "limited-" + kind
    ca.issue(name, CA % limits, "root", ())
    above = (name,)
    if deep:
        ca.issue(name + "-sub", CA % "", name, ())
        above = (name + "-sub", name)
    server, c = target(ca.issue(name + "-leaf", SERVER % san, above[0], above))
    for _ in range(3):  # nor is a session kept
        r = c.get("http://%s/" % bad)
        refused(server, r, "the CA CN=%s of its chain %s" % (name, words), "subject CN=%s-leaf" % name)
        assert words in r.get("Proxy-Status")
    for host in good:
        for _ in range(2):
            assert c.get("http://%s/" % host).text == "secret"
    refused_again = c.get("http://%s/" % bad)  # once others have left sessions
    assert refused_again.status == 502, refused_again


@ONE_IS_ENOUGH
def test_constraints_on_subjects(target, ca):
    ca.issue("people", CA % "nameConstraints = critical,permitted;dirName:dn\n[dn]\nO = other", "root", ())
    server, c = target(ca.issue("person", SERVER % "DNS:origin.test", "people", ("people",)))
    refused(server, c.get("http://origin.test/"), "the CA CN=people of its chain does not permit its subject; "
            "subject CN=person")


# ---- what the sentence is about ----

@ONE_IS_ENOUGH
@pytest.mark.parametrize("kind,ext,words", [
    ("nobc", "keyUsage = keyCertSign", "it is not a CA"),
    ("noca", "basicConstraints = CA:false", "it is not a CA"),
    ("nosign", "basicConstraints = CA:true\nkeyUsage = digitalSignature", "it is not a CA"),
    ("unread", CA % "subjectAltName = DER:30:01", "malformed or repeated extension"),
    ("unknown", CA % "1.2.3.4 = critical,DER:05:00", "it has a critical extension that is not known here"),
    ("mail", CA % "extendedKeyUsage = emailProtection", "it is not meant to issue for TLS servers"),
])
def test_fault_of_a_ca(target, ca, kind, ext, words):
    ca.issue(kind, ext, "root", ())
    server, c = target(ca.issue(kind + "-leaf", SERVER % "DNS:origin.test", kind, (kind,)))
    r = c.get("http://origin.test/")
    if kind == "unread":
        refused(server, r, "its issuer's certificate", words, "issuer CN=unread")
    else:
        refused(server, r, "of an issuer of origin.test does not verify: " + words + "; subject CN=" + kind)
    assert words in r.get("Proxy-Status")


@ONE_IS_ENOUGH
@pytest.mark.parametrize("ext,words", [
    ("1.2.3.4 = critical,DER:05:00", "it has a critical extension that is not known here"),
    ("extendedKeyUsage = clientAuth", "it is not meant for a TLS server"),
])
def test_fault_of_the_leaf(target, ca, ext, words):
    server, c = target(ca.issue("odd", SERVER % "DNS:origin.test" + "\n" + ext))
    refused(server, c.get("http://origin.test/"), "of origin.test does not verify: %s; subject CN=odd" % words)


# ---- where it connected ----

def cases(make_proxy, port, more=""):
    """Proxies that send api.test to PORT, by each of the keys."""
    yield make_proxy('connect_to = {"api.test:443:127.0.0.1:%d"}\n%s' % (port, more))
    yield make_proxy('rule "api.test" { connect_to = "127.0.0.1:%d" }\n%s' % (port, more))


@ONE_IS_ENOUGH
def test_connect_to_that_refuses(make_proxy):
    port = free_port()
    for p in cases(make_proxy, port):
        with p.client() as c:
            said = "127.0.0.1:%d refused the connection (connect_to for api.test)" % port
            r = c.get("http://api.test/")
            assert r.error == "connection_refused" and said in r.text, r.text
            c.send("CONNECT api.test:443 HTTP/1.1\r\nHost: api.test:443\r\n\r\n")
            r = c.response("CONNECT")
            assert r.status == 502 and said in r.get("Proxy-Status"), r
            # Nobody else's address needs that.
            r = c.get("http://127.0.0.1:%d/" % port)
            assert "127.0.0.1:%d refused the connection" % port in r.text and "connect_to" not in r.text


@ONE_IS_ENOUGH
def test_connect_to_a_name_that_is_none(make_proxy):
    p = make_proxy('connect_to = {"api.test:443:no-such.localhost.invalid:8443"}\ndns { timeout = 1s }\n')
    with p.client() as c:
        r = c.get("http://api.test/")
        assert r.status in (502, 504) and "no-such.localhost.invalid" in r.text
        assert "(connect_to for api.test)" in r.text, r.text


def speaking_http(serve):
    def handler(conn):
        conn.recv()
        conn.send(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
    return serve(handler, tls=False)


@ONE_IS_ENOUGH
def test_connect_to_what_is_no_tls(make_proxy, serve):
    server = speaking_http(serve)
    for p in cases(make_proxy, server.port):
        with p.client() as c:
            r = c.get("http://api.test/")
            assert r.error == "tls_protocol_error"
            assert r.text.find("127.0.0.1:%d (connect_to for api.test) speaks plain HTTP" % server.port) >= 0, r.text
            assert "api.test:%d" % server.port not in r.text
            r = c.get("http://localhost:%d/" % server.port)
            assert "localhost:%d speaks plain HTTP" % server.port in r.text


@ONE_IS_ENOUGH
def test_connect_to_a_name(make_proxy, serve):
    """Its port alone may differ, and sni is not where it is."""
    server = speaking_http(serve)
    p = make_proxy('connect_to = {"api.test:443:localhost:%d", "localhost:443::%d"}\n'
                   'rule "api.test" { sni = "other.test" }\n' % (server.port, server.port))
    with p.client() as c:
        r = c.get("http://api.test/")
        assert "localhost:%d (connect_to for api.test) speaks plain HTTP" % server.port in r.text, r.text
        r = c.get("http://localhost/")
        assert "localhost:%d speaks plain HTTP" % server.port in r.text and "connect_to" not in r.text


@ONE_IS_ENOUGH
def test_connect_to_what_never_answers(make_proxy):
    """A handshake that does not end, and a connection that is not taken."""
    with socket.create_server(("127.0.0.1", 0), backlog=8) as silent:
        port = silent.getsockname()[1]
        for p in cases(make_proxy, port, "upstream { connect_timeout = 300ms }\n"):
            with p.client() as c:
                r = c.get("http://api.test/")
                assert r.error == "connection_timeout"
                assert "the TLS handshake with 127.0.0.1:%d (connect_to for api.test) at" % port in r.text, r.text
