# SPDX-License-Identifier: Apache-2.0
"""What /metrics tells of origins that have not answered, of tunnels, handshakes, certificates and reloads."""
import json
import os
import re
import shutil
import signal
import socket
import ssl
import time

import pytest

from testenv.client import Client
from testenv.dns import Dns
from testenv.intercept import OwnCA
from testenv.parents import Relay
from testenv.ports import free_port
from testenv.proxy import ROOT
from testenv.scripted import answering, ok
from testenv.wait import wait_until

SAMPLE = re.compile(r"^([a-z_]+(?:\{.*\})?) (-?[0-9.]+(?:e[+-]?[0-9]+)?)$", re.M)


def metrics(p):
    return {name: float(value) for name, value in SAMPLE.findall(p.fetch("/metrics"))}


def wait_metric(p, name, value):
    return wait_until(lambda: (lambda m: m if m.get(name) == value else None)(metrics(p)), 5,
                      "%s %s" % (name, value))


def origins(p):
    return {o["origin"]: o for o in json.loads(p.fetch("/status"))["origins"]}


def of_origin(m, family, name):
    return m.get('tlsfan_origin_%s{origin="%s"}' % (family, name))


def expiry_of(path):
    return ssl.cert_time_to_seconds(ssl._ssl._test_decode_cert(path)["notAfter"])


@pytest.fixture
def zone():
    made = []

    def make(names):
        made.append(Dns(names))
        return made[-1]
    yield make
    for dns in made:
        dns.sock.close()


# --- origins that have not answered

@pytest.mark.h1_only("nobody answers")
def test_an_origin_that_was_found_has_its_name(make_proxy, zone):
    closed = free_port()
    dns = zone({"down.test": [("A", "127.0.0.1", 60)], "denied.test": [("A", "169.254.1.1", 60)]})
    p = make_proxy(dns.conf, service=True)
    with p.client() as c:
        for host in "down.test:%d" % closed, "nowhere.test:%d" % closed, "denied.test:%d" % closed:
            assert c.get("http://%s/" % host).status in (403, 502)
    down, denied = "down.test:%d" % closed, "denied.test:%d" % closed
    m = wait_metric(p, 'tlsfan_origin_failed_total{origin="%s"}' % denied, 1)
    assert of_origin(m, "requests_total", down) == of_origin(m, "failed_total", down) == 1
    assert of_origin(m, "failed_total", "other") == 1
    assert set(origins(p)) == {down, denied, "other"}


@pytest.mark.h1_only("nobody answers")
def test_what_the_operator_wrote_has_its_name(make_proxy, zone):
    """Though no look-up of it has ever succeeded."""
    dns = zone({})
    forward = free_port()
    p = make_proxy(dns.conf + """
        connect_to = {"mapped.test:443:nowhere.test:443", "::also-nowhere.test:"}
        rule "written.test" { connect_to = "" }
        rule "*.wild.test" { connect_to = "nowhere.test:443" }
        forward "127.0.0.1:%d" { to = "https://target.test/" }
        """ % forward, service=True)
    with p.client() as c:
        for host in "mapped.test", "written.test", "written.test:77", "a.wild.test", "other.test":
            assert c.get("http://%s/" % host).status == 502
    with Client(forward) as c:
        assert c.get("/", host="localhost").status == 502
    wait_until(lambda: metrics(p)['tlsfan_exchanges_total{code="5xx"}'] == 6, 5, "six failures")
    assert set(origins(p)) == {"mapped.test:443", "written.test:443", "target.test:443", "other"}
    assert origins(p)["other"]["failed"] == 3


