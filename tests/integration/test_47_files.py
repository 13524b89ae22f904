# SPDX-License-Identifier: Apache-2.0
"""Files that the configuration names are read again when they change, without a signal."""
import base64
import os
import shutil
import signal
import subprocess
import threading
import time

import pytest

from testenv import SOON
from testenv.client import Client
from testenv.intercept import OwnCA
from testenv.scripted import answering, ok
from testenv.wait import wait_until

NAMES = ("ca.pem", "client.pem", "client.key", "users")


def basic(user):
    return "Proxy-Authorization: Basic " + base64.b64encode((user + ":secret").encode()).decode()


def hashed(user):
    made = subprocess.run(["openssl", "passwd", "-5", "-stdin"], input="secret", check=True, capture_output=True,
                          text=True)
    return user + ":" + made.stdout


def name_of(conn):
    return dict(x[0] for x in conn.sock.getpeercert()["subject"])["commonName"]


@pytest.fixture
def versions(ca, tmp_path):
    """Two directories with NAMES, of which the second is to replace the first."""
    leaves = [ca.leaf("client"), ca.issue("renewed", "extendedKeyUsage = clientAuth")]
    made = []
    for i, root in enumerate((ca.root, ca.path("stranger.pem"))):
        made.append(str(tmp_path / ("..version%d" % i)))
        os.mkdir(made[i])
        for name, source in zip(NAMES, (root, leaves[i].cert, leaves[i].key)):
            shutil.copyfile(source, os.path.join(made[i], name))
        with open(os.path.join(made[i], "users"), "w") as f:
            f.write(hashed("user%d" % i))
    return made


def rewrite(directory, new):
    """As an editor does, in place."""
    for name in NAMES:
        shutil.copyfile(os.path.join(new, name), os.path.join(directory, name))


def rename(directory, new):
    """As certbot does: a new file takes the place of the old one, here with a time that tells nothing."""
    for name in NAMES:
        path = os.path.join(directory, name)
        shutil.copyfile(os.path.join(new, name), path + ".new")
        os.utime(path + ".new", (1, 1))
        os.rename(path + ".new", path)


def swap(directory, new):
    """As Kubernetes does: all files are links through one, which is turned to another directory."""
    link = os.path.join(directory, "..data")
    os.symlink(new, link + "_tmp")
    os.rename(link + "_tmp", link)
    for name in NAMES:
        if not os.path.lexists(os.path.join(directory, name)):
            os.symlink(os.path.join("..data", name), os.path.join(directory, name))


@pytest.mark.h1_only("it looks at the files, not at what origins speak")
@pytest.mark.parametrize("put", [rewrite, rename, swap])
def test_renewed_files_are_used(ca, serve, make_proxy, versions, tmp_path, put):
    go, shown = threading.Event(), []

    def slow(conn):
        while conn.read_request():
            conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
            go.wait(20)
            conn.send(b"done")

    def ask(request, conn):
        shown.append(name_of(conn))
        return ok()
    old, new = serve(slow), serve(answering(lambda r, c: ok()), kind="unknown_root")
    asking = serve(answering(ask), context=ca.server_context(client_ca=True))
    d = str(tmp_path)
    put(d, versions[0])
    conf = ('tls { ca_file = "{d}/ca.pem" }\nclient { auth_file = "{d}/users" }\n'
            'rule "localhost:{port}" {\n ca_file = "{root}"\n client_cert = "{d}/client.pem"\n'
            ' client_key = "{d}/client.key"\n}\n')
    for name, value in (("d", d), ("root", ca.root), ("port", str(asking.port))):
        conf = conf.replace("{%s}" % name, value)
    p = make_proxy(conf, tls=False)
    with p.client() as kept, p.client() as c:
        def status(server, user="user1"):
            return c.get(server.url(), basic(user)).status
        kept.request("GET", old.url(), basic("user0"))
        assert kept.head().status == 200
        assert [status(s, "user0") for s in (asking, new)] == [200, 502]
        assert status(asking) == 407
        p.write("nonsense = 1\n" + conf)  # is being edited: what it was until HUP counts
        put(d, versions[1])
        wait_until(lambda: status(asking) == 200, SOON, "the new users: " + p.log()[-2000:])
        assert [status(s) for s in (new, old)] == [200, 502]
        assert status(asking, "user0") == 407
        assert shown == ["tlsfan client", "renewed"]
        go.set()
        assert kept.exactly(8) == b"halfdone"
    assert d + "/users has changed" in p.log() and "nonsense" not in p.log()
    p.signal(signal.SIGHUP)
    p.wait_log('unknown key "nonsense"')


