# SPDX-License-Identifier: Apache-2.0
"""tlsfan run --capture: COMMAND is as it would be without it, but for its network; what keeps that dies with it.

Each test runs as root, who needs no user namespace, and as an ordinary user, who does."""
import fcntl
import functools
import glob
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import pytest

from testenv import SANITIZED, SLOW
from testenv.ports import free_port
from testenv.proxy import binary, clean_env
from testenv.scripted import answering, ok
from testenv.wait import wait_until

pytestmark = pytest.mark.skipif(binary() is None, reason="no tlsfan: build it, or set TLSFAN_BIN")

PYTHON = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable
IS_ROOT = os.geteuid() == 0
NO_CAPABILITIES = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
WHO = {
    "root": [],
    "user": ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if IS_ROOT else [],
    # As a container's often is: 0, but with no right to make a network; mapped to itself it must not get it back.
    "bare root": ["setpriv", "--bounding-set=-all,+setfcap", "--inh-caps=-all"],
    # The same with what it takes to make a network and to become another user.
    "able root": ["setpriv", "--bounding-set=-all,+sys_admin,+net_admin,+net_bind_service,+kill,+setuid,+setgid",
                  "--inh-caps=-all"],
    "inside": ["unshare", "-Ur"],
}


@functools.lru_cache(maxsize=None)
def why_not(who):
    """Why nobody like that can capture here, or None."""
    if not IS_ROOT and who in ("root", "bare root", "able root"):
        return "not run as root"
    if IS_ROOT and shutil.which("setpriv") is None:
        return "there is no setpriv"
    flags = "-n" if who in ("root", "able root") else "-Un"
    made = subprocess.run([*WHO[who], "unshare", flags, "true"], capture_output=True, text=True, cwd="/")
    return None if made.returncode == 0 else "this system makes no namespaces: " + made.stderr.strip()


def prefix(who):
    reason = why_not(who)
    if reason is not None:
        pytest.skip(reason)
    return WHO[who]


@pytest.fixture(params=["root", "user"])
def who(request):
    prefix(request.param)
    return request.param


@pytest.fixture
def open_dir():
    """A directory that every user may enter, which the tests' own directory is not."""
    path = tempfile.mkdtemp(prefix="tlsfan-open-")
    os.chmod(path, 0o755)
    yield pathlib.Path(path)
    shutil.rmtree(path)


def line(who, *command, flags=(), capture=True):
    return [*prefix(who), binary(), *flags, "run", *(["--capture"] if capture else []), "--", *command]


def run(who, *command, flags=(), capture=True, **kw):
    """To its end; text streams."""
    kw.setdefault("stdin", subprocess.DEVNULL)
    kw.setdefault("cwd", "/")
    kw["env"] = clean_env(kw.get("env"))
    return subprocess.run(line(who, *command, flags=flags, capture=capture), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=30 * SLOW, **kw)


QUIET = ("-o", "log.level=error")


def but_for_the_end(err):
    """ERR without what is said of a COMMAND that asks for nothing."""
    nothing = r"(?m)^\S+ warning \S+ made (no connection that tlsfan takes|\d+ blind tunnels? to).*\n"
    return re.sub(nothing, "", err)


def check(done, status=0, err=""):
    assert (done.returncode, but_for_the_end(done.stderr)) == (status, err), done
    return done.stdout


def net_of(pid):
    """Identifies the namespace of a process; None when it has ended."""
    try:
        st = os.stat("/proc/%s/ns/net" % pid)
    except OSError:
        return None
    return st.st_dev, st.st_ino


def living_in(net):
    return [int(p) for p in os.listdir("/proc") if p.isdigit() and net_of(p) == net]


def children(pid):
    try:
        with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
            return [int(x) for x in f.read().split()]
    except OSError:
        return []


def name_of(pid):
    try:
        with open("/proc/%d/comm" % pid) as f:
            return f.read().strip()
    except OSError:
        return None


