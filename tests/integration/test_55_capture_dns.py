# SPDX-License-Identifier: Apache-2.0
"""The DNS that COMMAND of run --capture sees: whatever server it asks, by whatever library."""
import json
import re
import shutil
import subprocess
import sys

import pytest

from testenv import SLOW
from testenv.dns import Dns
from testenv.netns import why_not
from testenv.proxy import REPORT, binary, clean_env

pytestmark = [pytest.mark.skipif(binary() is None, reason="no tlsfan: build it, or set TLSFAN_BIN"),
              pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]

STANDS_FOR = re.compile(r"198\.1[89]\.\d+\.\d+")
ZONE = {
    "four.test": [("A", "192.0.2.4", 60)],
    "six.test": [("AAAA", "2001:db8::6", 60)],
    "both.test": [("A", "192.0.2.4", 60), ("AAAA", "2001:db8::6", 60)],
    "mail.test": [("MX", "nobody", 60)],  # it is there, without any address
    "fails.test": [("RCODE", 2, 0)],
    "refused.test": [("RCODE", 5, 0)],
    "silent.test": [("A", "silent", 0), ("AAAA", "silent", 0)],
    "x-_y.under_score.test": [("A", "192.0.2.4", 60)],
    "word": [("A", "192.0.2.4", 60)],
    "here.test": [("A", "127.0.0.1", 60)],
    "*.search.test": [("A", "192.0.2.4", 60)],
}

# A resolver by hand, as a program without a C library has it. What it prints is JSON.
RESOLVER = r"""
import json, os, socket, struct, sys
NAMES = {"A": 1, "PTR": 12, "MX": 15, "AAAA": 28, "SRV": 33, "HTTPS": 65, "AXFR": 252, "ANY": 255}
CODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}

def labels(name):
    return b"".join(bytes([len(p)]) + p.encode() for p in name.split(".") if p) + b"\0"

def query(name, kind="A", ident=7, opt=False):
    head = struct.pack(">HHHHHH", ident, 0x100, 1, 0, 0, 1 if opt else 0)
    return (head + labels(name) + struct.pack(">HH", NAMES[kind], 1)
            + (b"\0" + struct.pack(">HHIH", 41, 1232, 0, 0) if opt else b""))

def udp(server="192.0.2.53"):
    s = socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(30)
    s.connect((server, 53))  # what comes from elsewhere is not taken
    return s

def read(answer):
    code, answers = CODES[answer[3] & 15], struct.unpack(">H", answer[6:8])[0]
    at = 12
    while answer[at]:
        at += 1 + answer[at]
    rest = answer[at + 5:]
    if not answers:
        return code
    kind, size = struct.unpack(">H", rest[2:4])[0], struct.unpack(">H", rest[10:12])[0]
    data = rest[12:12 + size]
    if kind == 12:
        out = []
        while data[0]:
            out.append(data[1:1 + data[0]].decode())
            data = data[1 + data[0]:]
        return ".".join(out)
    return socket.inet_ntop(socket.AF_INET if size == 4 else socket.AF_INET6, data)

def ask(name, kind="A", server="192.0.2.53", opt=False):
    s = udp(server)
    s.send(query(name, kind, opt=opt))
    return read(s.recv(4096))

def frame(message):
    return struct.pack(">H", len(message)) + message

def exactly(s, n):
    got = b""
    while len(got) < n:
        more = s.recv(n - len(got))
        if not more:
            raise EOFError
        got += more
    return got

def tcp(server="192.0.2.53"):
    return socket.create_connection((server, 53), timeout=30)

def next_frame(s):
    return exactly(s, struct.unpack(">H", exactly(s, 2))[0])
"""


@pytest.fixture(scope="module")
def outside():
    dns = Dns(ZONE)
    yield dns
    dns.stop()


@pytest.fixture
def captured(outside):
    """Runs COMMAND: its output. OPTIONS: further keys; SEARCH: domains of a search list, which come first."""
    def run(*command, options=(), search="", status=0):
        keys = ["dns.servers=127.0.0.1:%d" % outside.port, "dns.timeout=2s", "dns.negative_ttl=1s", *options]
        flags = [x for key in keys for x in ("-o", key)]
        env = clean_env({"RES_OPTIONS": "ndots:5" if search else "", "LOCALDOMAIN": search})
        done = subprocess.run([binary(), *flags, "run", "--capture", "--", *command], env=env, capture_output=True,
                              text=True, timeout=60 * SLOW)
        assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
        assert REPORT.search(done.stderr) is None, done.stderr
        return done.stdout
    return run


