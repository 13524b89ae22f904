# SPDX-License-Identifier: Apache-2.0
"""Connections that the kernel turns to a transparent: listener: devices behind a gateway, whose clients know of
no proxy, and programs of a pod. nftables' REDIRECT in network namespaces that the tests make."""
import json
import re
import socket
import ssl
import subprocess
import time

import pytest

from testenv import SLOW
from testenv.client import Client
from testenv.dns import Dns
from testenv.intercept import OwnCA
from testenv.netns import Namespace, Pair, why_not
from testenv.parents import Relay, basic
from testenv.proxy import clean_env
from testenv.scripted import Server, answering, ok
from testenv.wait import wait_until

REASON = why_not("nft", inside=True)
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))

PORT = 15001  # of the listeners, in namespaces of their own
FAR, FAR6 = "192.0.2.9", "2001:db8::9"  # where devices believe to be going: nobody is there
REDIRECT = """
table ip turn { chain pre { type nat hook prerouting priority -100;
  iifname "veth0" ip daddr != 10.78.0.0/24 meta l4proto tcp redirect to :%d; }; }
table ip6 turn { chain pre { type nat hook prerouting priority -100;
  iifname "veth0" ip6 daddr != fd78::/64 meta l4proto tcp redirect to :%d; }; }
""" % (PORT, PORT)


def tell(request, conn):
    return ok(json.dumps([request.method, request.target, request.all("Host"), conn.sni]))


def greet(conn):
    """A server that speaks first, as those of SSH and SMTP do; then an echo."""
    conn.send(b"SSH-2.0-far\r\n")
    while conn.fill():
        conn.send(conn.buf)
        conn.buf = b""


def echo(conn):
    while conn.fill():
        conn.send(conn.buf)
        conn.buf = b""


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    return OwnCA(tmp_path_factory.mktemp("own") / "ca")


class From(Client):
    """A client with an address of its own choice."""

    def __init__(self, source, address):
        self.sock = socket.create_connection(address, 30 * SLOW, source)
        self.buf = b""


class Net:
    """A gateway with its servers, and a device behind it."""

    def __init__(self, pair, ca):
        self.pair, self.ca, self.gateway, self.device = pair, ca, pair.gateway, pair.device
        with self.gateway.inside():
            self.origin = Server(answering(tell), ca.server_context("good"))
            self.bad = Server(answering(tell), ca.server_context("expired"))
            self.plain = Server(answering(tell), None)
            self.ssh = Server(greet, None)
            self.echo = Server(echo, None)
            self.dns = Dns({"meta.test": [("A", "169.254.169.254", 60)], "here.test": [("A", "127.0.0.1", 60)]})
        self.servers = (self.origin, self.bad, self.plain, self.ssh, self.echo)

    def conf(self):
        to = [("origin.test", 443, self.origin), ("other.test", 443, self.origin), ("bad.test", 443, self.bad),
              ("plain.test", 8080, self.plain), ("origin.test", 8443, self.origin), (FAR, 22, self.ssh),
              (FAR, 443, self.echo), (FAR6, 443, self.echo), (FAR6, 22, self.ssh), (FAR, 6379, self.echo)]
        return ('connect_to = {%s}\nclient { allow = {"10.78.0.0/24", "fd78::/64", "loopback"} }\n'
                'destination { connect_ports = {443, 22, 6379, 8443} deny_hosts = {"denied.test"} }\n'
                'rule "plain.test" { upgrade = off }\nworkers = 3\n'
                % ", ".join('"%s:%d:127.0.0.1:%d"' % ("[%s]" % h if ":" in h else h, p, s.port) for h, p, s in to)
                + self.dns.conf)

    def connect(self, port, host=FAR):
        with self.device.inside():
            return Client((host, port))

    def connect_many(self, ports):
        """Each from a port of its own. The kernel gives one to connections to several ports at once, all of which
        are the listener's behind REDIRECT, and then not always finds another one for them there."""
        with self.device.inside():
            return [From((self.pair.DEVICE, 20000 + i), (FAR, port)) for i, port in enumerate(ports)]

    def run(self, *command, **kw):
        return subprocess.run([*self.device.prefix, *command], env=clean_env(), capture_output=True, timeout=30 * SLOW,
                              **kw)


@pytest.fixture(scope="module")
def net(ca):
    with Pair() as pair:
        pair.gateway.nft(REDIRECT)
        net = Net(pair, ca)
        yield net
        for server in net.servers:
            server.stop()


