# SPDX-License-Identifier: Apache-2.0
"""The test environment itself, without the proxy: servers, CA and clients do what the other tests take for granted."""
import socket
import ssl

import pytest

from testenv.client import Client
from testenv.dns import Dns, encode_name
from testenv.scripted import answering, ok


def direct(ca, port, name="localhost"):
    c = Client(port)
    c.start_tls(ca.client_context(), name)
    return c


@pytest.mark.parametrize("name", ["origin.test", "localhost", "127.0.0.1"])
def test_good_certificate(ca, origin, name):
    with direct(ca, origin.port, name) as c:
        assert c.exchange("GET", "/x", host=name).text == "/x"
    assert origin.requests[-1].get("Host") == name


@pytest.mark.parametrize("kind, reason", [
    ("expired", "expired"), ("not_yet_valid", "not yet valid"), ("wrong_host", "mismatch"), ("san_wrong", "mismatch"),
    ("self_signed", "self.signed"), ("unknown_root", "unable to get local issuer"),
    ("missing_intermediate", "unable to get local issuer")])
def test_bad_certificates_are_bad(ca, serve, kind, reason):
    server = serve(answering(lambda r, c: ok()), kind=kind)
    with pytest.raises(ssl.SSLCertVerificationError, match=reason):
        direct(ca, server.port, "origin.test")
    assert server.received == b""


def test_revoked(ca, serve):
    server = serve(answering(lambda r, c: ok()), kind="revoked")
    ctx = ca.client_context()
    ctx.load_verify_locations(ca.crl())
    ctx.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
    with Client(server.port) as c, pytest.raises(ssl.SSLCertVerificationError, match="revoked"):
        c.start_tls(ctx, "origin.test")


def test_servers(ca, nginx, httpbin, node_origin):
    with direct(ca, nginx.port) as c:
        assert c.exchange("GET", "/small.txt", host="x").text == "small\n"
    with direct(ca, httpbin.port) as c:
        assert c.exchange("GET", "/status/418", host="x").status == 418
    with direct(ca, node_origin.port) as c:
        assert c.exchange("GET", "/delay/0.01", host="x").status == 200


def test_dns():
    server = Dns({"x.test": [("CNAME", "y.test", 5)], "y.test": [("A", "127.0.0.1", 9)]})
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(5)
        s.sendto(b"\1\2\1\0\0\1\0\0\0\0\0\0" + encode_name("X.test") + b"\0\1\0\1", ("127.0.0.1", server.port))
        reply = s.recv(4096)
    assert reply[:2] == b"\1\2" and reply[6:8] == b"\0\2"
    assert reply.endswith(b"\x7f\0\0\1") and server.count("x.test") == 1
    server.stop()
