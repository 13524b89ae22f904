# SPDX-License-Identifier: Apache-2.0
"""Configuration from file, environment and flags; -t and -T; signals; exit statuses; `tlsfan run`."""
import os
import re
import signal
import socket
import subprocess
import threading
import time

import pytest

from testenv import SLOW, SOON
from testenv.client import Client
from testenv.ports import free_port
from testenv.proxy import ROOT, binary, clean_env
from testenv.scripted import answering, ok
from testenv.wait import can_connect, wait_until


def text(done):
    return done.stdout + done.stderr


@pytest.fixture
def check(tlsfan, tmp_path):
    def check(conf, *flags, env=None, option="-t"):
        path = tmp_path / "t.conf"
        path.write_text(conf)
        return tlsfan(option, "-c", str(path), *flags, env=env), str(path)
    return check


GOOD = [
    "", "# only a comment\n", 'listen = {"127.0.0.1:0", "[::1]:0", "unix:/tmp/x.sock"}\n', "workers = auto\n",
    "workers = 3\n", "max_memory = 64m\n", "drain_delay = 500ms\n",
    "via = off\n", 'client { allow = {"loopback", "10.0.0.0/8", "private", "::1"} max_head = 32k }\n',
    "upstream { connect_timeout = 2m read_timeout = 0 retries = 0 }\n",
    'connect_to = {"a.test:443:127.0.0.1:8443", "::127.0.0.1:1", ":443:[::1]:2", "a.test::b.test:"}\n',
    "dns { family = ipv4 ttl_max = 5s }\n",
    'tls { min_version = "1.3" }\n',
    "rewrite { location = off cookies = on hsts = on origin = on links = off cors = on }\n",
    'destination { ports = {80, 443} deny_hosts = {"*.bad.test"} }\n',
    'rule "*.example.com" { port = 8443 sni = "x.test" verify = off }\nrule "a.test:8080" { upgrade = off }\n'
    'rule "*" { max_per_host = 3 }\n',
    'rule "a" { request_header = {"X-A: b", "X-B:"} response_timeout = 5s }\n',
    'forward "127.0.0.1:0" { to = "https://api.example.com/v2" host = client }\n',
    "log { level = debug access = off format = common }\n",
    "# ${NOT_SET_AT_ALL}\nlog { access = '${NOT_SET_AT_ALL}' }\n",
]


@pytest.mark.parametrize("conf", GOOD)
def test_good_configurations(check, conf):
    done, _ = check(conf)
    assert done.returncode == 0 and "configuration ok" in text(done), text(done)


BAD = [  # text, line of the fault
    ("via = on\nnonsense = 1\n", 2), ("client {\n  nonsense = 1\n}\n", 2), ("\n\nvia = maybe\n", 3),
       ("workers = 0\n", 1), ("workers = -1\n", 1), ("workers = many\n", 1),
    ("max_memory = 1x\n", 1), ("max_memory = 99999999999g\n", 1), ("client {\n\n max_head = -1 }\n", 3),
       ("drain_timeout = 5\n# ok\nupstream { idle_timeout = 5 parsecs }\n", 3),
    ("upstream { read_timeout = -5s }\n", 1), ('listen = {"127.0.0.1"}\n', 1), ('listen = {"127.0.0.1:99999"}\n', 1),
       ('listen = {"localhost.nowhere:x"}\n', 1),
    ('client {\n allow = {"10.0.0.0/33"}\n}\n', 2), ('client {\n allow = {"nonet"}\n}\n', 2),
       ('connect_to = {"nonsense"}\n', 1), ('tls { min_version = "1.9" }\n', 1),
    ("dns { family = ipv5 }\n", 1), ("log { level = loud }\n", 1), ("log { format = xml }\n", 1),
       ('tls {\n ca_file = "/nonexistent.pem"\n}\n', 2),
    ('include("/nonexistent.conf")\n', 1), ('log { access = "${TLSFAN_TEST_UNSET}" }\n', 1),
       ("client {\n max_head = 1k\n", 1), ("via = on }\n", 1), ("via = \"on\n", 1),
    ('rule "*.x.*" { port = 1 }\n', 1), ('rule "a" {\n verify = perhaps\n}\n', 2),
       ('rule "a" { client_cert = "/nonexistent" }\n', 1), ('rule "a" { ca_file = "/nonexistent" }\n', 1),
    ('rule "a" {\n port = 70000\n}\n', 2), ('rule "a" {\n nonsense = 1\n}\n', 2),
       ('rule "a" {\n request_header = {"No colon"}\n}\n', 2), ('rule "a" {\n request_header = {"X: a\\nb"}\n}\n', 2),
    ('forward "127.0.0.1:1" { }\n', 1), ('forward "127.0.0.1:1" {\n to = "ftp://x"\n}\n', 2),
       ('forward "127.0.0.1:1" {\n to = "https://u:p@x/"\n}\n', 2),
       ('forward "127.0.0.1:1" {\n to = "https://x"\n host = both\n}\n', 3),
    ("destination {\n ports = {0}\n}\n", 2), ("destination {\n deny = {\"x\"}\n}\n", 2),
       ("client { max_pipeline = 0 }\n", 1), ('readahead_memory = 64\n', 1),
       ('upstream { proxy = "http://x" }\n', 1),
    ('rule "a" { readahead = 1001 }\n', 1), ('via = on\nrule "a" { intercept = on }\n', 2),
       ('intercept { ca_cert = "/etc/passwd" }\n', 1), ('intercept {\n ca_key = "/etc/passwd"\n}\n', 2),
       ('intercept { min_version = "0.9" }\n', 1),
    ("= 1\n", 1), ("via on\n", 1), ('client { auth_file = "/nonexistent" }\n', 1),
]


