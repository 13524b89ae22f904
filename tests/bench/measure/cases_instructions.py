# SPDX-License-Identifier: Apache-2.0
"""What can be counted of tlsfan alone: instructions of a request, and how often a lock was waited for."""

from . import callgrind, load
from .case import Figure, case
from .strace import traced

REQUESTS = 3000
THOUSANDS = "1,000 a request"
LOCKED_REQUESTS = 20000


@case("pipelined-instructions", "100 pipelined, 1 KiB", {"instructions": Figure("instructions", THOUSANDS)},
      ("tlsfan", "tlsfan-h2"), fresh=True, rounds=1)
def pipelined_instructions(bench, start):
    counted = callgrind.count(bench, start, REQUESTS, "-p", 100)
    return {"instructions": counted[callgrind.WORKER] / 1e3}


@case("log", "access log as JSON against none", {
    "none": Figure("instructions without", THOUSANDS), "json": Figure("instructions with", THOUSANDS),
    "futex": Figure("futex calls of 4 workers in 20,000", "")},
    ("tlsfan", "tlsfan-h2"), fresh=True, rounds=1)
def log(bench, start):
    logged = ("log.access=/dev/null", "log.format=json")
    none, json = (callgrind.count(bench, start, REQUESTS, extra=extra)[callgrind.WORKER] for extra in ((), logged))
    return {"none": none / 1e3, "json": json / 1e3, "futex": futex_calls(bench, start, logged)}


def futex_calls(bench, start, extra):
    """Of all threads while that many requests are served; what it takes to start is not among them."""
    with start(workers=4, extra=extra) as running:
        load.run(bench, running, "1k", "-c", 32, "-n", 1000, "-l", 1024)
        with traced(running, "futex") as calls:
            load.run(bench, running, "1k", "-c", 32, "-n", LOCKED_REQUESTS, "-l", 1024)
    return calls.get("futex", 0)
