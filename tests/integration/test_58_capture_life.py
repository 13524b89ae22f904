# SPDX-License-Identifier: Apache-2.0
"""tlsfan run --capture: what COMMAND's network has not, who COMMAND is, how it ends, and what is left: nothing."""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

from test_45_run_signals import Recorder
from testenv import SLOW, SOON
from testenv.captured import NOBODY, USER, Captured, Outside, inhabitants, namespace_of, why_not
from testenv.ports import free_port
from testenv.scripted import Server, answering, ok
from testenv.wait import wait_until

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

WHO = [False, pytest.param(True, marks=pytest.mark.skipif(why_not(True) is not None, reason=str(why_not(True))))]
whoever = pytest.mark.parametrize("nobody", WHO, ids=["here", "nobody"])


def answer(request, conn):
    if request.target == "/hang":
        conn.hang()
        return None
    return ok(request.target)


@pytest.fixture(scope="module")
def outside(ca):
    o = Outside(ca, answering(answer))
    yield o
    o.stop()


@pytest.fixture
def captured(outside):
    c = Captured(outside)
    yield c
    c.close()


@pytest.fixture
def host():
    """host(handler): a server on this machine's loopback that speaks no TLS; its port."""
    made = []

    def make(handler, address="127.0.0.1"):
        made.append(Server(handler, None, address, free_port(address)))
        return made[-1]
    yield make
    for server in made:
        server.stop()


def need(*programs):
    for name in programs:
        if shutil.which(name) is None:
            pytest.skip("no %s here" % name)


# --- what it cannot reach

REFUSED = """
import errno, socket, time
def how(family, kind, address):
    began = time.monotonic()
    s = socket.socket(family, kind)
    s.settimeout(20)
    try:
        s.connect(address)
        s.send(b"x")
        s.recv(1)
        text = "answered"
    except OSError as e:
        text = errno.errorcode.get(e.errno, str(e))
    return text if time.monotonic() - began < 5 else "late " + text
for family, address in ((socket.AF_INET, "203.0.113.7"), (socket.AF_INET6, "2001:db8::7"),
                        (socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
    for port in (22, 81, 8443):
        print(how(family, socket.SOCK_STREAM, (address, port)))
    for port in (80, 443, 123):
        print(how(family, socket.SOCK_DGRAM, (address, port)))
"""


@whoever
def test_all_else_is_refused_at_once(captured, nobody):
    """Ports that are not captured, and UDP: a program falls back, or fails, but does not hang."""
    said = captured.python(REFUSED, nobody=nobody).split("\n")[:-1]
    assert said == ["ECONNREFUSED"] * 24


LOOKUPS = """
import json, socket
def find(name, family, flags=0):
    try:
        return sorted({x[4][0] for x in socket.getaddrinfo(name, 80, family, socket.SOCK_STREAM, 0, flags)})
    except socket.gaierror as e:
        return [n for n in dir(socket) if n.startswith("EAI") and getattr(socket, n) == e.errno][0]
out = {"%s %d" % (n, f): find(n, f) for n in ("origin.test", "nowhere.test", "fails.test", "six.test", "localhost")
       for f in (socket.AF_INET, socket.AF_INET6)}
for family in (0, socket.AF_INET):
    out["configured %d" % family] = find("origin.test", family, socket.AI_ADDRCONFIG)
out["back"] = socket.gethostbyaddr(out["origin.test 2"][0])[0]
print(json.dumps(out))
"""


def test_names(captured, outside):
    """There or not as outside: an address of our own, no such name, or a failure that may pass."""
    outside.dns.zone.update({"fails.test": [("RCODE", 2, 0)], "six.test": [("AAAA", "2001:db8::7", 60)]})
    found = json.loads(captured.python(LOOKUPS))
    first, second = found["origin.test 2"][0], found["six.test 2"][0]
    assert first != second and all(x.startswith(("198.18.", "198.19.")) for x in (first, second)), found
    assert found["origin.test 10"] in ("EAI_NODATA", "EAI_ADDRFAMILY", "EAI_NONAME"), found
    assert found["nowhere.test 2"] == found["nowhere.test 10"] == "EAI_NONAME", found
    assert found["fails.test 2"] == "EAI_AGAIN", found
    assert "127.0.0.1" in found["localhost 2"] and found["back"] == "origin.test", found
    assert found["configured 0"] == found["configured 2"] == [first], found