@pytest.fixture
def start(net, make_proxy):
    def make(conf="", **kw):
        with net.gateway.inside():
            listen = ["transparent:0.0.0.0:%d" % PORT, "transparent:[::]:%d" % PORT]
            made = make_proxy(net.conf() + conf, listen=listen, wait=False, **kw)
            made.port = PORT
            wait_until(lambda: made.dead() or can_reach(PORT, "::1"), 10, "the proxy to listen")  # the last one
            assert not made.dead(), made.log()
            return made
    return make


def can_reach(port, host="127.0.0.1"):
    try:
        socket.create_connection((host, port)).close()
        return True
    except OSError:
        return False


def ask(client, target="/a", host="origin.test", *fields, version="1.1", method="GET"):
    lines = ["%s %s HTTP/%s" % (method, target, version)] + (["Host: " + host] if host else []) + list(fields)
    client.send("\r\n".join(lines) + "\r\n\r\n")


def got(client):
    answer = client.response()
    assert answer.status == 200, answer
    return json.loads(answer.text)


def is_reset(client):
    """Nothing comes, and the connection ends with a reset."""
    try:
        data = client.sock.recv(65536)
    except ConnectionResetError:
        return True
    raise AssertionError("not a reset but %r" % data)


# ---- HTTP


def test_requests(net, start):
    """The ways to ask, on one connection: host from Host, port from the connection, upgraded."""
    proxy = start()
    with net.connect(80) as c:
        ask(c)
        assert got(c) == ["GET", "/a", ["origin.test"], "origin.test"]
        ask(c, "/b?q", "Other.Test:8080")  # its port is not believed
        assert got(c) == ["GET", "/b?q", ["other.test"], "other.test"]
        ask(c, "http://origin.test/c", "else.test")
        assert got(c) == ["GET", "/c", ["origin.test"], "origin.test"]
        ask(c, "*", method="OPTIONS")
        assert got(c)[:2] == ["OPTIONS", "*"]
    with net.connect(8080) as c:
        ask(c, "/d", "plain.test")
        assert got(c) == ["GET", "/d", ["plain.test:8080"], None]
    lines = proxy.wait_access(lambda x: x["status"] == 200, 5)
    urls = [x["url"] for x in lines]
    urls.remove("http://plain.test:8080/d")  # of another connection, so anywhere
    assert urls == ["http://origin.test/a", "http://other.test/b?q", "http://origin.test/c", "http://origin.test/"]
    assert {x["client"] for x in lines} == {net.pair.DEVICE}


def test_through_a_parent(net, start):
    """Names are the parent's to look up, whether a Host or a TLS hello says them; what is denied it never hears of."""
    name, plain, no = "www.example.test", "plain.parent.test", "no.parent.test"
    refusal = b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"
    with net.gateway.inside():
        parent = Relay(lambda request, conn: refusal if no in request.target else None,
                       leads={name: ("127.0.0.1", net.origin.port), plain: ("127.0.0.1", net.plain.port)})
    proxy = start('upstream { proxy = "%s" no_proxy = {"origin.test"} }\nrule "%s" { upgrade = off }\n'
                  % (parent.address("otto:S3cret"), plain))
    with net.connect(80) as c:
        ask(c, "/a", name)
        assert got(c) == ["GET", "/a", [name], name]
        ask(c, "/b")
        assert got(c) == ["GET", "/b", ["origin.test"], "origin.test"]
        ask(c, "/", "169.254.169.254")
        assert c.response().status == 403
        ask(c, "/", no)
        answer = c.response()
        assert answer.status == 502 and "the parent proxy %s answered" % parent.shown in answer.text
    with net.connect(8080) as c:
        ask(c, "/c", plain)
        assert got(c) == ["GET", "/c", [plain + ":8080"], None]
    with net.connect(443) as c:
        c.start_tls(net.ca.client_context(), name)
        ask(c, "/d", name)
        assert got(c) == ["GET", "/d", [name], name]
    with net.connect(22) as c:  # connect_to comes first, and the server speaks first
        assert c.exactly(13) == b"SSH-2.0-far\r\n"
    with net.connect(443) as c:
        with pytest.raises(OSError):
            c.start_tls(net.ca.client_context(), no)
    assert parent.targets() == [name + ":443", no + ":443", "http://%s:8080/c" % plain, name + ":443",
                                "127.0.0.1:%d" % net.ssh.port, no + ":443"]
    assert {r.get("Proxy-Authorization") for r in parent.requests} == {basic("otto:S3cret")}
    assert not {q for q, _ in net.dns.queries} & {name, plain, no}
    lines = proxy.wait_access(lambda x: x["status"] == 200, 5)
    assert [x.get("parent") for x in lines if x["url"].endswith("/b")] == [None]
    assert [x.get("parent") for x in lines if not x["url"].endswith("/b")] == 4 * [parent.shown]
    parent.stop()


