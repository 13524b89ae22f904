# SPDX-License-Identifier: Apache-2.0
"""What tlsfan says of what it was good for: the line behind a COMMAND, blind tunnels, and hosts of plain HTTP."""
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading

import pytest

from testenv import SLOW
from testenv.captured import Captured, Outside, why_not
from testenv.client import Client
from testenv.ports import free_port
from testenv.proxy import REPORT, binary, clean_env
from testenv.scripted import Server, answering, ok
from testenv.wait import wait_until

pytestmark = pytest.mark.skipif(binary() is None, reason="no tlsfan: build it, or set TLSFAN_BIN")

# "12 requests, 11.4 s of waiting in 1.1 s (10 at once)"
FIGURES = re.compile(r"(\d+) requests?(?:, ([\d.]+ m?s) of waiting(?: in ([\d.]+ m?s))?)?(?: \((.*)\))?$", re.M)
PAUSE = 0.3

# Asks for URLs (argv[2:]) all at once, argv[1] of them, by threads that know http_proxy.
THREADS = """
import sys, threading, urllib.request
def get(url):
    try:
        urllib.request.urlopen(url, timeout=60).read()
    except OSError:
        pass
all = [threading.Thread(target=get, args=(url,)) for url in sys.argv[1:]]
[t.start() for t in all]
[t.join() for t in all]
print("done")
"""

# Leaves room for three lines at its terminal, as many as another one takes that nobody reads.
FILL = """
import os, pty, urllib.request
def pour(fd, most):
    fd, n = os.open("/proc/self/fd/%d" % fd, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY), 0
    try:
        while n < most:
            n += os.write(fd, b"\\n")
    except BlockingIOError:
        pass
    return n
urllib.request.urlopen("http://origin.test/").read()
pour(2, pour(pty.openpty()[1], 1 << 30) - 3)
"""


def seconds(text):
    value, unit = text.split()
    return float(value) / (1000 if unit == "ms" else 1)


class Site:
    """origin.test: /slow comes late, /hang never, /cut breaks off, pages follow one another."""

    def __init__(self, ca):
        self.stopping = threading.Event()
        self.server = Server(answering(self.answer), ca.server_context())
        self.options = ["-o", "tls.ca_file=" + ca.root, "-o",
                        "connect_to=origin.test:443:127.0.0.1:%d" % self.server.port]

    def answer(self, request, conn):
        path = request.target.split("?")[0]
        if path == "/slow":
            self.stopping.wait(PAUSE)
        elif path == "/hang":
            self.stopping.wait(60)
        elif path == "/cut":
            conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx")
            return None
        return ok(request.target)

    def stop(self):
        self.stopping.set()
        self.server.stop()


@pytest.fixture(scope="module")
def site(ca):
    s = Site(ca)
    yield s
    s.stop()


@pytest.fixture
def run(site):
    """run(COMMAND, ...): a CompletedProcess of `tlsfan run`; at the level info unless that is another."""
    def go(*command, how=(), options=(), level="info", env=None, status=0):
        line = [binary(), *site.options, "-o", "log.level=" + level, *options, "run", *how, "--", *command]
        done = subprocess.run(line, env=clean_env({"no_proxy": "", **(env or {})}), stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=60 * SLOW)
        assert done.returncode == status, (done.stdout[-2000:], done.stderr[-4000:])
        assert REPORT.search(done.stderr) is None, done.stderr[-6000:]
        return done
    return go


def curl(*arguments):
    return ["curl", "-sS", *arguments]


def last_line(done):
    return done.stderr.splitlines()[-1]


def figures(done):
    """(requests, waiting, busy, what stands in brackets) of the last line; times in s, or None."""
    found = FIGURES.search(last_line(done))
    assert found, done.stderr
    n, waiting, busy, rest = found.groups()
    return int(n), waiting and seconds(waiting), busy and seconds(busy), rest


# ---- the figures

def test_ten_at_once(run):
    done = run(sys.executable, "-c", THREADS, *["http://origin.test/slow?n=%d" % n for n in range(10)])
    n, waiting, busy, rest = figures(done)
    assert (n, rest, done.stdout) == (10, "10 at once", "done\n")
    assert 10 * PAUSE <= waiting and PAUSE <= busy < waiting / 2


