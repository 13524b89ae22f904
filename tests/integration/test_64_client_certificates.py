# SPDX-License-Identifier: Apache-2.0
"""client_cert towards real servers that demand one: the whole chain is shown, and it is of another CA than theirs."""
import subprocess

import pytest

from testenv.certs import alt_names, authority, certificate, dns, ext_key_usage, key, to_pem, write
from testenv.nginx import Nginx
from testenv.ports import free_port
from testenv.proxy import clean_env
from testenv.wait import can_connect, wait_until

# Those who issue for clients, and know nothing of servers: a root, and two below it.
ROOT = authority("client root", None)
UPPER = authority("client upper", ROOT)
LOWER = authority("client lower", UPPER)
CLIENT = certificate("the client", LOWER, [alt_names(dns("client.test")), ext_key_usage("clientAuth")],
                     key=key("p256", "client"))

SERVER = """
    server {
        listen 127.0.0.1:@PLAIN@ ssl%s;
        server_name localhost;
        ssl_protocols %s;
        ssl_verify_client on;
        ssl_verify_depth 5;
        ssl_client_certificate %s;
        location / { return 200 "$ssl_client_verify $ssl_client_s_dn $ssl_protocol $server_protocol"; }
    }
"""
VERSIONS = pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
ONE_IS_ENOUGH = pytest.mark.h1_only("the handshake is the same")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Paths: the root for servers; the client's chain, leaf alone, key, and all in one file."""
    d = tmp_path_factory.mktemp("client")
    return {"root": write(d, "root.pem", to_pem(ROOT)), "chain": write(d, "chain.pem", to_pem(CLIENT, LOWER, UPPER)),
            "leaf": write(d, "leaf.pem", to_pem(CLIENT)), "key": write(d, "client.key", CLIENT.key.pem),
            "one": write(d, "one.pem", CLIENT.key.pem + to_pem(CLIENT, LOWER, UPPER)),
            "turned": write(d, "turned.pem", to_pem(UPPER, LOWER, CLIENT))}


@pytest.fixture(scope="module")
def demands(ca, files, tmp_path_factory):
    """demands(version, protocol) -> the port of an nginx that demands a certificate of ROOT's."""
    made = {}

    def make(version, protocol):
        if (version, protocol) not in made:
            server = SERVER % (" http2" if protocol == "h2" else "", version, files["root"])
            made[version, protocol] = Nginx(tmp_path_factory.mktemp("nginx"), ca.leaf(), servers=server,
                                            protocol=protocol)
        return made[version, protocol].plain
    yield make
    for server in made.values():
        server.stop()


def rule(files, cert, with_key=True):
    return 'rule "localhost" { client_cert = "%s" %s }\n' % (
        files[cert], 'client_key = "%s"' % files["key"] if with_key else "")


@VERSIONS
@pytest.mark.parametrize("cert,with_key", [("chain", True), ("one", False)], ids=["two-files", "one-file"])
def test_nginx_verifies_the_chain(demands, files, make_proxy, protocol, version, cert, with_key):
    port = demands(version, protocol)
    p = make_proxy("workers = 1\n" + rule(files, cert, with_key))
    with p.client() as c:
        for _ in range(3):
            r = c.get("http://localhost:%d/" % port)
            said = "SUCCESS CN=the client %s %s" % (version, "HTTP/2.0" if protocol == "h2" else "HTTP/1.1")
            assert r.status == 200 and r.text == said, r
    line = p.wait_access(lambda x: True, 3)[-1]
    assert line["protocol"] == protocol and line["tls"] == version


@VERSIONS
def test_leaf_alone_is_not_enough(demands, files, make_proxy, protocol, version):
    """So it is the chain that makes it good; nginx says so by HTTP."""
    p = make_proxy(rule(files, "leaf"))
    with p.client() as c:
        r = c.get("http://localhost:%d/" % demands(version, protocol))
    assert r.status == 400 and r.error is None and "certificate error" in r.text, r


@VERSIONS
def test_a_host_without_the_rule_shows_none(demands, files, make_proxy, ca, protocol, version):
    """The same address, and no connection of the host that has the rule."""
    port = demands(version, protocol)
    p = make_proxy("workers = 1\nconnect_to = {\"origin.test:%d:127.0.0.1:%d\"}\n" % (port, port)
                   + rule(files, "chain"))
    with p.client() as c:
        assert c.get("http://localhost:%d/" % port).status == 200
        r = c.get("http://origin.test:%d/" % port)
        assert r.status == 400 and "No required SSL certificate" in r.text, r
        assert c.get("http://localhost:%d/" % port).status == 200


@VERSIONS
@ONE_IS_ENOUGH
def test_curl_does_the_same(demands, files, ca, version):
    port = demands(version, "h1")
    done = subprocess.run(["curl", "-q", "-sS", "--noproxy", "*", "--cacert", ca.root, "--cert", files["chain"],
                           "--key", files["key"], "https://localhost:%d/" % port], env=clean_env(), timeout=20,
                          capture_output=True, text=True)
    assert done.stdout == "SUCCESS CN=the client %s HTTP/1.1" % version, done


@VERSIONS
@ONE_IS_ENOUGH
def test_openssl_sees_each_certificate(ca, files, make_proxy, tmp_path, version):
    """s_server, which refuses in the handshake, says what it was shown."""
    leaf, port = ca.leaf(), free_port()
    with open(tmp_path / "said", "wb") as out:
        server = subprocess.Popen(["openssl", "s_server", "-accept", "127.0.0.1:%d" % port, "-www", "-Verify", "5",
                                   "-verify_return_error", "-CAfile", files["root"], "-cert", leaf.cert, "-cert_chain",
                                   ca.path("inter.pem"), "-key", leaf.key,
                                   "-tls1_2" if version == "TLSv1.2" else "-tls1_3"],
                                  stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: can_connect("127.0.0.1", port), what="s_server")
        p = make_proxy(rule(files, "chain"))
        with p.client() as c:
            assert c.get("http://localhost:%d/" % port).status == 200
        said = (tmp_path / "said").read_text()
        for depth, cn in enumerate(("the client", "client lower", "client upper", "client root")):
            assert "depth=%d CN = %s" % (depth, cn) in said, said
        p = make_proxy(rule(files, "leaf"))
        with p.client() as c:
            r = c.get("http://localhost:%d/" % port)
        assert r.status == 502 and r.error == "tls_alert_received" and "unknown CA" in r.text, r
    finally:
        server.kill()
        server.wait()


def test_a_chain_that_begins_with_its_ca_is_told(files, tlsfan, tmp_path):
    conf = tmp_path / "conf"
    conf.write_text(rule(files, "turned"))
    done = tlsfan("-t", "-c", str(conf))
    assert done.returncode == 1, done
    assert "it is not the key of the first certificate in %s" % files["turned"] in done.stderr
