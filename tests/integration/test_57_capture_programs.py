# SPDX-License-Identifier: Apache-2.0
"""tlsfan run --capture: real programs that know no proxy ask for http:// URLs, and the origin sees verified TLS."""
import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading

import pytest

from test_06_clients import python2
from test_07_founding import FAN10, PYTHON, seconds
from testenv import SANITIZED, SOON
from testenv.captured import ADDRESS, ADDRESS6, Captured, Outside, why_not
from testenv.java import JAVA_NEW, JAVA_OLD
from testenv.proxy import ROOT, binary
from testenv.scripted import Server, ok
from testenv.wait import wait_until

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

URL = "http://origin.test/page?n=1"
PAGE = "the page, read\n"
DRIVER = os.path.join(ROOT, "tests", "integration", "driver")
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Site:
    """What the origin does: pages, one that takes a while and counts how many are under way, a WebSocket."""

    def __init__(self):
        self.lock, self.never = threading.Lock(), threading.Event()
        self.now = self.most = 0

    def handle(self, conn):
        while True:
            request = conn.read_request()
            if request is None:
                return
            if request.get("Upgrade", "").lower() == "websocket":
                return self.talk(conn, request)
            conn.send(self.answer(request))
            if request.get("Connection", "").lower() == "close":
                return

    def answer(self, request):
        if request.target == "/first":
            return ok(PAGE, "Link: <https://other.test/next>; rel=next")
        took = re.match(r"/takes/([0-9.]+)", request.target)
        if took is None:
            return ok(PAGE, "Content-Type: text/plain")
        with self.lock:
            self.now, self.most = self.now + 1, max(self.most, self.now + 1)
        self.never.wait(float(took.group(1)))
        with self.lock:
            self.now -= 1
        return ok(request.target)

    @staticmethod
    def talk(conn, request):
        digest = hashlib.sha1((request.get("Sec-WebSocket-Key") + GUID).encode()).digest()
        conn.send(("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                   "Sec-WebSocket-Accept: %s\r\n\r\nHELLO" % base64.b64encode(digest).decode()).encode())
        data = conn.recv()
        while data:
            conn.send(data.upper())
            data = conn.recv()


@pytest.fixture(scope="module")
def site():
    return Site()


@pytest.fixture(scope="module")
def outside(ca, site):
    o = Outside(ca, site.handle)
    yield o
    o.stop()


@pytest.fixture
def captured(outside, site):
    outside.forget()
    site.most = 0
    c = Captured(outside)
    yield c
    c.close()


def need(*programs):
    for name in programs:
        if shutil.which(name) is None:
            pytest.skip("no %s here" % name)


def check_asked(outside, host="origin.test", target="/page?n=1", count=1):
    """COUNT requests have come to the origin, through tlsfan, which has read them, and for HOST."""
    asked = [r for r in outside.server.requests if r.target == target]
    assert len(asked) == count, outside.server.requests
    assert all("tlsfan" in (r.get("Via") or "") and r.get("Host") == host for r in asked), asked[0].head
    conn = outside.server.last_asked()
    assert conn.sni == (host if host == "origin.test" else None)


# --- a program of each kind

PY2_URLLIB = "import urllib2, sys; sys.stdout.write(urllib2.urlopen('%s', timeout=60).read())" % URL
PY3_URLLIB = "import urllib.request as u; print(u.urlopen('%s', timeout=60).read().decode(), end='')" % URL
REQUESTS = "import requests, sys; sys.stdout.write(requests.get('%s', timeout=60).text)" % URL
SOCKETS = """
import socket, sys
s = socket.create_connection(("origin.test", 80), 60)
s.sendall(b"GET /page?n=1 HTTP/1.1\\r\\nHost: origin.test\\r\\nConnection: close\\r\\n\\r\\n")
text = b"".join(iter(lambda: s.recv(100), b""))
sys.stdout.write(text.split(b"\\r\\n\\r\\n", 1)[1].decode("ascii"))
"""
LWP = "use LWP::UserAgent; my $r = LWP::UserAgent->new->get('%s'); die $r->as_string unless $r->is_success; " \
      "print $r->content" % URL
RUBY = "require 'net/http'; print Net::HTTP.get(URI('%s'))" % URL
NODE = "require('http').get('%s', r => r.pipe(process.stdout))" % URL
PHP = "echo file_get_contents('%s');" % URL


@pytest.mark.parametrize("command", [
    ("curl", "-sS", "--noproxy", "*", URL),
    ("wget", "-q", "--no-proxy", "-O", "-", URL),
    ("busybox", "wget", "-q", "-Y", "off", "-O", "-", URL),
    ("python3", "-c", PY3_URLLIB),
    ("python3", "-c", REQUESTS),
    ("python3", "-c", SOCKETS),
    ("perl", "-e", LWP),
    ("ruby", "-e", RUBY),
    ("node", "-e", NODE),
    ("php", "-r", PHP),
], ids=["curl", "wget", "busybox", "urllib", "requests", "sockets", "lwp", "ruby", "node", "php"])
def test_programs(captured, outside, command):
    """Each without a word about a proxy: the variables that were there for one are gone."""
    need(command[0])
    if command[0] == "python3":
        command = (PYTHON, *command[1:])
        if "import requests" in command[2] and subprocess.run([PYTHON, "-c", "import requests"],
                                                              capture_output=True).returncode != 0:
            pytest.skip("no Python module requests here")
    if command[0] == "perl" and subprocess.run(["perl", "-MLWP", "-e", "1"], capture_output=True).returncode != 0:
        pytest.skip("no LWP here")
    done = captured.run(*command)
    assert done.stdout == PAGE, done.stderr
    check_asked(outside)


@pytest.mark.parametrize("code", [PY2_URLLIB, SOCKETS], ids=["urllib2", "sockets"])
def test_python27(captured, outside, code):
    python = python2()
    if python is None:
        pytest.skip("no Python 2.7 here")
    assert captured.run(python, "-c", code).stdout == PAGE
    check_asked(outside)


@pytest.mark.parametrize("source", [JAVA_OLD, JAVA_NEW], ids=["HttpURLConnection", "java.net.http"])
def test_java(captured, outside, source):
    """The newer one asks for HTTP/2 by Upgrade, which it is not given."""
    need("java")
    captured.write("Fetch.java", source)
    assert captured.run("java", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "Fetch.java", URL).stdout == PAGE
    check_asked(outside)


GO = """
package main
import ("io"; "net/http"; "os")
func main() { r, err := http.Get(os.Args[1]); if err != nil { panic(err) }; io.Copy(os.Stdout, r.Body) }
"""


def test_go(captured, outside):
    """With the resolver of its own, which sends its queries itself."""
    need("go")
    captured.write("fetch.go", GO)
    built = subprocess.run(["go", "build", "-o", "fetch", "fetch.go"], cwd=captured.dir, capture_output=True)
    assert built.returncode == 0, built.stderr
    assert captured.run(captured.path("fetch"), URL, env={"GODEBUG": "netdns=go"}).stdout == PAGE
    check_asked(outside)


# --- a static binary

@pytest.fixture(scope="module")
def proxyless(tmp):
    out = str(tmp / "proxyless")
    done = subprocess.run(["cc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-static", "-o", out,
                           os.path.join(DRIVER, "proxyless.c")], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip("no static program can be built here: " + done.stderr[-500:])
    return out


@pytest.mark.parametrize("arguments, host", [
    ((ADDRESS, "80", "/page?n=1", "origin.test"), "origin.test"),
    ((ADDRESS, "80", "/page?n=1"), ADDRESS),
    ((ADDRESS6, "80", "/page?n=1", "origin.test"), "origin.test"),
    ((ADDRESS6, "80", "/page?n=1"), "[%s]" % ADDRESS6),
    ((ADDRESS6, "80", "/page?n=1", "[%s]" % ADDRESS6), "[%s]" % ADDRESS6),
    (("@origin.test", "80", "/page?n=1", "origin.test"), "origin.test"),
    (("@origin.test", "80", "/page?n=1"), "origin.test"),
], ids=["v4", "v4-http10", "v6", "v6-http10", "v6-host", "resolver", "resolver-http10"])
def test_static_binary(captured, outside, proxyless, arguments, host):
    """Certificates count for what was asked for: the name in Host, or the address, or the name it stands for."""
    out = captured.run(proxyless, *arguments).stdout
    assert out.startswith("HTTP/1.1 200 ") and out.endswith("\n\n" + PAGE), out
    check_asked(outside, host)


def test_host_is_the_address_that_stands_for_a_name(captured, outside):
    """As of a program that resolves first and forgets the name."""
    out = captured.python("""
import http.client, socket
address = socket.gethostbyname("origin.test")
assert address.startswith(("198.18.", "198.19.")), address
c = http.client.HTTPConnection(address, timeout=60)
c.request("GET", "/page?n=1")
r = c.getresponse()
print(r.status, r.read().decode(), end="")
""")
    assert out == "200 " + PAGE
    check_asked(outside)


HALF = """
import re, socket, sys, time
def ask(requests, late=0):
    s = socket.create_connection(("origin.test", 80), 60)
    s.sendall(b"".join(requests))
    time.sleep(late)
    s.shutdown(socket.SHUT_WR)
    got = b"".join(iter(lambda: s.recv(65536), b"")).decode()
    print(",".join(re.findall("/takes/[0-9.]+[?]n=([0-9]+)", got)))
text = "GET /takes/%s?n=%d HTTP/1.%d\\r\\nHost: origin.test\\r\\n\\r\\n"
ask([(text % ("0.3", n, 1)).encode() for n in range(4)])
ask([(text % ("1.5", n, 1)).encode() for n in range(2)])
ask([(text % ("0.3", 7, 0)).encode()])
ask([(text % ("60", 8, 1)).encode()], late=float(sys.argv[1]))
"""


def test_end_behind_a_request(captured):
    """As of printf | nc, which servers answer, also where more is asked than is read at once. Who ends later leaves."""
    options = ["client.max_pipeline=2"]
    assert captured.python(HALF, "1", options=options).split("\n") == ["0,1,2,3", "0,1", "7", "", ""]


# --- https:// URLs

def test_https_is_a_tunnel(captured, outside):
    """The program verifies the origin itself, and nobody reads what it says."""
    need("curl")
    root = outside.ca.root
    out = captured.run("curl", "-sS", "--noproxy", "*", "--cacert", root, "-w", "%{ssl_verify_result}",
                       "https://origin.test/page?n=1").stdout
    assert out == PAGE + "0"
    assert [r.get("Via") for r in outside.server.requests] == [None]
    captured.run("curl", "-sS", "--noproxy", "*", "https://origin.test/", status=60)  # who does not know the CA


def test_access_log(captured):
    """Who asks is COMMAND, not the address that it comes from, which is the one that it connects to."""
    need("curl")
    captured.run("curl", "-sSk", "--noproxy", "*", URL, "https://origin.test/", "http://%s/" % ADDRESS,
                 options=["log.access=" + captured.path("log")])
    with open(captured.path("log")) as f:
        lines = [json.loads(line) for line in f]
    assert [x["client"] for x in lines] == ["command"] * 3, lines
    urls = ["http://%s/" % ADDRESS, URL.split("?")[0], "origin.test:443"]
    assert sorted(x["url"].split("?")[0] for x in lines) == urls, lines


def test_https_by_address(captured, outside):
    need("curl")
    out = captured.run("curl", "-sSg", "--noproxy", "*", "--cacert", outside.ca.root, "https://%s/a" % ADDRESS,
                       "https://[%s]/b" % ADDRESS6).stdout
    assert out == PAGE * 2 and [r.get("Via") for r in outside.server.requests] == [None] * 2


def test_with_intercept(captured, outside):
    """Port 443 is read, too, and http:// as ever."""
    need("curl")
    done = captured.run("curl", "-sS", "--noproxy", "*", "-v", "https://origin.test/page?n=1", URL,
                        how=["--intercept"], env={"SSL_CERT_FILE": outside.ca.root})
    assert done.stdout == PAGE * 2 and "CN=tlsfan CA " in done.stderr.replace("= ", "="), done.stderr
    check_asked(outside, count=2)


def test_with_intercept_of_other_hosts(captured, outside):
    need("curl")
    out = captured.run("curl", "-sS", "--noproxy", "*", "--cacert", outside.ca.root, "https://origin.test/page?n=1",
                       how=["--intercept=elsewhere.test"]).stdout
    assert out == PAGE and [r.get("Via") for r in outside.server.requests] == [None]


def test_with_read_ahead(captured, outside):
    out = captured.python("""
import urllib.request
for n in range(1, 13):
    print(urllib.request.urlopen("http://origin.test/takes/0.05?page=%d" % n, timeout=60).read().decode())
""", how=["--read-ahead=4"])
    assert out.split() == ["/takes/0.05?page=%d" % n for n in range(1, 13)]
    assert any(r.get("Sec-Purpose") == "prefetch" for r in outside.server.requests)


def test_read_ahead_of_another_host(captured, outside):
    """COMMAND is one client, whatever addresses it connects to and so comes from."""
    out = captured.python("""
import urllib.request
for url in "http://origin.test/first", "http://other.test/next":
    print(urllib.request.urlopen(url, timeout=60).read().decode(), end="")
""", how=["--read-ahead=4"], options=["workers=4"])
    asked = [r for r in outside.server.requests if r.target == "/next"]
    assert out == PAGE * 2 and len(asked) == 1 and asked[0].get("Sec-Purpose") == "prefetch", asked


# --- many at once

def fast_enough(measure, limit, what):
    """MEASURE() gives seconds: one of a few tries is below LIMIT; where others use the processors, below SOON / 2."""
    took = []

    def is_fast():
        is_calm = os.getloadavg()[0] <= os.cpu_count() and not SANITIZED
        return took and min(took) < (limit if is_calm else SOON / 2)
    while len(took) < 5 and not is_fast():
        took.append(measure())
    print("%s: %s s" % (what, ", ".join("%.2f" % x for x in took)))
    assert is_fast()


PIPELINE = """
import socket, time
s = socket.create_connection(("origin.test", 80), 60)
began = time.time()
text = "GET /takes/0.1?n=%d HTTP/1.1\\r\\nHost: origin.test\\r\\nConnection: %s\\r\\n\\r\\n"
s.sendall("".join(text % (n, "close" if n == 99 else "keep-alive") for n in range(100)).encode())
got = b"".join(iter(lambda: s.recv(65536), b"")).decode()
bodies = [part.split("HTTP/1.1 ")[0] for part in got.split("\\r\\n\\r\\n")[1:]]
assert bodies == ["/takes/0.1?n=%d" % n for n in range(100)], bodies
print(time.time() - began)
"""


@pytest.mark.bench
def test_pipelining_fans_out(captured, site):
    fast_enough(lambda: float(captured.python(PIPELINE)), 1.0, "100 pages of 0.1 s on one captured connection")
    assert site.most > 20


def test_200_connections_at_once(captured, site, outside):
    out = captured.python("""
import socket
all = [socket.create_connection(("origin.test", 80), 60) for _ in range(200)]
for n, s in enumerate(all):
    s.sendall(b"GET /takes/0.5?n=%d HTTP/1.1\\r\\nHost: origin.test\\r\\nConnection: close\\r\\n\\r\\n" % n)
good = 0
for n, s in enumerate(all):
    good += b"".join(iter(lambda: s.recv(65536), b"")).endswith(b"\\r\\n\\r\\n/takes/0.5?n=%d" % n)
print(good)
""")
    assert out == "200\n" and site.most > 20 and len(outside.server.requests) == 200


@pytest.mark.bench
def test_founding_experiment(captured, site, outside):
    """gevent, http:// URLs, and not a word about a proxy anywhere."""
    if subprocess.run([PYTHON, "-c", "import gevent, requests, OpenSSL"], capture_output=True).returncode != 0:
        pytest.skip("no gevent, requests or pyOpenSSL here")

    def measure():
        return seconds(captured.run(PYTHON, FAN10, "http://origin.test/takes/1.0").stdout.split(" in ")[1])
    fast_enough(measure, 1.2, "ten pages of a second by gevent, captured")
    assert site.most == 10


# --- what else programs do

WEBSOCKET = """
import base64, socket, sys
s = socket.create_connection(("origin.test", 80), 60)
s.sendall(b"GET /ws HTTP/1.1\\r\\nHost: origin.test\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n"
          b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\\r\\nSec-WebSocket-Version: 13\\r\\n\\r\\n")
got = b""
while not got.endswith(b"HELLO"):
    got += s.recv(1)
s.sendall(b"ping \\x00\\x01")
while not got.endswith(b"PING \\x00\\x01"):
    got += s.recv(1)
print(got.split(b"\\r\\n")[0].decode())
"""


def test_websocket(captured, outside):
    assert captured.python(WEBSOCKET).startswith("HTTP/1.1 101 ")
    wait_until(lambda: not outside.server.conns[-1].sock.fileno() >= 0, what="the tunnel to end")
    check_asked(outside, target="/ws")


OWN_SERVERS = """
import os, socket, sys
def serve(family, address):
    s = socket.socket(family)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(address)
    s.listen()
    if os.fork() == 0:
        c, peer = s.accept()
        c.sendall(b"got " + c.recv(100))
        os._exit(0)
    s.close()
    c = socket.socket(family)
    c.connect(address)
    c.sendall(b"it")
    return c.recv(100).decode()
print(serve(socket.AF_INET, ("127.0.0.1", 8080)), serve(socket.AF_INET6, ("::1", 8080)),
      serve(socket.AF_INET, ("127.0.0.2", 9000)), serve(socket.AF_UNIX, sys.argv[1]))
"""


def test_servers_of_its_own(captured, outside):
    """Loopback is the program's, forked servers and all, and so are paths of Unix sockets."""
    assert captured.python(OWN_SERVERS, captured.path("socket")) == " ".join(["got it"] * 4) + "\n"
    assert outside.server.requests == []


BATCH = """
import json, sys, urllib.request
fields = {"Content-Type": "text/plain", "Accept": "application/x-ndjson"}
urls = "\\n".join("http://origin.test/takes/0.05?n=%d" % n for n in range(20)).encode()
for line in urllib.request.urlopen(urllib.request.Request(sys.argv[1], urls, fields), timeout=60):
    item = json.loads(line.decode())
    assert item["status"] == 200 and item["body"] == "/takes/0.05?n=%d" % item["index"], item
    print(item["index"])
"""


@pytest.mark.parametrize("name", ["tlsfan.localhost", "tlsfan.internal"])
def test_batch_call(captured, site, name):
    """By the name that leads to loopback wherever it is resolved, and by the one that only tlsfan resolves."""
    assert captured.python(BATCH, "http://%s/batch" % name).split() == [str(n) for n in range(20)] and site.most > 5


def test_nested(captured, outside):
    """A captured tlsfan captures its own command, and reaches the origin through the tunnel of the outer one."""
    inner = [binary(), "-o", "tls.ca_file=" + outside.ca.root, "run"]
    for line in (inner, [*inner, "--capture"]):
        done = captured.run(*line, "--", PYTHON, "-c", PY3_URLLIB)
        assert done.stdout == PAGE, done.stderr
        check_asked(outside)


def test_more_ports(captured, outside, ca):
    """8080 is read as plain HTTP as well, and stays 8080 outside."""
    need("curl")
    to = "connect_to=origin.test:8080:127.0.0.1:%d" % outside.server.port
    out = captured.run("curl", "-sS", "--noproxy", "*", "http://origin.test:8080/page?n=1",
                       options=[to, "capture.http=80", "capture.http=8080"]).stdout
    assert out == PAGE
    check_asked_port, = [r.get("Host") for r in outside.server.requests]
    assert check_asked_port == "origin.test:8080"


@pytest.mark.parametrize("kind, says", [("expired", "expired"), ("wrong_host", "elsewhere.test"),
                                        ("self_signed", "self-signed")])
def test_bad_certificate(captured, ca, kind, says):
    """A program that knows no proxy reads why in the answer that it gets."""
    need("curl")
    server = Server(lambda conn: conn.hang(), ca.server_context(kind))
    try:
        done = captured.run("curl", "-sS", "--noproxy", "*", "-i", "http://origin.test/", options=[
            "dns.ttl_max=60s", "rule[origin.test].connect_to=127.0.0.1:%d" % server.port])
    finally:
        server.stop()
    head, body = done.stdout.split("\n\n")
    assert head.startswith("HTTP/1.1 502 ") and "error=tls_certificate_error" in head, head
    assert says in body and "origin.test" in body, body
    assert server.conns and all(not c.requests for c in server.conns)