def test_http_1_0(net, start):
    """Without Host it is for the address; the certificate must be that address's."""
    start()
    with net.connect(80) as c:
        ask(c, host=None, version="1.0")
        answer = c.response()
        assert answer.status == 502, answer  # nothing answers at 192.0.2.9:443 but an echo
        assert FAR in answer.text
    with net.connect(80) as c:
        ask(c, version="1.0")
        assert got(c)[2] == ["origin.test"]


@pytest.mark.parametrize("head, status, text", [
    ("GET / HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n", 400, "more than one Host"),
    ("GET / HTTP/1.1\r\n", 400, "must have a Host"),
    ("GET / HTTP/1.1\r\nHost: a b\r\n", 400, "malformed"),
    ("CONNECT origin.test:443 HTTP/1.1\r\nHost: origin.test\r\n", 400, "CONNECT is for proxies"),
    ("GET /a b HTTP/1.1\r\nHost: origin.test\r\n", 400, ""),
    ("GET / HTTP/1.1\r\nHost: denied.test\r\n", 403, "deny_hosts"),
    ("GET / HTTP/1.1\r\nHost: 169.254.169.254\r\n", 403, "destination.deny"),
    ("GET / HTTP/1.1\r\nHost: meta.test\r\n", 403, "destination.deny"),
    ("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n", 403, "own machine"),
    ("GET / HTTP/1.1\r\nHost: here.test\r\n", 403, "own machine"),
    ("GET http://denied.test/ HTTP/1.1\r\nHost: origin.test\r\n", 403, "deny_hosts"),
    ("GET / HTTP/1.1\r\nHost: bad.test\r\n", 502, "does not verify"),
    ("GET / HTTP/1.1\r\nHost: absent.test\r\n", 502, "absent.test"),
    ("PRI * HTTP/2.0\r\n", 400, "HTTP/2"),
])
def test_refusals(net, start, head, status, text):
    """A Host reaches nothing that a request to a proxy could not; and what is no HTTP/1.1 is told so."""
    start()
    with net.connect(80) as c:
        c.send(head + "\r\n")
        answer = c.response()
        assert (answer.status, text in answer.text) == (status, True), (answer, answer.text)


def test_own_listeners(net, start):
    """Whatever Host says and wherever it was going, nothing leads back into tlsfan."""
    start()
    for host, port in ((net.pair.GATEWAY, PORT), (FAR, PORT)):
        with net.connect(port) as c:
            ask(c, host="%s:%d" % (host, port))
            assert c.response().status in (403, 502, 504)
    with net.connect(PORT, net.pair.GATEWAY) as c:  # nobody has turned this one
        ask(c)
        answer = c.response()
        assert answer.status == 400 and "nftables" in answer.text
    with net.gateway.inside():
        c = Client(PORT)
    ask(c)
    assert c.response().status == 400
    c.close()


def test_pipelining(net, start):
    """What is asked at once is asked upstream at once: each waits until all are there."""
    n = 8
    together = []

    def wait_for_all(request, conn):
        together.append(request)
        wait_until(lambda: len(together) >= n, 10, "all requests to be there at once")
        return ok(request.target)
    with net.gateway.inside():
        slow = Server(answering(wait_for_all), net.ca.server_context("good"))
    start('rule "other.test" { connect_to = "127.0.0.1:%d" http2 = off }\n' % slow.port)
    with net.connect(80) as c:
        for i in range(n):
            ask(c, "/%d" % i, "other.test")
        assert [c.response().text for _ in range(n)] == ["/%d" % i for i in range(n)]
    slow.stop()


def test_split(net, start):
    """A request that comes byte by byte."""
    start()
    with net.connect(80) as c:
        for byte in "\r\nGET /split HTTP/1.1\r\nHost: origin.test\r\n\r\n":
            c.send(byte)
        assert got(c)[1] == "/split"