class Running:
    """tlsfan, behind whatever prefix it was started with, while COMMAND runs; it has printed a line."""

    def __init__(self, who, *command, **kw):
        self.p = subprocess.Popen(line(who, *command, **kw), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, env=clean_env(), cwd="/")
        self.first = self.p.stdout.readline()
        assert self.first, self.p.communicate()
        self.pid = self.p.pid  # setpriv and unshare -Ur become it
        self.keeper = next(c for c in children(self.pid) if name_of(c) == "capture-keeper")
        self.command = next(c for c in children(self.pid) if name_of(c) != "capture-keeper")
        self.net = net_of(self.keeper)
        assert self.net != net_of("self") and net_of(self.pid) == net_of("self")
        assert net_of(self.command) not in (None, net_of("self"))

    def finish(self, status=0):
        out, err = self.p.communicate(timeout=15 * SLOW)
        assert self.p.returncode == status, (out, err)
        return but_for_the_end(err.decode())

    def wait_empty(self):
        wait_until(lambda: not living_in(self.net), 10, "the end of %s" % living_in(self.net))

    def close(self):
        if self.p.poll() is None:
            self.p.kill()
            self.p.wait()
        for stream in (self.p.stdin, self.p.stdout, self.p.stderr):
            stream.close()
        for pid in living_in(self.net):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def running():
    made = []

    def make(*args, **kw):
        made.append(Running(*args, **kw))
        return made[-1]
    yield make
    for r in made:
        r.close()


# ---- COMMAND is as it would be

IDENTITY = r"""
import json, os, resource, signal, sys
status = dict(l.rstrip("\n").split(":", 1) for l in open("/proc/self/status"))
fds = sorted(fd for fd in os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd/" + fd))
json.dump({
    "ids": [os.getresuid(), os.getresgid(), os.getgroups()], "cwd": os.getcwd(), "umask": os.umask(0),
    "limits": [resource.getrlimit(i) for i in range(16)], "fds": fds, "session": os.getsid(0),
    "nice": os.nice(0), "args": sys.argv[1:],
    "signals": [int(status[k], 16) & ~(3 << 31) for k in ("SigBlk", "SigIgn")],  # but for the C library's own
    "no_new_privs": status["NoNewPrivs"], "seccomp": status["Seccomp"],
    "caps": {k: int(status[k], 16) for k in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")},
    "affinity": sorted(os.sched_getaffinity(0)),
    "env": {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")},
    "proxies": [k for k in os.environ if k.lower().endswith("_proxy")],
    "devices": [os.stat("/proc/self/fd/%d" % i).st_ino for i in range(3)], "group": os.getpgid(0),
}, sys.stdout)
"""


def identity(who, capture, **kw):
    r, low = os.pipe()
    w = fcntl.fcntl(low, fcntl.F_DUPFD, 200)  # the same in each run, whatever else is open here
    os.close(low)
    try:
        with open("/dev/zero") as zero, open(os.devnull, "w") as null:
            os.set_inheritable(w, True)
            p = subprocess.Popen(
                [*prefix(who), binary(), "run", *(["--capture"] if capture else []), "--", PYTHON, "-c", IDENTITY,
                 "a b", ""], stdin=zero, stdout=subprocess.PIPE, stderr=null, pass_fds=[w], cwd="/usr",
                env=clean_env({"http_proxy": "x", "NO_PROXY": "x", "ALL_PROXY": "x", "ODD": "o=\n"}), **kw)
            out, _ = p.communicate(timeout=20 * SLOW)
    finally:
        os.close(r)
        os.close(w)
    got = json.loads(out)
    got["devices"] = got["devices"][0], got["devices"][2]
    got["group"] = got["group"] == p.pid
    return got


def prepare():
    os.umask(0o137)
    os.nice(3)
    os.setpgid(0, 0)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})


def test_it_is_as_without(who):
    alone, captured = [identity(who, capture, preexec_fn=prepare) for capture in (False, True)]
    assert captured.pop("proxies") == [] and sorted(alone.pop("proxies"))[:2] == ["ALL_PROXY", "HTTP_PROXY"]
    before, caps = alone.pop("caps"), captured.pop("caps")
    assert caps == before if who == "root" else not any(caps.values())
    assert captured == alone
    assert captured["env"]["ODD"] == "o=\n" and captured["args"] == ["a b", ""] and captured["group"]


def test_supplementary_groups_stay(open_dir):
    """They cannot be mapped, but they still open files."""
    if not IS_ROOT:
        pytest.skip("only root gives groups")
    prefix("user")
    path = str(open_dir / "secret")
    with open(path, "w") as f:
        f.write("for the group")
    os.chown(path, 0, 12345)
    os.chmod(path, 0o640)
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--groups=12345", binary(), "run", "--capture", "--", "cat",
               path]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=clean_env(), cwd="/")
    assert check(done) == "for the group"