@pytest.fixture
def resolver(captured):
    """Runs CODE behind the resolver by hand: the value that it prints."""
    def run(code, **how):
        return json.loads(captured(sys.executable, "-c", RESOLVER + code, **how))
    return run


def is_fake(address):
    return STANDS_FOR.fullmatch(address) is not None


def test_any_server_any_type(resolver):
    got = resolver("""
out = {x: ask("four.test", server=x) for x in ("8.8.8.8", "127.0.0.53", "127.0.0.1", "10.1.2.3", "2001:db8::53", "::1")}
out["types"] = [ask("four.test", x) for x in ("AAAA", "HTTPS", "MX", "SRV")]
out["any"] = ask("four.test", "ANY")
out["six"] = [ask("six.test"), ask("six.test", "AAAA")]
out["odd"] = [ask("x-_y.under_score.test"), ask("word"), ask("localhost"), ask("a.localhost", "AAAA"), ask("", "MX")]
out["transfer"] = ask("four.test", "AXFR")
print(json.dumps(out))""")
    servers = [got[x] for x in ("8.8.8.8", "127.0.0.53", "127.0.0.1", "10.1.2.3", "2001:db8::53", "::1", "any")]
    assert is_fake(servers[0]) and len(set(servers)) == 1, got
    assert got["types"] == ["NOERROR"] * 4
    assert is_fake(got["six"][0]) and got["six"][0] != servers[0] and got["six"][1] == "NOERROR"
    assert is_fake(got["odd"][0]) and is_fake(got["odd"][1])
    assert got["odd"][2:] == ["127.0.0.1", "::1", "NOERROR"]
    assert got["transfer"] == "REFUSED"


def test_as_outside(resolver, outside):
    """A name that has no address is not given one, and all types say the same."""
    got = resolver("""
out = {}
for name in ("none.test", "fails.test", "refused.test", "mail.test", "192.0.2.1", "silent.test"):
    out[name] = [ask(name), ask(name, "AAAA")]
print(json.dumps(out))""")
    assert got["none.test"] == ["NXDOMAIN"] * 2
    assert got["fails.test"] == got["refused.test"] == got["silent.test"] == ["SERVFAIL"] * 2
    assert got["mail.test"] == ["NOERROR"] * 2
    assert got["192.0.2.1"] == ["NXDOMAIN"] * 2
    assert outside.queries["none.test", "A"] > 0 and outside.queries["192.0.2.1", "A"] == 0


def test_names_that_no_server_has(resolver):
    """Where the configuration leads a name somewhere, it exists; a pattern alone names nothing."""
    options = ["connect_to=mapped.nowhere:443:127.0.0.1:9", "rule[exact.nowhere].http2=off",
               "rule[*.led.nowhere].connect_to=127.0.0.1:9", "rule[*.nowhere].http2=off"]
    got = resolver("""
print(json.dumps({x: ask(x + ".nowhere") for x in ("mapped", "exact", "a.led", "other", "exact.nowhere.exact")}))""",
                   options=options)
    assert is_fake(got["mapped"]) and is_fake(got["exact"]) and is_fake(got["a.led"])
    assert got["other"] == got["exact.nowhere.exact"] == "NXDOMAIN"


def test_a_search_list_is_applied_once(resolver, outside):
    """By who asks: the name whose address was connected to is not made another one by it, in a tunnel nor in Host."""
    got = resolver("""
out = []
for port, host in (443, "-"), (80, "here.test"), (80, "HERE.test"), (80, ""):
    s = socket.create_connection((ask("here.test"), port), timeout=30)
    try:
        s.sendall(b"GET / HTTP/1.0\\r\\n%s\\r\\n" % (b"Host: %s\\r\\n" % host.encode() if host else b""))
        out.append(b"".join(iter(lambda: s.recv(4096), b""))[9:12].decode())
    except ConnectionResetError:
        out.append("reset")
print(json.dumps(out))""", options=["destination.allow=127.0.0.1"], search="search.test")
    assert got == ["reset", "502", "502", "502"]
    assert outside.queries["here.test", "A"] > 0 and outside.queries["here.test.search.test", "A"] == 0


