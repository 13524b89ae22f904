# SPDX-License-Identifier: Apache-2.0
"""Old origins, one rule each, and nobody else any weaker: security_level, min_version, ciphers, legacy_renegotiation,
pin_sha256; and tls.fetch_intermediates, in a network namespace that has a port 80 of its own."""
import base64
import hashlib
import os
import signal
import socket
import ssl
import subprocess
import threading

import pytest

from testenv import certs, netns
from testenv.dns import Dns
from testenv.listener import Listener
from testenv.netns import Namespace
from testenv.ports import free_port
from testenv.parents import Relay
from testenv.scripted import answering, ok
from testenv.wait import can_connect, wait_until

ONE_IS_ENOUGH = pytest.mark.h1_only("it is over before either is spoken")
V = ssl.TLSVersion
OLD = pytest.mark.filterwarnings("ignore::DeprecationWarning")


# ---- servers of other makes ----


@pytest.fixture
def started():
    """started(COMMAND, port): a server of another make, up."""
    processes = []

    def start(command, port, out=subprocess.DEVNULL):
        processes.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT))
        wait_until(lambda: can_connect("127.0.0.1", port) or processes[-1].poll() is not None, 10, command[0])
        assert processes[-1].poll() is None, command
    yield start
    for p in processes:
        p.kill()
        p.wait()
        p.stdin.close()


@pytest.fixture(scope="module")
def rsa1024(ca):
    """RSA of 1,024 bits, signed with SHA-1."""
    return ca.odd_leaf("rsa1024_sha1", ("-newkey", "rsa:1024"), digest="sha1")


@pytest.fixture
def s_server(started, rsa1024):
    """s_server(*words, leaf): the port of an openssl s_server of security level 0."""
    def make(*words, leaf=rsa1024):
        port = free_port()
        started(["openssl", "s_server", "-accept", "127.0.0.1:%d" % port, "-www", "-quiet", "-cert", leaf.cert,
                 "-cert_chain", leaf.cert, "-key", leaf.key, *words], port)
        return port
    return make


def rule(port, text, host="localhost"):
    return 'rule "%s:%d" { %s }\n' % (host, port, text)


def refused(r, *words, error=("tls_certificate_error", "tls_protocol_error", "tls_alert_received")):
    assert r.status == 502 and r.error in error, r
    for w in words:
        assert w in r.text, r.text


# ---- security_level ----


@ONE_IS_ENOUGH
def test_tls_1_0_with_sha_1(s_server, make_proxy):
    """Level 0 for that one host; the same server at another port, in the same process, is refused as before."""
    words = ("-tls1", "-cipher", "ALL:@SECLEVEL=0")
    old, other = s_server(*words), s_server(*words)
    p = make_proxy(rule(old, 'min_version = "1.0"  security_level = 0') + rule(other, 'min_version = "1.0"'))
    with p.client() as c:
        for _ in range(2):
            r = c.get("http://localhost:%d/" % old)
            assert r.status == 200 and "TLSv1" in r.text, r
            refused(c.get("http://localhost:%d/" % other), "security_level in a rule for this host")
    assert {x["tls"] for x in p.wait_access(lambda x: x["status"] == 200, 2)} == {"TLSv1"}
    assert p.log().count("has security_level = 0: keys and signatures of these hosts may be weak") == 1


@ONE_IS_ENOUGH
def test_level_alone_takes_no_old_version(s_server, make_proxy):
    old = s_server("-tls1", "-cipher", "ALL:@SECLEVEL=0")
    p = make_proxy(rule(old, "security_level = 0"))
    with p.client() as c:
        refused(c.get("http://localhost:%d/" % old), "min_version")


@ONE_IS_ENOUGH
@pytest.mark.parametrize("level, good", [("", False), ("0", True), ("1", True), ("2", False), ("5", False)])
def test_levels_of_a_small_key(ca, serve, make_proxy, level, good):
    leaf = ca.odd_leaf("rsa1024", ("-newkey", "rsa:1024"))
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ctx.set_ciphers("ALL:@SECLEVEL=0")
    ctx.load_cert_chain(leaf.cert, leaf.key)
    server = serve(answering(lambda r, c: ok()), context=ctx)
    p = make_proxy('rule "localhost" { security_level = "%s" }\n' % level)
    with p.client() as c:
        r = c.get(server.url())
        if good:
            assert r.status == 200, r
        else:
            assert r.status == 502, r
    if level in ("0", "1"):
        p.wait_log("has security_level = ")
    else:
        assert "has security_level = " not in p.log()


@OLD
@ONE_IS_ENOUGH
@pytest.mark.parametrize("conf, good", [("security_level = 0", True), ("", False), ('ciphers = "DEFAULT:!DHE"', True)])
def test_weak_diffie_hellman(serve, make_proxy, ca, tmp_path, conf, good):
    leaf = ca.odd_leaf("rsa2048", ("-newkey", "rsa:2048"))
    # of 1,024 bits (RFC 2409 section 6.2), so that none has to be looked for; OpenSSL takes no smaller one at all
    prime = int("FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD"
                "EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED"
                "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE65381FFFFFFFFFFFFFFFF", 16)
    params = certs.write(tmp_path, "dh.pem", certs.pem("DH PARAMETERS",
                                                       certs.seq(certs.integer(prime), certs.integer(2))))
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ctx.set_ciphers("DHE-RSA-AES128-GCM-SHA256:AES128-GCM-SHA256:@SECLEVEL=0")
    ctx.maximum_version = V.TLSv1_2
    ctx.load_cert_chain(leaf.cert, leaf.key)
    ctx.load_dh_params(params)
    server = serve(answering(lambda r, c: ok()), context=ctx)
    p = make_proxy('rule "localhost" { %s }\n' % conf)
    with p.client() as c:
        r = c.get(server.url())
        if good:
            assert r.status == 200, r
        else:
            refused(r, "Diffie-Hellman key that is too small", "security_level")


