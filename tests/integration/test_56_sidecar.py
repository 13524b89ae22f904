# SPDX-License-Identifier: Apache-2.0
"""A sidecar without a proxy setting, in the network namespaces of a pod: the very rules and settings of packaging/."""
import os
import re
import sys

import pytest

from test_06_clients import python2
from testenv import pod as pods
from testenv.intercept import OwnCA
from testenv.netns import Pair
from testenv.pod import METADATA, METADATA6, TLSFAN, Pod, connect
from testenv.proxy import ROOT, binary
from testenv.wait import wait_until

HTTP, HTTPS = "kubernetes/sidecar-transparent.yaml", "kubernetes/sidecar-transparent-https.yaml"
COMPOSE = "compose/transparent.yaml"
BY_URLLIB = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=20).read().decode())"
BY_HAND = """
import socket, sys
s = socket.create_connection((sys.argv[1], 80), 20)
s.sendall("GET /two HTTP/1.0\\r\\nHost: " + sys.argv[1] + "\\r\\n\\r\\n")
sys.stdout.write(s.makefile().read().split("\\r\\n\\r\\n")[1])
"""


@pytest.fixture(scope="module")
def made(ca):
    if binary() is None:
        pytest.skip("no tlsfan: build it, or set TLSFAN_BIN")
    if pods.why_not():
        pytest.skip(pods.why_not())
    pod = Pod(ca)
    yield pod
    pod.close()


@pytest.fixture
def pod(made):
    """The pod with the rules for http, and servers that have heard nothing yet."""
    made.load("sidecar")
    for server in (made.origin, made.origin6, made.plain):
        del server.requests[:], server.conns[:]
        server.accepted = 0
    made.dns.queries.clear()
    yield made
    made.nft("flush", "ruleset")


@pytest.fixture
def sidecar(pod):
    with pod.tlsfan(HTTP) as tlsfan:
        yield tlsfan


def requests(pod):
    return [(r.method, r.target, r.get("Host")) for server in (pod.origin, pod.origin6) for r in server.requests]


# --- http:// of programs without any setting


def test_curl(pod, sidecar):
    done = pod.curl("http://origin.test/hello")
    assert (done.returncode, done.stdout) == (0, "verified /hello"), (done, sidecar.log())
    assert requests(pod) == [("GET", "/hello", "origin.test")] and pod.plain.accepted == 0
    (line,) = sidecar.wait_access()
    assert (line["url"], line["status"]) == ("http://origin.test/hello", 200) and line["tls"].startswith("TLSv1")
    assert {c.sni for c in pod.origin.conns + pod.origin6.conns if c.requests} == {"origin.test"}
    assert pod.turned() == 1, "its own connection was turned, or another one"


def test_python3(pod, sidecar):
    done = pod.run(sys.executable, "-c", BY_URLLIB, "http://other.test/three")
    assert done.stdout == "verified /three\n", (done, sidecar.log())
    assert pod.plain.accepted == 0 and pod.turned() == 1


def test_python27_by_hand_and_as_root(pod, sidecar):
    python = python2()
    if python is None:
        pytest.skip("no Python 2.7")
    done = pod.run(python, "-c", BY_HAND, "other.test", user=0)
    assert done.stdout == "verified /two", (done, sidecar.log())
    assert pod.plain.accepted == 0 and pod.turned() == 1


def test_ipv6(pod, sidecar):
    done = pod.curl("-6", "http://origin.test/six")
    assert done.stdout == "verified /six", (done, sidecar.log())
    (line,) = sidecar.wait_access()
    assert Pair.DEVICE6 in line["client"] and pod.turned() == 1


def test_a_bad_certificate_is_502(pod, sidecar):
    done = pod.curl("-w", "%{http_code}", "http://" + Pair.GATEWAY + "/")
    assert done.stdout.endswith("502") and "certificate" in done.stdout, done
    assert requests(pod) == [] and pod.plain.accepted == 0


def test_the_program_of_compose(pod):
    with pod.tlsfan(COMPOSE) as tlsfan:
        script = pod.file("legacy-app.py")
        with open(os.path.join(ROOT, "packaging", "compose", "legacy-app.py")) as source, open(script, "w") as f:
            f.write(source.read())
        done = pod.run(sys.executable, script, "--once", "http://other.test/composed")
        assert done.stdout.endswith(" 200 18 bytes\n"), (done, tlsfan.log())
        assert pod.plain.accepted == 0


def test_a_service_of_the_cluster_in_plain_http(pod):
    """By its short name, and the rule that the README and the manifest give: it judges the full one."""
    with pod.tlsfan(HTTP, args=["-o", "rule[*.cluster.local].upgrade=off"]) as tlsfan:
        assert pod.curl("http://web/in").stdout == "plain /in", tlsfan.log()
        assert pod.turned() == 1
        assert pod.curl("http://other.test/out").stdout == "verified /out"


# --- what is left alone


def test_port_443_is_left_alone(pod, sidecar):
    done = pod.curl("--cacert", pod.root_ca, "https://other.test/own")
    assert done.stdout == "verified /own", done
    assert pod.turned() == 0 and sidecar.access() == []


def test_dns_is_left_alone(pod, sidecar):
    assert pod.run("getent", "ahostsv4", "other.test").stdout.startswith(Pair.GATEWAY)
    assert pod.dns.count("other.test") == 1 and pod.turned() == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", Pair.DEVICE, "[%s]" % Pair.DEVICE6])