@pytest.mark.parametrize("who", ["bare root", "inside"])
def test_user_0_gets_no_more_than_it_had(who):
    """In a user namespace of its own user 0 would have all capabilities, at once or by its next program."""
    script = "grep ^Cap /proc/self/status; id -u; ip link set lo down 2>&1"
    out = check(run(who, "sh", "-c", script + "; true")).splitlines()
    caps = {l.split(":")[0]: int(l.split(":")[1], 16) for l in out[:5]}
    assert out[5] == "0"
    if who == "bare root":
        assert not any(caps.values()) and "not permitted" in out[6].lower()
    else:
        assert caps["CapEff"] != 0  # those of the user namespace around, which were its own before


def test_a_program_of_another_user_runs_as_oneself(open_dir):
    """The kernel takes no set-user-ID bit of a user who is not in the namespace; nobody forbids it besides."""
    if not IS_ROOT:
        pytest.skip("only root makes a program for root")
    prefix("user")
    path = str(open_dir / "whoami")
    shutil.copy(shutil.which("id"), path)
    os.chmod(path, 0o4755)
    assert check(run("user", path, "-u")) == "65534\n"
    assert check(run("root", "setpriv", "--reuid=65534", "--clear-groups", path, "-u")) in ("0\n", "65534\n")


def test_root_keeps_its_users():
    prefix("root")
    command = ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", "sh", "-c", "id -u; exec setsid -w id -g"]
    assert check(run("root", *command)) == "12345\n12345\n"


@pytest.mark.parametrize("status", [0, 1, 2, 77, 124, 125, 126, 127, 128, 129, 254, 255])
def test_exit_statuses(status):
    check(run("user", "sh", "-c", "exit %d" % status), status)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGHUP, signal.SIGRTMAX])
def test_killed_by_a_signal(number):
    check(run("user", "sh", "-c", "ulimit -c 0; kill -%d $$" % number), 128 + number)


def test_what_cannot_be_run(who, open_dir):
    """Status and words are those without --capture."""
    for name, mode in (("text", 0o755), ("closed", 0o644)):
        with open(str(open_dir / name), "w") as f:
            f.write("echo this is no program\n")
        os.chmod(str(open_dir / name), mode)
    names = ["no-such-program", "/no/such/program", "/etc", "/etc/passwd/x", str(open_dir / "text"),
             str(open_dir / "closed")]
    wanted = [127, 127, 126, 127, 126, 126]
    for name, status in zip(names, wanted):
        env = {"PATH": "/usr/bin:/bin"}  # one that all may look into
        done = run(who, name, env=env)
        check(done, status, run(who, name, capture=False, env=env).stderr)
        assert done.stderr.startswith("tlsfan: cannot run %s: " % name) and done.stderr.count("\n") == 1


def test_streams_are_its_own(who):
    """And end with it: nothing of ours holds them, though who is left behind may."""
    data = bytes(range(256)) * 8192
    done = subprocess.run(line(who, "cat", flags=QUIET), input=data, capture_output=True, env=clean_env(), cwd="/",
                          timeout=30 * SLOW)
    assert (done.returncode, done.stdout, done.stderr) == (0, data, b"")
    script = "%s | cat; echo end" % " ".join(line(who, "echo", "up", flags=QUIET))
    done = subprocess.run(["sh", "-c", script], capture_output=True, env=clean_env(), cwd="/", timeout=30 * SLOW)
    assert (done.stdout, done.stderr) == (b"up\nend\n", b"")


def test_several_flags():
    done = run("user", "sh", "-c", 'echo "$SSL_CERT_FILE $JAVA_TOOL_OPTIONS"; env; cat $WGETRC',
               env={"http_proxy": "http://x/"}, flags=["-s", "off"])
    assert "tlsfan" not in check(done)
    command = [*prefix("user"), binary(), "run", "--read-ahead=4", "--intercept", "--capture", "--", "sh", "-c",
               'cat "$SSL_CERT_FILE" | grep -c BEGIN; echo $JAVA_TOOL_OPTIONS; env; cat $WGETRC']
    done = subprocess.run(command, capture_output=True, text=True, env=clean_env({"http_proxy": "x"}), cwd="/")
    out = check(done)
    assert int(out.splitlines()[0]) >= 1 and "trustStore=" in out and "use_proxy = off" in out
    assert "proxyHost" not in out and "http_proxy" not in out and "NODE_USE_ENV_PROXY" not in out


