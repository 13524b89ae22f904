# SPDX-License-Identifier: Apache-2.0
"""Processor time of requests on kept and on new connections, and of TLS handshakes."""

from . import load
from .case import Figure, case
from .common import Failure
from .strace import traced

CPU = {"cpu": Figure("CPU per request", "µs")}
ALL = ("tlsfan", "tlsfan-h2", "haproxy", "haproxy-h2", "nginx", "squid", "ats", "apache", "floor", "floor-h2")
WITHOUT_FLOOR = ALL[:-2]
HOLDING = tuple(name for name in WITHOUT_FLOOR if name != "apache")  # it closes idle ones where there are thousands
OVER_HTTP1 = ("tlsfan", "haproxy", "nginx", "squid", "ats", "apache")
HTTP1 = ("tlsfan", "haproxy")
HTTP2 = ("tlsfan-h2", "haproxy-h2")
SMALL = ("1k", 1024)
LARGE = ("100k", 100 << 10)


@case("keepalive-1k", "keep-alive, 1 KiB, 32 clients", CPU, ALL, short=True, judged=(HTTP1, HTTP2))
def keepalive_1k(bench, running):
    return load.cpu_per_request(bench, running, SMALL, 40000)


@case("keepalive-256", "keep-alive, 1 KiB, 256 clients", CPU, ALL)
def keepalive_256(bench, running):
    return load.cpu_per_request(bench, running, SMALL, 40000, clients=256)


@case("keepalive-100k", "keep-alive, 100 KiB, 32 clients", CPU, ALL, short=True, judged=(HTTP1, HTTP2))
def keepalive_100k(bench, running):
    return load.cpu_per_request(bench, running, LARGE, 6000)


@case("connect-1k", "new connection a request, 1 KiB", CPU, WITHOUT_FLOOR, short=True, judged=(HTTP1,))
def connect_1k(bench, running):
    return load.cpu_per_request(bench, running, SMALL, 12000, "-1")


# The origin closes after each answer. Over HTTP/2 that would be a refusal of all other streams.
HANDSHAKES = CPU | {"resumed": Figure("resumed", "%", False)}


def handshakes(bench, running, requests):
    """What a request costs that needs a connection, and how many of these were resumed."""
    before = len(bench.origin.lines())
    figures = load.cpu_per_request(bench, running, SMALL, requests)
    lines = bench.origin.lines()[before:]
    connections = {connection: reused for connection, reused, *_ in lines}
    if len(connections) < len(lines):
        raise Failure(f"{running.peer.name}: {len(lines)} requests on {len(connections)} connections")
    return figures | {"resumed": 100 * sum(reused == "r" for reused in connections.values()) / len(connections)}


@case("handshake", "a handshake a request, with tickets", HANDSHAKES, OVER_HTTP1, options={"origin": "closing"})
def handshake(bench, running):
    return handshakes(bench, running, 2000)


@case("handshake-full", "a handshake a request, without", HANDSHAKES, OVER_HTTP1, options={"origin": "forgetting"})
def handshake_full(bench, running):
    return handshakes(bench, running, 1000)


@case("workers", "keep-alive, 1 KiB, by one worker and by two", {
    "one": Figure("CPU per request of one", "µs"), "two": Figure("CPU per request of two", "µs"),
    "ratio": Figure("two against one", "", False), "futex": Figure("futex calls of two in 5,000", "", False)},
    ("tlsfan", "tlsfan-h2", "haproxy", "haproxy-h2", "nginx"), fresh=True)
def workers(bench, start):
    with start(workers=1) as running:
        one = load.cpu_per_request(bench, running, SMALL, 20000)["cpu"]
    with start(workers=2) as running:
        two = load.cpu_per_request(bench, running, SMALL, 20000)["cpu"]
        with traced(running, "futex") as calls:
            load.run(bench, running, SMALL[0], "-c", 32, "-n", 5000, "-l", SMALL[1])
    return {"one": one, "two": two, "ratio": two / one, "futex": calls.get("futex", 0)}