def test_the_pods_own_server_is_left_alone(pod, sidecar, host):
    with pod.own_server(host.strip("[]"), 80):
        assert pod.curl("http://%s/mine" % host).stdout == "own /mine"
    assert pod.turned() == 0 and sidecar.access() == []


@pytest.mark.parametrize("port", [8080, 80])
@pytest.mark.parametrize("host", [Pair.DEVICE, Pair.DEVICE6])
def test_what_comes_in_is_left_alone(pod, sidecar, host, port):
    """The health checks of the kubelet, and whoever uses a Service."""
    with pod.own_server(host, port), connect(pod.world, host, port) as sock:
        sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b"own /healthz" in sock.makefile("rb").read()
    assert pod.turned() == 0


def test_nobody_outside_reaches_tlsfan(pod, sidecar):
    for port in (3180, 3129):
        for host in (Pair.DEVICE, Pair.DEVICE6):
            with pytest.raises(ConnectionRefusedError):
                connect(pod.world, host, port)


@pytest.mark.parametrize("host", [*METADATA, "[%s]" % METADATA6])
def test_the_metadata_of_clouds_is_left_alone(pod, sidecar, host):
    assert pod.curl("http://%s/latest" % host).stdout == "metadata /latest"
    assert pod.turned() == 0


def test_the_rules_take_their_own_place_and_no_others(pod):
    pod.inner.nft("table ip engine { chain c { type nat hook output priority -100; }; }")
    pod.load("sidecar")
    pod.load("sidecar-https")
    pod.load("sidecar")
    listed = pod.nft("list", "ruleset")
    assert re.findall(r"^table (.*) \{", listed, re.M) == ["ip engine", "inet tlsfan"]
    assert listed.count("redirect to") == 1 and "443" not in listed


# --- when something is missing


def test_without_tlsfan_nothing_leaves_in_plain(pod):
    with pod.tlsfan(HTTP) as tlsfan:
        tlsfan.kill()
        assert pod.curl("http://origin.test/").returncode == 7  # refused
    assert pod.plain.accepted == 0 and requests(pod) == []
    with pod.tlsfan(HTTP):  # and it is there again for the same program
        assert pod.curl("http://origin.test/again").stdout == "verified /again"


def test_a_program_of_tlsfans_user_goes_past_it(pod, sidecar):
    """What the manifest warns of."""
    assert pod.curl("http://other.test/", user=TLSFAN).stdout == "plain /"
    assert pod.turned() == 0


@pytest.mark.parametrize("case", ["tls", "plain"])
def test_a_loop_is_refused(pod, case):
    """Rules without the line for tlsfan's own user: what it sends comes back to it, once."""
    text = pods.rules("sidecar-https")
    without = re.sub(r"(?m)^.*skuid.*\n", "", text)
    assert without != text
    pod.inner.nft(without)
    args = ["-o", "rule[*].upgrade=off"] if case == "plain" else []
    with pod.tlsfan(HTTP, args=args) as tlsfan:
        before = tlsfan.connections()
        for _ in range(3):
            done = pod.curl("-w", "\n%{http_code}", "http://other.test/")
            assert int(done.stdout.rsplit("\n", 1)[1]) in (502, 508), (done, tlsfan.log())
        assert "turned back to it" in (done.stdout if case == "plain" else tlsfan.log()), (done, tlsfan.log())
        assert pod.turned() <= 12, "a storm of connections"
        assert requests(pod) == [] and pod.plain.accepted == 0 and tlsfan.healthy()
        # An answer of its own keeps a connection alive: that is one of its pool, at both its ends.
        wait_until(lambda: tlsfan.connections() <= before + 2, 5, "its connections to end")


# --- https://


def test_port_443_is_a_blind_tunnel(pod):
    pod.load("sidecar-https")
    with pod.tlsfan(HTTP) as tlsfan:
        done = pod.curl("--cacert", pod.root_ca, "https://other.test/blind")
        assert done.stdout == "verified /blind", (done, tlsfan.log())
        (line,) = tlsfan.wait_access()
        assert (line["method"], line["url"], line["status"]) == ("CONNECT", "other.test:443", 200)
        assert pod.turned() == 1
        assert pod.curl("http://other.test/open").stdout == "verified /open"


def test_port_443_is_read_with_a_ca(pod):
    """The Job, with its secret as Kubernetes mounts it: the key for the group of tlsfan, the certificate for all."""
    own = OwnCA(pod.file("secret"))
    for old, new, mode in ((own.cert, "tls.crt", 0o444), (own.key, "tls.key", 0o440)):
        path = os.path.join(own.dir, new)
        os.rename(old, path)
        os.chmod(path, mode)
        os.chown(path, 0, TLSFAN)
    os.chmod(own.dir, 0o755)
    certificate = os.path.join(own.dir, "tls.crt")
    pod.load("sidecar-https")
    with pod.tlsfan(HTTPS) as tlsfan:
        done = pod.curl("--cacert", certificate, "https://other.test/read")
        assert done.stdout == "verified /read", (done, tlsfan.log())
        by_variable = pod.run(sys.executable, "-c", BY_URLLIB, "https://origin.test/six",
                              env={"SSL_CERT_FILE": certificate})
        assert by_variable.stdout == "verified /six\n", (by_variable, tlsfan.log())
        assert pod.curl("--cacert", pod.root_ca, "https://other.test/").returncode == 60  # trusts another
        assert pod.curl("http://other.test/open").stdout == "verified /open"
        read = {"https://other.test/read", "https://origin.test/six"}
        wait_until(lambda: read <= {x["url"] for x in tlsfan.access() if x["method"] == "GET"}, 5, "both in the log")
    assert pod.plain.accepted == 0
