# SPDX-License-Identifier: Apache-2.0
"""The search list of resolv.conf: names lead where glibc's getent, in the same mount namespace, says they lead; and
host rules judge the name that was found."""
import os
import subprocess

import pytest

from test_19_resolv import may_unshare
from testenv.client import Client
from testenv.dns import Dns
from testenv.ports import free_port
from testenv.scripted import answering, ok
from testenv.wait import wait_until

pytestmark = [pytest.mark.h1_only("about names: they are looked up before anything is spoken"),
              pytest.mark.skipif(not may_unshare(), reason="a mount namespace and port 53 need root")]

# Of this process: another run beside this one has its own, and whoever listens on 127.0.0.1 or .53 is not in the way.
SERVER = "127.77.%d.%d" % tuple(1 + n for n in divmod(os.getpid() % 62500, 250))
BIND = ('mount --bind "$0/resolv.conf" /etc/resolv.conf && mount --bind "$0/hosts" /etc/hosts && '
        'mount --bind "$0/nsswitch.conf" /etc/nsswitch.conf && exec "$@"')
PLAIN = 'rule "*" { upgrade = off }\nworkers = 1\n'


def a(number):
    return ("A", "127.1.0.%d" % number, 60)


SIX = ("AAAA", "::1", 60)
NODATA = []
SERVFAIL, REFUSED, SILENT = [("RCODE", 2, 0)], [("RCODE", 5, 0)], [("A", "silent", 0)]

