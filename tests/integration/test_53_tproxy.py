# SPDX-License-Identifier: Apache-2.0
"""A gateway that serves devices, by the very files of packaging/gateway: REDIRECT and TPROXY, in namespaces.

A device's packets reach the gateway by veth0, and the world behind it, where origins are, by wan0."""
import os
import re
import shutil
import socket
import ssl
import struct
import subprocess

import pytest
from testenv import netns
from testenv.client import Client
from testenv.intercept import OwnCA
from testenv.netns import Namespace, Pair, join
from testenv.proxy import ROOT, Proxy, binary
from testenv.scripted import Server, answering, ok
from testenv.wait import can_connect

pytestmark = pytest.mark.h1_only("what comes before the request is looked at")

RECIPE = os.path.join(ROOT, "packaging", "gateway")
PORT = 3180
SO_ORIGINAL_DST = 80
WAN, WAN6 = "203.0.113.1", "2001:db8:5::1"
WORLD, WORLD6 = "203.0.113.2", "2001:db8:5::2"
BOTH = pytest.mark.parametrize("way", ["redirect", "tproxy"])
FAMILIES = pytest.mark.parametrize("world", [WORLD, WORLD6], ids=["ipv4", "ipv6"])


def recipe(name, **values):
    """A file of the recipe, with other values of what it defines."""
    with open(os.path.join(RECIPE, name)) as f:
        text = f.read()
    for key, value in values.items():
        text, count = re.subn(r"(?m)^define %s = (\{.*?\}|\S+)" % key, "define %s = %s" % (key, value), text)
        assert count == 1, key
    return text


class Site(Pair):
    """A device, the gateway and the world."""

    def __init__(self):
        self.world = None
        super().__init__()
        try:
            self.world = Namespace(within=self.gateway)
            join(self.gateway, self.world, "wan0", (WAN, WAN6), (WORLD, WORLD6))
            self.world.ip("route add default via " + WAN)
            self.world.ip("-6 route add default via " + WAN6)
            self.gateway.sysctl("net.ipv4.ip_forward", 1)
            self.gateway.sysctl("net.ipv6.conf.all.forwarding", 1)
        except BaseException:
            self.close()
            raise

    def turn(self, way, ports="{ 80 }"):
        """The rules of the recipe; replaces those that were there."""
        self.gateway.nft(recipe(way + ".nft", lan='"veth0"', ports=ports))
        for family in ("-4", "-6"):
            self.gateway.run(["ip", family, "-force", "-batch", os.path.join(RECIPE, "tproxy.routes")], check=False)

    def client(self, address, port=80):
        with self.device.inside():
            return Client((address, port), timeout=10)

    def close(self):
        if self.world is not None:
            self.world.close()
        super().close()


@pytest.fixture(scope="module")
def made():
    reason = netns.why_not("nft", "setpriv", inside=True)
    if reason:
        pytest.skip(reason)
    with Site() as site:
        yield site


@pytest.fixture
def site(made):
    yield made
    for table in ("tlsfan", "tlsfan_own"):
        made.gateway.run(["nft", "delete", "table", "inet", table], check=False)


class Gateway(Proxy):
    """tlsfan there, by the recipe's tlsfan.conf; with no capability but CAPS."""

    def __init__(self, directory, caps="", flags=()):
        drop = ["setpriv", "--inh-caps=-all", "--bounding-set=-all" + caps]
        super().__init__(directory, prefix=drop, flags=flags)

    def write(self, conf):
        flags = ["service=off", "drain_timeout=2s", "log.access=" + self.access_path, "log.query=on"]
        self.flags = (*self.flags, *(word for flag in flags for word in ("-o", flag)))
        self.conf_path = os.path.join(RECIPE, "tlsfan.conf")

    def listens(self):
        return can_connect("127.0.0.1", PORT) and can_connect("::1", PORT)


