# SPDX-License-Identifier: Apache-2.0
"""Nothing but a certificate that is there, strong enough and valid now makes a verified connection.

Neither a list of suites, nor an old version, nor a session from before stands in for one."""
import signal
import ssl
import time

import pytest

from testenv.scripted import answering, ok
from testenv.wait import wait_until

V = ssl.TLSVersion
EITHER = pytest.mark.parametrize("version", [V.TLSv1_2, V.TLSv1_3], ids=lambda v: v.name)


def resumes_until(make, seconds):
    """Resumes sessions of make(end) -> server, client until it is past end, SECONDS from now at first.

    Each resumption brings new tickets. A busy machine gets more time, where it has not come to one."""
    end = int(time.time()) + seconds
    server, client = make(end)
    if [client.get(server.url()).status for _ in range(3)] != [200] * 3 or time.time() >= end:
        assert seconds < 100, "too slow a machine to resume a session within a minute"
        return resumes_until(make, 4 * seconds)
    assert server.last_asked().resumed
    wait_until(lambda: client.get(server.url()) and time.time() > end + 1, seconds + 5)
    return server, client


@pytest.fixture
def closing(serve, make_proxy):
    """closing(context, conf) -> a server that takes one request a connection, and a client."""
    clients = []

    def make(ctx, conf=""):
        server = serve(answering(lambda r, c: ok("x", "Connection: close")), context=ctx)
        clients.append(make_proxy("workers = 1\n" + conf).client())
        return server, clients[-1]
    yield make
    for c in clients:
        c.close()


@EITHER
def test_session_ends_with_the_certificate(closing, ca, version):
    def make(end):
        leaf = ca.odd_leaf("short", dates=(end - 86400, end))
        ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ctx.load_cert_chain(leaf.cert, leaf.key)
        ctx.maximum_version = version
        return closing(ctx)
    server, client = resumes_until(make, 4)
    count = len(server.requests)
    for _ in range(2):
        r = client.get(server.url())
        assert r.status == 502 and r.error == "tls_certificate_error" and "it has expired" in r.text, r
    assert len(server.requests) == count


@EITHER
def test_session_ends_with_the_revocation_list(closing, ca, version):
    """A list that has ended says nothing any more about a certificate."""
    def make(end):
        ctx = ca.server_context()
        ctx.maximum_version = version
        return closing(ctx, 'tls { crl_file = "%s" }\n' % ca.short_crl(end - 3600, end))
    server, client = resumes_until(make, 4)
    r = client.get(server.url())
    assert r.status == 502 and r.error == "tls_certificate_error" and "has expired" in r.text, r


@EITHER
def test_reload_forgets_sessions(serve, make_proxy, ca, version):
    """What a new revocation list says holds for an origin whose sessions were kept."""
    ctx = ca.server_context("revoked")
    ctx.maximum_version = version
    server = serve(answering(lambda r, c: ok("x", "Connection: close")), context=ctx)
    p = make_proxy("workers = 1\n")
    with p.client() as c:
        for _ in range(3):
            assert c.get(server.url()).status == 200
        assert server.last_asked().resumed
        p.write('workers = 1\ntls { crl_file = "%s" }\n' % ca.crl())
        p.signal(signal.SIGHUP)
        wait_until(lambda: c.get(server.url()).status == 502, what="the new list to be in force")
        r = c.get(server.url())
        assert r.error == "tls_certificate_error" and "revoked" in r.text