# name: (resolv.conf, zone, host asked for[, environment[, /etc/hosts]])
CASES = {
    "ipv4 only beside a wildcard AAAA": ("search corp.test", {"host.test": [a(1)], "*.corp.test": [SIX]}, "host.test"),
    "ipv4 only, short, beside a wildcard AAAA further on":
        ("search corp.test big.test", {"app.corp.test": [a(1)], "*.big.test": [SIX]}, "app"),
    "ipv6 of the first before ipv4 of the second":
        ("search corp.test big.test", {"app.corp.test": [SIX], "app.big.test": [a(1)]}, "app"),
    "short": ("search corp.test", {"app.corp.test": [a(1)], "app": [a(2)]}, "app"),
    "short, as it is last": ("search corp.test", {"app": [a(2)]}, "app"),
    "as it is first": ("search corp.test", {"app.test": [a(1)], "app.test.corp.test": [a(2)]}, "app.test"),
    "as it is absent": ("search corp.test", {"app.test.corp.test": [a(2)]}, "app.test"),
    "ndots 2": ("search corp.test\noptions ndots:2", {"app.test": [a(1)], "app.test.corp.test": [a(2)]}, "app.test"),
    "ndots 0": ("search corp.test\noptions ndots:0", {"app": [a(1)], "app.corp.test": [a(2)]}, "app"),
    "ndots 99": ("search corp.test\noptions ndots:99", {"a.b.test": [a(1)], "a.b.test.corp.test": [a(2)]}, "a.b.test"),
    "pod": ("search ns.svc.test svc.test corp.test\noptions ndots:5", {"api.out.test": [a(1)]}, "api.out.test"),
    "pod, service of another": ("search ns.svc.test svc.test corp.test\noptions ndots:5",
                                {"app.ns2.svc.test": [a(3)], "app.ns2": [a(1)]}, "app.ns2"),
    "pod, SERVFAIL": ("search bad.test corp.test\noptions ndots:5", {"*.bad.test": SERVFAIL, "api.out.test": [a(1)]},
                      "api.out.test"),
    "SERVFAIL before another domain": ("search bad.test corp.test", {"*.bad.test": SERVFAIL, "app.corp.test": [a(1)]},
                                       "app"),
    "SERVFAIL as it is": ("search corp.test", {"app.test": SERVFAIL, "app.test.corp.test": [a(2)]}, "app.test"),
    "NODATA before another domain":
        ("search one.test two.test", {"app.one.test": NODATA, "app.two.test": [a(1)]}, "app"),
    "NODATA as it is": ("search corp.test", {"app.test": NODATA, "app.test.corp.test": [a(2)]}, "app.test"),
    "NODATA everywhere": ("search corp.test", {"app.test": NODATA, "app.test.corp.test": NODATA}, "app.test"),
    "nothing": ("search corp.test", {}, "app.test"),
    "nothing, short": ("search corp.test", {}, "app"),
    "ndots with a sign": ("search corp.test\noptions ndots:+2", {"app.test": [a(1)], "app.test.corp.test": [a(2)]},
                          "app.test"),
    "ndots below 0": ("search corp.test\noptions ndots:-1", {"app.test": [a(1)], "app.test.corp.test": [a(2)]},
                      "app.test"),
    "no_tld_query": ("search corp.test\noptions no_tld_query", {"app": [a(1)]}, "app"),
    "root": ("search .", {"app.test": [a(1)], "app": [a(2)]}, "app.test"),
    "root, short": ("search .", {"app": [a(2)]}, "app"),
    "root, ndots": ("search .\noptions ndots:5", {"app.test": [a(1)]}, "app.test"),
    "root among others": ("search . corp.test", {"app": [a(1)], "app.corp.test": [a(2)]}, "app"),
    "root behind others": ("search corp.test .", {"app": [a(1)], "app.corp.test": [a(2)]}, "app"),
    "dots around": ("search .corp.test.", {"app.corp.test": [a(2)]}, "app"),
    "trailing dot":
        ("search corp.test\noptions ndots:5", {"app.test": [a(1)], "app.test.corp.test": [a(2)]}, "app.test."),
    "trailing dot, short": ("search corp.test", {"app": [a(1)], "app.corp.test": [a(2)]}, "app."),
    "trailing dot of what is only below a domain": ("search corp.test", {"*.corp.test": [a(2), SIX]}, "app.test."),
    "domain": ("search one.test\ndomain two.test more.test", {"app.one.test": [a(1)], "app.two.test": [a(2)],
                                                              "app.more.test": [a(3)]}, "app"),
    "the last list": ("search one.test\nsearch\ttwo.test\nsearch", {"app.one.test": [a(1)], "app.two.test": [a(2)]},
                      "app"),
    "LOCALDOMAIN": ("search one.test", {"app.one.test": [a(1)], "app.two.test": [a(2)]}, "app",
                    {"LOCALDOMAIN": "none.test two.test"}),
    "LOCALDOMAIN ends with its line": ("search one.test", {"app.two.test": [a(2)], "app": [a(1)]}, "app",
                                       {"LOCALDOMAIN": "two.test\nthree.test"}),
    "RES_OPTIONS":
        ("search one.test", {"app.x": [a(1)], "app.x.one.test": [a(2)]}, "app.x", {"RES_OPTIONS": "ndots:3"}),
    "too long with the domain": ("search %s.test corp.test" % ("d" * 60), {"app.corp.test": [a(2)],
                                                                           ".".join(["a" * 63] * 3) + ".b": [a(1)]},
                                 ".".join(["a" * 63] * 3) + ".b"),
    "hosts": ("search corp.test", {"app": [SIX], "app.corp.test": [SIX]}, "app", {}, "127.1.0.9 app\n"),
    "hosts of a full name": ("search corp.test", {"app": [a(1)]}, "app", {}, "127.1.0.9 app.corp.test\n"),
    "hosts without the dot":
        ("search corp.test", {"app": [a(1)], "app.corp.test": [a(2)]}, "app.", {}, "127.1.0.9 app\n"),
    "only ipv4": ("search one.test two.test", {"app.one.test": [a(1)], "app.two.test": [a(2), SIX]}, "app"),
}


@pytest.fixture
def names(tmp):
    """names(resolv.conf, zone, /etc/hosts): a DNS server, and the prefix of a command that asks it."""
    made = []

    def make(resolv, zone, hosts=""):
        try:
            dns = Dns(zone, (SERVER, 53))
        except OSError as e:
            pytest.skip("port 53 cannot be used: %s" % e)
        made.append(dns)
        where = tmp / ("names%d" % len(os.listdir(str(tmp))))
        where.mkdir()
        (where / "resolv.conf").write_text("nameserver %s\n%s\n" % (SERVER, resolv))
        (where / "hosts").write_text("127.0.0.1 localhost\n" + hosts)
        (where / "nsswitch.conf").write_text("hosts: files dns\n")
        return dns, ["unshare", "-m", "sh", "-c", BIND, str(where)]
    yield make
    for dns in made:
        dns.stop()