@pytest.mark.parametrize("conf, line", BAD)
def test_faults_have_file_and_line(check, conf, line):
    done, path = check(conf)
    assert done.returncode == 1, text(done)
    lines = [x for x in text(done).splitlines() if path in x]
    got = [int(m.group(1)) for x in lines for m in [re.search(re.escape(path) + r":(\d+): \S", x)] if m]
    end = conf.count("\n") + 1
    assert line in got or (conf.count("{") > conf.count("}") and end in got or end - 1 in got), text(done)
    assert "configuration ok" not in text(done)


TLS_FAULTS = [  # text, line and key of the fault
    ('tls {\n\n ca_dir = "/nonexistent"\n}\n', 3, "tls.ca_dir"),
    ('tls {\n ca_extra = "/etc/passwd"\n}\n', 2, "tls.ca_extra"),
    ('tls {\n crl_file = "/etc/passwd"\n}\n', 2, "tls.crl_file"), ('tls {\n ciphers = NONE\n}\n', 2, "tls.ciphers"),
    ('tls {\n ciphersuites = NONE\n}\n', 2, "tls.ciphersuites"),
    ('client {\n\n client_ca = "/nonexistent"\n}\n', 3, "client.client_ca"),  # although no listener asks for one
    ('rule a {\n port = 1\n ca_file = "/nonexistent"\n}\n', 3, 'rule "a": ca_file'),
    ('rule a {\n port = 1\n client_cert = "/nonexistent"\n}\n', 3, 'rule "a": client_cert'),
    ('rule a {\n port = 1\n client_key = "/nonexistent"\n}\n', 3, 'rule "a": client_key'),
    ('rule a {\n port = 1\n ciphers = NONE\n}\n', 3, 'rule "a": ciphers'),
    ('log {\n access = "/nonexistent/x"\n}\n', 2, "log.access"), ('log {\n access = "/tmp"\n}\n', 2, "log.access"),
]


@pytest.mark.parametrize("conf, line, key", TLS_FAULTS)
def test_faults_of_use_name_the_key(check, conf, line, key):
    done, path = check(conf)
    assert done.returncode == 1 and text(done).startswith("%s:%d: %s: " % (path, line, key)), text(done)


def test_an_inherited_fault_is_told_once(check):
    done, path = check('tls {\n ciphers = NONE\n}\nrule a { min_version = "1.3" }\nrule b { verify = off }\n'
                       'workers = 0\n')
    lines = text(done).splitlines()
    assert len(lines) == 2 and any(x.startswith(path + ":2: tls.ciphers: ") for x in lines), lines


def test_faults_of_use_name_flag_or_variable(check):
    done, _ = check("", "-o", "tls.ca_dir=/nonexistent", "-o", "rule[a].ca_file=/nonexistent",
                    env={"TLSFAN_TLS_CRL_FILE": "/nonexistent"})
    assert "-o tls.ca_dir: /nonexistent: " in text(done) and "-o rule[a].ca_file: /nonexistent: " in text(done)
    assert "TLSFAN_TLS_CRL_FILE: /nonexistent: " in text(done)
    done, _ = check("", env={"TLSFAN_TLS_CRL_FILE": "/nonexistent"})
    assert text(done).startswith("TLSFAN_TLS_CRL_FILE: /nonexistent: ")


