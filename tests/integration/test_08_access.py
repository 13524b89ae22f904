# SPDX-License-Identifier: Apache-2.0
"""Who may come and where they may go: networks, passwords, destinations judged on the resolved address, loops."""
import base64
import os
import re
import select
import signal
import socket
import stat
import subprocess
import sys
import time

import pytest

from testenv.client import Client
from testenv.dns import Dns
from testenv.ports import free_port
from testenv.scripted import answering, ok
from testenv.wait import can_connect, wait_until


def basic(user, password):
    return "Proxy-Authorization: Basic " + base64.b64encode(("%s:%s" % (user, password)).encode()).decode()


def outer_address():
    """An IPv4 address of this machine that is not on loopback, or None."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.connect(("192.0.2.1", 9))
            address = s.getsockname()[0]
        except OSError:
            return None
    return None if address.startswith("127.") else address


def client_from(address, port, to="127.0.0.1"):
    c = Client.__new__(Client)
    c.sock = socket.create_connection((to, port), 10, source_address=(address, 0))
    c.buf = b""
    return c


# --- clients

def test_client_networks(make_proxy, origin):
    p = make_proxy('client { allow = {"127.0.0.2/31", "192.0.2.0/24"} }\n')
    for source, status in (("127.0.0.1", 403), ("127.0.0.2", 200), ("127.0.0.3", 200), ("127.0.0.4", 403)):
        with client_from(source, p.port) as c:
            r = c.get(origin.url("/" + source))
            assert r.status == status, (source, r)
            if status == 403:
                assert r.error == "http_request_denied" and "client.allow" in r.text
    assert [r.target for r in origin.requests] == ["/127.0.0.2", "/127.0.0.3"]


def test_connect_is_refused_to_strangers_too(make_proxy, origin):
    p = make_proxy('client { allow = {"10.0.0.0/8"} }\n')
    with p.client() as c:
        c.send("CONNECT localhost:443 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert c.response().status == 403


@pytest.fixture(scope="module")
def htpasswd(tmp):
    path = tmp / "htpasswd"
    try:
        bcrypt = subprocess.run(["htpasswd", "-nbB", "-C", "5", "alice", "wonder"], check=True, capture_output=True,
                                text=True).stdout.strip()
    except OSError:
        pytest.skip("htpasswd is not on this machine")
    sha512 = subprocess.run(["openssl", "passwd", "-6", "builder"], check=True, capture_output=True,
                            text=True).stdout.strip()
    sha256 = subprocess.run(["openssl", "passwd", "-5", "pass:word"], check=True, capture_output=True,
                            text=True).stdout.strip()
    path.write_text("# users\n%s\nbob:%s\ncarol:%s\n" % (bcrypt, sha512, sha256))
    return str(path)


def test_passwords(make_proxy, origin, htpasswd):
    p = make_proxy('client { auth_file = "%s" }\n' % htpasswd)
    with p.client() as c:
        for fields in ([], [basic("alice", "wrong")], [basic("nobody", "wonder")], [basic("bob", "wonder")],
                       ["Proxy-Authorization: Basic !!!"], ["Proxy-Authorization: Bearer abc"],
                       ["Proxy-Authorization: Basic"],
                       [basic("alice", "")], ["Authorization" + basic("alice", "wonder")[len("Proxy-Authorization"):]]):
            r = c.get(origin.url(), *fields)
            assert r.status == 407 and r.error == "http_request_denied", (fields, r)
            assert r.get("Proxy-Authenticate", "").startswith("Basic realm=")
        assert origin.requests == []
        for fields in ([basic("alice", "wonder")], [basic("bob", "builder")], [basic("carol", "pass:word")],
                       [basic("alice", "wonder").replace("Basic", "basic")]):
            assert c.get(origin.url(), *fields).status == 200
            assert origin.requests[-1].get("Proxy-Authorization") is None
        c.send("CONNECT localhost:443 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert c.response().status == 407
    for line in p.wait_access(lambda x: True, 4):
        assert "wonder" not in str(line) and "YWxpY2U" not in str(line)
    assert "wonder" not in p.log()


def test_pipelined_logins_keep_their_order(make_proxy, origin, htpasswd):
    p = make_proxy('client { auth_file = "%s" }\n' % htpasswd)
    with p.client() as c:
        for i in range(6):
            c.request("GET", origin.url("/%d" % i), basic("bob", "builder" if i % 2 else "no%d" % i))
        assert [c.response().status for _ in range(6)] == [407, 200] * 3


# --- wrong passwords do not keep right ones out

ONE_ORIGIN = pytest.mark.h1_only("credentials are judged before an origin is thought of")


def hashed(name, password, cost=10):
    """A line of a password file whose check takes some 50 ms."""
    try:
        return subprocess.run(["htpasswd", "-nbB", "-C", str(cost), name, password], check=True, capture_output=True,
                              text=True).stdout.strip() + "\n"
    except OSError:
        pytest.skip("htpasswd is not on this machine")


class Door:
    """Where credentials are asked for: a proxy listener, or the service listener."""

    def __init__(self, kind, proxy, origin):
        self.is_service = kind == "service"
        self.wrong_status = 401 if self.is_service else 407
        self.port = proxy.service_port if self.is_service else proxy.port
        self.url = origin.url()

    def knock(self, client, user, password):
        field = basic(user, password)
        if self.is_service:
            client.request("GET", "/status", field[len("Proxy-"):], host="127.0.0.1:%d" % self.port)
        else:
            client.request("GET", self.url, field)

    def try_wrong(self, count, address="127.0.0.2"):
        """COUNT connections from ADDRESS, a wrong password each, no two the same."""
        made = []
        for i in range(count):
            made.append(client_from(address, self.port))
            self.knock(made[-1], "slow", "wrong %d" % i)
        return made

    def right(self, password="right", user="slow", address="127.0.0.3"):
        with client_from(address, self.port) as c:
            self.knock(c, user, password)
            return c.response()


def answered(clients):
    """How many of them have an answer."""
    poll = select.poll()
    for c in clients:
        poll.register(c.sock, select.POLLIN)
    return len(poll.poll(0))


def close_all(clients):
    for c in clients:
        c.close()


@pytest.fixture
def slow_users(tmp):
    path = tmp / ("slow%d" % len(os.listdir(str(tmp))))
    path.write_text(hashed("slow", "right"))
    return path


@pytest.fixture(params=["proxy", "service"])
def door(request, make_proxy, origin, slow_users):
    p = make_proxy('workers = 1\nclient { auth_file = "%s" allow = {"127.0.0.0/8"} }\n' % slow_users, service=True)
    made = Door(request.param, p, origin)
    made.proxy = p
    return made


@ONE_ORIGIN
def test_addresses_take_turns(door):
    many = door.try_wrong(100)
    wait_until(lambda: answered(many) > 0, 20)
    before = answered(many)
    assert door.right().status == 200
    after = answered(many)
    close_all(many)
    assert after - before < 20, "%d wrong ones were checked before a right one" % (after - before)


def cpu_ticks(p):
    """Processor time, of which other programs take none."""
    with open("/proc/%d/stat" % p.pid) as f:
        fields = f.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def ticks_of_ten_checks(door):
    begun = cpu_ticks(door.proxy)
    for i in range(10):
        assert door.right("sober %d" % i).status == door.wrong_status
    return cpu_ticks(door.proxy) - begun


@ONE_ORIGIN
def test_verified_passwords_are_remembered(door):
    ten = ticks_of_ten_checks(door)
    begun = cpu_ticks(door.proxy)
    for _ in range(200):
        assert door.right().status == 200
    spent = cpu_ticks(door.proxy) - begun
    assert spent < 6 * ten, "%d ticks, and 10 checks take %d" % (spent, ten)
    assert door.right("right2").status == door.wrong_status


@ONE_ORIGIN
def test_who_has_left_is_not_checked(door):
    ten = ticks_of_ten_checks(door)
    begun = cpu_ticks(door.proxy)
    close_all(door.try_wrong(200))
    assert door.right(address="127.0.0.2").status == 200
    spent = cpu_ticks(door.proxy) - begun
    assert spent < 6 * ten, "%d ticks, and 10 checks take %d" % (spent, ten)


@ONE_ORIGIN
def test_a_call_that_waits_for_its_check_is_not_slow(make_proxy, origin, slow_users):
    """client.body_timeout is the caller's pauses, not ours."""
    p = make_proxy('client { auth_file = "%s" allow = {"127.0.0.0/8"} body_timeout = 300ms }\n' % slow_users,
                   service=True)
    many = Door("service", p, origin).try_wrong(20, "127.0.0.3")
    body = origin.url().encode()
    with client_from("127.0.0.3", p.service_port) as c:
        c.sock.settimeout(60)
        c.send("POST /batch HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n"
               "%s\r\n\r\n%s" % (len(body), basic("slow", "right")[len("Proxy-"):], body.decode()))
        assert c.response().status == 200
    close_all(many)