@pytest.mark.parametrize("flags", [["-l", "127.0.0.1:0"], ["-f", "127.0.0.1:0=http://h/"]])
def test_listeners_are_refused(flags):
    done = subprocess.run([binary(), *flags, "run", "--capture", "--", "true"], capture_output=True, text=True,
                          env=clean_env())
    assert done.returncode == 125 and "leave out " + flags[0] in done.stderr


def test_the_configuration_is_wrong(who):
    """Nothing is started, and nothing left."""
    done = run(who, "true", flags=["-o", "capture.http=443"])
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr == "-o capture.http: port 443 is in capture.tunnel already\n"


# ---- the terminal

def test_control_c_ends(who, terminal):
    t = terminal(*line(who, "sh", "-c", "trap 'echo got it; exit 9' INT; echo up; while :; do sleep 0.1; done"))
    t.wait_seen(b"up")
    t.type(b"\x03")
    t.wait_seen(b"got it")
    t.wait(9)


def test_control_z_stops_both(who, terminal):
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash")
    program = "import time; print('up', flush=True); time.sleep(60)"  # a shell may be stopped amid vfork(2)
    command = " ".join(line(who, PYTHON, "-c", '"%s"' % program))
    script = "%s; echo stopped=$?; fg; echo ended=$?" % command
    t = terminal(bash, "--norc", "-m", "-c", script)
    t.wait_seen(b"up")
    t.stop_and_go_on()


def test_a_hangup_ends_all(who, terminal):
    t = terminal(*line(who, "sh", "-c", "readlink /proc/self/ns/net; echo up; sleep 60"))
    t.wait_seen(b"up")
    inode = int(t.seen.split(b"net:[")[1].split(b"]")[0])
    t.hang_up()
    wait_until(lambda: t.poll() is not None, 10, "the end of the session")
    wait_until(lambda: not [p for p in os.listdir("/proc") if p.isdigit() and (net_of(p) or (0, 0))[1] == inode], 10,
               "the end of all")


# ---- the network

# A tunnel that leads nowhere may be reset before its connect() has been looked at.
REACH = r"""
import json, socket, sys
out = {}
for target in sys.argv[1:]:
    host, port = target.rsplit(":", 1)
    s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    s.settimeout(20)
    try:
        s.connect((host, int(port)))
        out[target] = "connected"
    except ConnectionResetError:
        out[target] = "connected"
    except OSError as e:
        out[target] = e.strerror or str(e)
json.dump(out, sys.stdout)
"""


def reach(who, *targets, **kw):
    done = run(who, PYTHON, "-c", REACH, *targets, **kw)  # what is said of the connections is no matter of this file
    assert done.returncode == 0, done
    return json.loads(done.stdout)


def test_every_address_leads_to_captured_ports(who):
    taken = ["192.0.2.1:80", "10.1.2.3:443", "127.0.0.1:80", "8.8.8.8:53", "127.0.0.53:53"]
    if socket.has_ipv6 and os.path.exists("/proc/net/if_inet6"):
        taken += ["2001:db8::1:80", "::1:443"]
    free = ["192.0.2.1:81", "127.0.0.1:8080"]
    got = reach(who, *taken, *free)
    assert {t: got[t] for t in taken} == {t: "connected" for t in taken}
    assert {t: got[t] for t in free} == {t: "Connection refused" for t in free}


def test_captured_ports_are_those_of_the_configuration(who):
    flags = ["-o", "capture.http=8080", "-o", "capture.tunnel=", "-o", "capture.host_loopback=5432"]
    got = reach(who, "192.0.2.1:8080", "127.0.0.1:5432", "192.0.2.1:80", "192.0.2.1:443", "192.0.2.1:5432",
                flags=flags)
    assert list(got.values()) == ["connected"] * 2 + ["Connection refused"] * 3
    none = reach(who, "192.0.2.1:80", flags=["-o", "capture.http=", "-o", "capture.tunnel="])
    assert list(none.values()) == ["Connection refused"]


def test_the_host_is_out_of_reach_and_untouched(who):
    """Its loopback is another; the ports are free out here while they are taken in there."""
    with socket.create_server(("127.0.0.1", 0)) as s:
        assert list(reach(who, "127.0.0.1:%d" % s.getsockname()[1]).values()) == ["Connection refused"]


