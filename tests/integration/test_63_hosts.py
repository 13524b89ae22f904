# SPDX-License-Identifier: Apache-2.0
"""How a host may be written: what is looked up, asked for by SNI and verified then, or the sentence that refuses it."""
import pytest

from testenv.certs import alt_names, authority, certificate, dns, server_context, to_pem, write
from testenv.dns import Dns
from testenv.intercept import Inside, OwnCA
from testenv.proxy import Proxy, binary
from testenv.scripted import Server, answering, ok

LABEL = "a" * 63
LONGEST = ".".join(["b" * 61] * 3 + ["c" * 57]) + ".host.test"  # 253, the most of a name of the DNS
assert len(LONGEST) == 253

TAKEN = [  # as written, as everybody else sees it
    ("plain.host.test", "plain.host.test"),
    ("CaPiTaLs.HOST.test", "capitals.host.test"),
    ("dot.host.test.", "dot.host.test"),
    ("under_score.host.test", "under_score.host.test"),
    ("-hyphens-.host.test", "-hyphens-.host.test"),
    ("xn--bcher-kva.host.test", "xn--bcher-kva.host.test"),
    ("XN--BCHER-KVA.HOST.TEST.", "xn--bcher-kva.host.test"),
    ("xn--999999999.host.test", "xn--999999999.host.test"),  # no punycode, which is for others to judge
    ("xn--.host.test", "xn--.host.test"),
    ("1.2.3.host.test", "1.2.3.host.test"),
    ("0x7f.1.test", "0x7f.1.test"),
    (LABEL + ".host.test", LABEL + ".host.test"),
    (LONGEST, LONGEST),
    (LONGEST + ".", LONGEST),
]
NUMBER = "the host is a number but no IPv4 address of four decimal parts"
ZONE = "the IPv6 address has a zone, which is an interface of the client's own"
PORT = "the port is not a number from 1 to 65535"
LONG_LABEL = "the host name has a part between dots of more than 63 bytes"
REFUSED = [
    ("b\u00fccher.test", "the host must be written in ASCII: xn--bcher-kva.test"),
    ("B\u00dcCHER.test.", "the host must be written in ASCII: xn--bcher-kva.test"),
    ("\u4f8b\u3048.test", "the host must be written in ASCII: xn--r8jz45g.test"),
    ("\u4f8b\u3048\u3002test\uff0eexample", "the host must be written in ASCII: xn--r8jz45g.test.example"),
    ("dots.test..", "the host ends in more than one dot"),
    ("a" + LONGEST, "the host name is longer than 253 bytes"),
    ("a" * 64 + ".test", LONG_LABEL),
    ("test." + "a" * 64, LONG_LABEL),
    ("[fe80::1%25eth0]", ZONE),
    ("[fe80::1%eth0]", ZONE),
    ("[::1%251]:80", ZONE),
    ("1.2.3", NUMBER),
    ("0x7f.1", NUMBER),
    ("127.1", NUMBER),
    ("2130706433", NUMBER),
    ("256.0.0.1", NUMBER),
    ("1.2.3.4.5", NUMBER),
    ("plain.host.test:0", PORT),
    ("plain.host.test:65536", PORT),
    ("plain.host.test:-1", PORT),
    ("plain.host.test:443x", PORT),
]


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    """A server of all names of TAKEN, the DNS that has them alone, and a proxy that asks it; one that intercepts."""
    if binary() is None:
        pytest.skip("no tlsfan: build it, or set TLSFAN_BIN")
    directory = tmp_path_factory.mktemp("hosts")
    root = authority("tlsfan root", None)
    names = sorted({seen for _, seen in TAKEN})
    server = Server(answering(lambda r, c: ok("taken")),
                    server_context(directory, [certificate("server", root, [alt_names(*map(dns, names))])]))
    resolver = Dns({name: [("A", "127.0.0.1", 60)] for name in names})
    own = OwnCA(directory / "own")
    conf = resolver.conf + 'tls { ca_file = "%s" }\ndestination { connect_ports = {} }\n' % write(
        directory, "ca.pem", to_pem(root))
    proxy, reader = Proxy(directory, conf), Proxy(directory, conf + own.conf())
    yield server, resolver, proxy, (reader, own)
    proxy.stop()
    reader.stop()
    resolver.stop()
    server.stop()


def names(rows):
    return [repr(row[0])[1:30] + "-%d" % len(row[0]) for row in rows]


@pytest.mark.parametrize("written,seen", TAKEN, ids=names(TAKEN))
def test_taken(there, written, seen):
    server, resolver, proxy, _ = there
    with proxy.client() as c:
        r = c.get("http://%s:%d/" % (written, server.port))
    assert r.status == 200 and r.text == "taken", r
    asked = server.requests[-1]
    assert asked.get("Host").rpartition(":")[0].rstrip(".") == seen
    assert server.last_asked().sni == seen
    assert resolver.count(seen) >= 1 and {name for name, _ in resolver.queries} <= {s for _, s in TAKEN}


@pytest.mark.parametrize("form", ["GET http://%s/", "CONNECT %s"], ids=["GET", "CONNECT"])
@pytest.mark.parametrize("written,words", REFUSED, ids=names(REFUSED))
def test_refused(there, written, words, form):
    server, resolver, proxy, _ = there
    count = len(server.conns)
    method, _, target = (form % written).partition(" ")
    if method == "CONNECT" and "port" not in words:
        target += "" if target.endswith(":80") else ":443"
    with proxy.client() as c:
        c.send(("%s %s HTTP/1.1\r\nHost: x\r\n\r\n" % (method, target)).encode())
        r = c.response(method)
    assert r.status == 400 and r.error == "http_request_error", r
    assert words in r.get("Proxy-Status") or not words.isascii(), r
    assert method == "CONNECT" or words in r.text
    assert len(server.conns) == count


@pytest.mark.parametrize("written,words", REFUSED, ids=names(REFUSED))
def test_refused_in_host(there, written, words):
    """It must be well formed, whatever the target says."""
    server, resolver, proxy, _ = there
    with proxy.client() as c:
        c.send(("GET http://plain.host.test:%d/ HTTP/1.1\r\nHost: %s\r\n\r\n" % (server.port, written)).encode())
        r = c.response()
    assert r.status == 400 and r.error == "http_request_error", r


@pytest.mark.parametrize("written,seen", TAKEN, ids=names(TAKEN))
def test_intercepted(there, written, seen):
    """The leaf that the client sees, and what goes to the origin, have the name as everybody sees it."""
    server, _, _, (reader, own) = there
    with Inside(reader.port, own.context(), host=written, sni=seen, port=server.port) as c:
        assert c.names() == [seen]
        assert c.get("/", host="%s:%d" % (written, server.port)).text == "taken"
    assert server.last_asked().sni == seen
