# SPDX-License-Identifier: Apache-2.0
"""Names against a DNS server that lies, drops, truncates, goes round in circles, changes its mind and fails. An origin
on every loopback address says at which one it was asked: that tells whose word was taken."""
import socket
import struct
import threading
import time

import pytest

from test_11_pool import SOON
from test_22_watching import metrics
from testenv.client import Client
from testenv.dns import Dns, encode_name, record
from testenv.ports import free_port
from testenv.scripted import answering, ok
from testenv.wait import wait_until

pytestmark = pytest.mark.h1_only("about names: they are looked up before anything is spoken")

# One resolver; the origins close behind each answer, so that each request asks for the name.
ALONE = 'workers = 1\nrule "*" { upgrade = off }\nupstream { %s }\ndns { servers = {%s} %s }\n'
RIGHT, WRONG = "127.1.0.1", "127.1.0.66"
SERVFAIL, NXDOMAIN, REFUSED = 2, 3, 5


@pytest.fixture
def where(serve):
    """The port of such origins; those of IPv6 are ::1."""
    handler = answering(lambda r, c: ok(c.sock.getsockname()[0], "Connection: close"))
    four = serve(handler, tls=False, host="0.0.0.0")
    serve(handler, tls=False, host="::1", port=four.port)
    return four.port


@pytest.fixture
def resolver():
    """resolver(zone, ...): a scripted DNS server that ends with the test."""
    made = []

    def make(*args, **kw):
        made.append(Dns(*args, **kw))
        return made[-1]
    yield make
    for dns in made:
        dns.stop()


@pytest.fixture
def asking(make_proxy, where):
    """asking(servers, dns=settings, upstream=settings, ...): get(name), and the proxy as get.p"""
    clients = []

    def make(servers, dns="", upstream="", more="", **kw):
        places = ", ".join('"%s"' % s if isinstance(s, str) else '"127.0.0.1:%d"' % s.port for s in servers)
        p = make_proxy(ALONE % (upstream, places, dns) + more, **kw)
        clients.append(p.client(timeout=30))

        def get(name):
            return clients[-1].get("http://%s:%d/" % (name, where))
        get.p = p
        return get
    yield make
    for c in clients:
        c.close()


# --- lies

def other_socket(address):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind((address, 0))
    return s


def asked_of_another(ask):
    return encode_name("another.test") + ask.question[-4:]


