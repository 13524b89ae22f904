# SPDX-License-Identifier: Apache-2.0
"""Whether a request costs the same with many clients connected, many origins, many rules."""

from . import callgrind, hold, load
from .case import Figure, case
from .cases_requests import HOLDING, SMALL
from .common import CLIENTS, NAME

OPEN = (10000, 1000, 100)
OPEN_FIGURES = {f"open_{n}": Figure(f"CPU per request, {n:,} clients", "µs") for n in OPEN}
IDLE = 10000
ORIGINS = 1000
RULES = 10000
ROOM = ("client.max_connections=12000",)
REQUESTS = 3000
MORE = 8000  # beside so many, what ten thousand clients cost more or less when they come is little
THOUSANDS = "1,000 instructions"
COUNTED = {"one": Figure("alone", THOUSANDS), "clients": Figure(f"{IDLE:,} idle clients", THOUSANDS),
           "origins": Figure(f"{ORIGINS:,} origins", THOUSANDS), "rules": Figure(f"{RULES:,} rules", THOUSANDS)}


@case("open", "keep-alive beside idle clients", OPEN_FIGURES, HOLDING, rounds=3, options={"extra": ROOM})
def beside_idle(bench, running):
    figures = {}
    for count in OPEN:
        with hold.clients(bench, running, count - CLIENTS, SMALL):
            figures[f"open_{count}"] = load.cpu_per_request(bench, running, SMALL, 10000)["cpu"]
    return figures


@case("scale", "a request, with many of each", COUNTED, ("tlsfan", "tlsfan-h2"), fresh=True, rounds=1)
def scale(bench, start):
    def count(*options, requests=REQUESTS, **how):
        return callgrind.count(bench, start, requests, *options, **how)[callgrind.WORKER] / 1e3

    every_host = (f"connect_to=::{bench.origin.address}:{bench.origin.port}",)
    return {"one": count(),
            "clients": count(requests=MORE, extra=ROOM,
                             during=lambda proxy: hold.clients(bench, proxy, IDLE, SMALL, requests=0)),
            "origins": count("-t", ORIGINS, extra=every_host, name=f"n%u.{NAME}", few=ORIGINS),
            "rules": count(config=write_rules(bench.directory / "rules.conf"))}


def write_rules(path):
    """Rules for names that nobody asks for; a request looks for its own among them."""
    path.write_text("".join(f'rule "n{i}.rule.test" {{ port = 8443 }}\n' for i in range(RULES)))
    return path