@ONE_IS_ENOUGH
def test_level_0_still_wants_a_certificate(started, make_proxy):
    port = free_port()
    started(["openssl", "s_server", "-accept", "127.0.0.1:%d" % port, "-www", "-quiet", "-tls1_2", "-nocert",
             "-cipher", "ADH-AES128-SHA:@SECLEVEL=0"], port)
    p = make_proxy(rule(port, "security_level = 0")
                   + rule(port, 'min_version = "1.0"  security_level = 0', "127.0.0.1"))
    with p.client() as c:
        refused(c.get("http://localhost:%d/" % port), "min_version, ciphers or security_level")
        # what is as low as it goes is not named
        r = c.get("http://127.0.0.1:%d/" % port)
        refused(r, "; if it is an old one, ciphers in a rule")
        assert "security_level" not in r.text and "min_version" not in r.text, r


@OLD
@ONE_IS_ENOUGH
def test_nothing_older_is_named_where_there_is_none(serve, make_proxy, ca):
    """A server that wants less than TLS 1.0 says so by an alert, or by its answer."""
    class Sslv3(Listener):
        def serve(self, sock):
            sock.recv(65536)
            sock.sendall(b"\x16\x03\0\0\x2a\2\0\0\x26\3\0" + b"r" * 32 + b"\0\0\x2f\0")
            sock.recv(65536)
            sock.close()
    server = Sslv3()
    server.listen("127.0.0.1", 0)
    try:
        p = make_proxy(rule(server.port, 'min_version = "1.0"') + rule(server.port, "", "127.0.0.1"))
        with p.client() as c:
            refused(c.get("http://127.0.0.1:%d/" % server.port), "a lower min_version in a rule for this host")
            r = c.get("http://localhost:%d/" % server.port)
            refused(r, "no version of TLS that is allowed here")
            assert "min_version" not in r.text, r
    finally:
        server.stop()


@ONE_IS_ENOUGH
def test_three_des_where_there_is_any(s_server, make_proxy):
    suites = subprocess.run(["openssl", "ciphers", "-s", "-tls1_2", "3DES:@SECLEVEL=0"], capture_output=True, text=True)
    if "DES-CBC3-SHA" not in suites.stdout:
        pytest.skip("this OpenSSL has no 3DES")
    old = s_server("-tls1_2", "-cipher", "DES-CBC3-SHA:@SECLEVEL=0")
    p = make_proxy(rule(old, 'security_level = 0 ciphers = "3DES"'))
    with p.client() as c:
        assert c.get("http://localhost:%d/" % old).status == 200


@OLD
@ONE_IS_ENOUGH
def test_reload_raises_it_again(ca, serve, make_proxy, rsa1024):
    """Neither a pooled connection nor a session outlives the rule that allowed it."""
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ctx.set_ciphers("ALL:@SECLEVEL=0")
    ctx.maximum_version = V.TLSv1_2
    ctx.load_cert_chain(rsa1024.cert, rsa1024.key)
    server = serve(answering(lambda r, c: ok()), context=ctx)
    p = make_proxy('rule "localhost" { security_level = 0 }\n')
    with p.client() as c:
        assert c.get(server.url()).status == 200
        p.write('rule "localhost" { }\n')
        p.signal(signal.SIGHUP)
        p.wait_log("configuration reloaded")
        refused(c.get(server.url()), "security_level in a rule")


@ONE_IS_ENOUGH
def test_connections_and_sessions_stay_with_their_rule(serve, make_proxy, rsa1024):
    """Two names for one server: what one rule has is of no use to the other."""
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ctx.set_ciphers("ALL:@SECLEVEL=0")
    ctx.maximum_version = V.TLSv1_2
    ctx.load_cert_chain(rsa1024.cert, rsa1024.key)
    server = serve(answering(lambda r, c: ok()), context=ctx)
    p = make_proxy('workers = 1\nconnect_to = {"origin.test:443:127.0.0.1:%d", "other.test:443:127.0.0.1:%d"}\n'
                   'rule "origin.test" { security_level = 0 }\n' % (server.port, server.port))
    with p.client() as c:
        for _ in range(2):
            assert c.get("http://origin.test/").status == 200
            refused(c.get("http://other.test/"), "security_level")


# ---- legacy_renegotiation ----


def need_gnutls():
    if subprocess.run(["sh", "-c", "command -v gnutls-serv"], stdout=subprocess.DEVNULL).returncode != 0:
        pytest.skip("there is no gnutls-serv")