@pytest.mark.h1_only("nobody answers")
def test_names_that_a_client_makes_up_do_not_fill_the_table(make_proxy, zone, serve):
    """A wildcard zone that leads to nobody, all ports of a host that is written, all addresses: some of each."""
    closed = free_port()
    dns = zone({"*.evil.test": [("A", "127.0.0.1", 60)], "*.b.evil2.test": [("A", "127.0.0.1", 60)],
                "written.test": [("A", "127.66.77.1", 60)]})
    p = make_proxy(dns.conf + 'rule "written.test" { http2 = on }\n', service=True)
    asked = ["a%d.evil.test:%d" % (i, closed) for i in range(40)]
    asked += ["x.a%d.b.evil2.test:%d" % (i, closed) for i in range(40)]
    asked += ["127.%d.0.1:%d" % (i, closed) for i in range(2, 42)]
    asked += ["written.test:%d" % (20000 + i) for i in range(40)]
    with p.client(timeout=30) as c:
        for host in asked:
            c.request("GET", "http://%s/" % host)
        assert {c.response().status for _ in asked} <= {502, 504}
    m = wait_metric(p, 'tlsfan_exchanges_total{code="5xx"}', len(asked))
    named = [name for name in origins(p) if name != "other"]
    for part in "evil.test", "evil2.test", "127.", "written.test":
        assert len([x for x in named if part in x]) == 20, part
    assert of_origin(m, "failed_total", "other") == len(asked) - 80
    # There is room for who answers.
    server = serve(answering(lambda r, c: ok()))
    with p.client() as c:
        assert c.get(server.url()).status == 200
    assert "localhost:%d" % server.port in origins(p)


@pytest.mark.h1_only("nothing of a tunnel is read")
def test_a_tunnel_has_its_origin(make_proxy, zone, serve):
    server = serve(lambda conn: conn.finish(), tls=False, raw=True)
    closed = free_port()
    dns = zone({"down.test": [("A", "127.0.0.1", 60)]})
    p = make_proxy(dns.conf + "destination { connect_ports = {} }\n", service=True)
    good, bad = "localhost:%d" % server.port, "down.test:%d" % closed
    with p.client() as c:
        assert c.exchange("CONNECT", bad, host=bad).status == 502
    with p.client() as c:
        assert c.exchange("CONNECT", good, host=good).status == 200
        m = wait_metric(p, 'tlsfan_origin_requests_in_flight{origin="%s"}' % good, 1)
        assert m['tlsfan_origin_connections{origin="%s",state="busy"}' % good] == 1
    m = wait_metric(p, 'tlsfan_origin_requests_total{origin="%s"}' % good, 1)
    assert of_origin(m, "requests_in_flight", good) == 0 and of_origin(m, "connections_opened_total", good) == 1
    assert m['tlsfan_origin_connections{origin="%s",state="busy"}' % good] == 0
    assert of_origin(m, "failed_total", bad) == of_origin(m, "requests_total", bad) == 1
    assert m["tlsfan_plain_requests_total"] == 0


def test_a_parent_is_an_origin_too(make_proxy, origin):
    parent = Relay()
    try:
        p = make_proxy("upstream { proxy = 'http://%s' }\n" % parent.shown, service=True)
        with p.client() as c:
            for _ in range(3):
                assert c.get("http://localhost:%d/" % origin.port).status == 200
        m = wait_metric(p, 'tlsfan_exchanges_total{code="2xx"}', 3)
        assert of_origin(m, "requests_total", parent.shown) == 1  # one connection
        assert of_origin(m, "failed_total", parent.shown) == 0
        assert of_origin(m, "requests_total", "localhost:%d" % origin.port) == 3
    finally:
        parent.stop()
    with p.client() as c:
        assert c.get("http://nobody-knows.test/").status == 502
    m = wait_metric(p, 'tlsfan_origin_failed_total{origin="%s"}' % parent.shown, 1)
    assert of_origin(m, "requests_total", "nobody-knows.test:443") is None


# --- connections