@pytest.fixture
def start(site, tmp, ca):
    """start(way, *options): tlsfan on the gateway, with the rights that the way needs."""
    if binary() is None:
        pytest.skip("no tlsfan: build it, or set TLSFAN_BIN")
    made = []

    def make(way, *options):
        options = ("tls.ca_file=" + ca.root, *options)
        with site.gateway.inside():
            made.append(Gateway(tmp, ",+net_admin" if way == "tproxy" else "",
                                [word for option in options for word in ("-o", option)]))
        site.turn(way)
        return made[-1]
    yield make
    for proxy in made:
        proxy.stop()


@pytest.fixture
def origin(site, ca):
    """origin.test in the world, on the port that http:// to it is upgraded to."""
    made = []
    for address in (WORLD, WORLD6):
        with site.world.inside():
            made.append(Server(answering(lambda request, conn: ok(request.target)), ca.server_context("good"),
                               host=address, port=443))
    yield made[0]
    for server in made:
        server.stop()


CONNECT_TO = "connect_to=origin.test:443:%s:443" % WORLD


# --- the rules alone


def original(sock):
    """Where a connection was going, by both ways to ask."""
    asked = None
    try:
        if sock.family == socket.AF_INET:
            port, ip = struct.unpack("!2xH4s8x", sock.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16))
        else:
            port, ip = struct.unpack("!2xH4x16s4x", sock.getsockopt(socket.IPPROTO_IPV6, SO_ORIGINAL_DST, 28))
        asked = socket.inet_ntop(sock.family, ip), port
    except OSError:
        pass
    return asked, sock.getsockname()[:2]


@BOTH
@FAMILIES
def test_the_rules_turn_what_devices_send(site, way, world):
    site.turn(way)
    site.turn(way)  # again: it replaces what is there
    family = socket.AF_INET6 if ":" in world else socket.AF_INET
    with site.gateway.inside():
        listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if way == "tproxy":
        level, name = (socket.IPPROTO_IPV6, 75) if ":" in world else (socket.SOL_IP, 19)
        listener.setsockopt(level, name, 1)
    listener.bind(("::" if ":" in world else "0.0.0.0", PORT))
    listener.listen()
    listener.settimeout(10)
    with site.client(world) as c:
        sock, peer = listener.accept()
        asked, own = original(sock)
        assert peer[0] == (Pair.DEVICE6 if ":" in world else Pair.DEVICE)
        assert (own if way == "tproxy" else asked) == (world, 80)
        # and back: as if it came from there
        sock.sendall(b"hello")
        assert c.exactly(5) == b"hello"
        sock.close()
    listener.close()


@BOTH
def test_the_gateway_itself_and_other_ports_are_not_turned(site, way):
    site.turn(way)
    for ns, address, port in ((site.gateway, Pair.GATEWAY, 80), (site.gateway, WAN, 80), (site.world, WORLD, 8080)):
        with ns.inside():
            server = Server(lambda conn: conn.send(b"itself"), host=address, port=port)
        with site.client(address, port) as c:
            assert c.exactly(6) == b"itself"
        server.stop()


@BOTH
@FAMILIES
def test_nothing_goes_past_a_proxy_that_is_down(site, way, world):
    site.turn(way)
    with site.world.inside():
        server = Server(lambda conn: conn.send(b"in the clear"), host=world, port=80)
    with pytest.raises(ConnectionRefusedError):
        site.client(world)
    assert server.accepted == 0
    server.stop()


def test_undone(site):
    site.turn("tproxy")
    with open(os.path.join(RECIPE, "tproxy.routes")) as f:
        undo = f.read().replace("add", "delete")
    for family in ("-4", "-6"):
        site.gateway.run(["ip", family, "-batch", "-"], input=undo)
        assert "3180" not in site.gateway.ip(family + " rule")
    site.gateway.run("nft delete table inet tlsfan".split())
    assert site.gateway.run("nft list ruleset".split()).stdout == ""


# --- tlsfan behind them