@ONE_ORIGIN
@pytest.mark.parametrize("door", ["proxy"], indirect=True)  # the service listener has fewer places than the queue
def test_a_full_queue_says_so(door):
    """And keeps nobody out who comes from elsewhere."""
    many = door.try_wrong(400)

    def refused():
        """Answers that have come, but for those to wrong passwords."""
        here = [c for c in many if answered([c]) > 0]
        many[:] = [c for c in many if c not in here]
        answers = [c.response() for c in here]
        close_all(here)
        assert all(r.status in (503, door.wrong_status) for r in answers)
        return [r for r in answers if r.status == 503]
    for r in wait_until(refused, 20):
        assert r.error == "connection_limit_reached" and r.get("Retry-After") is not None and "try again" in r.text
    assert door.right().status == 200
    close_all(many)


@ONE_ORIGIN
def test_equal_passwords_are_checked_once(door):
    """50 that wait for the same check are answered together, before 50 that wait for one each."""
    many = door.try_wrong(50)
    same = []
    for _ in range(50):
        same.append(client_from("127.0.0.3", door.port))
        door.knock(same[-1], "slow", "right")
    before = answered(many)
    for c in same:
        assert c.response().status == 200
    after = answered(many)
    close_all(many + same)
    assert after - before < 30


@ONE_ORIGIN
def test_the_memory_outlives_a_reload(door, slow_users):
    def reload(text, user, password):
        """Until the door knows what was not known before."""
        slow_users.write_text(text)
        door.proxy.signal(signal.SIGHUP)
        wait_until(lambda: door.right(password, user, "127.0.0.4").status == 200, 20, "the reload")
    slow, second, third = slow_users.read_text(), hashed("second", "2", 5), hashed("third", "3", 5)
    assert door.right().status == 200
    reload("# more\n" + second + slow, "second", "2")
    reload(third + slow + second, "third", "3")
    many = door.try_wrong(60)
    wait_until(lambda: answered(many) > 0, 20)
    before = answered(many)
    assert door.right(address="127.0.0.2").status == 200
    assert door.right("2", "second", "127.0.0.2").status == 200
    assert answered(many) - before < 20
    close_all(many)
    reload(hashed("slow", "new") + second, "slow", "new")
    assert door.right().status == door.wrong_status
    assert door.right("2", "second").status == 200
    reload(second + hashed("fourth", "4", 5), "fourth", "4")
    assert door.right("new").status == door.wrong_status