@pytest.fixture
def gnutls(started, ca):
    """The ports of two gnutls-serv that know no secure renegotiation."""
    need_gnutls()
    leaf = ca.leaf()
    ports = [free_port(), free_port()]
    for port in ports:
        started(["gnutls-serv", "--http", "--quiet", "-p", str(port), "--x509certfile", leaf.cert,
                 "--x509keyfile", leaf.key, "--priority",
                 "NORMAL:-VERS-ALL:+VERS-TLS1.2:%DISABLE_SAFE_RENEGOTIATION"], port)
    return ports


@ONE_IS_ENOUGH
def test_server_without_secure_renegotiation(gnutls, make_proxy):
    old, other = gnutls
    p = make_proxy(rule(old, "legacy_renegotiation = on"))
    p.wait_log("has legacy_renegotiation = on")
    with p.client() as c:
        for _ in range(2):
            r = c.get("http://localhost:%d/" % old)
            assert r.status == 200 and "GnuTLS" in r.text, r
            refused(c.get("http://localhost:%d/" % other), "legacy_renegotiation = on in a rule for this host",
                    error=("tls_protocol_error",))


@ONE_IS_ENOUGH
@pytest.mark.parametrize("shows", [False, True], ids=["", "client-certificate"])
def test_old_renegotiation_is_declined(started, ca, make_proxy, tmp_path, shows):
    """gnutls-serv's echo begins one at a word of its own, which is a method. With a certificate to show, too."""
    need_gnutls()
    leaf, mine, port, told = ca.leaf(), ca.leaf("client"), free_port(), tmp_path / "told"
    with open(str(told), "w") as out:
        started(["gnutls-serv", "--echo", "-p", str(port), "--x509certfile", leaf.cert, "--x509keyfile", leaf.key,
                 "--priority", "NORMAL:-VERS-ALL:+VERS-TLS1.2:%DISABLE_SAFE_RENEGOTIATION"], port, out)
    p = make_proxy(rule(port, "legacy_renegotiation = on"
                        + (' client_cert = "%s" client_key = "%s"' % mine if shows else "")))
    with p.client() as c:
        # what it echoes then is no HTTP
        assert c.exchange("**REHANDSHAKE**", "http://localhost:%d/" % port).status == 502
    wait_until(lambda: "TLS warning alert has been received" in told.read_text(), what="the server to say it")
    assert "Sending rehandshake request" in told.read_text()


# ---- pin_sha256 ----


def pin_of(pem):
    """As the manual says: openssl's own tools."""
    spki = subprocess.run(["openssl", "x509", "-in", pem, "-noout", "-pubkey"], capture_output=True, check=True).stdout
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=spki, capture_output=True,
                         check=True).stdout
    return base64.b64encode(hashlib.sha256(der).digest()).decode()


OTHER_PIN = base64.b64encode(b"x" * 32).decode()


@ONE_IS_ENOUGH
@pytest.mark.parametrize("name", ["good.pem", "inter.pem", "root.pem"])
def test_pin_of_any_certificate(ca, origin, make_proxy, name):
    pin = pin_of(ca.path(name))
    p = make_proxy('rule "localhost" { pin_sha256 = {"%s", "%s"} }\n' % (OTHER_PIN, pin))
    with p.client() as c:
        assert c.get(origin.url("/")).status == 200


@ONE_IS_ENOUGH
def test_pin_that_nobody_has(ca, origin, make_proxy):
    """The sentence shows what was seen; a reload with one of those is all that it takes."""
    p = make_proxy('rule "localhost" { pin_sha256 = {"%s"} }\n' % OTHER_PIN)
    with p.client() as c:
        r = c.get(origin.url("/"))
        refused(r, "pin_sha256", pin_of(ca.path("good.pem")), pin_of(ca.path("inter.pem")), pin_of(ca.path("root.pem")),
                error=("tls_certificate_error",))
        p.write('rule "localhost" { pin_sha256 = {"%s"} }\n' % pin_of(ca.path("inter.pem")))
        p.signal(signal.SIGHUP)
        p.wait_log("configuration reloaded")
        assert c.get(origin.url("/")).status == 200


@ONE_IS_ENOUGH
def test_pin_comes_to_a_pooled_connection_and_a_session(origin, make_proxy):
    p = make_proxy('rule "localhost" { }\n')
    with p.client() as c:
        assert c.get(origin.url("/")).status == 200
        p.write('rule "localhost" { pin_sha256 = {"%s"} }\n' % OTHER_PIN)
        p.signal(signal.SIGHUP)
        p.wait_log("configuration reloaded")
        refused(c.get(origin.url("/")), "pin_sha256")


@ONE_IS_ENOUGH
def test_pin_stands_in_for_nothing(ca, serve, make_proxy):
    server = serve(answering(lambda r, c: ok()), kind="expired")
    p = make_proxy('rule "localhost" { pin_sha256 = {"%s"} }\n' % pin_of(ca.path("inter.pem")))
    with p.client() as c:
        refused(c.get(server.url()), "it has expired")