@pytest.mark.h1_only("nothing of a tunnel is read")
def test_tunnels_are_counted_while_they_are_open(make_proxy, serve):
    def handler(conn):
        conn.send(conn.exactly(5) * 2)
        conn.hang()
    server = serve(handler, tls=False, raw=True)
    p = make_proxy("destination { connect_ports = {} }\n", service=True)
    target = "localhost:%d" % server.port
    with p.client() as c:
        assert c.exchange("CONNECT", target, host=target).status == 200
        c.send(b"hello")
        assert c.exactly(10) == b"hellohello"
        m = metrics(p)
        assert (m["tlsfan_tunnels_open"], m["tlsfan_tunnels_total"]) == (1, 1)
        assert (m["tlsfan_tunnel_received_bytes_total"], m["tlsfan_tunnel_sent_bytes_total"]) == (5, 10)
    m = wait_metric(p, "tlsfan_tunnels_open", 0)
    assert m["tlsfan_tunnels_total"] == 1


def test_handshakes_full_and_resumed(make_proxy, serve):
    server = serve(answering(lambda r, c: ok("x", "Connection: close")))
    p = make_proxy("workers = 1\n", service=True)
    with p.client() as c:
        for _ in range(3):
            assert c.get(server.url()).status == 200
    m = wait_metric(p, 'tlsfan_exchanges_total{code="2xx"}', 3)
    resumed = sum(conn.resumed for conn in server.conns)
    assert resumed > 0
    assert m['tlsfan_upstream_tls_handshakes_total{kind="resumed"}'] == resumed
    assert m['tlsfan_upstream_tls_handshakes_total{kind="full"}'] == len(server.conns) - resumed


@pytest.mark.h1_only("it is about clients")
def test_handshakes_with_clients(make_proxy, ca, origin, tmp):
    leaf = ca.leaf()
    own = OwnCA(tmp / "metrics-ca")
    p = make_proxy('client { cert = "%s"  key = "%s" }\nrule "localhost" { intercept = on }\n' % (leaf.cert, leaf.key) +
                   own.conf(), listen=["tls:127.0.0.1:PORT"], service=True)
    context = ssl.create_default_context(cafile=ca.root)
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # the ticket is there when the handshake is
    session = None
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", p.port)) as raw, \
                context.wrap_socket(raw, server_hostname="localhost", session=session) as s:
            session = s.session
    m = wait_metric(p, 'tlsfan_listener_tls_handshakes_total{kind="resumed"}', 2)
    assert m['tlsfan_listener_tls_handshakes_total{kind="full"}'] == 1
    use = 'tlsfan_certificate_expiry_timestamp_seconds{use="%s",file="%s"}'
    assert m[use % ("listener", leaf.cert)] == expiry_of(leaf.cert)
    assert m[use % ("intercept", own.cert)] == expiry_of(own.cert)


@pytest.mark.h1_only("it is about the configuration")
def test_client_certificates_once_a_file(make_proxy, ca):
    leaf = ca.leaf()
    rule = 'rule "%s" { client_cert = "' + leaf.cert + '" client_key = "' + leaf.key + '" }\n'
    p = make_proxy(rule % "a.test" + rule % "b.test", service=True)
    m = metrics(p)
    own = {k: v for k, v in m.items() if k.startswith("tlsfan_certificate_expiry")}
    assert own == {'tlsfan_certificate_expiry_timestamp_seconds{use="client",file="%s"}' % leaf.cert:
                   expiry_of(leaf.cert)}


def test_a_client_that_leaves_within_an_answer_is_no_failure_of_the_origin(make_proxy, serve):
    """As the reader of a stream of events does; one that leaves before it begins has waited in vain."""
    def handler(conn):
        if conn.read_request().target == "/stream":
            conn.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: x\n\n")
        conn.hang()
    server = serve(handler)
    p = make_proxy("upstream { http2 = off }\n", service=True)
    name = "localhost:%d" % server.port
    with p.client() as c:
        c.request("GET", server.url("/stream"))
        assert b"200 OK" in c.exactly(15)
    m = wait_metric(p, 'tlsfan_origin_requests_total{origin="%s"}' % name, 1)
    assert of_origin(m, "failed_total", name) == 0 and m['tlsfan_errors_total{type="client_gone"}'] == 1
    with p.client() as c:
        c.request("GET", server.url("/silent"))
        wait_metric(p, 'tlsfan_origin_requests_in_flight{origin="%s"}' % name, 1)
    m = wait_metric(p, 'tlsfan_origin_requests_total{origin="%s"}' % name, 2)
    assert of_origin(m, "failed_total", name) == 1 and m['tlsfan_errors_total{type="client_gone"}'] == 2


