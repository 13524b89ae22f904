# SPDX-License-Identifier: Apache-2.0
"""Fixtures: servers and one ordinary proxy live for the session; whatever a test starts itself ends with it."""
import shutil
import subprocess

import pytest

from testenv.ca import CA
from testenv.client import Client
from testenv.h2server import H2Server
from testenv.httpbin import Httpbin, NodeOrigin
from testenv.nginx import Nginx
from testenv.proxy import Proxy, binary, clean_env
from testenv.scripted import Server, answering, ok


@pytest.fixture(scope="session")
def tmp(tmp_path_factory):
    path = tmp_path_factory.mktemp("tlsfan")
    yield path
    shutil.rmtree(str(path), ignore_errors=True)


@pytest.fixture(scope="session")
def ca(tmp):
    return CA(tmp / "ca")


@pytest.fixture(scope="session")
def session_origin(ca):
    """Answers every request with 200; the tests look at what arrived."""
    server = Server(answering(lambda request, conn: ok(request.target)), ca.server_context())
    yield server
    server.stop()


@pytest.fixture
def origin(session_origin):
    del session_origin.requests[:]
    del session_origin.errors[:]
    return session_origin


@pytest.fixture(scope="session")
def httpbin(tmp, ca):
    (tmp / "httpbin").mkdir()
    server = Httpbin(tmp / "httpbin", ca.leaf())
    yield server
    server.stop()


@pytest.fixture(scope="session")
def node_origin(tmp, ca):
    (tmp / "node").mkdir()
    server = NodeOrigin(tmp / "node", ca.leaf())
    yield server
    server.stop()


@pytest.fixture(scope="session")
def nginx(tmp, ca):
    """Plain file server; tests with other needs start their own."""
    server = Nginx(tmp / "nginx", ca.leaf())
    server.file("small.txt", b"small\n")
    server.file("big.bin", bytes(range(256)) * 40960)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def session_proxy(tmp, ca, session_origin):
    if binary() is None:
        pytest.skip("no tlsfan: build it, or set TLSFAN_BIN")
    proxy = Proxy(tmp, 'tls { ca_file = "%s" }\nconnect_to = {"origin.test:443:127.0.0.1:%d"}\n'
                       'destination { connect_ports = {443, %d} }\n'
                       % (ca.root, session_origin.port, session_origin.port))
    yield proxy
    proxy.stop()


@pytest.fixture
def proxy(session_proxy):
    """The session's ordinary proxy; a test that kills it fails itself and not the ones behind it."""
    if session_proxy.dead():
        session_proxy.start()
    yield session_proxy
    assert not session_proxy.dead(), "the proxy died:\n" + session_proxy.log()[-5000:]


@pytest.fixture
def client(proxy):
    with Client(proxy.port) as c:
        yield c


@pytest.fixture
def make_proxy(tmp, ca):
    """make_proxy(conf, ...): a proxy of the test's own, stopped and judged at its end.

    It trusts the test CA unless tls=False."""
    if binary() is None:
        pytest.skip("no tlsfan: build it, or set TLSFAN_BIN")
    made = []

    def make(conf="", tls=True, **kw):
        if tls:
            kw["flags"] = ("-o", "tls.ca_file=" + ca.root) + tuple(kw.get("flags", ()))
        made.append(Proxy(tmp, conf, **kw))
        return made[-1]
    yield make
    faults = []
    for p in made:
        try:
            p.stop()
        except AssertionError as e:
            faults.append(str(e))
            p.kill()
    assert not faults, "\n".join(faults)


@pytest.fixture
def serve(ca):
    """serve(handler, kind="good", tls=True, ...): a scripted server that ends with the test."""
    made = []

    def make(handler, kind="good", tls=True, context=None, **kw):
        made.append(Server(handler, (context or ca.server_context(kind)) if tls else None, **kw))
        return made[-1]
    yield make
    for server in made:
        server.stop()


@pytest.fixture
def serve_h2(ca):
    """serve_h2(handler, alpn=("h2", "http/1.1"), judge=True, ...): a scripted HTTP/2 server that ends with the test.

    With judge, the test fails where the proxy did what a client may not do."""
    made = []

    def make(handler, kind="good", alpn=("h2", "http/1.1"), judge=True, **kw):
        server = H2Server(handler, ca.server_context(kind, alpn), **kw)
        made.append((server, judge))
        return server
    yield make
    for server, _ in made:
        server.stop()
    faults = [f for server, judge in made if judge for f in server.faults]
    assert not faults, faults[:10]


@pytest.fixture(scope="session")
def compile_c(tmp):
    """compile_c(path): builds a C program of the tests against OpenSSL and returns its path."""
    def build(path):
        out = str(tmp / path.split("/")[-1].replace(".c", ""))
        subprocess.run(["cc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-pthread", "-o", out, path, "-lssl",
                        "-lcrypto"], check=True)
        return out
    return build


@pytest.fixture
def tlsfan():
    """Runs the program to its end: tlsfan("-t", "-c", path)."""
    if binary() is None:
        pytest.skip("no tlsfan: build it, or set TLSFAN_BIN")
    from testenv.proxy import run
    return run


@pytest.fixture(scope="session")
def plain_env():
    return clean_env()


def pytest_terminal_summary(terminalreporter):
    """What the measuring tests printed: times and sizes are to be seen of tests that pass, too."""
    for report in terminalreporter.stats.get("passed", []):
        measures = {"bench", "load"} & set(report.keywords)
        if report.when == "call" and measures and report.capstdout:
            for line in report.capstdout.splitlines():
                terminalreporter.write_line(line)
