# SPDX-License-Identifier: Apache-2.0
"""Two instances behind a balancer are restarted one after the other, and no request is lost."""
import pytest

from testenv import SLOW
from testenv.haproxy import HAProxy
from testenv.load import Load
from testenv.nginx import Nginx
from testenv.wait import can_connect, wait_until

ROUNDS = 2
INTER = 50  # ms between two checks of the balancer, which wants two to fail
DELAY = 500 * SLOW  # ms; more than the checks need


@pytest.fixture(scope="module")
def web(tmp, ca):
    """Answers at once, or, for /slow.bin, in about 0.4 s."""
    server = Nginx(tmp / "rolling-nginx", ca.leaf(), "location /slow.bin { limit_rate 100k; }", protocol="h2")
    server.file("fast.txt", b"fast\n")
    server.file("slow.bin", bytes(range(256)) * 160)
    yield server
    server.stop()


@pytest.mark.counted
@pytest.mark.concurrent
@pytest.mark.parametrize("mode", ["tcp", "http"])
def test_a_rolling_restart_loses_nothing(make_proxy, web, tmp_path, mode):
    conf = "drain_delay = %dms\ndrain_timeout = 5s\nlog { access = off }" % DELAY
    instances = [make_proxy(conf, service=True) for _ in range(2)]
    balancer = HAProxy(tmp_path / "haproxy", [(p.port, p.service_port) for p in instances], mode, INTER)
    try:
        wait_until(lambda: balancer.is_up(0) and balancer.is_up(1), 10, "both to be up")
        fast = (web.url("/fast.txt"), b"fast\n")
        with Load(balancer.port, fast, (web.url("/slow.bin"), bytes(range(256)) * 160)) as load:
            for _ in range(ROUNDS):
                for n, instance in enumerate(instances):
                    load.everybody_goes_on()
                    instance.stop()
                    assert not can_connect("127.0.0.1", instance.port) and not balancer.is_up(n)
                    load.everybody_goes_on()
                    instance.start()
                    wait_until(lambda n=n: balancer.is_up(n), 10, "the balancer to see it")
            load.everybody_goes_on()
            load.stop()
        assert balancer.is_up(0) and balancer.is_up(1)
        took = [int(balancer.statistics()["s%d" % n]["stot"]) for n in range(2)]
        print("rolling restart, mode %s, %d restarts: %s" % (mode, 2 * ROUNDS, load.told()))
        assert load.failed == [], load.failed[:10]
        assert min(took) > 10  # both had their part
    finally:
        balancer.stop()
