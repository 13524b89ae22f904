# SPDX-License-Identifier: Apache-2.0
"""The system's resolver file: taken without dns.servers, and read again when it changes. The proxy gets one of its own
in a mount namespace."""
import os
import subprocess
import time

import pytest

from testenv.dns import Dns
from testenv.scripted import answering, ok
from testenv.wait import wait_until

BIND = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'


def may_unshare():
    return os.geteuid() == 0 and subprocess.run(["unshare", "-m", "true"], stderr=subprocess.DEVNULL).returncode == 0


@pytest.mark.h1_only("about names: they are looked up before anything is spoken")
@pytest.mark.skipif(not may_unshare(), reason="a mount namespace and port 53 need root")
def test_a_changed_resolv_conf_is_read_again(make_proxy, serve, tmp):
    server = serve(answering(lambda r, c: ok("x", "Connection: close")))  # or no name is looked up
    path = str(tmp / "resolv.conf")
    try:
        servers = [Dns({"origin.test": [("A", "127.0.0.1", 60)]}, ("127.77.0.%d" % i, 53)) for i in (1, 2)]
    except OSError as e:
        pytest.skip("port 53 cannot be used: %s" % e)

    def point_to(number):
        with open(path, "w") as f:
            f.write("nameserver 127.77.0.%d\noptions timeout:1 attempts:1\n" % number)
    point_to(1)
    p = make_proxy("workers = 1\n", prefix=["unshare", "-m", "sh", "-c", BIND, path])
    with p.client() as c:
        assert c.get(server.url(host="origin.test")).text == "x"
        assert servers[0].count("origin.test") == 1 and servers[1].count("origin.test") == 0
        point_to(2)

        def second_is_asked():
            return c.get(server.url(host="origin.test", path="/?n")).status == 200 and \
                servers[1].count("origin.test") > 0
        wait_until(second_is_asked, 10, "the second server to be asked")
        # Written again with what it had: what is known stays known. It is looked at once a second.
        point_to(2)
        asked, end = servers[1].count("origin.test"), time.monotonic() + 1.2
        while time.monotonic() < end:
            assert c.get(server.url(host="origin.test")).text == "x"
        assert servers[1].count("origin.test") == asked
    for dns in servers:
        dns.stop()