def test_what_own_listeners_answer_is_counted_once(run):
    """A program with the forward's address sends it to its proxy, too; and asking for a page is nothing to warn of."""
    port, service = free_port(), free_port()
    n, _, _, rest = figures(run(*curl("http://127.0.0.1:%d/slow" % port),
                                options=("-f", "127.0.0.1:%d=https://origin.test" % port)))
    assert (n, rest) == (1, None)
    done = run(*curl("http://127.0.0.1:%d/healthz" % service), options=("-s", "127.0.0.1:%d" % service))
    assert done.stdout == "ok\n" and "through tlsfan" not in done.stderr and " request" not in last_line(done)


def test_one_at_a_time(run):
    script = "for n in 1 2 3; do curl -sS http://origin.test/slow?n=$n; done"
    done = run("sh", "-c", script)
    n, waiting, busy, rest = figures(done)
    assert (n, rest) == (3, "one at a time")
    assert abs(waiting - busy) <= 0.1 and waiting >= 3 * PAUSE


def test_failures_are_counted(run):
    done = run(sys.executable, "-c", THREADS, "http://origin.test/", "http://origin.test/cut",
               "http://127.0.0.1:%d/" % free_port(), "ftp://origin.test/")
    n, _, _, rest = figures(done)
    assert n == 3 and rest.endswith(", 2 failed"), last_line(done)


def test_what_is_refused_takes_no_time(run):
    done = run(*curl("http://origin.test/"), options=("-o", "destination.deny_hosts=origin.test"))
    assert last_line(done).endswith(" info 1 request (1 failed)"), done.stderr


def test_a_program_that_gives_up(run):
    done = run(*curl("-m", "0.5", "http://origin.test/hang"), status=28)
    n, waiting, busy, rest = figures(done)
    assert (n, busy, rest) == (1, None, "1 given up") and waiting >= 0.4, last_line(done)


def test_read_ahead_is_named(run):
    script = "for n in 1 2 3 4 5 6 7 8; do curl -sS http://origin.test/page?page=$n; done"
    n, _, _, rest = figures(run("sh", "-c", script, how=("--read-ahead=4",)))
    assert n == 8 and re.search(r"\b[1-6] fetched ahead\b", rest), rest


def test_a_batch_is_what_it_asks_for(run):
    urls = "\n".join("http://origin.test/slow?n=%d" % n for n in range(5))
    done = run(*curl("-H", "Content-Type: text/plain", "--data-binary", urls, "http://tlsfan.localhost/batch"))
    n, waiting, busy, rest = figures(done)
    assert (n, rest) == (5, "5 at once") and waiting >= 5 * PAUSE and busy < waiting / 2


def test_what_is_intercepted_is_a_request(run):
    done = run(*curl("https://origin.test/a", "https://origin.test/b"), how=("--intercept",))
    assert figures(done)[0] == 2 and "tunnel" not in last_line(done)


def test_tunnels_stand_beside_requests(run, site):
    both = "curl -sS http://origin.test/; curl -sSk -p -x $http_proxy https://origin.test/"
    done = run("sh", "-c", both)
    assert re.search(r" 1 request, [\d.]+ m?s of waiting; besides 1 blind tunnel to origin\.test:443$", last_line(done))


# ---- where it is told

def test_on_a_terminal(site, terminal):
    t = terminal(binary(), *site.options, "run", "--", *curl("http://origin.test/", "-w", "\\n"))
    t.wait_seen(b"of waiting")
    t.wait(0)
    assert re.search(rb"^/\r\ntlsfan: 1 request, \d+ m?s of waiting\r\n$", t.read()), t.seen


def test_a_terminal_is_told_once(site, terminal):
    t = terminal(binary(), *site.options, "-o", "log.level=info", "run", "--", *curl("http://origin.test/"))
    t.wait_seen(b"of waiting")
    t.wait(0)
    assert t.read().count(b"of waiting") == 1, t.seen


def test_nobody_is_told(run, site, terminal):
    """No terminal and the level warning; or the level error, which wants to know of errors alone."""
    done = run(*curl("http://origin.test/"), level="warning")
    assert (done.stdout, done.stderr) == ("/", "")
    assert run("true", level="error").stderr == ""
    t = terminal(binary(), *site.options, "-o", "log.level=error", "run", "--", *curl("http://origin.test/"))
    t.wait(0)
    assert t.read() == b"/"


