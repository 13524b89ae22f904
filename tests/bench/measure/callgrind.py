# SPDX-License-Identifier: Apache-2.0
"""Instructions per request of tlsfan, under valgrind's callgrind.

Each figure is the difference between two runs with different numbers of requests, so that what start and
end cost cancels. With one client, for more would share turns of the loop, now so, now otherwise.
"""

import contextlib
import re

from . import load
from .common import NAME, Failure, find_program

SECONDS = 600  # all is fifty times as slow
FEW = 500
PATH, LENGTH = "1k", 1024
WORKER = 2  # callgrind numbers threads from 1, the main one


def count(bench, start, requests, *options, few=FEW, name=NAME, during=None, **how):
    """{thread: instructions per request}, and their sum as "all". START is what a fresh case gets, OPTIONS are
    load's; FEW requests come before those that count, NAME is the host that is asked for; DURING(running) is
    a context for the time of the load; HOW are options of the proxy."""
    options += ("-c", 1, "-l", LENGTH)
    few, many = (run_once(bench, start, (*options, "-n", n), name, during, how) for n in (few, few + requests))
    per_request = {thread: (many[thread] - few.get(thread, 0)) / requests for thread in many}
    return per_request | {"all": sum(per_request.values())}


def run_once(bench, start, options, name, during, how):
    tool = [find_program("valgrind"), "--tool=callgrind", "--vgdb=no", "--separate-threads=yes",
            "--callgrind-out-file=callgrind.%p"]
    with start(asked=False, seconds=SECONDS, wrap=tool, **({"workers": 1} | how)) as running:
        with during(running) if during else contextlib.nullcontext():
            load.run(bench, running, PATH, *options, seconds=SECONDS, host=name, target=f"http://{name}/{PATH}")
        running.server.end(SECONDS)
        return counted(running.server.directory)


def counted(directory):
    """{thread: instructions} from what callgrind wrote."""
    threads = {}
    for path in directory.glob("callgrind.*"):
        text = path.read_text(errors="replace")
        thread = re.search(r"^thread: (\d+)", text, re.MULTILINE)
        totals = re.search(r"^(?:totals|summary): (\d+)", text, re.MULTILINE)
        if thread and totals:
            number = int(thread.group(1))
            threads[number] = threads.get(number, 0) + int(totals.group(1))
    if len(threads) < 2:
        raise Failure(f"callgrind wrote nothing of a worker: {sorted(threads)}")
    return threads