SERVES = r"""
import os, socket, sys
s = socket.create_server(("127.0.0.1", int(sys.argv[1])))
t = socket.create_server(("::1", int(sys.argv[1])), family=socket.AF_INET6)
if os.fork() == 0:
    os.setsid()
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "127.8.9.10"), (socket.AF_INET6, "::1")):
        if host == "127.8.9.10":
            continue
        c = socket.socket(family)
        c.connect((host, int(sys.argv[1])))
        c.sendall(b"hello")
        c.close()
    os._exit(0)
for listener in (s, t):
    c, _ = listener.accept()
    print(c.recv(100).decode())
os.wait()
"""


def test_its_own_servers(who):
    assert check(run(who, PYTHON, "-c", SERVES, str(free_port()))) == "hello\nhello\n"


def test_the_service_listener_is_outside(who):
    port = free_port()
    script = "echo up; cat >/dev/null"
    flags = ["-s", "127.0.0.1:%d" % port]
    p = subprocess.Popen(line(who, "sh", "-c", script, flags=flags), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         env=clean_env(), cwd="/")
    try:
        assert p.stdout.readline() == b"up\n"
        with socket.create_connection(("127.0.0.1", port), 5) as s:
            s.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            assert b"200" in s.recv(100)
    finally:
        p.communicate()
    assert p.returncode == 0


# ---- what comes through, by programs that look at no proxy setting

PAGE = b"the page\n"


@pytest.fixture
def through(ca, serve, who, open_dir):
    """through(*command, flags=[]): the text that COMMAND prints, with origin.test to be had on port 443."""
    seen, secrets = [], []

    def answer(request, conn):
        seen.append((request.method, request.target))
        secrets.append((request.target, request.get("Authorization")))
        return ok(PAGE)
    server = serve(answering(answer))
    root = str(open_dir / "root.pem")  # for a user who may not look where the test's CA is
    shutil.copy(ca.root, root)
    os.chmod(root, 0o644)

    def start(*command, flags=(), of_run=()):
        full = [*prefix(who), binary(), "-o", "tls.ca_file=" + root, "-o", "connect_to=origin.test:443:127.0.0.1:%d"
                % server.port, *flags, "run", "--capture", *of_run, "--", *command]
        done = subprocess.run(full, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=30 * SLOW, env=clean_env({"ROOT": root, "http_proxy": "http://127.0.0.1:1"}),
                              cwd="/")
        return check(done)
    start.seen, start.secrets, start.port = seen, secrets, server.port
    return start


RAW = r"""
import socket
s = socket.create_connection(("origin.test", 80))
s.sendall(b"GET /a HTTP/1.1\r\nHost: origin.test\r\nConnection: close\r\n\r\n")
print(s.makefile("rb").read().decode().split("\r\n\r\n")[1], end="")
"""


@pytest.mark.parametrize("command", [
    ["curl", "-sS", "--noproxy", "*", "http://origin.test/a"],
    ["busybox", "wget", "-Y", "off", "-q", "-O", "-", "http://origin.test/a"],
    [PYTHON, "-c", RAW],
], ids=["curl", "busybox", "sockets"])
def test_http_is_upgraded(through, command):
    if shutil.which(command[0]) is None:
        pytest.skip("there is no " + command[0])
    assert through(*command) == PAGE.decode()
    assert through.seen == [("GET", "/a")]


def test_https_is_a_tunnel_or_intercepted(through):
    if shutil.which("curl") is None:
        pytest.skip("there is no curl")
    page = "curl -sS --noproxy '*' %s -w '%%{num_connects} %%{ssl_verify_result}' https://origin.test/a"
    assert through("sh", "-c", page % '--cacert "$ROOT"') == PAGE.decode() + "1 0"
    # With the CA of this run alone: the origin's own would not do.
    script = "unset ROOT; " + page % '--cacert "$SSL_CERT_FILE"' + "; curl -sv https://origin.test/a 2>&1 | grep issuer"
    out = through("sh", "-c", script, of_run=["--intercept"])
    assert out.startswith(PAGE.decode() + "1 0") and "tlsfan CA" in out


