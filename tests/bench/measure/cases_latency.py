# SPDX-License-Identifier: Apache-2.0
"""What a proxy adds to the time of a request, at a rate that leaves it idle most of the time."""

from . import load
from .case import Figure, case
from .cases_requests import ALL, SMALL
from .common import NAME

RATE = 1000
CLIENTS = 8
REQUESTS = 3000
FIGURES = {"added": Figure("added, p50", "µs"), "added_p99": Figure("added, p99", "µs"),
           "p50": Figure("p50", "µs"), "p99": Figure("p99", "µs")}


@case("latency", "1,000 requests a second, against TLS without proxy", FIGURES, ALL)
def latency(bench, running):
    """Straight and through the proxy, one after the other, by the same program: the difference is the proxy's."""
    options = ("-c", CLIENTS, "-r", RATE, "-n", bench.count(REQUESTS), "-l", SMALL[1])
    straight = load.run(bench, running, None, *options, "-a", bench.origin.address, "-T", bench.certs / "ca.pem",
                        port=bench.origin.port, host=f"{NAME}:{bench.origin.port}", target=f"/{SMALL[0]}")
    through = load.run(bench, running, SMALL[0], *options)
    return {"added": through["p50_us"] - straight["p50_us"], "added_p99": through["p99_us"] - straight["p99_us"],
            "p50": through["p50_us"], "p99": through["p99_us"],
            "direct_p50": straight["p50_us"], "direct_p99": straight["p99_us"]}