@ONE_IS_ENOUGH
def test_pin_of_what_is_only_shown(serve, make_proxy, tmp_path):
    """A certificate that stands beside the chain is anybody's. Nor is one above the CA where that is trusted."""
    root = certs.authority("pin root", None)
    inter = certs.authority("pin inter", root)
    other = certs.authority("beside", root)
    leaf = certs.certificate("localhost", inter, (certs.basic(False), certs.alt_names(certs.dns("localhost"))))
    server = serve(answering(lambda r, c: ok()), context=certs.server_context(tmp_path, [leaf, inter, other, root]))
    files = {c.cn: certs.write(tmp_path, c.cn.replace(" ", "_") + ".pem", certs.to_pem(c))
             for c in (root, inter, other)}
    p = make_proxy('rule "localhost" { ca_file = "%s" pin_sha256 = {"%s"} }\n'
                   % (files["pin root"], pin_of(files["beside"])), tls=False)
    with p.client() as c:
        refused(c.get(server.url()), "no key of its chain is in pin_sha256")
        for ca_file, pin, good in (("pin root", "pin root", True), ("pin inter", "pin root", False),
                                   ("pin inter", "pin inter", True)):
            p.write('rule "localhost" { ca_file = "%s" pin_sha256 = {"%s"} }\n' % (files[ca_file], pin_of(files[pin])))
            seen = p.log().count("configuration reloaded")
            p.signal(signal.SIGHUP)
            wait_until(lambda: p.log().count("configuration reloaded") > seen, what="the reload")
            assert (c.get(server.url()).status == 200) == good, (ca_file, pin)
    assert len(server.requests) == 2


@pytest.mark.parametrize("text, words", [
    ('pin_sha256 = {"abc"}', "is no pin"),
    ('pin_sha256 = {"%s="}' % OTHER_PIN, "is no pin"),
    ('pin_sha256 = {"%s"}' % OTHER_PIN[:-1], "is no pin"),
    ('pin_sha256 = {"%s"}' % ("*" * 44), "is no pin"),
    ('pin_sha256 = {"%s", "sha256//%s"}' % (OTHER_PIN, OTHER_PIN), "is no pin"),
    ('pin_sha256 = {"%s"}\n  verify = off' % OTHER_PIN, "needs verify = on"),
    ("security_level = 6", "is none of 0, 1, 2, 3, 4, 5"),
    ("legacy_renegotiation = perhaps", "legacy_renegotiation"),
    ("fetch_intermediates = on", "fetch_intermediates"),
])
def test_faults_are_told_where_they_are(tlsfan, tmp_path, text, words):
    path = tmp_path / "old.conf"
    path.write_text('rule "a.test" {\n  sni = ""\n  %s\n}\n' % text)
    done = tlsfan("-t", "-c", str(path))
    assert done.returncode == 1 and "old.conf:3: " in done.stderr and words in done.stderr, done.stderr


def test_dump(tlsfan, tmp_path):
    path = tmp_path / "old.conf"
    path.write_text('tls { fetch_intermediates = on }\nrule "a.test" {\n  security_level = 0\n'
                    '  legacy_renegotiation = on\n  pin_sha256 = {"%s"}\n}\n' % OTHER_PIN)
    first = tlsfan("-T", "-c", str(path)).stdout
    for line in ("fetch_intermediates = on", 'security_level = "0"', "legacy_renegotiation = on",
                 'pin_sha256 = {"%s"}' % OTHER_PIN):
        assert line in first, first
    path.write_text(first)
    assert tlsfan("-T", "-c", str(path)).stdout == first


# ---- fetch_intermediates ----


def aia(*urls):
    """authorityInfoAccess with a caIssuers each."""
    places = [certs.seq(certs.oid("1.3.6.1.5.5.7.48.2"), certs.tlv(0x86, u if isinstance(u, bytes) else u.encode()))
              for u in urls]
    return certs.extension("1.3.6.1.5.5.7.1.1", certs.seq(*places))


class World:
    """A root, and below it LENGTH intermediates of which the server shows none."""

    def __init__(self, directory, *urls, length=1, above=(), host="origin.test"):
        self.root = certs.authority("old root", None)
        self.inters = []
        by = self.root
        for n in range(length):
            extra = (aia(above[n]),) if n < len(above) and above[n] else ()
            by = certs.authority("intermediate %d" % n, by, *certs.CA_USE, *extra)
            self.inters.append(by)
        self.leaf = certs.certificate(host, by, (certs.basic(False), certs.alt_names(certs.dns(host)),
                                                 *((aia(*urls),) if urls else ())))
        self.context = certs.server_context(directory, [self.leaf])
        self.ca_file = certs.write(directory, "aia_root.pem", certs.to_pem(self.root))


def degenerate(*certificates):
    """PKCS#7 of certificates alone (RFC 2315)."""
    data = certs.seq(certs.oid("1.2.840.113549.1.7.1"))
    inner = certs.seq(certs.integer(1), certs.tlv(0x31), data, certs.tlv(0xa0, *(c.der for c in certificates)),
                      certs.tlv(0x31))
    return certs.seq(certs.oid("1.2.840.113549.1.7.2"), certs.tlv(0xa0, inner))


