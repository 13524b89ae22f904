# SPDX-License-Identifier: Apache-2.0
"""What a proxy adds to the time of a request, at a rate that leaves it idle most of the time."""

import statistics

from . import load
from .case import Figure, case
from .cases_requests import ALL, SMALL
from .common import NAME

RATE = 1000
CLIENTS = 8
REQUESTS = 1000
PARTS = 3
FIGURES = {"added": Figure("added, p50", "µs"), "added_p99": Figure("added, p99", "µs"),
           "p50": Figure("p50", "µs"), "p99": Figure("p99", "µs")}


@case("latency", "1,000 requests a second, against TLS without proxy", FIGURES, ALL)
def latency(bench, running):
    """Straight and through the proxy in turns, by the same program: the difference is the proxy's."""
    straight, through = [], []
    for _ in range(PARTS):
        straight.append(at_rate(bench, running, None, "-a", bench.origin.address, "-T", bench.certs / "ca.pem",
                                port=bench.origin.port, host=f"{NAME}:{bench.origin.port}", target=f"/{SMALL[0]}"))
        through.append(at_rate(bench, running, SMALL[0]))
    (direct_p50, direct_p99), (p50, p99) = map(medians, (straight, through))
    return {"added": p50 - direct_p50, "added_p99": p99 - direct_p99, "p50": p50, "p99": p99,
            "direct_p50": direct_p50, "direct_p99": direct_p99}


def at_rate(bench, running, path, *options, **more):
    return load.run(bench, running, path, "-c", CLIENTS, "-r", RATE, "-n", bench.count(REQUESTS), "-l", SMALL[1],
                    *options, **more)


def medians(parts):
    return [statistics.median(part[key] for part in parts) for key in ("p50_us", "p99_us")]