def test_a_terminal_that_takes_nothing_is_not_waited_for(site, terminal):
    """Ctrl-S has stopped it."""
    t = terminal(binary(), *site.options, "run", "--", "sh", "-c",
                 shlex.join(curl("http://origin.test/")) + "; echo up; read line")
    t.wait_seen(b"up")
    t.type(b"\x13\n")
    t.wait(0)
    assert b"of waiting" not in t.read()


def test_a_terminal_that_is_nearly_full_is_not_waited_for(site, terminal):
    """It says that it takes more, and takes half a line."""
    t = terminal(binary(), *site.options, "run", "--", sys.executable, "-c", FILL)
    t.wait(0)


# ---- why there is nothing

def test_no_request(run):
    done = run("true", level="warning")
    assert done.stdout == ""
    assert re.search(r"^\S+ warning true made no request through tlsfan\. https:// URLs go past it: write http://, or "
                     r"run it with --intercept\. A program that reads no http_proxy needs --capture$", done.stderr)
    done = run("sh", "-c", "exit 3", env={"NO_PROXY": "localhost,.test\x1b[31m"}, status=3)
    assert last_line(done).endswith("Hosts of no_proxy=localhost,.test\\x1b[31m are not sent to it")


def test_hosts_of_no_proxy_and_https_urls(run, site):
    """What the warning names is what happens."""
    port = free_port()
    for url, env in (("http://localhost:%d/" % port, {"no_proxy": "localhost"}), ("https://localhost:%d/" % port, {})):
        done = run(*curl(url), env=env, status=7)
        assert "curl made no request through tlsfan" in last_line(done)


def test_blind_tunnels_alone(run):
    done = run("sh", "-c", "curl -sSk -p -x $http_proxy https://origin.test/ && "
                           "curl -sSk -p -x $http_proxy https://origin.test/", level="warning")
    assert re.search(r" warning sh made 2 blind tunnels to origin\.test:443 and no request that tlsfan could read: "
                     r"nothing was fanned out\. Write http:// in its URLs, or run it with --intercept$",
                     last_line(done)), done.stderr


def test_a_pattern_that_does_not_match(run):
    done = run(*curl("-k", "https://origin.test/"), how=("--intercept=other.test",), level="warning")
    assert last_line(done).endswith("Name its hosts in --intercept=, or write http:// in its URLs"), done.stderr


def test_a_rule_that_leaves_it_alone(run):
    done = run(*curl("-k", "https://origin.test/"), how=("--intercept",), level="warning",
               options=("-o", "rule[origin.test].intercept=off", "-o",
                        "rule[origin.test].ca_file="))
    assert "A rule with intercept = off leaves them alone" in last_line(done), done.stderr


def test_a_program_that_does_not_trust(run, ca):
    done = run(*curl("--cacert", ca.root, "https://origin.test/"), how=("--intercept",), level="warning", status=60)
    assert "curl made 1 connection to origin.test:443 that tlsfan intercepts, and no request inside" in last_line(done)


# ---- how COMMAND ends

def test_no_command(run):
    done = run("no-such-command-at-all", status=127)
    assert "cannot run no-such-command-at-all" in last_line(done) and "request" not in done.stderr
    done = run("/etc/passwd", status=126)
    assert "cannot run /etc/passwd" in last_line(done) and "request" not in done.stderr


def test_a_command_that_is_killed(run):
    assert "request" not in run("sh", "-c", "kill -9 $$", status=128 + 9).stderr
    done = run("sh", "-c", "curl -sS http://origin.test/; kill -15 $$", status=128 + 15)
    assert figures(done)[0] == 1 and done.stdout == "/"


def test_a_signal_to_tlsfan(site, tmp_path):
    """What is under way as COMMAND ends was waited for, too."""
    script = "touch %s; exec curl -sS http://origin.test/hang" % (tmp_path / "up")
    process = subprocess.Popen([binary(), *site.options, "-o", "log.level=info", "run", "--", "sh", "-c", script],
                               env=clean_env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    del site.server.requests[:]
    wait_until(lambda: site.server.requests, 10, "the request")
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30 * SLOW)
    assert process.returncode == 128 + 15 and out == ""
    assert re.search(r"info 1 request, \d+.* of waiting \(1 given up\)$", err.splitlines()[-1]), err


# ---- --capture