def test_the_test_makes_no_log(check, tmp_path):
    done, _ = check('log { access = "%s" }\n' % (tmp_path / "access.log"))
    assert done.returncode == 0 and not (tmp_path / "access.log").exists()


def test_every_fault_is_told(check):
    done, path = check('workers = 0\nclient { max_head = 5q }\nlog { level = loud }\n')
    for line in (1, 2, 3):
        assert "%s:%d: " % (path, line) in text(done), text(done)


def test_include(check, tmp_path):
    (tmp_path / "sub.conf").write_text("via = off\nlog { level = loud }\n")
    done, _ = check('include("%s")\n' % (tmp_path / "sub.conf"))
    assert done.returncode == 1 and "sub.conf:2: " in text(done), text(done)
    (tmp_path / "sub.conf").write_text("via = off\n")
    done, _ = check('include("%s")\n' % (tmp_path / "sub.conf"), option="-T")
    assert done.returncode == 0 and re.search(r"via\s*=\s*(off|false)", done.stdout)


def test_environment_in_values(check):
    done, _ = check('dns { servers = {"${TEST_SERVER}"} }\n', env={"TEST_SERVER": "127.0.0.77"}, option="-T")
    assert done.returncode == 0 and "127.0.0.77" in done.stdout


def test_order_file_environment_flags(check):
    def level(done):
        return re.search(r"max_per_host\s*=\s*(\d+)", done.stdout).group(1)
    conf = "upstream { max_per_host = 11 }\n"
    assert level(check(conf, option="-T")[0]) == "11"
    assert level(check(conf, env={"TLSFAN_UPSTREAM_MAX_PER_HOST": "12"}, option="-T")[0]) == "12"
    assert level(check(conf, "-o", "upstream.max_per_host=13", env={"TLSFAN_UPSTREAM_MAX_PER_HOST": "12"},
                       option="-T")[0]) == "13"


def test_lists_from_flags_and_environment(check):
    done, _ = check('dns { servers = {"9.9.9.9"} }\n', "-o", "dns.servers=127.0.0.61", "-o", "dns.servers=127.0.0.62",
                    option="-T")
    assert "9.9.9.9" not in done.stdout and "127.0.0.61" in done.stdout and "127.0.0.62" in done.stdout
    done, _ = check("", env={"TLSFAN_LISTEN": "0.0.0.0:3128,127.0.0.1:3555", "TLSFAN_CLIENT_ALLOW": "private"},
                    option="-T")
    assert done.returncode == 0 and "0.0.0.0:3128" in done.stdout and "127.0.0.1:3555" in done.stdout
    done, _ = check("", "-l", "127.0.0.1:3556", env={"TLSFAN_LISTEN": "127.0.0.1:3555"}, option="-T")
    assert "3556" in done.stdout and "3555" not in done.stdout
    done, _ = check("", "-o", "rule[*.example.com].port=8443", option="-T")
    assert done.returncode == 0 and "*.example.com" in done.stdout and "8443" in done.stdout


def test_faults_of_flags_and_variables_name_them(check):
    done, _ = check("", "-o", "client.max_head=lots")
    assert done.returncode == 1 and "client.max_head" in text(done)
    done, _ = check("", "-o", "nonsense=1")
    assert done.returncode == 1 and "nonsense" in text(done)
    done, _ = check("", env={"TLSFAN_WORKERS": "none"})
    assert done.returncode == 1 and "TLSFAN_WORKERS" in text(done)


def test_unknown_variables_are_warnings(check):
    done, _ = check("", env={"TLSFAN_NONSENSE": "1", "TLSFAN_PORT": "tcp://10.0.0.1:80",
                             "TLSFAN_SERVICE_HOST": "10.0.0.1", "TLSFAN_PORT_80_TCP_ADDR": "10.0.0.1",
                             "http_proxy": "http://127.0.0.1:1"})
    assert done.returncode == 0 and "TLSFAN_NONSENSE" in text(done)
    assert "TLSFAN_PORT_80" not in text(done) and "TLSFAN_SERVICE_HOST" not in text(done)