def test_a_secret_goes_to_its_host_alone(through, open_dir):
    """COMMAND has none of it, and what it writes as Host leads to that host."""
    if shutil.which("curl") is None:
        pytest.skip("there is no curl")
    path = open_dir / "secret"
    path.write_text("the-secret\n")
    path.chmod(0o640)
    if IS_ROOT:
        os.chown(path, -1, 65534)
    conf = open_dir / "conf"
    conf.write_text('rule "origin.test" { request_header = {"Authorization: {file:%s}"} }\n' % path)
    through("sh", "-c", "curl -sS http://origin.test/a; curl -sS -H 'Host: origin.test' http://192.0.2.9/b; "
            "curl -sS -H 'Host: other.test' http://origin.test/c",
            flags=["-c", str(conf), "-o", "connect_to=other.test:443:127.0.0.1:%d" % through.port])
    assert through.secrets == [("/a", "the-secret"), ("/b", "the-secret"), ("/c", None)]


def test_a_database_on_the_host(through):
    with socket.create_server(("127.0.0.1", 0)) as s:
        port = s.getsockname()[1]

        def speak():
            c, _ = s.accept()
            c.sendall(b"hello from outside\n")
            c.close()
        thread = threading.Thread(target=speak)
        thread.start()
        ask = "import socket; print(socket.create_connection(('localhost', %d)).makefile().read(), end='')" % port
        assert through(PYTHON, "-c", ask, flags=["-o", "capture.host_loopback=%d" % port]) == "hello from outside\n"
        thread.join()


# ---- the keeper, and the end

LEAVE = "trap '' TERM HUP INT; setsid sleep 61 & setsid sh -c 'sleep 62 & exec sleep 63' & echo up; cat; exit 4"


def test_the_keeper_holds_nothing_of_the_users(who, running):
    r = running(who, "sh", "-c", "echo up; cat >/dev/null")
    with open("/proc/%d/stat" % r.keeper) as f:
        assert int(f.read().rsplit(")", 1)[1].split()[3]) == r.keeper  # its session
    assert os.readlink("/proc/%d/cwd" % r.keeper) == "/"
    fds = {fd: os.readlink("/proc/%d/fd/%s" % (r.keeper, fd)) for fd in os.listdir("/proc/%d/fd" % r.keeper)}
    assert sorted(fds) == ["0", "1", "2", "3"] and fds["3"].startswith("socket:")
    assert {fds[fd] for fd in "012"} == {"/dev/null"}
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP):
        os.kill(r.keeper, number)
    assert r.finish() == ""
    r.wait_empty()


def test_a_kill_takes_all_along(who, running):
    """kill -9 of tlsfan: COMMAND, who left its session, who hears no signals, and the keeper."""
    r = running(who, "sh", "-c", LEAVE)
    wait_until(lambda: len(living_in(r.net)) >= 6, 10, "all of them")
    r.p.kill()
    r.wait_empty()
    r.finish(-signal.SIGKILL)


def test_a_kill_takes_along_who_stopped(who, running):
    r = running(who, "sh", "-c", "echo up; kill -STOP $$")
    r.p.kill()
    r.wait_empty()


def test_a_kill_takes_along_who_cannot_be_looked_at(open_dir, running):
    """A program that its user may not read: the system tells nobody but root what such a process has."""
    if not IS_ROOT:
        pytest.skip("not run as root, who alone makes programs of another user")
    shutil.copy(shutil.which("sleep"), str(open_dir / "secret"))
    os.chmod(str(open_dir / "secret"), 0o711)
    r = running("user", "sh", "-c", "echo up; exec %s 65" % (open_dir / "secret"))
    wait_until(lambda: name_of(r.command) == "secret", 10, "the program")
    r.p.kill()
    r.wait_empty()


def test_a_kill_takes_along_another_user(running):
    """Of root that may become anyone, but not look into what others do: a container with a few capabilities more."""
    r = running("able root", *WHO["user"], "sh", "-c", "echo up; exec sleep 66")
    r.p.kill()
    r.wait_empty()


@pytest.mark.parametrize("depth", [1, 2])
def test_a_kill_takes_along_who_made_namespaces(running, depth):
    """As sandboxes do; it is in another network then."""
    r = running("user", *["unshare", "-Urn"] * depth, "sh", "-c", "echo up; exec sleep 67")
    assert net_of(r.command) != r.net
    r.p.kill()
    wait_until(lambda: not os.path.exists("/proc/%d" % r.command), 10, "the end of the command")


