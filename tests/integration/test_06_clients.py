# SPDX-License-Identifier: Apache-2.0
"""Real clients, unchanged: curl, wget, Python 2 and 3, Node, git, apt."""
import gzip
import hashlib
import os
import shutil
import subprocess
import urllib.request

import pytest
import requests

from testenv import SLOW
from testenv.nginx import Nginx
from testenv.scripted import answering, ok


def run(args, proxy, tmp_path, env=None, status=0, **kw):
    done = subprocess.run(args, env=dict(proxy.environ(), HOME=str(tmp_path), **(env or {})), cwd=str(tmp_path),
                          capture_output=True, timeout=60 * SLOW, **kw)
    assert status is None or done.returncode == status, (args, done.returncode, done.stdout[-2000:],
                                                         done.stderr[-2000:])
    return done


def need(program):
    if shutil.which(program) is None:
        pytest.skip(program + " is not on this machine")
    return program


def test_curl(proxy, httpbin, nginx, tmp_path):
    need("curl")
    out = run(["curl", "-sS", "--fail", httpbin.url("/get?a=1")], proxy, tmp_path).stdout
    assert b'"a":"1"' in out
    run(["curl", "-sS", "--fail", "-o", "big", nginx.url("/big.bin")], proxy, tmp_path)
    assert (tmp_path / "big").read_bytes() == bytes(range(256)) * 40960
    out = run(["curl", "-sS", "-T", "big", "-H", "Transfer-Encoding: chunked", "-o", "/dev/null", "-w", "%{http_code}",
               nginx.url("/put")], proxy, tmp_path).stdout
    assert out == b"405"
    out = run(["curl", "-sS", "-d", "x=" + "y" * 5000, httpbin.url("/post")], proxy, tmp_path).stdout
    assert b"y" * 5000 in out
    out = run(["curl", "-sS", "-I", "-0", httpbin.url("/get")], proxy, tmp_path).stdout
    assert out.startswith(b"HTTP/1.") and b" 200 " in out
    out = run(["curl", "-sSL", "-c", "jar", "-b", "jar", httpbin.url("/cookies/set?k=v")], proxy, tmp_path).stdout
    assert b'"k":"v"' in out
    out = run(["curl", "-sS", "--digest", "-u", "me:pw", httpbin.url("/digest-auth/auth/me/pw")], proxy,
              tmp_path).stdout
    assert b'"authenticated":true' in out
    out = run(["curl", "-sS", "-Z", "--fail"]
              + [x for i in range(20) for x in ("-o", "o%d" % i, httpbin.url("/get?i=%d" % i))], proxy, tmp_path)
    assert all(b'"i":"%d"' % i in (tmp_path / ("o%d" % i)).read_bytes() for i in range(20))


def test_curl_tunnels_https(proxy, origin, ca, tmp_path):
    need("curl")
    out = run(["curl", "-sS", "--cacert", ca.root, "-x", proxy.url, "https://origin.test/t"], proxy, tmp_path).stdout
    assert out == b"/t"
    out = run(["curl", "-sS", "-p", "-x", proxy.url, "http://origin.test/p"], proxy, tmp_path).stdout  # CONNECT host:80
    assert out == b"/p"


def test_curl_sees_the_sentence(proxy, serve, tmp_path):
    server = serve(answering(lambda r, c: ok()), kind="expired")
    out = run(["curl", "-sS", server.url()], proxy, tmp_path).stdout
    assert b"expired" in out


def test_wget(proxy, httpbin, nginx, tmp_path):
    need("wget")
    run(["wget", "-q", "-O", "out", httpbin.url("/get?w=1")], proxy, tmp_path)
    assert b'"w":"1"' in (tmp_path / "out").read_bytes()
    run(["wget", "-q", nginx.url("/big.bin"), nginx.url("/small.txt")], proxy, tmp_path)
    assert (tmp_path / "big.bin").stat().st_size == 10485760
    run(["wget", "-q", "-O", "redirected", httpbin.url("/redirect/3")], proxy, tmp_path)
    assert b'"url"' in (tmp_path / "redirected").read_bytes()


def test_python3_urllib(proxy, httpbin):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": proxy.url}))
    with opener.open(httpbin.url("/get?u=1"), timeout=20) as r:
        assert r.status == 200 and b'"u":"1"' in r.read()
    with opener.open(httpbin.url("/stream/5"), timeout=20) as r:
        assert len(r.read().splitlines()) == 5