@pytest.fixture
def where(serve):
    """An origin on every loopback address that says at which one it was asked, over plain HTTP; its port."""
    handler = answering(lambda r, c: ok(c.sock.getsockname()[0]))
    four = serve(handler, tls=False, host="0.0.0.0")
    serve(handler, tls=False, host="::1", port=four.port)
    return four.port


def getent(prefix, host, env):
    """The addresses that glibc finds."""
    done = subprocess.run(prefix + ["getent", "ahosts", host], env=dict(os.environ, **env), capture_output=True,
                          text=True, timeout=60)
    assert done.returncode in (0, 2), done
    return {line.split()[0] for line in done.stdout.splitlines()}


@pytest.mark.parametrize("case", CASES)
def test_a_name_leads_where_getent_says(case, names, where, make_proxy):
    resolv, zone, host, env, hosts = CASES[case] + ({}, "")[len(CASES[case]) - 3:]
    _, prefix = names(resolv, zone, hosts)
    p = make_proxy(PLAIN, prefix=prefix, env=env)
    expected = getent(prefix, host, env)
    with p.client() as c:
        r = c.get("http://%s:%d/" % (host, where))
    if expected:
        assert r.status == 200 and r.text in expected, (r, expected)
    else:
        assert r.status in (502, 504) and r.error in ("dns_error", "dns_timeout"), r


@pytest.mark.parametrize("broken, error", [(REFUSED, "dns_error"), (SILENT, "dns_timeout")], ids=["REFUSED", "silence"])
def test_a_domain_that_fails_is_passed_over(broken, error, names, where, make_proxy):
    """Where glibc gives up at once, or waits for long: the next one is asked; the fault is told when there is none."""
    _, prefix = names("search bad.test corp.test\noptions ndots:5",
                      {"*.bad.test": broken, "app.corp.test": [a(1)], "out.test": [a(2)]})
    p = make_proxy(PLAIN + "dns { timeout = 3s }\n", prefix=prefix)
    with p.client() as c:
        assert c.get("http://app:%d/" % where).text == "127.1.0.1"
        assert c.get("http://out.test:%d/" % where).text == "127.1.0.2"
        r = c.get("http://none.test:%d/" % where)
        assert r.error == error and "none.test" in r.text, r


def test_a_slow_name_is_not_cut_off_by_the_ones_behind_it(names, where, make_proxy):
    """Its share is over before it answers; the domains have nothing, so it is waited for."""
    _, prefix = names("search one.test two.test three.test", {"slow.test": [("A", "127.1.0.1", 60, 2.5)]})
    p = make_proxy(PLAIN, prefix=prefix)
    with p.client() as c:
        assert c.get("http://slow.test:%d/" % where).text == "127.1.0.1"


def test_both_families_are_kept_together(names, where, make_proxy):
    dns, prefix = names("search corp.test", {"app.corp.test": [a(1)]})
    p = make_proxy(PLAIN + "dns { negative_ttl = 0 }\nupstream { max_age = 1ms }\n", prefix=prefix)
    with p.client() as c:
        for _ in range(3):
            assert c.get("http://app:%d/" % where).text == "127.1.0.1"
    assert dns.queries == {("app.corp.test", "A"): 1, ("app.corp.test", "AAAA"): 1}


def test_a_dot_is_another_name(names, where, make_proxy):
    """Also for what is pooled and cached; Host stays without it."""
    _, prefix = names("search corp.test", {"app.corp.test": [a(1)], "app": [a(2)]})
    p = make_proxy(PLAIN, prefix=prefix)
    with p.client() as c:
        for host, address in (("app", "127.1.0.1"), ("app.", "127.1.0.2")) * 2:
            assert c.get("http://%s:%d/" % (host, where)).text == address


def tunnel(p, host, port):
    with Client(p.port) as c:
        c.send("CONNECT %s:%d HTTP/1.1\r\nHost: x\r\n\r\n" % (host, port))
        r = c.response(method="CONNECT")
        return r.status, r.error


