# SPDX-License-Identifier: Apache-2.0
"""A hundred requests at once to a proxy that has just started: each takes the origin a tenth of a second."""

import time

from . import load
from .case import Figure, case
from .cases_requests import SMALL, WITHOUT_FLOOR
from .common import Failure

COUNT = 100
PATH = "slow/1k"
FIGURES = {"cpu": Figure("CPU", "ms"), "wall": Figure("until the last answer", "ms"),
           "connections": Figure("connections to the origin", ""), "handshakes": Figure("full handshakes", "")}
SETTLE_SECONDS = 0.3  # what a proxy does after it began to listen is not the requests'
IN_LOG = {True: "HTTP/2.0", False: "HTTP/1."}


def cold(bench, start, *options):
    """One worker, so that the connections it opens are comparable."""
    origin = bench.origin
    with start(workers=1, origin=origin.logged, asked=False) as running:
        time.sleep(SETTLE_SECONDS)
        before = len(origin.lines())
        cpu, printed = load.cpu(bench, running, PATH, "-F", "-n", COUNT, "-l", SMALL[1], *options)
        lines = origin.wait_lines(before + COUNT)[before:]
        check(running, lines)
    connections = {connection: reused for connection, reused, *_ in lines}
    return {"cpu": cpu * 1e3, "wall": printed["seconds"] * 1e3, "connections": len(connections),
            "handshakes": sum(reused == "." for reused in connections.values())}


def check(running, lines):
    """The proxy spoke the protocol that its column says."""
    spoken = {(protocol, status) for _, _, protocol, status in lines}
    if any(status != "200" or not protocol.startswith(IN_LOG[running.peer.h2]) for protocol, status in spoken):
        raise Failure(f"{running.peer.name}: the origin logged {sorted(spoken)}")


@case("fanout", "cold fan-out of 100 clients x 0.1 s", FIGURES, WITHOUT_FLOOR, fresh=True, short=True)
def fanout(bench, start):
    return cold(bench, start, "-c", COUNT)


@case("pipelined", "cold, 100 pipelined x 0.1 s", FIGURES, ("tlsfan", "tlsfan-h2"), fresh=True, short=True)
def pipelined(bench, start):
    return cold(bench, start, "-c", 1, "-p", COUNT)