def test_websocket(net, start, ca):
    def upgrade(conn):
        request = conn.read_request()
        assert request.get("Upgrade") == "websocket"
        conn.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        echo(conn)
    with net.gateway.inside():
        server = Server(upgrade, net.ca.server_context("good"))
    start('rule "other.test" { connect_to = "127.0.0.1:%d" }\n' % server.port)
    with net.connect(80) as c:
        ask(c, "/ws", "other.test", "Connection: Upgrade", "Upgrade: websocket")
        assert c.head().status == 101
        c.send(b"\x81\x02hi")
        assert c.exactly(4) == b"\x81\x02hi"
    server.stop()


# ---- TLS


def test_tls_by_name(net, start, ca):
    """The name in the hello, a certificate that is the origin's own, and nothing between."""
    proxy = start()
    for port in (443, 8443):
        done = net.run("curl", "-sS", "--cacert", ca.root, "--resolve", "origin.test:%d:%s" % (port, FAR),
                       "https://origin.test:%d/x" % port)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)[3] == "origin.test"
    lines = proxy.wait_access(lambda x: x["method"] == "CONNECT", 2)
    assert sorted((x["url"], x["status"]) for x in lines) == [("origin.test:443", 200), ("origin.test:8443", 200)]


def test_tls_without_name(net, start):
    """Goes to the address; what is there answers with what it got."""
    proxy = start()
    for host in (FAR, FAR6):
        with net.connect(443, host) as c:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = context.wrap_bio(incoming, outgoing)
            with pytest.raises(ssl.SSLWantReadError):
                tls.do_handshake()
            hello = outgoing.read()
            for i in range(len(hello)):
                c.send(hello[i:i + 1])
            assert c.exactly(len(hello)) == hello
    urls = [x["url"] for x in proxy.wait_access(lambda x: x["method"] == "CONNECT", 2)]
    assert sorted(urls) == sorted([FAR + ":443", "[%s]:443" % FAR6])


def test_intercepted(net, start, own):
    """A rule has it read: the program that knows no proxy trusts the CA, and its requests are ruled."""
    proxy = start(own.conf(rules='rule "origin.test" { intercept = on }'))
    done = net.run("curl", "-sS", "--cacert", own.cert, "--resolve", "origin.test:443:" + FAR,
                   "https://origin.test/a", "https://origin.test/b")
    assert done.returncode == 0, done.stderr
    assert b'"/a"' in done.stdout and b'"/b"' in done.stdout
    urls = [x["url"] for x in proxy.wait_access(lambda x: x["method"] == "GET", 2)]
    assert urls == ["https://origin.test/a", "https://origin.test/b"]


def test_a_secret_goes_to_its_host_alone(net, start, own, tmp_path):
    """By the name that is asked for and dialled, whatever address and port the connection was going to."""
    path = tmp_path / "secret"
    path.write_text("the-secret\n")
    path.chmod(0o600)
    start(own.conf(rules='rule "origin.test" { intercept = on request_header = {"Authorization: {file:%s}"} }\n'
                         'rule "other.test" { intercept = on }' % path))
    del net.origin.requests[:]

    def asked():
        request = net.origin.requests.pop()
        assert net.origin.requests == []
        return request.get("Host"), request.all("Authorization")
    for port, host, fields, expected in ((80, "origin.test", ["Authorization: own"], ["the-secret"]),
                                         (80, "other.test", ["Authorization: own"], ["own"]),
                                         (8443, "origin.test", ["Authorization: own"], [])):
        with net.connect(port) as c:
            ask(c, "/", host, *fields)
            assert got(c)[3] == host  # by SNI
        assert asked() == (host if port == 80 else host + ":%d" % port, expected)
    for sni, expected in (("origin.test", ["the-secret"]), ("other.test", [])):
        for host in ("origin.test", "other.test"):
            done = net.run("curl", "-sS", "--cacert", own.cert, "--resolve", "%s:443:%s" % (sni, FAR), "-H",
                           "Host: " + host, "-o", "/dev/null", "-w", "%{http_code}", "https://%s/" % sni)
            assert done.stdout == (b"200" if host == sni else b"421"), done
        assert asked() == (sni, expected)