class Web(Listener):
    """What stands at port 80: answers by path, and who asked."""

    def __init__(self, answers):
        super().__init__()
        self.answers, self.asked, self.gate = answers, [], None

    def serve(self, sock):
        data = b""
        while b"\r\n\r\n" not in data:
            more = sock.recv(65536)
            if not more:
                sock.close()
                return
            data += more
        self.asked.append(data.decode())
        path = data.split(b" ")[1].decode()
        if self.gate is not None:
            self.gate.wait(20)
        answer = self.answers.get(path, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        try:
            sock.sendall(answer)
        except OSError:
            pass
        sock.close()


def http(body):
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body


AIA = "198.51.100.80"  # no public address: allowed where a test says so
PUBLIC = "9.9.9.80"    # one, as far as tlsfan can know
PRIVATE = "10.9.8.7"


class Made:
    """A namespace with a web server at port 80, an origin and a proxy."""

    def __init__(self, ns, chain, web, origin, proxy):
        self.ns, self.world, self.web, self.origin, self.p = ns, chain, web, origin, proxy

    def get(self, times=1, host="origin.test"):
        with self.ns.inside(), self.p.client() as c:
            for _ in range(times):
                r = c.get("http://%s/" % host)
        return r

    def asked(self):
        return [x.split(" ")[1] for x in self.web.asked]

    def fetched(self):
        """(ok, failed) of the metric."""
        with self.ns.inside():
            text = self.p.fetch("/metrics")
        return tuple(int(text.split('tlsfan_intermediates_fetched_total{result="%s"} ' % x)[1].split("\n")[0])
                     for x in ("ok", "failed"))


@pytest.fixture
def world(tmp_path, serve, make_proxy):
    """world(*urls, answers, conf, ...) -> Made."""
    reason = netns.why_not(inside=True)
    if reason:
        pytest.skip(reason)
    ended = []

    def make(*urls, answers=None, conf="", allow=(AIA,), fetch="on", port=80, timeout="10s", zone=None, parent=False,
             **kw):
        chain = World(tmp_path, *urls, **kw)
        ns = Namespace()
        ended.append(ns.close)
        for address in (AIA, PUBLIC, PRIVATE):
            ns.ip("addr add %s/32 dev lo" % address)
        web = Web(answers(chain) if answers else {"/i.crt": http(chain.inters[-1].der)})
        with ns.inside():
            web.listen("0.0.0.0", port)
            ended.append(web.stop)
            if zone:
                dns = Dns(zone)
                ended.append(dns.stop)
                conf += dns.conf
            relay = Relay() if parent else None
            if relay:
                ended.append(relay.stop)
                conf += 'rule "origin.test" { proxy = "%s" }\n' % relay.address()
            origin = serve(answering(lambda r, c: ok("x", "Connection: close")), context=chain.context)
            p = make_proxy('workers = 2\nconnect_to = {"origin.test:443:127.0.0.1:%d", "::127.0.0.1:1"}\n'
                           'upstream { connect_timeout = %s }\n'
                           'tls { fetch_intermediates = %s\n ca_file = "%s"\n}\ndestination { allow = {%s} }\n%s'
                           % (origin.port, timeout, fetch, chain.ca_file, ", ".join('"%s"' % x for x in allow), conf),
                           tls=False, service=True)
            ended.append(p.stop)
        made = Made(ns, chain, web, origin, p)
        made.relay = relay
        return made
    yield make
    for end in reversed(ended):
        end()


URL = "http://%s/i.crt" % AIA
INCOMPLETE = "its issuer is unknown"


@ONE_IS_ENOUGH
@pytest.mark.parametrize("form", [
    lambda w: http(w.inters[0].der),
    lambda w: http(certs.to_pem(w.inters[0]).encode()),
    lambda w: http(degenerate(w.root, w.inters[0])),
    lambda w: http(certs.pem("PKCS7", degenerate(w.inters[0])).encode()),
    lambda w: b"HTTP/1.0 200 OK\r\n\r\n" + w.inters[0].der,
    lambda w: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n"
    % (len(w.inters[0].der), w.inters[0].der),
    lambda w: b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + http(w.inters[0].der + b"behind"),
], ids=["der", "pem", "pkcs7", "pem-pkcs7", "until-close", "chunked", "interim"])
def test_missing_intermediate_is_fetched(world, form):
    """Once, for all connections that follow; the origin sends nothing but its leaf."""
    m = world(URL, answers=lambda w: {"/i.crt": form(w)})
    assert m.get(times=3).status == 200
    assert m.asked() == ["/i.crt"] and m.fetched() == (1, 0)
    m.p.wait_log("intermediate certificate that origin.test does not send was fetched from %s" % URL)
    head = m.web.asked[0].lower()
    assert "host: %s\r\n" % AIA in head
    for field in ("cookie", "authorization", "via", "referer", "origin.test"):
        assert field not in head, head


def test_by_both_protocols(world, protocol):
    m = world(URL)
    assert m.get(times=2).status == 200 and m.asked() == ["/i.crt"]
    assert {x["protocol"] for x in m.p.wait_access(lambda x: x["status"] == 200, 2)} == {protocol}


@ONE_IS_ENOUGH
@pytest.mark.parametrize("address, good", [(PUBLIC, True), (PRIVATE, False), ("127.0.0.1", False)])
def test_names_are_judged_by_their_address(world, address, good):
    """A name is looked up as it is written, and a private address behind it is none that anybody is to reach."""
    m = world("http://AIA.Example/i.crt", allow=(), zone={"aia.example": [("A", address, 60)]})
    r = m.get()
    if good:
        assert r.status == 200 and "host: aia.example\r\n" in m.web.asked[0].lower()
    else:
        refused(r, INCOMPLETE, "http://aia.example/i.crt", error=("tls_certificate_error",))
        assert m.web.accepted == 0


@ONE_IS_ENOUGH
def test_names_are_not_searched_for(world, monkeypatch):
    """A certificate means the name of all the world, never one below a domain of the network."""
    monkeypatch.setenv("LOCALDOMAIN", "corp.example")
    m = world("http://aia/i.crt", allow=(), zone={"aia.corp.example": [("A", PUBLIC, 60)]})
    refused(m.get(), INCOMPLETE, "no such name", error=("tls_certificate_error",))
    assert m.web.accepted == 0


@ONE_IS_ENOUGH
def test_name_that_is_not_there(world):
    m = world("http://aia.example/i.crt", allow=(), zone={"x.example": [("A", PUBLIC, 60)]})
    refused(m.get(), INCOMPLETE, "no such name", error=("tls_certificate_error",))


@ONE_IS_ENOUGH
def test_off_by_default(world):
    m = world(URL, fetch="off")
    refused(m.get(), INCOMPLETE)
    assert m.asked() == [] and m.fetched() == (0, 0)


@ONE_IS_ENOUGH
def test_several_are_missing(world):
    """Each names the next; four at most."""
    names = ["http://%s/%d.crt" % (AIA, n) for n in range(6)]
    pages = lambda w: {"/%d.crt" % n: http(c.der) for n, c in enumerate(w.inters)}  # noqa: E731
    m = world(names[3], answers=pages, length=4, above=[None, names[0], names[1], names[2]])
    assert m.get().status == 200
    assert m.asked() == ["/3.crt", "/2.crt", "/1.crt", "/0.crt"]


@ONE_IS_ENOUGH
def test_up_to_what_is_trusted_below_the_root(world):
    """As without a fetch, any certificate of ca_file may end the chain."""
    m = world(URL, length=2)
    certs.write(os.path.dirname(m.world.ca_file), os.path.basename(m.world.ca_file), certs.to_pem(m.world.inters[0]))
    m.p.signal(signal.SIGHUP)
    m.p.wait_log("configuration reloaded")
    assert m.get().status == 200 and m.asked() == ["/i.crt"]


@ONE_IS_ENOUGH
def test_circle(world):
    """Two that have issued each other, and who lead nowhere."""
    one, two = ("http://%s/%s.crt" % (AIA, x) for x in ("one", "two"))
    m = world(one)
    k1, k2 = certs.key("p256", 901), certs.key("p256", 902)
    name = certs.authority("two", None, key=k2)
    a = certs.authority("one", name, *certs.CA_USE, aia(two), key=k1)
    b = certs.authority("two", a, *certs.CA_USE, aia(one), key=k2)
    leaf = certs.certificate("origin.test", a, (certs.basic(False), certs.alt_names(certs.dns("origin.test")),
                                                aia(one)))
    m.world.context.load_cert_chain(certs.write(os.path.dirname(m.world.ca_file), "circle.pem",
                                                 certs.to_pem(leaf) + leaf.key.pem))
    m.web.answers.update({"/one.crt": http(a.der), "/two.crt": http(b.der)})
    for _ in range(2):
        refused(m.get(), "issuer", error=("tls_certificate_error",))
    assert m.asked() == ["/one.crt", "/two.crt"] and m.origin.requests == []


@ONE_IS_ENOUGH
def test_each_rule_has_its_own_roots(world, tmp_path):
    """What was fetched for one rule leads nowhere under another one's ca_file, and spoils nothing."""
    strange = certs.write(tmp_path, "strange_root.pem", certs.to_pem(certs.authority("strange root", None)))
    m = world(URL)
    base = open(m.p.conf_path).read().replace(m.p.base, "")
    assert m.get().status == 200
    for extra, good in (('rule "origin.test" { ca_file = "%s" }\n' % strange, False), ("", True)):
        m.p.write(base + extra)
        seen = m.p.log().count("configuration reloaded")
        m.p.signal(signal.SIGHUP)
        wait_until(lambda: m.p.log().count("configuration reloaded") > seen, what="the reload")
        assert (m.get().status == 200) == good
    assert m.asked() == ["/i.crt"]


@ONE_IS_ENOUGH
def test_not_more_than_four(world):
    names = ["http://%s/%d.crt" % (AIA, n) for n in range(6)]
    pages = lambda w: {"/%d.crt" % n: http(c.der) for n, c in enumerate(w.inters)}  # noqa: E731
    m = world(names[5], answers=pages, length=6, above=[None] + names[:5])
    refused(m.get(), "issuer")
    before = m.origin.accepted
    # what is known by now is no reason to go on, nor to try again
    refused(m.get(), "issuer")
    assert m.asked() == ["/5.crt", "/4.crt", "/3.crt", "/2.crt"] and m.origin.accepted == before + 1


@ONE_IS_ENOUGH
def test_what_is_fetched_is_not_trusted(world):
    """The root of another CA, and its own: neither becomes one that is trusted."""
    m = world(URL, answers=lambda w: {"/i.crt": http(w.inters[0].der)}, conf="")
    stranger = World(os.path.dirname(m.world.ca_file), URL, length=1)
    m.world.context.load_cert_chain(certs.write(os.path.dirname(m.world.ca_file), "strange.pem",
                                                 certs.to_pem(stranger.leaf) + stranger.leaf.key.pem))
    m.web.answers["/i.crt"] = http(degenerate(stranger.inters[0], stranger.root))
    r = m.get()
    refused(r, error=("tls_certificate_error",))
    assert m.origin.requests == []


@ONE_IS_ENOUGH
@pytest.mark.parametrize("answer, words", [
    (http(b"x" * 100), "no certificate is there"),
    (http(b""), "no certificate is there"),
    (http(certs.to_pem(certs.authority("intermediate 0", None)).encode()), "has not issued it"),
    (b"HTTP/1.1 302 Found\r\nLocation: http://%s/i2.crt\r\nContent-Length: 0\r\n\r\n" % AIA.encode(), "302"),
    (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "404"),
    (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "101"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n" + b"x" * 100000, "64 KiB"),
    (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100000, "64 KiB"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx", "cut short"),
    (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 40000 + b"\r\n\r\n", "no valid HTTP"),
    (b"SSH-2.0-OpenSSH\r\n\r\n", "no valid HTTP"),
    (b"", "cut short"),
], ids=["junk", "empty", "forged", "redirect", "404", "101", "length", "endless", "short", "head", "ssh", "nothing"])
def test_answers_of_no_use(world, answer, words):
    """The first verdict stands, and says why; negative_ttl later it is asked again, not before."""
    m = world(URL, answers=lambda w: {"/i.crt": answer, "/i2.crt": http(w.inters[0].der)},
              conf="dns { negative_ttl = 1h }\n")
    for _ in range(2):
        refused(m.get(), INCOMPLETE, URL, words, error=("tls_certificate_error",))
    assert m.asked() == ["/i.crt"] and m.fetched() == (0, 1) and m.origin.requests == []


@ONE_IS_ENOUGH
def test_failures_are_forgotten(world):
    m = world(URL, answers=lambda w: {}, conf="dns { negative_ttl = 10ms }\n")
    refused(m.get(), "404")
    m.web.answers["/i.crt"] = http(m.world.inters[0].der)
    wait_until(lambda: m.get().status == 200, what="another try")


@ONE_IS_ENOUGH
@pytest.mark.parametrize("url", [
    "https://%s/i.crt" % AIA, "ldap://%s/i.crt" % AIA, "http://%s:8080/i.crt" % AIA, "http://%s:443/i.crt" % AIA,
    "http://user:password@%s/i.crt" % AIA, "http://%s/i.crt?x=1" % AIA, "http://%s/i.crt#x" % AIA,
    "http://%s/i crt" % AIA, "http://%s/i.crt\r\nX: 1" % AIA, "http://%s/\0" % AIA, "http:///i.crt",
    "http://%s/%s" % (AIA, "i" * 600), "file:///etc/passwd", b"http://\xff\xfe/i.crt", ""])
def test_urls_that_are_never_asked(world, url):
    m = world(url)
    refused(m.get(), INCOMPLETE, error=("tls_certificate_error",))
    assert m.asked() == [] and m.fetched() == (0, 0) and m.web.accepted == 0


@ONE_IS_ENOUGH
@pytest.mark.parametrize("host", ["127.0.0.1", PRIVATE, AIA, "[::1]", "[::ffff:127.0.0.1]", "localhost",
                                  "169.254.169.254", "0.0.0.0", "[fe80::1]", "[64:ff9b::7f00:1]", "[::127.0.0.1]",
                                  "[fd00::1]", "100.64.0.1", "127.0.0.1.", "2130706433", "0x7f.1"])
def test_only_public_addresses(world, host):
    """What a certificate names is reached by nobody's word but destination.allow's, connect_to's neither."""
    m = world("http://%s/i.crt" % host, allow=())
    refused(m.get(), INCOMPLETE, error=("tls_certificate_error",))
    assert m.asked() == [] and m.web.accepted == 0


@ONE_IS_ENOUGH
def test_public_address(world):
    m = world("http://%s/i.crt" % PUBLIC, allow=())
    assert m.get().status == 200 and m.asked() == ["/i.crt"]


@ONE_IS_ENOUGH
@pytest.mark.parametrize("conf", ['deny_hosts = {"%s"}' % AIA, 'allow_hosts = {"origin.test"}', "ports = {443}"])
def test_destination_holds(world, conf):
    m = world(URL, conf='destination { allow = {"%s"} %s }\n' % (AIA, conf))
    refused(m.get(), INCOMPLETE)
    assert m.asked() == []


@ONE_IS_ENOUGH
@pytest.mark.parametrize("direct", ["", ', "%s"' % AIA])
def test_no_parent_is_asked(world, direct):
    """It would choose the address itself, inside the network, too."""
    m = world(URL, conf='upstream { proxy = "http://127.0.0.1:9"\n no_proxy = {"origin.test"%s} }\n' % direct)
    if direct:
        assert m.get().status == 200 and m.asked() == ["/i.crt"]
        return
    refused(m.get(), INCOMPLETE, "upstream.proxy", error=("tls_certificate_error",))
    assert m.asked() == [] and m.fetched() == (0, 0)
    m.p.wait_log("was not got from %s: no parent proxy is asked" % URL)


@ONE_IS_ENOUGH
@pytest.mark.parametrize("before, after", [
    ('upstream { proxy = "http://127.0.0.1:9"\n no_proxy = {"origin.test"} }', ""),
    ('destination { deny_hosts = {"%s"} }' % AIA, ""),
    ("", 'destination { allow = {"%s"} }' % AIA)], ids=["parent", "name", "address"])
def test_what_is_not_allowed_is_not_remembered(world, before, after):
    """Another configuration allows it: a failure would last for an hour."""
    ttl = "dns { negative_ttl = 1h }\n"
    m = world(URL, conf=ttl + before, allow=(AIA,) if before else ())
    refused(m.get(), INCOMPLETE)
    with open(m.p.conf_path) as f:
        text = f.read()
    with open(m.p.conf_path, "w") as f:
        f.write(text.replace(before, after) if before else text + after)
    m.p.signal(signal.SIGHUP)
    m.p.wait_log("configuration reloaded", 15)
    assert m.get().status == 200 and m.asked() == ["/i.crt"]


@ONE_IS_ENOUGH
def test_origin_behind_a_parent(world):
    """The certificate comes through the parent, what it lacks does not; then the parent is asked once more."""
    m = world(URL, parent=True)
    assert m.get().status == 200 and m.asked() == ["/i.crt"] and m.fetched() == (1, 0)
    assert m.relay.targets() == ["127.0.0.1:%d" % m.origin.port] * 2


@ONE_IS_ENOUGH
def test_own_listener(world):
    """A certificate that names tlsfan itself as the place to ask: no loop."""
    m = world(URL, port=8080,
              conf='client { allow = {"any"} }\nforward "%s:80" { to = "https://origin.test/" }\n' % AIA)
    refused(m.get(), "listener of this proxy")


@ONE_IS_ENOUGH
def test_second_url(world):
    m = world("ldap://x/", "http://%s/gone.crt" % AIA, URL)
    assert m.get().status == 200 and m.asked() == ["/gone.crt", "/i.crt"]


@ONE_IS_ENOUGH
def test_not_a_third(world):
    m = world("http://%s/a.crt" % AIA, "http://%s/b.crt" % AIA, URL)
    refused(m.get(), "b.crt")
    assert m.asked() == ["/a.crt", "/b.crt"]


@ONE_IS_ENOUGH
def test_one_fetch_for_all(world):
    """Many handshakes, of all workers, wait for one answer."""
    m = world(URL, conf='rule "origin.test" { http2 = off }\n')
    m.web.gate = threading.Event()
    done = []
    threads = [threading.Thread(target=lambda: done.append(m.get().status)) for _ in range(12)]
    for t in threads:
        t.start()
    wait_until(lambda: m.origin.accepted >= 12 and m.web.asked, 10, "all handshakes")
    m.web.gate.set()
    for t in threads:
        t.join()
    assert done == [200] * 12 and m.asked() == ["/i.crt"] and m.fetched() == (1, 0)


@ONE_IS_ENOUGH
def test_connect_timeout_is_the_end(world):
    m = world(URL, timeout="700ms")
    m.web.gate = threading.Event()
    refused(m.get(), INCOMPLETE, "connect_timeout", error=("tls_certificate_error",))
    m.web.gate.set()


@ONE_IS_ENOUGH
def test_client_that_goes_meanwhile(world):
    """Nobody else has asked: its fetch goes with it, and the end of the program waits for nothing."""
    m = world(URL)
    m.web.gate = threading.Event()
    with m.ns.inside():
        sock = socket.create_connection(("127.0.0.1", m.p.port))
    sock.sendall(b"GET http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\n\r\n")
    wait_until(lambda: m.web.asked, what="the fetch")
    sock.close()
    m.p.stop()
    m.web.gate.set()


@ONE_IS_ENOUGH
def test_strength_holds_for_what_is_fetched(world):
    """An intermediate with a small key is refused as if the server had sent it."""
    m = world(URL, answers=lambda w: {})
    small = certs.authority("intermediate 0", m.world.root, key=certs.key("rsa1024"))
    leaf = certs.certificate("origin.test", small, (certs.basic(False), certs.alt_names(certs.dns("origin.test")),
                                                    aia(URL)))
    m.world.context.load_cert_chain(certs.write(os.path.dirname(m.world.ca_file), "small.pem",
                                                 certs.to_pem(leaf) + leaf.key.pem))
    m.web.answers["/i.crt"] = http(small.der)
    refused(m.get(), "its key is too small")


@ONE_IS_ENOUGH
def test_revoked_intermediate(world, tmp_path):
    m = world(URL)
    lists = certs.write(tmp_path, "lists.pem", certs.crl(m.world.root, [m.world.inters[0]])
                        + certs.crl(m.world.inters[0]))
    assert m.get().status == 200
    m.p.write(open(m.p.conf_path).read().replace(m.p.base, "").replace(
        "fetch_intermediates = on", 'fetch_intermediates = on\n crl_file = "%s"' % lists))
    m.p.signal(signal.SIGHUP)
    m.p.wait_log("configuration reloaded")
    refused(m.get(), "revoked")


@ONE_IS_ENOUGH
def test_pin_of_what_is_fetched(world):
    m = world(URL)
    pin = pin_of(certs.write(os.path.dirname(m.world.ca_file), "pinned.pem", certs.to_pem(m.world.inters[0])))
    m.p.write(open(m.p.conf_path).read().replace(m.p.base, "")
              + 'rule "origin.test" { pin_sha256 = {"%s"} }\n' % pin)
    m.p.signal(signal.SIGHUP)
    m.p.wait_log("configuration reloaded")
    assert m.get().status == 200