def test_dump_reads_back(check, tmp_path, tlsfan):
    conf = ('max_memory = 64m\nconnect_to = {"a.test:443:127.0.0.1:1"}\nclient { allow = {"loopback", "10.0.0.0/8"} }\n'
            'rule "a.test:8080" { request_header = {"Authorization: Bearer hunter2", "X-B:"} verify = off }\n'
            'forward "127.0.0.1:9001" { to = "https://api.test/v2" }\n')
    done, _ = check(conf, option="-T")
    assert done.returncode == 0 and "hunter2" not in done.stdout
    again = tmp_path / "again.conf"
    again.write_text(done.stdout.replace("configuration ok\n", ""))
    second = tlsfan("-T", "-c", str(again))
    assert second.returncode == 0, text(second)
    assert second.stdout == done.stdout


def test_example_file_is_good(tlsfan):
    path = os.path.join(ROOT, "conf", "tlsfan.conf")
    if not os.path.exists(path):
        pytest.skip("no conf/tlsfan.conf yet")
    done = tlsfan("-T", "-c", path)
    assert done.returncode == 0 and done.stdout == tlsfan("-T").stdout, text(done)


# --- exit statuses

def test_usage(tlsfan):
    assert tlsfan("-V").returncode == 0 and "tlsfan" in tlsfan("-V").stdout
    assert tlsfan("-h").returncode == 0 and "--config" in tlsfan("-h").stdout
    for flags in (["--nonsense"], ["-c"], ["stray"], ["-o", "novalue"], ["-f", "127.0.0.1:1"]):
        assert tlsfan(*flags).returncode == 2, flags
    assert tlsfan("-c", "/nonexistent").returncode == 1
    assert tlsfan("-w", "0").returncode in (1, 2)


def test_address_in_use_is_3(proxy, tlsfan):
    done = tlsfan("-l", "127.0.0.1:%d" % proxy.port)
    assert done.returncode == 3 and str(proxy.port) in text(done)


def test_port_0_is_named_in_the_log(make_proxy):
    p = make_proxy(listen=["127.0.0.1:0"], wait=False)
    wait_until(lambda: re.search(r"127\.0\.0\.1:(\d{2,})", p.log()))
    port = int(re.search(r"127\.0\.0\.1:(\d{2,})", p.log()).group(1))
    wait_until(lambda: can_connect("127.0.0.1", port))


def test_ipv6_listener(make_proxy, origin):
    port = free_port("::1")
    make_proxy(listen=["[::1]:%d" % port], wait=False)
    wait_until(lambda: can_connect("::1", port))
    with Client(("::1", port)) as c:
        assert c.get(origin.url()).status == 200


def test_stale_unix_socket_is_replaced_and_a_live_one_is_not(make_proxy, tlsfan, tmp):
    path = str(tmp / "stale.sock")
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(path)
    make_proxy(listen=["unix:" + path], wait=False)

    def answers():
        try:
            Client(path).close()
            return True
        except OSError:
            return False
    wait_until(answers)
    assert tlsfan("-l", "unix:" + path).returncode == 3


def test_two_workers_share_a_port(make_proxy, origin):
    p = make_proxy("workers = 4\n")
    for i in range(40):
        with p.client() as c:
            assert c.get(origin.url("/%d" % i)).text == "/%d" % i


# --- signals

def test_hup_applies_a_new_configuration(make_proxy, serve, origin):
    other = serve(answering(lambda r, c: ok("other")))
    conf = 'connect_to = {"origin.test:443:127.0.0.1:%d"}\n'
    p = make_proxy(conf % origin.port)
    with p.client() as c:
        assert c.get("http://origin.test/first").text == "/first"
        p.write(conf % other.port)
        p.signal(signal.SIGHUP)
        wait_until(lambda: c.get("http://origin.test/").text == "other")
        p.write(conf % origin.port + "nonsense = 1\n")
        before = len(p.log())
        p.signal(signal.SIGHUP)
        wait_until(lambda: "nonsense" in p.log()[before:] and "tlsfan.conf:" in p.log()[before:])
        assert c.get("http://origin.test/").text == "other"


def test_hup_with_a_log_that_cannot_be_written_changes_nothing(make_proxy, origin):
    p = make_proxy()
    p.write('via = off\nlog { access = "/nonexistent/x" }\n')
    before = len(p.log())
    p.signal(signal.SIGHUP)
    wait_until(lambda: "nothing was changed" in p.log()[before:])
    assert re.search(r"tlsfan\.conf:\d+: log\.access: /nonexistent/x cannot be written", p.log()[before:])
    with p.client() as c:
        assert c.get(origin.url()).status == 200 and origin.requests[-1].get("Via")