def test_python3_requests(proxy, httpbin):
    s = requests.Session()
    s.trust_env = False
    s.proxies = {"http": proxy.url}
    assert s.get(httpbin.url("/gzip"), timeout=20).json()["gzipped"] is True
    assert s.post(httpbin.url("/post"), data=iter([b"a" * 1000, b"b" * 1000]), timeout=20).status_code in (200, 501)
    assert s.get(httpbin.url("/redirect-to?url=/get"), timeout=20).status_code == 200
    assert s.get(httpbin.url("/basic-auth/a/b"), auth=("a", "b"), timeout=20).status_code == 200
    assert s.put(httpbin.url("/put"), json={"x": 1}, timeout=20).json()["json"] == {"x": 1}
    assert s.get(httpbin.url("/bytes/100000?seed=1"), timeout=20).content == s.get(httpbin.url("/bytes/100000?seed=1"),
            timeout=20).content
    s.close()


PY2 = """
import sys, urllib, urllib2, httplib
base = sys.argv[1]
assert '"a":"1"' in urllib2.urlopen(base + '/get?a=1', timeout=20).read()
assert '"b":"2"' in urllib.urlopen(base + '/get?b=2').read()
assert '"x":"y"' in urllib2.urlopen(base + '/post', 'x=y', timeout=20).read()
assert len(urllib2.urlopen(base + '/stream/7', timeout=20).read().splitlines()) == 7
c = httplib.HTTPConnection('127.0.0.1', int(sys.argv[2]))
for i in range(3):
    c.request('GET', base + '/status/20%d' % i)
    r = c.getresponse(); r.read()
    assert r.status == 200 + i, r.status
print('python2 ok')
"""


def python2():
    """An environment in which python2.7 runs, or None."""
    for extra in ({}, {"PYENV_VERSION": "2.7.18"}):
        try:
            if subprocess.run(["python2.7", "-c", "1"], env=dict(os.environ, **extra),
                              capture_output=True).returncode == 0:
                path = subprocess.run(["python2.7", "-c", "import sys; print(sys.executable)"],
                                      env=dict(os.environ, **extra), capture_output=True)
                return path.stdout.decode().strip()
        except OSError:
            return None
    return None


def test_python27(proxy, httpbin, tmp_path):
    interpreter = python2()
    if interpreter is None:
        pytest.skip("no Python 2.7 on this machine")
    out = run([interpreter, "-c", PY2, httpbin.url("").rstrip("/"), str(proxy.port)], proxy, tmp_path).stdout
    assert b"python2 ok" in out


NODE = """
const http = require('http'), [,, port, base] = process.argv, agent = new http.Agent({keepAlive: true, maxSockets: 4});
let left = 20;
for (let i = 0; i < 20; i++) {
  const req = http.request({host: '127.0.0.1', port: +port, agent, method: i % 2 ? 'POST' : 'GET',
    path: base + '/anything/' + i,
    headers: {Host: new URL(base).host}}, res => {
    let s = ''; res.on('data', d => s += d); res.on('end', () => {
      if (res.statusCode !== 200 || !s.includes('/anything/' + i)) {
        console.error(res.statusCode, s); process.exit(1);
      }
      if (--left === 0) { agent.destroy(); console.log('node ok'); } }); });
  req.on('error', e => { console.error(e); process.exit(1); });
  req.end(i % 2 ? 'body' + i : undefined);
}
"""


def test_node_http(proxy, httpbin, tmp_path):
    need("node")
    (tmp_path / "c.js").write_text(NODE)
    out = run(["node", "c.js", str(proxy.port), httpbin.url("").rstrip("/")], proxy, tmp_path).stdout
    assert b"node ok" in out


# --- git

@pytest.fixture(scope="session")
def repository(tmp):
    if shutil.which("git") is None:
        pytest.skip("git is not on this machine")
    work, bare = tmp / "git" / "work", tmp / "git" / "html" / "repo.git"
    work.mkdir(parents=True)
    env = dict(os.environ, GIT_CONFIG_NOSYSTEM="1", HOME=str(tmp), GIT_AUTHOR_NAME="t", GIT_AUTHOR_EMAIL="t@t",
               GIT_COMMITTER_NAME="t", GIT_COMMITTER_EMAIL="t@t")

    def git(*args, cwd=work):
        subprocess.run(("git",) + args, cwd=str(cwd), env=env, check=True, capture_output=True)
    git("init", "-q", "-b", "main")
    for i in range(30):
        (work / ("f%d" % i)).write_text("%d\n" % i * 500)
        git("add", ".")
        git("commit", "-q", "-m", "c%d" % i)
    git("clone", "-q", "--bare", str(work), str(bare))
    git("update-server-info", cwd=bare)
    return tmp / "git", bare


def test_git_clone_dumb(proxy, repository, ca, tmp_path, protocol):
    directory, _ = repository
    server = Nginx(directory, ca.leaf(), protocol=protocol)
    try:
        run(["git", "clone", "-q", server.url("/repo.git"), "out"], proxy, tmp_path)
    finally:
        server.stop()
    assert (tmp_path / "out" / "f29").read_text() == "29\n" * 500