def test_who_waits_for_max_per_host(make_proxy, serve):
    server = serve(lambda conn: conn.read_request() and conn.hang())
    p = make_proxy("workers = 1\nupstream { max_per_host = 1 http2 = off }\n", service=True)
    name = "localhost:%d" % server.port
    with p.client() as c:
        for _ in range(3):
            c.request("GET", server.url())
        m = wait_metric(p, 'tlsfan_origin_requests_waiting{origin="%s"}' % name, 2)
        assert of_origin(m, "requests_in_flight", name) == 1
    m = wait_metric(p, 'tlsfan_origin_requests_waiting{origin="%s"}' % name, 0)
    assert of_origin(m, "requests_in_flight", name) == 0


@pytest.mark.h1_only("no origin is asked")
def test_clients_over_the_limit(make_proxy):
    p = make_proxy("client { max_connections = 2 }\n", service=True)
    assert metrics(p)["tlsfan_client_connections_limit"] == 2
    clients = []

    def taken():
        """A client that has a place: who looked whether it listens may have had one."""
        c = p.client()
        if c.exchange("OPTIONS", "*", "Max-Forwards: 0").status == 200:
            clients.append(c)
            return True
        c.close()
        return False
    for _ in range(2):
        wait_until(taken, 5, "a place")
    before = wait_metric(p, "tlsfan_client_connections", 2)["tlsfan_over_limit_clients_total"]
    with p.client() as c:
        assert c.response().status == 503
    m = wait_metric(p, "tlsfan_over_limit_clients_total", before + 1)
    assert m["tlsfan_turned_away_clients_total"] == before + 1
    for c in clients:
        c.close()


# --- documents

@pytest.mark.h1_only("no origin is asked")
def test_the_manual_has_every_metric(make_proxy):
    told = set(re.findall(r"^# TYPE (\S+)", make_proxy(service=True).fetch("/metrics"), re.M))
    with open(os.path.join(ROOT, "packaging", "tlsfan.8"), encoding="utf-8") as f:
        written = set(re.findall(r"\b(?:tlsfan|process)_[a-z_]+\b", f.read()))
    assert written == told


# --- reloads

@pytest.mark.h1_only("no origin is asked")
def test_a_reload_that_failed_is_seen(make_proxy):
    at = "tlsfan_config_last_reload_success_timestamp_seconds"
    ok_ = "tlsfan_config_last_reload_successful"
    p = make_proxy(service=True)
    m = metrics(p)
    first = m[at]
    assert m[ok_] == 1 and abs(first - time.time()) < 60 and first == m["process_start_time_seconds"]
    p.write("nonsense = 1\n")
    p.signal(signal.SIGHUP)
    m = wait_metric(p, ok_, 0)
    assert m[at] == first
    p.write("")
    p.signal(signal.SIGHUP)
    m = wait_metric(p, ok_, 1)
    assert m[at] > first


@pytest.mark.h1_only("no origin is asked")
def test_a_file_that_went_bad_is_seen(make_proxy, ca, tmp):
    """Without a signal, by the watch over files."""
    path = str(tmp / "metrics-ca.pem")
    shutil.copy(ca.root, path)
    p = make_proxy('tls { ca_file = "%s" }\n' % path, tls=False, service=True)
    with open(path + ".new", "w") as f:
        f.write("no certificate\n")
    os.replace(path + ".new", path)
    wait_until(lambda: metrics(p)["tlsfan_config_last_reload_successful"] == 0, 30, "a reload that fails")
    shutil.copy(ca.root, path + ".new")
    os.replace(path + ".new", path)
    wait_until(lambda: metrics(p)["tlsfan_config_last_reload_successful"] == 1, 30, "one that does not")