def test_network_and_password_must_both_hold(make_proxy, origin, htpasswd):
    p = make_proxy('client { auth_file = "%s" allow = {"127.0.0.2"} }\n' % htpasswd)
    with p.client() as c:
        assert c.get(origin.url(), basic("bob", "builder")).status == 403
    with client_from("127.0.0.2", p.port) as c:
        assert c.get(origin.url()).status == 407
        assert c.get(origin.url(), basic("bob", "builder")).status == 200


@pytest.mark.parametrize("line",
                         ["u:$apr1$abcdefgh$xxxxxxxxxxxxxxxxxxxxxx", "u:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "u:plain",
                          "u:rl5pPWtO1yU1Q", "nocolon", ":x"])
def test_other_hashes_are_configuration_errors(tmp, tlsfan, line):
    bad = tmp / "bad.htpasswd"
    bad.write_text(line + "\n")
    done = tlsfan("-t", "-o", "client.auth_file=%s" % bad)
    text = done.stdout + done.stderr
    assert done.returncode == 1 and "bad.htpasswd" in text
    if line.startswith("u:$apr1"):
        assert "htpasswd -B" in text
    assert "W6ph5Mm5" not in text


@pytest.mark.parametrize("listener", ["0.0.0.0", "[::]", "outer"])
def test_open_proxy_is_refused(tlsfan, htpasswd, listener):
    if listener == "outer":
        listener = outer_address()
        if listener is None:
            pytest.skip("this machine has no address beyond loopback")
    done = tlsfan("-t", "-l", "%s:%d" % (listener, free_port()))
    assert done.returncode == 1 and "client.allow" in done.stdout + done.stderr
    assert tlsfan("-t", "-l", "%s:3128" % listener, "-o", "client.allow=private").returncode == 0
    assert tlsfan("-t", "-l", "%s:3128" % listener, "-o", "client.auth_file=" + htpasswd).returncode == 0
    assert tlsfan("-l", "%s:%d" % (listener, free_port())).returncode == 1