def backend(root):
    """git http-backend as CGI."""
    def app(request, conn):
        path, _, query = request.target.partition("?")
        body = request.body
        if request.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        env = dict(os.environ, GIT_PROJECT_ROOT=str(root), GIT_HTTP_EXPORT_ALL="1", PATH_INFO=path, QUERY_STRING=query,
                   REQUEST_METHOD=request.method, CONTENT_TYPE=request.get("Content-Type", ""),
                   CONTENT_LENGTH=str(len(body)),
                   REMOTE_ADDR="127.0.0.1", GIT_PROTOCOL=request.get("Git-Protocol", ""), GIT_CONFIG_COUNT="1",
                   GIT_CONFIG_KEY_0="safe.directory", GIT_CONFIG_VALUE_0="*")
        out = subprocess.run(["git", "http-backend"], input=body, env=env, capture_output=True).stdout
        head, _, content = out.partition(b"\r\n\r\n")
        return ok(content, *[x for x in head.decode().split("\r\n")
                             if not x.lower().startswith(("status", "content-length"))])
    return app


def test_git_clone_smart(proxy, repository, serve, tmp_path):
    directory, bare = repository
    server = serve(answering(backend(bare.parent)))
    run(["git", "clone", "-q", server.url("/repo.git"), "out"], proxy, tmp_path)
    assert (tmp_path / "out" / "f29").read_text() == "29\n" * 500
    assert any(r.method == "POST" for r in server.requests)


# --- apt, which pipelines ten deep

def make_deb(directory, name):
    tree = directory / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "data").write_bytes(os.urandom(20000))
    (tree / "DEBIAN" / "control").write_text("Package: %s\nVersion: 1\nArchitecture: all\nMaintainer: t <t@t>\n"
                                             "Description: %s\n" % (name, name))
    deb = directory / ("%s_1_all.deb" % name)
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "-b", str(tree), str(deb)], check=True,
                   capture_output=True)
    shutil.rmtree(str(tree))
    return deb


@pytest.fixture(scope="module")
def apt_site(tmp, ca, protocol):
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        pytest.skip("apt is not on this machine")
    directory = tmp / ("apt-" + protocol)
    repo = directory / "html" / "repo"
    repo.mkdir(parents=True)
    packages = ""
    for i in range(25):
        deb = make_deb(repo, "tlsfan-sample-%d" % i)
        control = subprocess.run(["dpkg-deb", "-f", str(deb)], check=True, capture_output=True, text=True).stdout
        packages += "%sFilename: ./%s\nSize: %d\nSHA256: %s\n\n" % (control, deb.name, deb.stat().st_size,
                hashlib.sha256(deb.read_bytes()).hexdigest())
    (repo / "Packages").write_text(packages)
    (repo / "Packages.gz").write_bytes(gzip.compress(packages.encode()))
    release = "Origin: t\nSuite: t\nCodename: t\nDate: Mon, 01 Jan 2024 00:00:00 UTC\nSHA256:\n"
    for name in ("Packages", "Packages.gz"):
        data = (repo / name).read_bytes()
        release += " %s %d %s\n" % (hashlib.sha256(data).hexdigest(), len(data), name)
    (repo / "Release").write_text(release)
    server = Nginx(directory, ca.leaf(), protocol=protocol)
    yield server
    server.stop()


def test_apt(proxy, apt_site, tmp_path):
    for d in ("state/lists/partial", "cache/archives/partial", "etc/apt.conf.d", "etc/preferences.d"):
        (tmp_path / d).mkdir(parents=True)
    (tmp_path / "status").write_text("")
    (tmp_path / "sources.list").write_text("deb [trusted=yes] %s ./\n" % apt_site.url("/repo"))
    (tmp_path / "apt.conf").write_text("""
Dir::State "%(d)s/state"; Dir::State::status "%(d)s/status"; Dir::Cache "%(d)s/cache";
Dir::Etc::sourcelist "%(d)s/sources.list"; Dir::Etc::sourceparts "-";
Dir::Etc::parts "%(d)s/etc/apt.conf.d"; Dir::Etc::preferencesparts "%(d)s/etc/preferences.d";
Acquire::http::Proxy "%(p)s"; Acquire::Languages "none"; APT::Sandbox::User "";
Acquire::Retries "0"; Acquire::Check-Valid-Until "false";
APT::Get::AllowUnauthenticated "true";
""" % {"d": tmp_path, "p": proxy.url})
    env = {"APT_CONFIG": str(tmp_path / "apt.conf")}
    out = run(["apt-get", "-q", "update"], proxy, tmp_path, env)
    assert b"Err" not in out.stdout and b"W:" not in out.stderr.replace(b"W: Download is performed", b""), (out.stdout,
            out.stderr)
    names = ["tlsfan-sample-%d" % i for i in range(25)]
    run(["apt-get", "-q", "download"] + names, proxy, tmp_path, env)
    for name in names:
        assert (tmp_path / (name + "_1_all.deb")).stat().st_size > 20000