def test_hup_neither_waits_for_a_pipe_nor_takes_it_for_an_empty_file(make_proxy, origin, tmp_path):
    extra = tmp_path / "extra.conf"
    extra.write_text("via = off\n")
    p = make_proxy('include("%s")\n' % extra)
    extra.unlink()
    os.mkfifo(extra)
    p.signal(signal.SIGHUP)
    p.wait_log("cannot read %s: No data available" % extra)
    with p.client() as c:
        assert c.get(origin.url()).status == 200 and origin.requests[-1].get("Via") is None
    assert "configuration reloaded" not in p.log()


def test_hup_opens_and_closes_listeners(make_proxy, origin):
    p = make_proxy()
    old, new = p.port, free_port()
    with Client(old) as kept:
        assert kept.get(origin.url()).status == 200
        p.base = p.base.replace(":%d" % old, ":%d" % new)
        p.write("")
        p.signal(signal.SIGHUP)
        wait_until(lambda: can_connect("127.0.0.1", new))
        wait_until(lambda: not can_connect("127.0.0.1", old))
        with Client(new) as c:
            assert c.get(origin.url()).status == 200
        # all or nothing: a listener that cannot be opened leaves everything as it was
        before = len(p.log())
        p.base = p.base.replace(":%d" % new, ":%d" % origin.port)
        p.write("via = off\n")
        p.signal(signal.SIGHUP)
        wait_until(lambda: str(origin.port) in p.log()[before:])
        with Client(new) as c:
            assert c.get(origin.url()).status == 200 and origin.requests[-1].get("Via")


def test_hup_leaves_exchanges_alone(make_proxy, serve):
    go = threading.Event()

    def handler(conn):
        conn.read_request()
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
        go.wait(20)
        conn.send(b"done")
    server = serve(handler)
    p = make_proxy()
    with p.client() as c:
        c.request("GET", server.url())
        assert c.head().status == 200
        p.write("via = off\n")
        p.signal(signal.SIGHUP)
        before = p.log()
        wait_until(lambda: p.log() != before or "reload" in p.log() or "configuration" in p.log())
        go.set()
        assert c.exactly(8) == b"halfdone"


def test_what_is_taken_at_start_only_is_said_at_each_reload(make_proxy):
    p = make_proxy("workers = 1\nclient { max_connections = 100 }\n")
    p.write("workers = 2\nclient { max_connections = 200 }\n")
    for n in (1, 2):
        p.signal(signal.SIGHUP)
        wait_until(lambda: p.log().count("configuration reloaded") == n)
        assert p.log().count("workers is taken at start only: 1, not 2") == n
        assert p.log().count("client.max_connections is taken at start only: 100, not 200") == n


def test_term_drains(make_proxy, serve):
    go = threading.Event()
    server = serve(answering(lambda r, c: go.wait(20) and ok("finished")))
    p = make_proxy()
    p.write("")
    with p.client() as c, p.client() as idle:
        c.request("GET", server.url())
        server.wait_requests(1)
        p.signal(signal.SIGTERM)
        wait_until(lambda: not can_connect("127.0.0.1", p.port))
        assert idle.closed()
        assert not p.dead()
        go.set()
        r = c.response()
        assert r.text == "finished" and r.get("Connection", "").lower() == "close" and c.closed()
    assert p.process.wait(10 * SLOW) == 0


def test_drain_delay_keeps_accepting(make_proxy, origin):
    p = make_proxy("drain_delay = %ds\n" % (2 * SLOW))
    with p.client() as c:
        assert c.get(origin.url()).get("Connection", "").lower() != "close"
        p.signal(signal.SIGTERM)

        def closing():
            with p.client() as d:
                return d.get(origin.url()).get("Connection", "").lower() == "close"
        wait_until(closing, 1.8)
    assert p.process.wait(10 * SLOW) == 0


def test_drain_timeout_ends_what_hangs(make_proxy, serve):
    server = serve(lambda conn: (conn.read_request(), conn.hang()))
    p = make_proxy("drain_timeout = 500ms\n")
    with p.client() as c:
        c.request("GET", server.url())
        server.wait_requests(1)
        begun = time.monotonic()
        p.signal(signal.SIGTERM)
        assert p.process.wait(10 * SLOW) == 0 and time.monotonic() - begun < SOON