def test_open_forward_demands_allow(tlsfan, htpasswd):
    listener = "0.0.0.0:%d" % free_port()
    assert tlsfan("-t", "-f", listener + "=https://example.com").returncode == 1
    assert tlsfan("-t", "-f", listener + "=https://example.com", "-o", "client.auth_file=" + htpasswd).returncode == 1
    assert tlsfan("-t", "-f", listener + "=https://example.com", "-o", "client.allow=private").returncode == 0


# --- destinations

def test_denied_by_default(client):
    for host in ("169.254.169.254", "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[64:ff9b::a9fe:a9fe]",
                 "[64:ff9b:1::a9fe:a9fe]", "[2002:a9fe:a9fe::1]",
                 "[::169.254.169.254]", "0.0.0.0", "[::]", "100.100.100.200", "168.63.129.16", "192.0.0.192",
                 "224.0.0.1", "255.255.255.255", "[fe80::1]", "[ff02::1]",
                 "[fd00:ec2::254]", "[fec0::1]"):
        for request in ("GET http://%s/ HTTP/1.1\r\nHost: x\r\n\r\n", "CONNECT %s:443 HTTP/1.1\r\nHost: x\r\n\r\n"):
            client.send(request % host)
            r = client.response()
            assert r.status == 403 and r.error == "destination_ip_prohibited", (host, r)


@pytest.mark.parametrize("host",
                         ["2852039166", "0xa9fea9fe", "169.254.43518", "0251.0376.0251.0376", "169.254.169.254."])
def test_odd_spellings_of_addresses_do_not_get_around(client, host):
    assert client.get("http://%s/" % host, host="x").status in (400, 403, 502)


def test_deny_and_allow(make_proxy, serve):
    four, six = serve(answering(lambda r, c: ok("4"))), serve(answering(lambda r, c: ok("6")), host="::1")
    p = make_proxy('destination { deny = {"127.0.0.0/8", "::1"} allow = {"127.0.0.1/32"} }\n')
    with p.client() as c:
        assert c.get(four.url(host="127.0.0.1")).text == "4"
        r = c.get("http://127.0.0.2:%d/" % four.port)
        assert r.status == 403 and r.error == "destination_ip_prohibited" and "127.0.0.2" in r.text
        assert c.get(six.url(host="[::1]")).status == 403
        assert c.get("http://[::ffff:127.0.0.2]:%d/" % four.port).status == 403
    assert six.received == b""