def test_captured_ports_on_loopback(captured, outside):
    """A sentence says what is up; in a tunnel there is no place for one."""
    need("curl")
    out = captured.run("curl", "-sS", "-i", "http://127.0.0.1/", "http://[::1]/").stdout
    assert out.count("HTTP/1.1 502 ") == 2 and "capture." in out, out
    done = captured.run("curl", "-sS", "-k", "https://127.0.0.1/", status=None)
    assert done.returncode in (7, 35, 56) and "capture.tunnel" in done.stderr, done.stderr
    assert outside.server.requests == []


# --- the host's loopback

def database(conn):
    """Speaks first, as PostgreSQL does not but MySQL and SMTP do; ends when told."""
    conn.send(b"READY\r\n")
    line = conn.until(b"\n")
    while line:
        conn.send(b"+" + line.upper())
        line = conn.until(b"\n")
    conn.send(b"BYE " + conn.buf)


CLIENT = """
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 20)
f = s.makefile("rwb", buffering=0)
print(f.readline().decode().strip())
s.sendall(b"one\\ntwo\\nthree")
print(f.readline().decode().strip())
print(f.readline().decode().strip())
s.shutdown(socket.SHUT_WR)
print(f.read().decode())
"""


@whoever
def test_a_database_of_the_host(captured, host, nobody):
    """Both ways, half closed, and only the port that was named."""
    server, other = host(database), host(database)
    options = ["capture.host_loopback=%d" % server.port]
    out = captured.python(CLIENT, "127.0.0.1", str(server.port), options=options, nobody=nobody)
    assert out.split("\n")[:-1] == ["READY", "+ONE", "+TWO", "BYE three"]
    captured.python(CLIENT, "127.0.0.1", str(other.port), options=options, nobody=nobody, status=1)
    assert other.accepted == 0 and server.accepted == 1


@pytest.mark.parametrize("how", [(), ("--intercept",)], ids=["", "intercept"])
def test_a_server_elsewhere_that_speaks_first(captured, host, how):
    """SSH and its like, by a further port of capture.tunnel; with --intercept it is waited for: it may be TLS."""
    server = host(database)
    options = ["capture.tunnel=443", "capture.tunnel=2222", "connect_to=origin.test:2222:127.0.0.1:%d" % server.port]
    out = captured.python(CLIENT, "origin.test", "2222", options=options, how=how)
    assert out.split("\n")[:-1] == ["READY", "+ONE", "+TWO", "BYE three"]


def test_a_database_of_the_host_by_ipv6(captured, host):
    server = host(database, "::1")
    out = captured.python(CLIENT, "::1", str(server.port), options=["capture.host_loopback=%d" % server.port])
    assert out.startswith("READY\n")


def test_a_database_of_the_host_that_is_not_there(captured):
    """Closed, without an answer of ours, which is no line of the database's."""
    code = """
import socket, sys
try:
    s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20)
    print(s.recv(100))
except OSError as e:
    print("error")
"""
    port = free_port()
    assert captured.python(code, str(port), options=["capture.host_loopback=%d" % port]) in ("b''\n", "error\n")


# --- who COMMAND is

SELF = """
import json, os, resource, sys
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps({
    "ids": [os.getuid(), os.geteuid(), os.getgid(), os.getegid()],
    "groups": sorted(os.getgroups()),
    "capabilities": {x: int(status[x], 16) for x in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")},
    "users": os.stat("/proc/self/ns/user").st_ino,
    "mounts": os.stat("/proc/self/ns/mnt").st_ino,
    "net": os.stat("/proc/self/ns/net").st_ino,
    "cwd": os.getcwd(),
    "files": sorted(int(x) for x in os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd/" + x)),
    "limits": [resource.getrlimit(n) for n in range(16)],
    "owner": os.stat(sys.argv[1]).st_uid,
    "pgid": os.getpgid(0) - os.getppid(),
    "privileges": status["NoNewPrivs"].strip(),
    "umask": os.umask(0o22),
    "env": sorted(x for x in os.environ if x.lower().endswith("_proxy")),
}))
"""