def test_second_term_ends_at_once(make_proxy, serve):
    server = serve(lambda conn: (conn.read_request(), conn.hang()))
    p = make_proxy("drain_timeout = 60s\n")
    with p.client() as c:
        c.request("GET", server.url())
        server.wait_requests(1)
        p.signal(signal.SIGTERM)
        wait_until(lambda: not can_connect("127.0.0.1", p.port))
        p.signal(signal.SIGTERM)
        p.process.wait(10 * SLOW)
    p.process.returncode = 0 if p.process.returncode in (0, 1, -signal.SIGTERM,
                                                         128 + signal.SIGTERM) else p.process.returncode


def test_usr1_reopens_logs(make_proxy, origin):
    p = make_proxy()
    with p.client() as c:
        c.get(origin.url("/before"))
        p.wait_access(lambda x: x["url"].endswith("/before"))
        os.rename(p.access_path, p.access_path + ".1")
        p.signal(signal.SIGUSR1)
        p.wait_log("log files were opened again")
        c.get(origin.url("/after"))
        p.wait_access(lambda x: x["url"].endswith("/after"))
    with open(p.access_path + ".1") as f:
        assert "/after" not in f.read()
    os.remove(p.access_path)
    os.mkdir(p.access_path)
    p.signal(signal.SIGUSR1)
    p.wait_log("cannot be opened again, the old file stays")
    p.signal(signal.SIGHUP)
    p.wait_log("nothing was changed")
    assert p.log().count("log files were opened again") == 1


# --- tlsfan run

def command(*args, flags=(), env=None, **kw):
    if binary() is None:
        pytest.skip("no tlsfan: build it, or set TLSFAN_BIN")
    return subprocess.run([binary(), *flags, "run", "--", *args], env=clean_env(env), capture_output=True, text=True,
                          timeout=30 * SLOW, **kw)


def test_run_gives_the_status_and_the_streams():
    done = command("sh", "-c", 'cat; echo "$http_proxy $HTTP_PROXY"; echo err >&2; exit 7', input="in\n")
    assert done.returncode == 7
    m = re.match(r"in\n(http://127\.0\.0\.1:\d+/?) \1\n$", done.stdout)
    err = re.match(r"err\n\S+ warning sh made no request through tlsfan\. .*\n$", done.stderr)
    assert m and err, (done.stdout, done.stderr)


def test_run_statuses():
    assert command("true").returncode == 0
    assert command("/nonexistent/command").returncode == 127
    assert command("no-such-command-at-all").returncode == 127
    assert command("/etc/passwd").returncode == 126
    assert command("sh", "-c", "kill -TERM $$").returncode == 128 + 15
    assert command("sh", "-c", "kill -KILL $$").returncode == 128 + 9
    assert command("true", flags=("-o", "nonsense=1")).returncode == 125


def test_run_passes_signals_on(tmp_path):
    if binary() is None:
        pytest.skip("no tlsfan: build it, or set TLSFAN_BIN")
    ready = tmp_path / "ready"
    script = 'trap "exit 42" TERM; touch %s; while :; do sleep 0.05; done' % ready
    process = subprocess.Popen([binary(), "run", "--", "sh", "-c", script], env=clean_env())
    wait_until(ready.exists)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10 * SLOW) == 42


def test_run_works(origin, ca):
    done = command("curl", "-sS", origin.url("/cured"), flags=("-o", "tls.ca_file=" + ca.root))
    assert done.returncode == 0 and done.stdout == "/cured", done.stderr


@pytest.mark.parametrize("client", ['allow = {"10.0.0.0/8"}', 'allow = {}', 'auth_file = "%s"'])
def test_run_lets_its_command_in(origin, ca, tmp_path, client):
    users = tmp_path / "users"
    users.write_text("somebody:$6$salt$" + "x" * 86 + "\n")
    conf = tmp_path / "run.conf"
    conf.write_text('client { %s }\ntls { ca_file = "%s" }\n' % (client.replace("%s", str(users)), ca.root))
    done = command("curl", "-sS", origin.url("/in"), flags=("-c", str(conf)))
    assert done.returncode == 0 and done.stdout == "/in", (done.stdout, done.stderr)


def test_run_does_not_open_the_listeners_of_the_file(proxy):
    done = command("sh", "-c", 'echo "$http_proxy"', flags=("-c", proxy.conf_path))
    assert done.returncode == 0 and str(proxy.port) not in done.stdout, done.stderr