@BOTH
@FAMILIES
def test_http_of_a_device_becomes_https(site, start, origin, way, world):
    """By name, whatever address it was on its way to; and the answer comes from there."""
    proxy = start(way, CONNECT_TO)
    with site.client(world) as c:
        c.request("GET", "/one", host="origin.test")
        c.request("GET", "/two", host="origin.test")
        assert [c.response().text for _ in range(2)] == ["/one", "/two"]
        assert c.sock.getpeername()[:2] == (world, 80)
    lines = proxy.wait_access(lambda x: x["status"] == 200, 2)
    assert {x["url"] for x in lines} == {"http://origin.test/one", "http://origin.test/two"}
    assert all((Pair.DEVICE6 if ":" in world else Pair.DEVICE) in x["client"] for x in lines)


@BOTH
@FAMILIES
def test_without_a_host_it_goes_to_the_address(site, start, origin, way, world):
    """Whose certificate does not hold that address: a program that knows no TLS hears of it."""
    proxy = start(way)
    with site.client(world) as c:
        answer = c.exchange("GET", "/old", host="", version="1.0")
        assert answer.status == 502 and "certificate" in answer.text
    line, = proxy.wait_access(lambda x: x["status"] == 502)
    assert line["url"] == "http://%s/old" % ("[%s]" % world if ":" in world else world)


@BOTH
@FAMILIES
def test_tls_of_a_device_is_a_tunnel(site, start, origin, ca, way, world):
    proxy = start(way, CONNECT_TO)
    site.turn(way, "{ 80, 443 }")
    with site.client(world, 443) as c:
        c.start_tls(ca.client_context(), "origin.test")
        assert c.get("/inside", host="origin.test").text == "/inside"
    line, = proxy.wait_access(lambda x: x["method"] == "CONNECT")
    assert line["url"] == "origin.test:443"


@BOTH
def test_tls_of_another_age_is_made_anew(site, start, origin, tmp_path, way):
    """TLS 1.0 of a device that was taught the CA: by the rule, and the origin is asked as by any client."""
    own = OwnCA(tmp_path / "own")
    proxy = start(way, CONNECT_TO, "intercept.ca_cert=" + own.cert, "intercept.ca_key=" + own.key,
                  "rule[origin.test].intercept=on")
    site.turn(way, "{ 80, 443 }")
    with site.client(WORLD, 443) as c:
        c.start_tls(own.context(ssl.TLSVersion.TLSv1), "origin.test")
        assert c.get("/old", host="origin.test").text == "/old"
    line, = proxy.wait_access(lambda x: x["method"] == "GET")
    assert line["url"] == "https://origin.test/old" and line["tls"] == "TLSv1.3"


@BOTH
def test_what_is_no_http_goes_to_its_address(site, start, way):
    """Where connect_ports has the port: the server speaks first, as nobody else does."""
    start(way, "destination.connect_ports=25")
    site.turn(way, "{ 25, 80 }")
    with site.world.inside():
        server = Server(lambda conn: conn.send(b"220 hello\r\n"), host=WORLD, port=25)
    with site.client(WORLD, 25) as c:
        assert c.exactly(11) == b"220 hello\r\n"
    server.stop()


@BOTH
def test_many_devices_at_once(site, start, origin, way):
    proxy = start(way, CONNECT_TO, "workers=2")
    clients = [site.client(WORLD) for _ in range(60)]
    for i, c in enumerate(clients):
        c.request("GET", "/%d" % i, host="origin.test")
    for i, c in enumerate(clients):
        assert c.response().text == "/%d" % i
        c.close()
    proxy.wait_access(lambda x: x["status"] == 200, 60)


def test_destinations_that_are_refused(site, start, origin):
    start("redirect", CONNECT_TO)
    for host in ("10.78.0.9", Pair.GATEWAY, "127.0.0.1", "169.254.169.254", "[fd78::9]"):
        with site.client(WORLD) as c:
            assert c.exchange("GET", "/", host=host).status == 403, host


def test_whom_it_does_not_serve(site, start, origin):
    start("redirect", CONNECT_TO, "client.allow=192.0.2.0/24")
    with site.client(WORLD) as c:
        answer = c.exchange("GET", "/", host="origin.test")
        assert answer.status == 403 and "client.allow" in answer.text