@whoever
def test_who_the_command_is(captured, nobody):
    """What it is without us, in a network of its own."""
    path = captured.path("its")
    open(path, "w").close()
    if nobody:
        os.chown(path, USER, USER)
    plain = subprocess.run([*(NOBODY if nobody else []), sys.executable, "-c", SELF, path], capture_output=True,
                           text=True, check=True, cwd=captured.dir, stdin=subprocess.DEVNULL,
                           env=captured.env()).stdout
    plain, there = json.loads(plain), json.loads(captured.python(SELF, path, nobody=nobody))
    for key in ("ids", "groups", "mounts", "cwd", "limits", "owner", "privileges", "umask", "files"):
        assert plain[key] == there[key], (key, plain, there)
    assert plain["net"] != there["net"] and there["env"] == []
    if there["ids"][0] == 0:
        assert (plain["users"], plain["capabilities"]) == (there["users"], there["capabilities"])
    else:
        assert plain["users"] != there["users"] and set(there["capabilities"].values()) == {0}


@whoever
@pytest.mark.parametrize("command, status", [
    (("sh", "-c", "exit 7"), 7), (("/nonexistent",), 127), (("/etc/passwd",), 126),
    (("sh", "-c", "kill -9 $$"), 128 + signal.SIGKILL), (("sh", "-c", "kill -TERM $$"), 128 + signal.SIGTERM)])
def test_status(captured, command, status, nobody):
    captured.run(*command, status=status, nobody=nobody)


def test_streams_are_its_own(captured):
    process = captured.start("sh", "-c", "cat; echo wrong >&2; exit 3", stdin=subprocess.PIPE)
    out, err = process.communicate("right\n", timeout=20 * SLOW)
    assert (process.returncode, out) == (3, "right\n") and err.startswith("wrong\n"), (out, err)


@pytest.mark.parametrize("limit, drop", [("max_user_namespaces", "--bounding-set=-all"), ("max_net_namespaces", "")],
                         ids=["user", "net"])
def test_no_namespaces_here(captured, limit, drop):
    """125 at once, COMMAND not begun, and what to do about it."""
    need("unshare", "setpriv")
    script = 'echo 0 >/proc/sys/user/%s || exit 77; exec setpriv %s "$@"' % (limit, drop)
    done = subprocess.run(["unshare", "-Ur", "sh", "-c", script, "sh", *captured.line("echo", "begun")],
                          env=captured.env(), capture_output=True, text=True, timeout=20 * SLOW)
    if done.returncode == 77 or done.stderr.startswith("unshare"):
        pytest.skip("no limit of namespaces can be set here: " + done.stderr)
    assert (done.returncode, done.stdout) == (125, ""), (done.returncode, done.stderr)
    assert "user.%s" % limit in done.stderr and done.stderr.count("\n") <= 2, done.stderr


# --- a terminal

def test_control_c(captured, terminal, tmp_path):
    """COMMAND hears it once; tlsfan and what keeps the namespace do not fall over it."""
    r = Recorder(tmp_path)
    t = terminal(*captured.line(*r.command))
    r.wait_ready()
    t.type(b"\x03")
    r.wait_heard(signal.SIGINT)
    t.type(b"\x1c")
    r.wait_heard(signal.SIGQUIT)
    assert [n for n, _ in r.heard()] == [signal.SIGINT, signal.SIGQUIT]
    net = namespace_of(int(r.lines()[0][1]))
    os.kill(t.pid, signal.SIGTERM)
    t.wait(7)
    wait_until(lambda: inhabitants(net) == {}, 5, "the namespace to be empty")


def test_control_c_ends_it(captured, terminal):
    t = terminal(*captured.line("sh", "-c", "echo $$ is; exec sleep 60"))
    t.wait_seen(b"is")
    net = namespace_of(int(t.seen.split()[0]))
    t.type(b"\x03")
    t.wait(130)
    wait_until(lambda: inhabitants(net) == {}, 5, "the namespace to be empty")


def test_control_z(captured, terminal):
    """The shell has its terminal back, and fg has COMMAND go on, whose proxy then answers."""
    need("bash", "curl")
    program = "import os; print('u' + 'p', flush=True); input(); " \
              "os.execvp('curl', ['curl', '-sS', 'http://origin.test/after-fg'])"
    line = " ".join("'%s'" % x.replace("'", "'\\''") for x in captured.line(sys.executable, "-c", program))
    t = terminal("bash", "--norc", "-m", "-c", line + "; echo stopped=$?; fg; echo ended=$?")
    t.wait_seen(b"up")
    t.type(b"\x1a")
    t.wait_seen(b"stopped=%d" % (128 + signal.SIGTSTP))
    os.set_blocking(t.master, True)
    t.type(b"\n")
    t.wait_seen(b"/after-fg")
    t.wait_seen(b"ended=0")
    t.wait(0)