MOMENTS = {
    "at once": lambda pid: True,
    "a keeper": children,
    "a network": lambda pid: any(net_of(c) not in (None, net_of(pid)) for c in children(pid)),
    "two children": lambda pid: len(children(pid)) == 2,
    "the command": lambda pid: "sleep" in [name_of(c) for c in children(pid)],
}


def processes_with(word):
    found = []
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, "rb") as f:
                words = f.read().split(b"\0")
        except OSError:
            continue
        if word.encode() in words:
            found.append(path)
    return found


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_kill_in_the_first_moments(who, moment):
    """Whenever it comes nobody is left: not the keeper, whose command line is tlsfan's, nor the command."""
    mark = "77%d" % os.getpid()
    for _ in range(3):
        p = subprocess.Popen(line(who, "sleep", mark), env=clean_env(), cwd="/", stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
        wait_until(lambda: MOMENTS[moment](p.pid), 10, moment)
        p.kill()
        p.wait()
        wait_until(lambda: not processes_with(mark), 10, "the end of all")


def test_stopped_and_continued_in_the_first_moments(who):
    """As a debugger does, or a job of a shell: the wait for the keeper has a limit, which makes it end early."""
    for _ in range(5):
        p = subprocess.Popen(line(who, "sh", "-c", "exit 9", flags=QUIET), env=clean_env(), cwd="/",
                             stderr=subprocess.PIPE)
        while p.poll() is None:
            os.kill(p.pid, signal.SIGSTOP)
            os.kill(p.pid, signal.SIGCONT)
            time.sleep(0.0005)
        assert (p.communicate()[1], p.returncode) == (b"", 9)


def test_a_normal_end_leaves_whom_the_command_left(who, running):
    """As a shell would; but their network is dead."""
    r = running(who, "sh", "-c", "setsid sleep 64 <&- >&- 2>&- & echo up; cat >/dev/null; exit 3")
    assert r.finish(3) == ""
    assert not os.path.exists("/proc/%d" % r.keeper)
    wait_until(lambda: [name_of(pid) for pid in living_in(r.net)] == ["sleep"], 10, "who was left")


def test_the_keeper_is_killed(who, running):
    """The command goes on, its network works, and it is told what is lost."""
    r = running(who, "sh", "-c", "echo up; read x; exec %s -c \"$0\" 192.0.2.1:80" % PYTHON, REACH)
    os.kill(r.keeper, signal.SIGKILL)
    wait_until(lambda: not os.path.exists("/proc/%d" % r.keeper), 10, "the end of the keeper")
    r.p.stdin.write(b"\n")
    out, err = r.p.communicate(timeout=15 * SLOW)
    assert (r.p.returncode, json.loads(out)) == (0, {"192.0.2.1:80": "connected"})
    assert err.count(b"the process that keeps the command's network was ended by somebody") == 1


def test_as_process_1():
    """Of a container: the keeper is no orphan, and orphans are buried."""
    prefix("root")
    namespace = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if subprocess.run([*namespace, "true"], capture_output=True).returncode != 0:
        pytest.skip("this system makes no process namespaces")
    script = "sh -c 'sleep 0.01 & exit 0'; test $PPID = 1 && echo ok; exit 5"
    done = subprocess.run([*namespace, binary(), "run", "--capture", "--", "sh", "-c", script], capture_output=True,
                          text=True, env=clean_env(), timeout=30 * SLOW)
    assert check(done, 5) == "ok\n"


# ---- where it is not allowed

OTHER_WAYS = ("; two other ways: the same without --capture, which sets http_proxy, or a transparent: listener in a "
              "sidecar container\n")


def check_refused(command, setting):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=clean_env(), cwd="/",
                          timeout=30 * SLOW)
    assert (done.returncode, done.stdout) == (125, ""), done
    assert done.stderr.startswith("tlsfan: --capture needs a network namespace for the command, but ")
    assert done.stderr.endswith(OTHER_WAYS) and done.stderr.count("\n") == 1
    assert setting in done.stderr, done.stderr


@pytest.mark.parametrize("kind,limit,wrapper,setting", [
    ("net", 0, [], "(user.max_net_namespaces = 0;"),
    ("net", 1, ["unshare", "-n"], "(user.max_net_namespaces, here"),
    ("user", 0, NO_CAPABILITIES, "(user.max_user_namespaces = 0;"),
    ("user", 1, ["unshare", "-Ur", *NO_CAPABILITIES], "(user.max_user_namespaces, here"),
])
def test_limits(kind, limit, wrapper, setting):
    """Within a user namespace its user may set them; what the wrapper has made counts."""
    prefix("inside")
    script = 'echo %d > /proc/sys/user/max_%s_namespaces && exec "$@"' % (limit, kind)
    check_refused(["unshare", "-Ur", "sh", "-c", script, "sh", *wrapper, binary(), "run", "--capture", "--", "true"],
                  setting)