LIES = {
    "another ID": lambda ask: ask.send(ask.reply(*ask.address(WRONG), id=bytes(b ^ 0x5a for b in ask.id))),
    "another question": lambda ask: ask.send(ask.reply(record("another.test", "A", WRONG),
                                                       question=asked_of_another(ask))),
    "another port": lambda ask: ask.send(ask.reply(*ask.address(WRONG)), other_socket("127.0.0.1")),
    "another address": lambda ask: ask.send(ask.reply(*ask.address(WRONG)), other_socket("127.0.0.2")),
    "nothing": lambda ask: ask.send(b""),
    "one byte": lambda ask: ask.send(b"x"),
    "noise": lambda ask: [ask.send(bytes((i * j) % 251 for j in range(i))) for i in range(1, 400, 7)],
    "its header alone": lambda ask: ask.send(ask.id + struct.pack(">HHHHH", 0x8180, 0, 0, 0, 0)),
    "half a header": lambda ask: ask.send(ask.id + b"\x81\x80\0"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_forged_answer_is_passed_over(lie, resolver, asking):
    """The right one, behind it, counts, also where that is none."""
    def lie_first(ask):
        LIES[lie](ask)
        ask.send(ask.reply(*ask.address(RIGHT)))

    def lie_and_fail(ask):
        LIES[lie](ask)
        ask.send(ask.reply(code=SERVFAIL))
    dns = resolver({"name.test": lie_first, "alone.test": lie_and_fail})
    get = asking([dns])
    assert get("name.test").text == RIGHT
    assert get("alone.test").error == "dns_error"


def test_ports_change(resolver, asking):
    """Although somebody always waits for an answer, for which the port must stay."""
    ports = []

    def answer(ask):
        ports.append(ask.peer[1])
        ask.send(ask.reply(*ask.address(RIGHT)))
    get = asking([resolver({"*.name.test": answer, "silent.test": [("A", "silent", 0)]})],
                 "timeout = 30s family = ipv4", "connect_timeout = 30s")
    with get.p.client() as c:
        c.send(b"GET http://silent.test/ HTTP/1.1\r\nHost: x\r\n\r\n")
        for i in range(1100):
            assert get("n%d.name.test" % i).text == RIGHT
    assert 900 < max(map(ports.count, set(ports))) < 1001


def test_what_is_not_asked_for_is_not_kept(resolver, asking):
    """Records of other names, in the answer and behind it, poison nothing."""
    poison = [record("victim.test", "A", WRONG, 86400)]

    def answer(ask):
        ask.send(ask.reply(*poison, *ask.address(RIGHT), *poison, authority=poison, additional=poison))

    def none(ask):
        ask.send(ask.reply(authority=poison, additional=poison))
    dns = resolver({"name.test": answer, "none.test": none, "victim.test": [("A", "127.1.0.2", 60)]})
    get = asking([dns])
    assert get("name.test").text == RIGHT
    assert get("none.test").error == "dns_error"
    assert get("victim.test").text == "127.1.0.2" and dns.count("victim.test") == 1


BROKEN = {
    "a name that points to itself":
        lambda ask: ask.reply(record(struct.pack(">H", 0xc000 + 12 + len(ask.question)), "A", WRONG)),
    "a pointer beyond the end": lambda ask: ask.reply(record(b"\xff\xff", "A", WRONG)),
    "an address that is cut": lambda ask: ask.reply(record(ask.name, "A", WRONG))[:-2],
    "an address of three bytes": lambda ask: ask.reply(record(ask.name, "A", b"\x7f\x01\x00")),
    "an address of five bytes": lambda ask: ask.reply(record(ask.name, "A", b"\x7f\x01\x00\x42\x00")),
    "a thousand answers that are not there": lambda ask: ask.reply(record(ask.name, "A", WRONG), count=1000),
    "a CNAME of nothing": lambda ask: ask.reply(record(ask.name, "CNAME", b"")),
    "a question too many": lambda ask: ask.reply(question=ask.question + ask.question),
    "a long label": lambda ask: ask.reply(record(b"\x3f" + b"a" * 10, "A", WRONG)),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_an_answer_that_is_no_answer(kind, resolver, asking):
    """It is a fault of that name, soon, and of nothing else."""
    dns = resolver({"name.test": lambda ask: ask.send(BROKEN[kind](ask)), "good.test": [("A", RIGHT, 60)]})
    get = asking([dns], "timeout = 3s")
    begun = time.monotonic()
    assert get("name.test").error in ("dns_error", "dns_timeout")
    assert time.monotonic() - begun < SOON
    assert get("good.test").text == RIGHT


def chain(length, end):
    """A zone in which c0.test leads to END by LENGTH aliases."""
    zone = {"c%d.test" % i: [("CNAME", "c%d.test" % (i + 1), 60)] for i in range(length - 1)}
    zone["c%d.test" % (length - 1)] = [("CNAME", end, 60)]
    return zone


def test_aliases(resolver, asking):
    """A circle, one that leads nowhere, and long chains end soon; what the server has followed to its end counts."""
    def circle(ask):
        names = ("circle.test", "a.test", "b.test", "circle.test")
        ask.send(ask.reply(*[record(a, "CNAME", b) for a, b in zip(names, names[1:])]))

    def itself(ask):
        ask.send(ask.reply(record("self.test", "CNAME", "self.test")))
    dns = resolver({**chain(12, "end.test"), "end.test": [("A", RIGHT, 60)], "circle.test": circle, "self.test": itself,
                    "open.test": [("CNAME", "none.test", 60)]})
    get = asking([dns], "timeout = 2s")
    begun = time.monotonic()
    assert get("c0.test").text == RIGHT
    for name in ("circle.test", "self.test", "open.test"):
        assert get(name).error == "dns_error"
    assert time.monotonic() - begun < SOON
    dns.zone.update({**chain(400, "last.test"), "last.test": [("A", RIGHT, 60)]})  # some 15 kB, by TCP
    assert get("c1.test").text == RIGHT


# --- what does not fit

def test_three_hundred_addresses(resolver, asking):
    """By TCP; the first that takes a connection is used, and of a rebinding name none that is denied."""
    many = [("A", "127.2.%d.%d" % divmod(i, 250), 60) for i in range(300)]
    dns = resolver({"many.test": many, "last.test": many[:200] + [("A", RIGHT, 60)] + many[200:]})
    get = asking([dns], more='destination { deny = {"127.2.0.0/16"} }\n')
    r = get("many.test")
    assert r.status == 403 and r.error == "destination_ip_prohibited", r
    assert get("last.test").text == RIGHT


def test_what_was_cut_is_asked_for_again_by_tcp(resolver, asking):
    by = []

    def cut(ask):
        by.append(ask.is_tcp)
        ask.send(ask.reply(*ask.address(RIGHT)) if ask.is_tcp else ask.reply(*ask.address(WRONG), flags=0x8380))
    get = asking([resolver({"cut.test": cut})], "family = ipv4")
    assert get("cut.test").text == RIGHT and by == [False, True]


def test_tcp_is_refused(resolver, asking):
    """Half an answer is none, and an expired one that was whole serves."""
    is_cut = threading.Event()

    def answer(ask):
        cut = is_cut.is_set() or ask.name == "new.test"
        ask.send(ask.reply(*ask.address(WRONG), flags=0x8380) if cut else ask.reply(*ask.address(RIGHT)))
    get = asking([resolver({"cut.test": answer, "new.test": answer}, tcp=False)], "timeout = 2s ttl_max = 0")
    assert get("cut.test").text == RIGHT
    is_cut.set()
    assert get("new.test").error in ("dns_error", "dns_timeout")
    assert get("cut.test").text == RIGHT


def test_more_than_512_bytes_in_one_datagram(resolver, asking):
    def answer(ask):
        many = [record(ask.name, "A", RIGHT)] + [record(ask.name, "A", "127.1.1.%d" % i) for i in range(80)]
        ask.send(ask.reply(*(many if ask.kind == "A" else [])))
    get = asking([resolver({"long.test": answer})], "timeout = 2s")
    assert get("long.test").text == RIGHT


# --- several servers

@pytest.mark.parametrize("first", [SERVFAIL, REFUSED, "silent", "dead"])
def test_the_second_server_is_asked(first, resolver, asking):
    second = resolver({"name.test": [("A", RIGHT, 60)]})
    if first == "dead":
        servers = ["127.0.0.1:%d" % free_port(), second]
    else:
        servers = [resolver({}), second]
        servers[0].failing = first
    get = asking(servers)
    begun = time.monotonic()
    assert get("name.test").text == RIGHT
    assert time.monotonic() - begun < SOON
    assert get("none.test").error == "dns_error"  # NXDOMAIN of the second one


def test_a_server_on_ipv6(resolver, asking):
    """By UDP and, for what is long, by TCP; beside one of IPv4 that is dead."""
    many = [("A", "127.1.1.%d" % i, 60) for i in range(1, 80)]
    dns = resolver({"name.test": [("A", RIGHT, 60)], "long.test": [("A", RIGHT, 60)] + many}, ("::1", 0))
    get = asking(["127.0.0.1:%d" % free_port(), "[::1]:%d" % dns.port])
    assert get("name.test").text == RIGHT
    assert get("long.test").text == RIGHT


def test_all_servers_are_dead(asking):
    get = asking(["127.0.0.1:%d" % free_port(), "127.0.0.1:%d" % free_port()], "timeout = 2s")
    r = get("name.test")
    assert r.error in ("dns_error", "dns_timeout") and "name.test" in r.text, r


# --- families and addresses

def test_families(resolver, asking):
    zone = {"six.test": [("AAAA", "::1", 60)], "four.test": [("A", RIGHT, 60)], "mail.test": [],
            "both.test": [("AAAA", "::1", 60), ("A", RIGHT, 60)]}
    get = asking([resolver(zone)])
    assert [get(n).text for n in ("six.test", "four.test", "both.test")] == ["::1", RIGHT, "::1"]
    for _ in range(2):
        assert "mail.test: the name has no address\n" in get("mail.test").text
    dns = resolver(zone)
    get = asking([dns], "family = ipv4")
    r = get("six.test")
    assert r.error == "dns_error" and "no IPv4 address" in r.text
    assert get("both.test").text == RIGHT and {kind for _, kind in dns.queries} == {"A"}
    dns = resolver(zone)
    get = asking([dns], "family = ipv6")
    r = get("four.test")
    assert r.error == "dns_error" and "no IPv6 address" in r.text
    assert get("both.test").text == "::1" and {kind for _, kind in dns.queries} == {"AAAA"}


def test_an_address_of_the_other_family(resolver, asking):
    """One that was not asked for is none."""
    def crossed(ask):
        ask.send(ask.reply(record(ask.name, "AAAA", "::1") if ask.kind == "A" else record(ask.name, "A", WRONG)))
    dns = resolver({"crossed.test": crossed})
    get = asking([dns], "family = ipv6")
    r = get("crossed.test")
    assert r.error == "dns_error" and "no IPv6 address" in r.text
    assert "the name has no address" in asking([dns])("crossed.test").text


def test_bind_of_one_family(resolver, asking, serve):
    """A source address of IPv4 says nothing of IPv6."""
    seen = []
    port = serve(answering(lambda r, c: seen.append(c.sock.getpeername()[0]) or ok("x")), tls=False).port
    get = asking([resolver({"four.test": [("A", "127.0.0.1", 60)], "six.test": [("AAAA", "::1", 60)]})],
                 upstream='bind = "127.0.0.44"')
    with get.p.client() as c:
        assert c.get("http://four.test:%d/" % port).text == "x" and seen == ["127.0.0.44"]
    assert get("six.test").text == "::1"


def test_rebinding(resolver, asking):
    """Each address is judged, whatever the name was before: fresh, among others, and when it has expired."""
    dns = resolver({"name.test": [("A", RIGHT, 60)], "mixed.test": [("A", "127.9.0.1", 60), ("A", RIGHT, 60)]})
    get = asking([dns], "ttl_max = 0", more='destination { deny = {"127.9.0.0/16", "10.0.0.0/8", "::1/128"} }\n')
    assert get("name.test").text == RIGHT and get("mixed.test").text == RIGHT
    for record_ in (("A", "127.9.0.1", 0), ("A", "10.0.0.1", 0), ("AAAA", "::ffff:127.9.0.1", 0), ("AAAA", "::1", 0)):
        dns.zone["name.test"] = [record_]
        r = get("name.test")
        assert r.status == 403 and r.error == "destination_ip_prohibited", (record_, r)
    dns.failing = SERVFAIL
    assert get("name.test").status == 403
    with Client(get.p.port) as c:
        c.send("CONNECT name.test:443 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert c.response(method="CONNECT").status == 403


# --- servers that change their mind

def test_another_answer_each_time(resolver, asking):
    dns = resolver({"name.test": [("A", RIGHT, 1)]})
    get = asking([dns], "ttl_max = 0 negative_ttl = 0")
    assert get("name.test").text == RIGHT
    dns.zone["name.test"] = [("A", "127.1.0.2", 1)]
    assert get("name.test").text == "127.1.0.2"
    dns.zone["name.test"] = [("AAAA", "::1", 1)]
    assert get("name.test").text == "::1"
    dns.zone["name.test"] = []
    assert get("name.test").error == "dns_error"  # an answer: nothing that has expired serves
    dns.zone["name.test"] = [("A", RIGHT, 1)]
    assert get("name.test").text == RIGHT
    del dns.zone["name.test"]
    assert get("name.test").error == "dns_error"
    dns.failing = SERVFAIL
    assert get("name.test").error == "dns_error"


@pytest.mark.parametrize("ttl", [0, 2**31 - 1, 2**31, 2**32 - 1])
def test_any_ttl(ttl, resolver, asking):
    """A huge one is ttl_max; 0, and what RFC 2181 says is 0, is kept for a moment."""
    dns = resolver({"name.test": [("A", RIGHT, ttl)]})
    get = asking([dns], "ttl_max = 400ms")
    assert get("name.test").text == RIGHT
    dns.zone["name.test"] = [("A", "127.1.0.2", ttl)]
    wait_until(lambda: get("name.test").text == "127.1.0.2", 5, "the new answer")
    assert dns.count("name.test") == 2


# --- expired answers

FAILURES = {"SERVFAIL": SERVFAIL, "REFUSED": REFUSED, "silent": "silent", "gone": None,
            "broken": lambda ask: ask.send(BROKEN["an address that is cut"](ask))}


@pytest.mark.parametrize("failure", FAILURES)
def test_an_expired_answer_serves(failure, resolver, asking):
    """The first who asks may wait for it; nobody else does, CONNECT included. The log says when it begins and ends."""
    zone = {"name.test": [("A", RIGHT, 60)], "six.test": [("AAAA", "::1", 60)]}
    dns = resolver(zone)
    get = asking([dns], "timeout = 3s ttl_max = 0", service=True,
                 more="destination { connect_ports = {} }\n", flags=["-o", "log.level=info"])
    names = {"name.test": RIGHT, "six.test": "::1"}
    for name, address in names.items():
        assert get(name).text == address
    if failure == "gone":
        port = dns.port
        dns.stop()
    else:
        dns.failing = FAILURES[failure]
    for name, address in names.items():
        assert get(name).text == address
    begun = time.monotonic()
    for _ in range(20):
        assert get("name.test").text == RIGHT
    with Client(get.p.port) as c:
        c.send("CONNECT name.test:%d HTTP/1.1\r\nHost: x\r\n\r\n" % free_port())
        assert c.response(method="CONNECT").error == "connection_refused"
    assert time.monotonic() - begun < SOON
    if failure != "silent":
        assert get("new.test").error in ("dns_error", "dns_timeout")
    wait_until(lambda: metrics(get.p)["tlsfan_dns_stale_total"] == 23, 5,
               lambda: "23 stale answers: %s" % metrics(get.p)["tlsfan_dns_stale_total"])
    get.p.wait_log("(dns.stale)")
    if failure != "gone":
        return
    dns = resolver(zone, ("127.0.0.1", port))
    dns.zone["name.test"] = [("A", "127.1.0.2", 60)]
    wait_until(lambda: get("name.test").text == "127.1.0.2", 20, "the new answer")
    get.p.wait_log("name.test: the DNS servers answer again")
    assert get.p.log().count("name.test: no DNS server") <= 2  # once; and what new.test says is of another name


def test_failing_servers_are_left_alone(resolver, asking):
    """They are asked again every 5 s, by however many clients."""
    dns = resolver({"name.test": [("A", RIGHT, 60)]})
    get = asking([dns], "ttl_max = 0")
    assert get("name.test").text == RIGHT
    dns.failing = SERVFAIL
    assert get("name.test").text == RIGHT
    begun, asked = time.monotonic(), dns.count("name.test")
    for _ in range(50):
        assert get("name.test").text == RIGHT
    if time.monotonic() - begun < 4:
        assert dns.count("name.test") == asked


def test_without_stale(resolver, asking):
    dns = resolver({"name.test": [("A", RIGHT, 60)]})
    get = asking([dns], "ttl_max = 0 stale = 0")
    assert get("name.test").text == RIGHT
    dns.failing = SERVFAIL
    assert get("name.test").error == "dns_error"


def test_a_reload_asks_again(resolver, asking):
    """A certificate that is renewed during an outage takes no name away; other settings of dns do."""
    dns = resolver({"name.test": [("A", RIGHT, 60)]})
    get = asking([dns])
    assert get("name.test").text == RIGHT and get("name.test").text == RIGHT and dns.count("name.test") == 1
    dns.failing = SERVFAIL
    get.p.signal(1)
    get.p.wait_log("configuration reloaded")
    wait_until(lambda: get("name.test").text == RIGHT and dns.count("name.test") > 1, 10, "the reload")
    get.p.wait_log("(dns.stale)")
    with open(get.p.conf_path) as f:
        text = f.read()
    get.p.write(text.replace(get.p.base, "").replace("dns { ", "dns { stale = 4m "))
    get.p.signal(1)
    wait_until(lambda: get("name.test").error == "dns_error", 10, "the reload")


# --- pooled connections

@pytest.mark.soak
def test_a_connection_whose_address_has_left(resolver, make_proxy, serve):
    """A minute and more: tests/replay/dns_leaves.rpl has the same with time of its own."""
    server = serve(answering(lambda r, c: ok(c.sock.getsockname()[0])), tls=False, host="0.0.0.0")
    dns = resolver({"name.test": [("A", RIGHT, 1)]})
    p = make_proxy('workers = 1\nrule "*" { upgrade = off }\n' + dns.conf)
    begun = time.monotonic()
    with p.client() as c:
        assert c.get(server.url(host="name.test")).text == RIGHT
        dns.zone["name.test"] = [("A", "127.1.0.2", 1)]
        while c.get(server.url(host="name.test")).text == RIGHT:
            assert time.monotonic() - begun < 120
            time.sleep(0.5)
    assert time.monotonic() - begun > 55 and dns.count("name.test") < 30


def test_warm_connections_are_used_while_the_dns_is_down(resolver, make_proxy, serve):
    """Nobody waits for a look-up on the side, or is told of it when it fails."""
    server = serve(answering(lambda r, c: ok("warm")), tls=False)
    dns = resolver({"name.test": [("A", "127.0.0.1", 1)]})
    p = make_proxy('workers = 1\nrule "*" { upgrade = off }\ndns { ttl_max = 0 stale = 0 }\n' +
                   dns.conf.replace("timeout = 2s", "timeout = 5s"))
    with p.client() as c:
        assert c.get(server.url(host="name.test")).text == "warm"
        dns.failing = "silent"
        asked = dns.count("name.test")

        def is_looked_up():
            begun = time.monotonic()
            assert c.get(server.url(host="name.test")).text == "warm" and time.monotonic() - begun < SOON
            return dns.count("name.test") > asked
        wait_until(is_looked_up, 15, "a look-up on the side")
        assert c.get(server.url(host="name.test")).text == "warm"
    assert server.accepted == 1