def test_denied_name_has_an_address(resolver):
    """What refuses it is the 403, which says why."""
    assert is_fake(resolver('print(json.dumps(ask("four.test")))', options=["destination.deny_hosts=four.test"]))


def test_reverse(resolver):
    got = resolver("""
def back(ip): return ".".join(reversed(ip.split("."))) + ".in-addr.arpa"
a = ask("BOTH.test")
print(json.dumps([ask(back(a), "PTR"), ask(back("198.19.255.254"), "PTR"), ask(back("8.8.8.8"), "PTR"),
                  ask("1.0.0.0.ip6.arpa", "PTR"), socket.gethostbyaddr(a)[0], socket.getfqdn(a)]))""")
    assert got == ["both.test", "NXDOMAIN", "NXDOMAIN", "NXDOMAIN", "both.test", "both.test"]


def test_octets(resolver):
    """The question comes back as it was written, in mixed case too; EDNS is answered by EDNS; an id is kept."""
    got = resolver("""
s = udp()
out = []
for name, opt in (("fOuR.TeSt", False), ("FouR.tEst", True)):
    q = query(name, opt=opt, ident=0xbeef)
    s.send(q)
    a = s.recv(4096)
    size = len(labels(name)) + 4
    out.append([a[:2] == q[:2], a[12:12 + size] == q[12:12 + size], a[11], a[2] & 0x87, a[3] & 0x80, read(a)])
print(json.dumps(out))""")
    assert got[0][:5] == [True, True, 0, 0x81, 0x80] and got[1][:5] == [True, True, 1, 0x81, 0x80]
    assert is_fake(got[0][5]) and got[0][5] == got[1][5]


def test_two_servers_at_once(resolver):
    """As musl does it: both types to all servers from one socket; what counts is from whom an answer comes."""
    got = resolver("""
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(30)
servers = ("192.0.2.1", "198.51.100.1")
for name in ("both.test", "none.test"):
    for ident, kind in ((1, "A"), (2, "AAAA")):
        for server in servers:
            s.sendto(query(name, kind, ident + (2 if name == "none.test" else 0)), (server, 53))
out = []
for _ in range(8):
    a, peer = s.recvfrom(4096)
    out.append([peer[0], a[1], read(a)])
print(json.dumps(sorted(out)))""")
    assert [x[:2] for x in got] == [[s, i] for s in ("192.0.2.1", "198.51.100.1") for i in (1, 2, 3, 4)]
    for i in (0, 4):
        assert is_fake(got[i][2]) and [x[2] for x in got[i + 1:i + 4]] == ["NOERROR", "NXDOMAIN", "NXDOMAIN"]


def test_tcp(resolver):
    """Many queries on a connection, also while one waits for the servers outside; pieces; an end of their side."""
    got = resolver("""
s = tcp("2001:db8::53")
names = ["silent.test"] + ["four.test"] * 20
stream = b"".join(frame(query(n, ident=i)) for i, n in enumerate(names))
s.sendall(stream[:50])
for i in range(50, 90):
    s.sendall(stream[i:i + 1])
s.sendall(stream[90:])
s.shutdown(socket.SHUT_WR)
out = []
for _ in names:
    a = next_frame(s)
    out.append([a[1], read(a)])
print(json.dumps([out, s.recv(1) == b""]))""")
    answers, has_ended = got
    assert has_ended and answers[-1] == [0, "SERVFAIL"]
    assert [x[0] for x in answers[:-1]] == list(range(1, 21))
    assert len({x[1] for x in answers[:-1]}) == 1 and is_fake(answers[0][1])


def test_garbage(resolver):
    """Nothing that is sent keeps others from being answered."""
    got = resolver("""
s = udp()
for i in range(3000):
    s.send(os.urandom(i % 200))
    if i % 500 == 0:
        s.send(b"\\xff" * 60000)
for i in range(80):  # more than are kept
    c = tcp()
    c.sendall(os.urandom(300))
slow = [tcp() for _ in range(10)]
for c in slow:
    c.sendall(b"\\0")
s = udp()
s.send(query("four.test"))
first = read(s.recv(4096))
c = tcp()
c.sendall(frame(query("four.test", "AAAA")))
print(json.dumps([first, read(next_frame(c))]))""")
    assert is_fake(got[0]) and got[1] == "NOERROR"