@pytest.fixture(scope="module")
def outside(ca):
    if why_not() is not None:
        pytest.skip(why_not())
    made = Outside(ca, answering(lambda request, conn: ok(request.target)))
    yield made
    made.stop()


@pytest.fixture
def captured(outside):
    made = Captured(outside)
    yield made
    made.close()


def test_captured(captured):
    info = ("log.level=info",)
    done = captured.run(*curl("http://origin.test/a", "http://origin.test/b"), options=info)
    assert figures(done)[0] == 2 and done.stdout == "/a/b"
    done = captured.run(*curl("-k", "https://origin.test/"))
    assert re.search(r"curl made 1 blind tunnel to origin\.test:443 and no request .* --intercept$", last_line(done))
    done = captured.run(*curl("https://origin.test/"), how=("--intercept",), options=info)
    assert figures(done)[0] == 1
    done = captured.run("true")
    assert "true made no connection that tlsfan takes" in last_line(done)


# ---- blind tunnels of a server

def connect(p, to):
    with Client(p.port) as c:
        c.send("CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (to, to))
        assert c.head().status == 200


def told(p):
    return [line for line in p.log().splitlines() if "blind tunnel" in line]


def test_the_first_tunnel_to_each_origin_is_told(make_proxy, site):
    other = free_port()
    p = make_proxy('connect_to = {"origin.test::127.0.0.1:%d"}\ndestination { connect_ports = {443, %d} }\n'
                   % (site.server.port, other))
    for to in ("origin.test:443", "ORIGIN.test:443", "origin.test:443", "origin.test:%d" % other):
        connect(p, to)
    wait_until(lambda: len(told(p)) == 2, 5, lambda: p.log())
    assert re.search(r" info origin\.test:443 is reached by a blind tunnel: nothing inside is read, checked or fanned "
                     r"out\. http://origin\.test/ instead of https:// in the program would change that, or "
                     r"intercept = on in a rule for this host$", told(p)[0])
    assert "http://origin.test:%d/" % other in told(p)[1]


def test_who_intercepts_and_wrote_a_rule_is_told_nothing(make_proxy, ca, site, tmp_path):
    assert subprocess.run([binary(), "--make-ca", str(tmp_path / "ca")], capture_output=True).returncode == 0
    p = make_proxy('connect_to = {":443:127.0.0.1:%d"}\n'
                   'intercept { ca_cert = "%s/ca/ca.pem" ca_key = "%s/ca/ca.key" }\n'
                   'rule "pinned.test" { intercept = off }\nrule "*.read.test" { intercept = on }\n'
                   % (site.server.port, tmp_path, tmp_path))
    connect(p, "pinned.test:443")
    connect(p, "neither.test:443")
    wait_until(lambda: told(p), 5, lambda: p.log())
    assert len(told(p)) == 1 and "neither.test:443" in told(p)[0]


# ---- hosts of plain HTTP

class PlainHost:
    """Answers plain HTTP; to what is no request it does as HOW says: "answers" 400, "closes" without a byte, or "waits"
    for the end of the head."""

    def __init__(self, how):
        self.how = how
        self.server = Server(self.handle, None)
        self.port = self.server.port

    def handle(self, conn):
        first = conn.recv(1)
        if first == b"\x16" and self.how == "waits":
            conn.hang()
            return
        if first == b"\x16":
            if self.how == "answers":
                conn.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            conn.finish()
            return
        conn.buf = first + conn.buf
        conn.read_request()
        conn.send(ok(b"plain", "Connection: close"))
        conn.finish()


@pytest.fixture(params=["answers", "closes"])
def plain(request):
    host = PlainHost(request.param)
    host.text = {"answers": "localhost:%d speaks plain HTTP, not TLS; if that is right, ",
                 "closes": "localhost:%d closed the connection during the TLS handshake without a byte: perhaps it "
                           "speaks plain HTTP; if so, "}[request.param] % host.port
    yield host
    host.server.stop()


def pasted(text):
    """What stands between quotes behind -o, as a shell reads it."""
    found = re.search(r" (-o '[^']*')", text)
    return shlex.split(found.group(1))


def test_plain_http_under_run(run, plain):
    url = "http://localhost:%d/" % plain.port
    text = run("curl", "-s", url).stdout
    assert text == (plain.text + "start tlsfan run with -o 'rule[localhost:%d].upgrade=off', or with "
                    "no_proxy=localhost in its environment\n" % plain.port)
    done = run("curl", "-s", url, options=pasted(text))
    assert done.stdout == "plain" and figures(done)[0] == 1
    done = run("curl", "-s", url, how=pasted(text))  # it may stand behind `run`, too
    assert done.stdout == "plain" and figures(done)[0] == 1
    variable = re.search(r"\bno_proxy=(\S+)", text).group(1)
    for program in (["curl", "-s", url], [sys.executable, "-c", "import urllib.request\n"
                                          "print(urllib.request.urlopen('%s').read().decode(), end='')" % url]):
        done = run(*program, env={"no_proxy": variable})
        assert done.stdout == "plain" and "made no request through tlsfan" in done.stderr


def test_a_silent_host_under_run(run):
    """Gunicorn waits for the end of a head, whatever comes."""
    host = PlainHost("waits")
    url = "http://localhost:%d/" % host.port
    text = run("curl", "-s", url, options=("-o", "upstream.connect_timeout=300ms")).stdout
    assert "got no answer within 300 ms (upstream.connect_timeout): perhaps it speaks plain HTTP; if so, " in text
    assert run("curl", "-s", url, options=pasted(text)).stdout == "plain"
    host.server.stop()


def test_plain_http_under_run_with_a_file(run, plain, tmp_path):
    """A rule of the file wins over one of -o: the text says where the new one has to stand."""
    conf = tmp_path / "run.conf"
    conf.write_text('\nrule "*" { lenient = on }\n')
    url = "http://localhost:%d/" % plain.port
    text = run("curl", "-s", url, options=("-c", str(conf))).stdout
    found = re.search(r"; if \S+.*?, write (rule .*) in front of rule \"\*\" \((.*):2\), or with no_proxy=", text)
    assert found and found.group(2) == str(conf), text
    conf.write_text(found.group(1) + "\n" + conf.read_text())
    assert run("curl", "-s", url, options=("-c", str(conf))).stdout == "plain"


def test_plain_http_of_a_server(make_proxy, plain):
    p = make_proxy()
    url = "http://localhost:%d/" % plain.port

    def get():
        return subprocess.run(["curl", "-s", "-x", p.url, url], env=clean_env(), capture_output=True, text=True).stdout
    text = get()
    rule = re.match(re.escape(plain.text) + r"write (rule .*) into (.*)\n$", text)
    assert rule and rule.group(2) == p.conf_path, text
    p.write(rule.group(1) + "\n")
    p.signal(signal.SIGHUP)
    p.wait_log("configuration reloaded")
    assert get() == "plain"
    line, = p.wait_access(lambda x: x["status"] == 502)
    assert line["details"] + "\n" == text and line["error"] in ("tls_protocol_error", "connection_terminated")


def test_plain_http_behind_a_forward(make_proxy, plain):
    port = free_port()
    section = 'forward "127.0.0.1:%d" { to = "%s://localhost:%d" }\n'
    p = make_proxy(section % (port, "https", plain.port))

    def get():
        return subprocess.run(["curl", "-s", "http://127.0.0.1:%d/" % port], env=clean_env(), capture_output=True,
                              text=True).stdout
    assert get() == plain.text + "write http:// in the `to` of forward \"127.0.0.1:%d\"\n" % port
    p.write(section % (port, "http", plain.port))
    p.signal(signal.SIGHUP)
    p.wait_log("configuration reloaded")
    assert get() == "plain"


def test_an_https_url_gets_no_such_advice(run, plain):
    done = run(*curl("-k", "https://localhost:%d/" % plain.port), how=("--intercept",),
               options=("-o", "destination.connect_ports=%d" % plain.port))
    assert "upgrade" not in done.stdout and "localhost:%d" % plain.port in done.stdout


def test_nobody_at_the_port_of_https(run):
    """http://localhost/ of a service at port 80."""
    with socket.socket() as s:
        if s.connect_ex(("127.0.0.1", 443)) == 0:
            pytest.skip("somebody serves port 443 here")
    text = run("curl", "-s", "http://localhost/").stdout
    assert "; if it serves plain HTTP at port 80 alone, start tlsfan run with -o 'rule[localhost].upgrade=off'" in text
    text = run("curl", "-s", "http://localhost/", options=pasted(text)).stdout
    assert ":443" not in text