def test_who_asks_it_directly_is_told_so(site, start):
    start("redirect")
    with site.client(Pair.GATEWAY, PORT) as c:
        assert c.exchange("GET", "/", host="origin.test").status == 400


# --- the gateway's own programs


def ask_on_gateway(site, user, address=WORLD):
    """What a program of that user gets there."""
    done = site.gateway.run(["setpriv", "--reuid=%d" % user, "--clear-groups", "curl", "-s", "-S", "-m", "20",
                             "--noproxy", "*", "--resolve", "origin.test:80:" + address, "-w", " %{http_code}",
                             "http://origin.test/own"], check=False)
    return done.stdout


def test_own_programs(site, start, origin):
    start("redirect", CONNECT_TO)
    assert not ask_on_gateway(site, 65534).startswith("/own")
    site.gateway.nft(recipe("own-programs.nft", user="0"))
    assert ask_on_gateway(site, 65534) == "/own 200"


def test_metadata_of_own_programs_is_left_alone(site, start):
    """Of a gateway in a cloud: tlsfan would refuse it."""
    metadata = "169.254.169.254"
    start("redirect")
    site.world.ip("addr replace %s/32 dev lo" % metadata)
    site.gateway.ip("route replace %s/32 via %s" % (metadata, WORLD))
    site.gateway.nft(recipe("own-programs.nft", user="0"))
    with site.world.inside():
        plain = Server(answering(lambda request, conn: ok("metadata")), host=metadata, port=80)
    assert ask_on_gateway(site, 65534, metadata) == "metadata 200"
    plain.stop()


@pytest.mark.parametrize("tls", [False, True], ids=["http", "tls"])
def test_a_loop_ends(site, start, origin, tls):
    """Rules that forget tlsfan's own user: what it sends comes back to it, once."""
    proxy = start("redirect", CONNECT_TO, *() if tls else ("rule[origin.test].upgrade=off",))
    if not tls:
        with site.world.inside():
            plain = Server(answering(lambda request, conn: ok("plain")), host=WORLD, port=80)
    site.gateway.nft(recipe("own-programs.nft", user="12345", ports="{ 80, 443 }"))
    assert ask_on_gateway(site, 65534).split()[-1][0] in "45"
    assert not origin.requests
    with open(proxy.access_path) as f:
        assert len(f.readlines()) < 10
    if not tls:
        plain.stop()


# --- what else is in the recipe


CONF = "-c", os.path.join(RECIPE, "tlsfan.conf"), "-o", "log.access=stdout"


def test_configuration_is_good(tlsfan):
    done = tlsfan("-t", *CONF)
    assert done.returncode == 0, done.stderr


def test_nothing_is_allowed_that_is_denied_by_default(tlsfan):
    def denied(*flags):
        text = tlsfan("-T", *flags).stdout
        return set(re.findall(r'"([^"]+)"', re.search(r"deny = \{(.*?)\}", text, re.S).group(1)))
    assert denied(*CONF) == denied() | {"private"}


def test_systemd_understands_the_drop_in(tmp_path):
    """Beside the unit of the package; a fault shows when a word of it is broken."""
    if shutil.which("systemd-analyze") is None or binary() is None:
        pytest.skip("there is no systemd-analyze, or no tlsfan")
    with open(os.path.join(ROOT, "packaging", "systemd", "tlsfan.service")) as f:
        (tmp_path / "tlsfan.service").write_text(f.read().replace("/usr/bin/tlsfan", binary()))
    (tmp_path / "tlsfan.service.d").mkdir()
    with open(os.path.join(RECIPE, "tproxy.conf")) as f:
        drop_in = f.read()

    def complaints(text):
        (tmp_path / "tlsfan.service.d" / "tproxy.conf").write_text(text)
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(tmp_path / "tlsfan.service")],
                              capture_output=True, text=True)
        return [line for line in (done.stdout + done.stderr).splitlines() if "tlsfan" in line]
    assert complaints(drop_in) == []
    assert complaints(drop_in.replace("PrivateUsers", "PrivateUser")) != []