def test_c_library(captured):
    """Both families are asked at once, or one alone; search lists are its own affair."""
    code = """
import json, socket
def look(name, family=0, flags=0):
    try:
        return sorted({x[4][0] for x in socket.getaddrinfo(name, 80, family, socket.SOCK_STREAM, 0, flags)})
    except socket.gaierror as e:
        return {socket.EAI_NONAME: "none", socket.EAI_AGAIN: "again", socket.EAI_NODATA: "none"}[e.errno]
print(json.dumps([look("both.test"), look("six.test"), look("none.test"), look("fails.test"), look("word."),
                  look("both.test", socket.AF_INET), look("localhost", socket.AF_INET)]))"""
    got = json.loads(captured(sys.executable, "-c", code))
    assert is_fake(got[0][0]) and len(got[0]) == 1 and is_fake(got[1][0]) and len(got[1]) == 1
    assert got[2:4] == ["none", "again"] and is_fake(got[4][0])
    assert got[5] == got[0] and got[6] == ["127.0.0.1"]


def test_address_configured(captured):
    """glibc asks for IPv4 addresses with AI_ADDRCONFIG only where the machine has one beside 127.0.0.1, and takes
    literals of IPv6 only where it has not IPv4 alone."""
    code = """
import socket
for name, family in (("four.test", socket.AF_INET), ("four.test", 0), ("2001:db8::7", 0), ("192.0.2.7", 0)):
    print(socket.getaddrinfo(name, 80, family, socket.SOCK_STREAM, 0, socket.AI_ADDRCONFIG)[0][4][0])"""
    got = captured(sys.executable, "-c", code).split()
    assert is_fake(got[0]) and got[1:] == [got[0], "2001:db8::7", "192.0.2.7"]


@pytest.mark.skipif(shutil.which("dig") is None, reason="there is no dig")
def test_dig(captured):
    def dig(*words):
        return captured("dig", "+tries=1", "+time=20", *words)
    assert is_fake(dig("+short", "@192.0.2.1", "four.test").strip())
    assert is_fake(dig("+short", "+tcp", "@2001:db8::1", "FOUR.test").strip())
    text = dig("@192.0.2.1", "four.test", "HTTPS")
    assert "status: NOERROR" in text and "ANSWER: 0, AUTHORITY: 1" in text and "SOA" in text
    for word in ("warn", "WARN", "mismatch", "extra bytes", "malformed"):
        assert word not in text.replace("+warn", ""), text
    assert "status: NXDOMAIN" in dig("@192.0.2.1", "none.test")
    assert "status: REFUSED" in dig("@192.0.2.1", "CH", "TXT", "version.bind")
    assert "status: NOTIMP" in dig("+opcode=NOTIFY", "@192.0.2.1", "four.test", "SOA")
    assert "BADVERS" in dig("+edns=1", "+noednsneg", "@192.0.2.1", "four.test")


@pytest.mark.skipif(shutil.which("busybox") is None, reason="there is no busybox")
def test_busybox(captured):
    text = captured("busybox", "nslookup", "four.test", "192.0.2.1")
    assert STANDS_FOR.search(text), text
    text = captured("busybox", "nslookup", "none.test", "192.0.2.1", status=1)
    assert "NXDOMAIN" in text, text


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node")
def test_c_ares(captured):
    """Node's dns.resolve is c-ares."""
    code = """
const { Resolver } = require('dns').promises
const r = new Resolver()
r.setServers(['192.0.2.1', '[2001:db8::1]'])
const code = p => p.then(x => x, e => e.code)
Promise.all([r.resolve4('both.test'), code(r.resolve6('both.test')), code(r.resolve4('none.test')),
             code(r.resolveMx('both.test'))]).then(x => console.log(JSON.stringify(x)))"""
    got = json.loads(captured("node", "-e", code))
    assert is_fake(got[0][0]) and got[1:] == ["ENODATA", "ENOTFOUND", "ENODATA"]


def test_many_at_once(resolver):
    """200 names from 200 sockets: each its own address."""
    got = resolver("""
names = ["n%d.led.nowhere" % i for i in range(200)]
socks = [udp() for _ in names]
for s, n in zip(socks, names):
    s.send(query(n))
print(json.dumps([read(s.recv(4096)) for s in socks]))""", options=["rule[*.led.nowhere].connect_to=127.0.0.1:9"])
    assert all(map(is_fake, got)) and len(set(got)) == 200
