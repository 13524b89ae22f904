# SPDX-License-Identifier: Apache-2.0
"""Fixtures: servers and one ordinary proxy live for the session; whatever a test starts itself ends with it.

A test with an origin runs twice, [h1] and [h2], by what its origins speak; @pytest.mark.h1_only("why") leaves
the second out. Who needs to know asks for the fixture protocol."""
import shutil
import subprocess

import pytest

from testenv.ca import CA
from testenv.client import Client
from testenv.h2front import H2Front
from testenv.h2server import H2Server
from testenv.httpbin import Httpbin, NodeOrigin
from testenv.nginx import Nginx
from testenv.proxy import Proxy, binary, clean_env
from testenv.scripted import Server, answering, ok
from testenv.terminal import Terminal


PROTOCOLS = ("h1", "h2")
# Where files run side by side these begin first, so that none of them is left over at the end.
LONGEST = tuple("test_%s.py" % x for x in (
    "12_faults", "34_linear", "36_memory", "51_run_intercept", "82_idle", "23_page", "23_view", "58_capture_life",
    "54_capture_run", "21_batch", "25_h2_hostile", "45_run_signals", "35_descriptors", "39_far", "40_expect",
    "38_retries", "42_names", "68_old_origins", "69_politeness", "41_tls_again", "28_rolling", "26_h2_servers",
    "79_bench_run", "80_bench"))


def pytest_generate_tests(metafunc):
    """Those that look at no origin run once, though the session's stands behind the session's proxy."""
    if "origin_protocol" in metafunc.fixturenames:
        both = {"origin", "protocol"} & set(metafunc.fixturenames)
        metafunc.parametrize("origin_protocol", PROTOCOLS if both else PROTOCOLS[:1], indirect=True, scope="session")


def pytest_collection_modifyitems(config, items):
    for item in items:
        for mark in item.iter_markers("h1_only"):
            if len(mark.args) != 1 or not mark.args[0]:
                raise pytest.UsageError("h1_only without a reason: " + item.nodeid)
    items[:] = [x for x in items if x.get_closest_marker("h1_only") is None or "callspec" not in vars(x)
                or x.callspec.params.get("origin_protocol") != "h2"]
    if hasattr(config, "workerinput"):
        items.sort(key=lambda x: LONGEST.index(x.path.name) if x.path.name in LONGEST else len(LONGEST))


@pytest.fixture(scope="session")
def origin_protocol(request):
    return request.param


@pytest.fixture(scope="session")
def protocol(origin_protocol):
    """What the origins of this test speak: "h1" or "h2"."""
    return origin_protocol


@pytest.fixture(scope="session")
def tmp(tmp_path_factory):
    path = tmp_path_factory.mktemp("tlsfan")
    yield path
    shutil.rmtree(str(path), ignore_errors=True)


@pytest.fixture(scope="session")
def ca(tmp):
    return CA(tmp / "ca")


def scripted(ca, protocol, handler, kind="good", tls=True, context=None, gentle=False, **kw):
    """A scripted server; without TLS it speaks HTTP/1."""
    if not tls:
        return Server(handler, None, **kw)
    context = context or ca.server_context(kind)
    return H2Front(handler, context, gentle, **kw) if protocol == "h2" else Server(handler, context, **kw)


@pytest.fixture(scope="session")
def session_origin(ca, origin_protocol):
    """Answers every request with 200; the tests look at what arrived."""
    server = scripted(ca, origin_protocol, answering(lambda request, conn: ok(request.target)))
    yield server
    server.stop()


@pytest.fixture
def origin(session_origin):
    del session_origin.requests[:]
    del session_origin.errors[:]
    return session_origin


@pytest.fixture(scope="session")
def httpbin(tmp, ca, protocol):
    server = Httpbin(tmp / ("httpbin-" + protocol), ca.leaf(), protocol)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def node_origin(tmp, ca, protocol):
    server = NodeOrigin(tmp / ("node-" + protocol), ca.leaf(), protocol)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def nginx(tmp, ca, protocol):
    """Plain file server; tests with other needs start their own."""
    server = Nginx(tmp / ("nginx-" + protocol), ca.leaf(), protocol=protocol)
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
def one(make_proxy):
    """one(conf): a client, and its proxy with one worker, so that there is one pool and one memory of origins."""
    clients = []

    def make(conf="", **kw):
        p = make_proxy("workers = 1\n" + conf, **kw)
        clients.append(p.client(timeout=30))
        return clients[-1], p
    yield make
    for c in clients:
        c.close()


@pytest.fixture(scope="module")
def serve_long(ca, protocol):
    """As serve, for a fixture that lives as long as its module."""
    yield from servers(ca, protocol)


@pytest.fixture
def serve(ca, protocol):
    """serve(handler, kind="good", tls=True, ...): a scripted server that ends with the test."""
    yield from servers(ca, protocol)


def servers(ca, protocol):
    made = []

    def make(*args, **kw):
        made.append(scripted(ca, protocol, *args, **kw))
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
    """compile_c(path, ...): builds a C program of the tests against OpenSSL and returns its path."""
    def build(path, *more):
        out = str(tmp / path.split("/")[-1].replace(".c", ""))
        subprocess.run(["cc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread",
                        "-o", out, path, *more, "-lssl", "-lcrypto"], check=True)
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
        measures = {"bench", "load", "counted"} & set(report.keywords)
        if report.when == "call" and measures and report.capstdout:
            for line in report.capstdout.splitlines():
                terminalreporter.write_line(line)


@pytest.fixture
def terminal():
    """Starts a program on a terminal of its own."""
    opened = []

    def make(*command):
        opened.append(Terminal(*command))
        return opened[-1]
    yield make
    for t in opened:
        t.close()