def test_a_hangup(captured, terminal):
    t = terminal(*captured.line("sh", "-c", "echo $$ is; exec sleep 60"))
    t.wait_seen(b"is")
    net = namespace_of(int(t.seen.split()[0]))
    t.hang_up()
    t.wait(128 + signal.SIGHUP)
    wait_until(lambda: inhabitants(net) == {}, 5, "the namespace to be empty")


# --- what is left

FAMILY = """
import os, signal, socket, sys, time
for n in range(2):
    if os.fork() == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        if n == 1 and os.fork() != 0:
            os._exit(0)
        while True:
            time.sleep(60)
s = socket.create_connection(("origin.test", 80))
s.sendall(b"GET /hang HTTP/1.1\\r\\nHost: origin.test\\r\\n\\r\\n")
print(os.getpid(), flush=True)
try:
    s.recv(1)
except OSError:
    pass
time.sleep(60)
"""


def wait_empty(net):
    wait_until(lambda: inhabitants(net) == {}, 5, "the namespace to be empty: %s" % inhabitants(net))


@whoever
@pytest.mark.parametrize("how", [(), ("--intercept",)], ids=["", "intercept"])
def test_killed_in_the_middle_of_a_request(captured, outside, nobody, how):
    """COMMAND goes, its children in sessions of their own and their orphans, and the namespace with them."""
    process = captured.start(sys.executable, "-c", FAMILY, nobody=nobody, how=how)
    pid = int(process.stdout.readline())
    net = namespace_of(pid)
    outside.server.wait_requests(1)
    assert len(inhabitants(net)) >= 3
    process.kill()
    process.wait()
    wait_empty(net)
    wait_until(lambda: outside.server.open_conns() == [], 5, "tlsfan's connections to end")
    wait_until(lambda: os.listdir(captured.tmp) == [], 5, "the files of --intercept to go")


def children_of(pid):
    with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
        return [int(x) for x in f.read().split()]


@whoever
def test_nothing_is_left_at_the_end(captured, nobody):
    """Neither of ours nor, where COMMAND leaves none, of its."""
    process = captured.start("sh", "-c", "echo $$; read line", nobody=nobody, stdin=subprocess.PIPE)
    pid = int(process.stdout.readline())
    net, ours = namespace_of(pid), children_of(process.pid)
    process.stdin.write("go\n")
    process.communicate(timeout=20 * SLOW)
    assert process.returncode == 0
    assert inhabitants(net) == {}  # at once: who waits for tlsfan waits for all of it
    assert not any(os.path.exists("/proc/%d" % x) for x in ours)


@whoever
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_are_passed_on(captured, nobody, number):
    process = captured.start("sh", "-c", "echo $$; exec sleep 60", nobody=nobody)
    net = namespace_of(int(process.stdout.readline()))
    process.send_signal(number)
    process.communicate(timeout=20 * SLOW)
    assert process.returncode == 128 + number
    wait_empty(net)


def test_the_keeper_is_killed(captured, outside):
    """What keeps the namespace is not what serves it: COMMAND's requests go on."""
    process = captured.start(sys.executable, "-c", """
import os, sys, urllib.request
print(os.getpid(), flush=True)
sys.stdin.readline()
print(urllib.request.urlopen("http://origin.test/still", timeout=20).read().decode())
""", stdin=subprocess.PIPE)
    pid = int(process.stdout.readline())
    for keeper in [x for x in children_of(process.pid) if x != pid]:
        os.kill(keeper, signal.SIGKILL)
    out, err = process.communicate("go\n", timeout=20 * SLOW)
    assert process.returncode == 0 and out == "/still\n", (process.returncode, out, err)


def test_many_one_after_the_other(captured):
    """A descriptor or a process that each one leaves would show."""
    began = time.monotonic()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        captured.run("true")
    assert len(os.listdir("/proc/self/fd")) <= before + 20 and time.monotonic() - began < SOON * SLOW