@pytest.mark.skipif(SANITIZED, reason="LeakSanitizer has need of it")
def test_without_proc(who):
    prefix("root")
    check_refused(["unshare", "-m", "sh", "-c", 'umount -l /proc && exec "$@"', "sh", *line(who, "true")],
                  "there is no /proc here")


def test_in_a_chroot(open_dir):
    prefix("root")
    script = 'mount --rbind / "$0" && exec chroot "$0" "$@"'
    check_refused(["unshare", "-m", "sh", "-c", script, str(open_dir), *line("user", "true")], "in a chroot")


def test_user_0_that_cannot_be_mapped():
    """A container without any capability."""
    prefix("bare root")
    check_refused([*NO_CAPABILITIES, binary(), "run", "--capture", "--", "true"], "user 0 without CAP_SETFCAP")


# Has a system call fail with an errno, as a container's profile does: UNSHARE or PRCTL.
UNSHARE, PRCTL = {"x86_64": (272, 157), "aarch64": (97, 167)}.get(os.uname().machine, (None, None))
FILTER = r"""
import ctypes, os, struct, sys
nr = int(sys.argv[2])
ins = [(0x20, 0, 0, 0), (0x15, 0, 1, nr), (0x06, 0, 0, 0x00050000 | int(sys.argv[1])), (0x06, 0, 0, 0x7fff0000)]
code = b"".join(struct.pack("HBBI", *i) for i in ins)
buffer = ctypes.create_string_buffer(code)
program = struct.pack("HxxxxxxQ", len(ins), ctypes.addressof(buffer))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(38, 1, 0, 0, 0) != 0 or libc.prctl(22, 2, program, 0, 0) != 0:
    sys.exit("prctl: " + os.strerror(ctypes.get_errno()))
os.execv(sys.argv[3], sys.argv[3:])
"""


def filtered(who, cause, call, *command):
    if call is None:
        pytest.skip("the filter is not written for this machine")
    return [*prefix(who), PYTHON, "-c", FILTER, str(cause), str(call), binary(), "run", "--capture", "--", *command]


@pytest.mark.parametrize("cause", [1, 38])
def test_a_seccomp_profile(who, cause):
    check_refused(filtered(who, cause, UNSHARE, "true"), "a seccomp profile forbids namespaces")


@pytest.mark.skipif(SANITIZED, reason="the sanitizers have need of prctl(2)")
def test_capabilities_that_cannot_be_dropped():
    """User 0 would get them back when the command begins, so it does not."""
    done = subprocess.run(filtered("bare root", 1, PRCTL, "cat", "/proc/self/status"), stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, env=clean_env(), cwd="/", timeout=30 * SLOW)
    assert (done.returncode, done.stdout) == (125, ""), done
    assert done.stderr == "tlsfan: cannot start the command in its network: Operation not permitted\n"


# ---- what it costs

@pytest.mark.bench
@pytest.mark.parametrize("workers", ["1", "auto"])
def test_the_start_is_quick(who, workers, capsys):
    """At most 20 ms over run: the median of pairs, or where others have the processors the quickest of each side."""
    def once(*flags):
        began = time.perf_counter()
        subprocess.run([*prefix(who), binary(), "-w", workers, "run", *flags, "--", "true"], check=True, cwd="/",
                       env=clean_env(), stdin=subprocess.DEVNULL)
        return (time.perf_counter() - began) * 1000
    pairs, limit = [], 20
    while not pairs or (min(over, best) > limit and len(pairs) < 60):
        pairs += [(once(), once("--capture")) for _ in range(10)]
        plain, over = statistics.median(a for a, _ in pairs), statistics.median(b - a for a, b in pairs)
        best = min(b for _, b in pairs) - min(a for a, _ in pairs)
    with capsys.disabled():
        print("\n[%s, workers = %s: run takes %.1f ms, --capture %.1f ms more; the quickest %.1f] "
              % (who, workers, plain, over, best), end="")
    assert min(over, best) <= limit