def test_judged_on_the_resolved_address(make_proxy, serve):
    server = serve(answering(lambda r, c: ok("in")))
    dns = Dns({"origin.test": [("A", "127.0.0.1", 60)], "meta.test": [("A", "169.254.169.254", 60)],
               "six.test": [("AAAA", "::ffff:169.254.169.254", 60)],
               "mixed.test": [("A", "169.254.169.254", 60), ("A", "0.0.0.0", 60)]})
    p = make_proxy(dns.conf)
    with p.client() as c:
        assert c.get(server.url(host="origin.test")).text == "in"
        for name in ("meta.test", "six.test", "mixed.test"):
            r = c.get("http://%s/" % name)
            assert r.status == 403 and r.error == "destination_ip_prohibited", r
    dns.stop()


def test_own_listeners_are_refused(make_proxy, serve):
    """Proxy listeners by any name; others by all that is not their own address (test_70_own_listeners.py)."""
    other = free_port()
    p = make_proxy('connect_to = {"loop.test:443:127.0.0.1:%d"}\ndestination { allow = {"any"} connect_ports = {443, '
                   '%d} }\n' % (other, other),
                   flags=("-f", "127.0.0.1:%d=https://origin.test" % other))
    with p.client() as c:
        for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]"):
            r = c.get("http://%s:%d/" % (host, p.port))
            assert (r.status, r.error) in ((403, "destination_ip_prohibited"), (502, "connection_refused")), (host, r)
            assert r.status == 403 or host == "localhost"  # whose ::1 refused first
        assert c.get("http://loop.test/").status == 403
        c.send("CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: x\r\n\r\n" % p.port)
        assert c.response().status == 403


def test_a_client_from_elsewhere_does_not_reach_loopback(make_proxy, serve):
    address = outer_address()
    if address is None:
        pytest.skip("this machine has no address beyond loopback")
    server = serve(answering(lambda r, c: ok("in")))
    port = free_port()
    conf = 'client { allow = {"any"} }\n'
    p = make_proxy(conf, listen=["127.0.0.1:%d" % port, "%s:%d" % (address, port)], wait=False)
    p.wait_log(str(port))
    wait_until(lambda: can_connect(address, port))
    with Client((address, port)) as c:
        for host in ("127.0.0.1", "localhost"):
            r = c.get(server.url(host=host))
            assert r.status == 403 and r.error == "destination_ip_prohibited"
    assert server.received == b""
    with Client(port) as c:
        assert c.get(server.url()).text == "in"