@pytest.mark.h1_only("it looks at the files, not at what origins speak")
def test_what_cannot_be_used_is_said_once(ca, serve, make_proxy, tmp_path):
    users, extra, crl = (str(tmp_path / name) for name in ("users", "extra.pem", "crl.pem"))
    server, now = serve(answering(lambda r, c: ok())), time.time()

    def write(line):
        with open(users, "w") as f:
            f.write(line)

    def told(text, count):
        wait_until(lambda: p.log().count(text) >= count, SOON, lambda: "%r in the log: %s" % (text, p.log()[-2000:]))
        assert p.log().count(text) == count, p.log()[-2000:]

    def status(user):
        with p.client() as c:
            return c.get(server.url(), basic(user)).status
    write(hashed("user0"))
    shutil.copyfile(ca.root, extra)
    shutil.copyfile(ca.short_crl(now - 3600, now - 60), crl)
    p = make_proxy('tls { ca_extra = "%s" crl_file = "%s" }\nclient { auth_file = "%s" }\n' % (extra, crl, users))
    for path in (users, extra):  # what is in them is the same: no reason to reload
        shutil.copyfile(path, path + ".new")
        os.rename(path + ".new", path)
    time.sleep(4)
    assert "has changed" not in p.log()
    write("user0:open\n")
    os.rename(extra, extra + ".away")
    told("nothing was changed", 1)
    assert users + ":1: the password of user0 has a hash that is not taken" in p.log()
    told(extra + " is gone", 1)
    os.rename(extra + ".away", extra)  # some looks later: another reason to try
    told("nothing was changed", 2)
    assert status("user0") == 502 and "configuration reloaded" not in p.log()
    write(hashed("user1"))
    shutil.copyfile(ca.crl(), crl)
    told("configuration reloaded", 1)
    assert (status("user1"), status("user0")) == (200, 407)
    told(extra + " is gone", 1)


RULE = 'rule "other.test" { %s }\n'
# What a configuration says of the file, and which of the files below it is. %s stands for the path, "@NAME" for others.
EACH = {
    "tls.ca_file": ('tls { ca_file = "%s" }', "root"),
    "tls.ca_dir": ('tls { ca_dir = "%s" }', "root"),
    "tls.ca_extra": ('tls { ca_extra = "%s" }', "root"),
    "tls.crl_file": ('tls { crl_file = "%s" }', "crl"),
    "rule ca_file": (RULE % 'ca_file = "%s"', "root"),
    "client_cert": (RULE % 'client_cert = "%s" client_key = "@key"', "cert"),
    "client_key": (RULE % 'client_cert = "@cert" client_key = "%s"', "key"),
    "client.cert": ('client { cert = "%s" key = "@key" }', "cert"),
    "client.key": ('client { cert = "@cert" key = "%s" }', "key"),
    "client.client_ca": ('client { cert = "@cert" key = "@key" client_ca = "%s" }', "root"),
    "client.auth_file": ('client { auth_file = "%s" }', "users"),
    "intercept.ca_cert": ('intercept { ca_cert = "%s" ca_key = "@own_key" }\n' + RULE % "intercept = on", "own_cert"),
    "intercept.ca_key": ('intercept { ca_cert = "@own_cert" ca_key = "%s" }\n' + RULE % "intercept = on", "own_key"),
    "upstream.proxy": ('upstream { proxy = "http://u:{file:%s}@127.0.0.1:1" no_proxy = {"127.0.0.1"} }', "secret"),
    "rule proxy": (RULE % 'proxy = "http://u:{file:%s}@127.0.0.1:1"', "secret"),
    "request_header": (RULE % 'request_header = {"X-Key: {file:%s}"}', "secret"),
    "client_secret": ('oauth "a" { token_url = "https://token.test/" client_id = "i" client_secret = "{file:%s}" }\n'
                      + RULE % 'request_header = {"Authorization: Bearer {oauth:a}"}', "secret"),
}


@pytest.fixture
def sources(ca, tmp_path):
    own, leaf = OwnCA(tmp_path / "own"), ca.leaf("client")
    made = {"root": ca.root, "crl": ca.crl(), "cert": leaf.cert, "key": leaf.key, "own_cert": own.cert,
            "own_key": own.key, "users": str(tmp_path / "users"), "secret": str(tmp_path / "secret")}
    for name in ("users", "secret"):
        with open(made[name], "w") as f:
            f.write(hashed("user") if name == "users" else "one")
        os.chmod(made[name], 0o600)
    return made


def renewed(sources, name):
    """Other contents that mean the same."""
    if name == "secret":
        return "two"
    if name == "users":
        return hashed("user")  # with another salt
    with open(sources[name]) as f:
        return f.read() + "# renewed\n"


@pytest.mark.h1_only("it looks at the files, not at what origins speak")
def test_each_file_that_may_be_named(serve, make_proxy, sources, tmp_path):
    """All at once, a proxy for each. Who is connected stays so, through a tunnel, too."""
    server = serve(answering(lambda r, c: ok()), tls=False)
    proxies = {}
    try:
        for key, (text, source) in EACH.items():
            directory = tmp_path / key.replace(" ", "_")
            directory.mkdir()
            path = str(directory / "file")
            named = str(directory) if key == "tls.ca_dir" else path
            shutil.copy(sources[source], path)
            for name, other in sources.items():
                text = text.replace('"@%s"' % name, '"%s"' % other)
            listen = ["127.0.0.1:PORT"] + (["tls:127.0.0.1:0"] if "key =" in text and text.startswith("client") else [])
            p = make_proxy("workers = 1\nlog { access = off }\ndestination { connect_ports = {} }\n" + text % named,
                           tls=False, listen=listen)
            proxies[key] = p, path, Client(p.port)
            proxies[key][2].send("CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n"
                                 % (server.port, basic("user")))
            assert proxies[key][2].head().status == 200, key
        for key, (_, path, _) in proxies.items():
            new = path if key == "tls.ca_dir" else path + ".new"  # of which nothing in the directory changes
            with open(new, "w") as f:
                f.write(renewed(sources, EACH[key][1]))
            shutil.copymode(path, new)
            os.rename(new, path)
        for key, (p, path, client) in proxies.items():
            p.wait_log("configuration reloaded")
            assert path + " has changed" in p.log(), key
            client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.response().status == 200, key
    finally:
        for _, _, client in proxies.values():
            client.close()