def test_intercepted_is_tls_alone(net, start, own):
    """Under a rule for all, what is not TLS is a tunnel as without it."""
    start(own.conf(rules='rule "*" { intercept = on }'))
    with net.connect(22) as c:
        assert c.until(b"\r\n") == b"SSH-2.0-far\r\n"
    with net.connect(6379) as c:
        c.send(b"PING\r\n")
        assert c.exactly(6) == b"PING\r\n"


def test_intercepted_late(net, start, own):
    """A program that begins slowly is read as well: a Java takes longer than 300 ms for its first hello."""
    proxy = start(own.conf(rules='rule "origin.test" { intercept = on }'))
    with net.connect(443) as c, net.connect(22) as later:
        assert later.until(b"\r\n") == b"SSH-2.0-far\r\n"  # which was silent as long
        c.start_tls(own.context(), "origin.test")
        ask(c)
        assert got(c)[1] == "/a"
    assert proxy.wait_access(lambda x: x["method"] == "GET")[0]["url"] == "https://origin.test/a"


def test_bad_certificate(net, start, own):
    """The program hears 502 where it is read, and sees the bad certificate itself where it is not."""
    start(own.conf(rules='rule "bad.test" { intercept = on }'))
    done = net.run("curl", "-sS", "-o", "-", "-w", " %{http_code}", "--cacert", own.cert, "--resolve",
                   "bad.test:443:" + FAR, "https://bad.test/")
    assert done.stdout.endswith(b" 502") and b"does not verify" in done.stdout, done


# ---- anything else


@pytest.mark.parametrize("host", [FAR, FAR6])
def test_server_speaks_first(net, start, host):
    """A client that says nothing has its tunnel 300 ms later."""
    start()
    begin = time.monotonic()
    with net.connect(22, host) as c:
        assert c.until(b"\r\n") == b"SSH-2.0-far\r\n"
        assert time.monotonic() - begin >= 0.28
        c.send(b"x")
        assert c.exactly(1) == b"x"


def test_end_of_the_client_first(net, start):
    """A client that has nothing to say and ends its side reads what the server says."""
    start()
    with net.connect(22) as c:
        c.sock.shutdown(socket.SHUT_WR)
        assert c.rest() == b"SSH-2.0-far\r\n"


@pytest.mark.parametrize("first", [b"SSH-2.0-x\r\n", b"PING\r\n", b"get key\r\n", b"\0\0\1\x02",
                                   b"*1\r\n$4\r\nPING\r\n"])
def test_other_protocols(net, start, first):
    start()
    with net.connect(6379) as c:
        c.send(first)
        assert c.exactly(len(first)) == first


def test_refused_port(net, start):
    """No tunnel, no word; the log says what to do."""
    proxy = start()
    with net.connect(5432) as c:
        c.send(b"\0\0\0\x08\x04\xd2\x16\x2f")
        assert is_reset(c)
    proxy.wait_log("port 5432 of 192.0.2.9 is not in destination.connect_ports")
    line = proxy.wait_access(lambda x: x["method"] == "CONNECT")[0]
    assert (line["url"], line["status"], line["bytes_out"]) == ("192.0.2.9:5432", 403, 0)
    with net.connect(443) as c:
        c.send(b"GET / HTTP/1.0\r\nHost: denied.test\r\n\r\n")
        assert c.response().status == 403


def test_silent_where_no_tunnel_may_be(net, start):
    """A browser's connection ahead of need waits for its request; 300 ms are nothing."""
    start()
    for port in (80, 8080):
        with net.connect(port) as c:
            c.sock.settimeout(0.6)
            with pytest.raises(socket.timeout):
                c.sock.recv(1)
            c.sock.settimeout(10 * SLOW)
            ask(c, host="plain.test" if port == 8080 else "origin.test")
            assert got(c)[1] == "/a"


def test_unreachable_is_reset(net, start):
    """A server that refuses the connection: so does its client see it."""
    proxy = start('rule "192.0.2.10" { connect_to = "127.0.0.1:1" }\n')
    with net.connect(22, "192.0.2.10") as c:
        assert is_reset(c)
    proxy.wait_log("refused the connection")
    assert proxy.wait_access(lambda x: x["status"] == 502)[0]["error"] == "connection_refused"