def test_hosts_and_ports(make_proxy, origin):
    p = make_proxy('connect_to = {":443:127.0.0.1:%d", ":444:127.0.0.1:%d"}\n'
                   'destination { allow_hosts = {"origin.test", "*.localhost"} deny_hosts = {"b.localhost"} ports = '
                   '{443} }\n' % (origin.port, origin.port))
    with p.client() as c:
        for url, status in (("http://origin.test/", 200), ("http://ORIGIN.test./", 200), ("http://a.localhost/", 200),
                            ("http://b.localhost/", 403), ("http://localhost/", 403),
                            ("http://other.test/", 403), ("http://origin.test:444/", 403),
                            ("http://x.origin.test/", 403), ("https://origin.test/", 200)):
            r = c.get(url)
            assert r.status == status, (url, r)
            assert status == 200 or r.error == "http_request_denied"
        c.send("CONNECT other.test:443 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert c.response().status == 403


# --- loops

def test_loop(make_proxy, origin):
    p = make_proxy()
    with p.client() as c:
        assert c.get(origin.url()).status == 200
        own = re.search(r"1\.1 (tlsfan-[^,\s]+)", origin.requests[-1].get("Via")).group(1)
        for via in ("1.1 " + own, "1.0 a, 1.1 %s (x), 1.1 b" % own, "HTTP/1.1 " + own):
            r = c.get(origin.url(), "Via: " + via)
            assert r.status == 508 and r.error == "proxy_loop_detected", r
        assert c.get(origin.url(), "Via: 1.1 tlsfan-other").status == 200
        assert c.get(origin.url(), "Via: 1.1 " + own + "x").status == 200
    q = make_proxy()
    with q.client() as c:
        assert c.get(origin.url(), "Via: 1.1 " + own).status == 200  # another tlsfan's


def test_loop_through_another_port(make_proxy, serve, ca):
    """A TLS front end in the way that hands requests back to the proxy."""
    holder = {}

    def back(request, conn):
        with holder["p"].client() as c:
            r = c.exchange("GET", "http://origin.test/again", *["Via: " + v for v in request.all("Via")])
            return ok(r.text, status="%d X" % r.status)
    server = serve(answering(back))
    holder["p"] = make_proxy('connect_to = {"origin.test:443:127.0.0.1:%d"}\n' % server.port)
    with holder["p"].client() as c:
        assert c.get("http://origin.test/").status == 508


def test_unix_clients_may_always_come(make_proxy, origin, tmp):
    path = str(tmp / "p.sock")
    p = make_proxy('client { allow = {"10.0.0.0/8"} }\n', listen=["unix:" + path], wait=False)
    wait_until(lambda: os.path.exists(path))
    wait_until(lambda: stat.S_IMODE(os.stat(path).st_mode) == 0o660)
    with Client(path) as c:
        assert c.get(origin.url()).status == 200
    p.stop()
    assert not os.path.exists(path)


ASK = r"""
import socket, sys, time
peer, port = sys.argv[1], int(sys.argv[2])
end = time.monotonic() + 20
while True:
    with socket.socket(socket.AF_INET6) as s:
        s.bind((peer, 0))
        try:
            s.connect(("2001:db8::1", port))
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
            continue
        s.sendall(b"GET http://127.0.0.1:1/ HTTP/1.0\r\n\r\n")
        reply = b""
        while data := s.recv(65536):
            reply += data
        print(reply.decode())
        break
"""


def test_a_reload_withdraws_what_an_open_connection_had(make_proxy):
    """And gives it back: each configuration is asked once."""
    p = make_proxy('client { allow = {"127.0.0.1"} }\n')
    with p.client() as c:
        for allow, status in ("127.0.0.1", 200), ("10.0.0.0/8", 403), ("127.0.0.0/8", 200), ("10.0.0.0/8", 403):
            p.write('client { allow = {"%s"} }\n' % allow)
            p.signal(1)
            wait_until(lambda: c.exchange("OPTIONS", "*").status == status, 20, "the reload")
            assert [c.exchange("OPTIONS", "*").status for _ in range(3)] == [status] * 3


@pytest.mark.parametrize("allow, peer, says", [
    ("loopback", "2002:7f00:1::1", "client.allow"), ("private", "2002:a00:1::1", "client.allow"),
    ("private", "64:ff9b::a00:1", "client.allow"), ("any", "2002:7f00:1::1", "this proxy's own machine"),
    ("any", "64:ff9b::7f00:1", "this proxy's own machine")])
def test_ipv4_inside_the_address_of_a_client_is_nobody(make_proxy, allow, peer, says):
    """Anybody may have such an address: it is neither loopback nor private, nor is its client on this machine."""
    set_up = "ip link set lo up && for a in 2001:db8::1 %s; do ip -6 addr add $a/128 dev lo nodad; done" % peer
    if subprocess.run(["unshare", "-n", "sh", "-c", set_up], stderr=subprocess.DEVNULL).returncode != 0:
        pytest.skip("no network namespace with IPv6 can be made here")
    p = make_proxy('client { allow = {"%s"} }\n' % allow, listen=["[::]:3128"], wait=False,
                   prefix=["unshare", "-n", "sh", "-c", set_up + ' && exec "$0" "$@"'])
    p.wait_log("listening")
    done = subprocess.run(["nsenter", "-t", str(p.pid), "-n", sys.executable, "-c", ASK, peer, "3128"],
                          capture_output=True, text=True, timeout=60)
    assert " 403 " in done.stdout.split("\n")[0] and says in done.stdout, done