def test_deny_hosts_judges_the_full_name_too(names, where, make_proxy):
    _, prefix = names("search corp.test", {"app.corp.test": [a(1)], "app.free.test": [a(2)]})
    p = make_proxy(PLAIN + 'destination { deny_hosts = {"*.corp.test"} allow_hosts = {"app", "app.free.test"} '
                           'connect_ports = {} }\n', prefix=prefix)
    with p.client() as c:
        r = c.get("http://app:%d/" % where)
        assert r.status == 403 and r.error == "http_request_denied" and "app.corp.test" in r.text, r
        assert c.get("http://app.free.test:%d/" % where).text == "127.1.0.2"
        assert c.get("http://other:%d/" % where).status == 403
    assert tunnel(p, "app", where) == (403, "http_request_denied")
    assert tunnel(p, "app.free.test", where) == (200, None)


def test_allow_hosts_is_what_clients_may_write(names, where, make_proxy):
    """Nothing is looked up for a name that is not allowed."""
    dns, prefix = names("search corp.test", {"app.corp.test": [a(1)], "two.corp.test": [a(2)]})
    p = make_proxy('rule "*.corp.test" { upgrade = off }\ndestination { allow_hosts = {"app"} }\n', prefix=prefix)
    with p.client() as c:
        assert c.get("http://app:%d/" % where).text == "127.1.0.1"
        assert c.get("http://two:%d/" % where).status == 403
    assert {name for name, _ in dns.queries} == {"app.corp.test"}


def test_a_rule_for_the_full_name_holds(names, where, make_proxy, serve):
    """The first that matches either name; a request with a body and one inside CONNECT, too."""
    _, prefix = names("search corp.test", {"app.corp.test": [a(1)], "new.corp.test": [a(2)], "app.free.test": [a(3)]})
    echo = serve(answering(lambda r, c: ok(r.body + (r.get("X-Rule") or "none").encode())), tls=False, host="0.0.0.0")
    p = make_proxy('rule "new" { upgrade = off request_header = {"X-Rule: new"} }\n'
                   'rule "*.corp.test" { upgrade = off request_header = {"X-Rule: corp"} }\n'
                   'rule "app" { upgrade = off request_header = {"X-Rule: app"} }\n'
                   'rule "*.free.test" { upgrade = off }\n', prefix=prefix)
    with p.client() as c:
        assert c.get("http://app:%d/" % echo.port).text == "corp"
        assert c.get("http://new:%d/" % echo.port).text == "new"
        assert c.get("http://app.free.test:%d/" % echo.port).text == "none"
        c.send("POST http://app:%d/ HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody" % echo.port)
        assert c.response().text == "bodycorp"
        assert c.get("http://none:%d/" % echo.port).error == "dns_error"


WEAKER = {"verify": "verify = off", "upgrade": "upgrade = off", "cas": 'verify = on ca_file = "%s"',
          "sni": 'sni = "elsewhere.test"', "fields": 'request_header = {"X-Secret: s"}'}


@pytest.mark.parametrize("ndots", [1, 5])
@pytest.mark.parametrize("weaker", WEAKER)
def test_a_forged_answer_weakens_nothing(weaker, ndots, names, make_proxy, serve, ca):
    """Who forges answers chooses in which domain a whole name is found: not a rule that suits him better."""
    here = [("A", "127.0.0.1", 60)]
    _, prefix = names("search corp.test\noptions ndots:%d" % ndots,
                      {"origin.test.corp.test": here, "app.corp.test": here})
    kind = {"cas": "unknown_root", "sni": "wrong_host", "fields": "good"}.get(weaker, "self_signed")
    server = serve(answering(lambda r, c: ok(r.get("X-Secret") or "none")), kind=kind, tls=weaker != "upgrade")
    rule = WEAKER[weaker].replace("%s", ca.path("stranger.pem"))
    wait = "upstream { connect_timeout = 2s }\n" if weaker == "upgrade" else ""  # what speaks no TLS says nothing
    p = make_proxy(wait + 'rule "*.corp.test" { %s }\n' % rule, prefix=prefix)
    with p.client() as c:
        r = c.get("http://origin.test:%d/" % server.port)
        if weaker == "fields":
            assert r.text == "none"
            return
        assert r.error == "connection_timeout" if wait else r.error == "tls_certificate_error", r
        assert server.requests == []
        r = c.get("http://app.corp.test:%d/" % server.port)
        assert (r.status, len(server.requests)) == ((200, 1) if weaker in ("verify", "upgrade", "sni") else (502, 0)), r