def test_many(net, start):
    """Two hundred at once, of all kinds, over three workers."""
    start()
    clients = net.connect_many([(80, 6379)[i % 2] for i in range(200)])
    for i, c in enumerate(clients):
        if i % 2 == 0:
            ask(c, "/%d" % i)
        else:
            c.send(b"\0%d" % i)
    for i, c in enumerate(clients):
        if i % 2 == 0:
            assert got(c)[1] == "/%d" % i
        else:
            assert c.exactly(len(b"\0%d" % i)) == b"\0%d" % i
        c.close()


def test_who_may_come(net, start):
    """client.allow is judged when it connects: told on a port of HTTP, reset elsewhere."""
    proxy = start('client { allow = {"192.0.2.0/24"} }\n')
    with net.connect(80) as c:
        assert c.response().status == 403
    with net.connect(22) as c:
        assert is_reset(c)
    proxy.wait_log("a client that may not come was turned away")


def test_beside_a_proxy(net, ca, make_proxy):
    """In one process."""
    with net.gateway.inside():
        listen = ["127.0.0.1:3128", "transparent:0.0.0.0:%d" % PORT]
        proxy = make_proxy(net.conf(), listen=listen, wait=False)
        wait_until(lambda: proxy.dead() or (can_reach(3128) and can_reach(PORT)), 10, "the proxy to listen")
        with Client(3128) as c:
            assert c.get("http://origin.test/p").status == 200
        with Client(3128) as c:
            answer = c.get("http://127.0.0.1:%d/" % PORT)
            assert answer.status == 403 and "listener of this proxy" in answer.text
    with net.connect(80) as c:
        ask(c)
        assert got(c)[1] == "/a"


def test_drain(net, start):
    """Silent ones end with the grace, tunnels with the timeout; and the exit status is 0."""
    proxy = start()
    silent, tunnel = net.connect(80), net.connect(22)
    assert tunnel.until(b"\r\n") == b"SSH-2.0-far\r\n"
    proxy.stop()
    assert silent.closed()
    silent.close()
    tunnel.close()


# ---- a pod: programs and tlsfan in one network namespace


POD = "10.79.0.2"
POD_RULES = """
table ip turn { chain out { type nat hook output priority -100; oifname "d0" %s meta l4proto tcp redirect to :%d; }; }
"""
NOBODY = 65534


@pytest.fixture
def pod():
    with Namespace() as ns:
        ns.ip("link add d0 type veth peer name d1")
        ns.ip("addr add %s/24 dev d0" % POD)
        ns.ip("link set d0 up")
        ns.ip("link set d1 up")
        ns.ip("route add default dev d0")
        yield ns


def start_pod(pod, make_proxy, ca, conf, **kw):
    with pod.inside():
        origin = Server(answering(tell), ca.server_context("good"))
        conf = 'connect_to = {"origin.test:443:127.0.0.1:%d"}\n' % origin.port + conf
        proxy = make_proxy(conf, listen=["transparent:127.0.0.1:%d" % PORT], wait=False, **kw)
        wait_until(lambda: proxy.dead() or can_reach(PORT), 10, "the proxy to listen")
        assert not proxy.dead(), proxy.log()
    return proxy, origin


def test_pod(pod, make_proxy, ca):
    """The pod's own address counts as loopback, for client.allow and for what it may reach."""
    pod.nft(POD_RULES % ("meta skuid != %d" % NOBODY, PORT))
    _, origin = start_pod(pod, make_proxy, ca, "")
    with pod.inside():
        here = Server(answering(tell), None)
        with Client((FAR, 80)) as c:
            assert c.sock.getsockname()[0] == POD
            ask(c)
            assert got(c)[1] == "/a"
    here.stop()
    origin.stop()


def test_loop(pod, make_proxy, ca):
    """A rule that leaves tlsfan's own connections out of nothing: they come back to it, and are refused."""
    pod.nft(POD_RULES % ("", PORT))
    proxy, origin = start_pod(pod, make_proxy, ca, 'rule "192.0.2.0" { upgrade = off }\n'
                              'rule "%s" { upgrade = off }\n' % FAR)
    with pod.inside():
        with Client((FAR, 8080)) as c:
            ask(c, host=FAR)
            answer = c.response()
            assert answer.status == 508, answer
            assert "skuid" in answer.text
        with Client((FAR, 443)) as c:
            c.send(b"\0\0")
            assert is_reset(c)
    proxy.wait_log("turned back to it")
    assert len(proxy.wait_access(lambda x: x["error"] == "proxy_loop_detected", 2)) < 10
    origin.stop()