def test_a_full_name_may_be_held_to_more(names, where, make_proxy):
    _, prefix = names("search corp.test", {"app.test.corp.test": [a(1)], "app.test.free": [a(2)]})
    p = make_proxy('upstream { connect_timeout = 2s }\nrule "*.corp.test" { }\n'
                   'rule "*" { upgrade = off verify = off }\n', prefix=prefix)
    with p.client() as c:
        assert c.get("http://app.test:%d/" % where).error == "connection_timeout"  # it speaks no TLS
        assert c.get("http://app.test.free:%d/" % where).text == "127.1.0.2"


def test_verification_stays_on_the_written_name(names, make_proxy, serve):
    here = [("A", "127.0.0.1", 60)]
    _, prefix = names("search test", {"origin.test": here, "origin.test.test": here})
    server = serve(answering(lambda r, c: ok("in")))
    p = make_proxy(prefix=prefix)
    with p.client() as c:
        assert c.get(server.url(host="origin.test")).text == "in"
        assert c.get(server.url(host="origin.test.")).text == "in"
        r = c.get(server.url(host="origin"))
        assert r.error == "tls_certificate_error", r
    assert {c.sni for c in server.conns if c.requests} == {"origin.test"}


def test_what_the_operator_writes_means_the_same(names, where, make_proxy):
    """A dot in `to` and `connect_to`; a rule for what `to` was found as."""
    _, prefix = names("search corp.test", {"app.corp.test": [a(1)], "app": [a(2)], "api.corp.test": [a(3)]})
    ports = [free_port() for _ in range(3)]
    p = make_proxy('rule "by.test" { upgrade = off connect_to = "app.:%d" }\n'
                   'connect_to = {"global.test:80:app.:%d"}\n'
                   'rule "global.test" { upgrade = off }\n'
                   'rule "*.corp.test" { connect_to = "127.1.0.9:%d" }\n' % (where, where, where), prefix=prefix,
                   flags=["-f", "127.0.0.1:%d=http://app:%d" % (ports[0], where),
                          "-f", "127.0.0.1:%d=http://app.:%d" % (ports[1], where),
                          "-f", "127.0.0.1:%d=http://127.1.0.4:%d" % (ports[2], where)])
    with p.client() as c:
        assert c.get("http://by.test/").text == "127.1.0.2"
        assert c.get("http://global.test/").text == "127.1.0.2"
    for port, address in zip(ports, ("127.1.0.9", "127.1.0.2", "127.1.0.4")):
        with Client(port) as c:
            assert c.get("/", host="127.0.0.1:%d" % port).text == address


def test_a_client_that_leaves_while_its_name_is_looked_up(names, where, make_proxy):
    """The next one is served all the same."""
    dns, prefix = names("search corp.test", {"app.corp.test": [("A", "127.1.0.1", 60, 1)]})
    p = make_proxy('rule "*.corp.test" { upgrade = off }\n', prefix=prefix)
    for _ in range(5):
        with p.client() as c:
            c.send("POST http://app:%d/ HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nbody" % where)
            wait_until(lambda: dns.count("app.corp.test") > 0, 10, "the look-up")
    with p.client() as c:
        assert c.get("http://app:%d/" % where).text == "127.1.0.1"


def test_a_name_that_nobody_waits_for_is_not_asked_further(names, make_proxy):
    """The share of the first domain is over for one who has stayed, and was over before for the one who left."""
    dns, prefix = names("search one.test two.test\noptions ndots:5",
                        {"*.one.test": SILENT, "*.two.test": SILENT, "stayed": [a(1)]})
    p = make_proxy(PLAIN + "dns { timeout = 3s }\n", prefix=prefix)
    with p.client() as c:
        c.send("GET http://left/ HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: dns.count("left.one.test") > 0, 10, "the look-up")
    with p.client() as c:
        assert c.get("http://stayed/").error == "connection_refused"
    assert dns.count("stayed.two.test") > 0 and dns.count("left.two.test") == 0
