# SPDX-License-Identifier: Apache-2.0
"""Runs tests/bench/load.c against a proxy."""

import json
import subprocess

from .common import CLIENTS, Failure

LOAD_SECONDS = 120


def run(bench, running, path, *options, port=None, host=None, target=None, seconds=LOAD_SECONDS):
    """One run of load; returns what it printed. OPTIONS are its own."""
    command = [str(bench.load), *(str(option) for option in options), str(port or running.port),
               host or running.host, target or running.target(path)]
    try:
        result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                errors="replace", timeout=seconds)
    except subprocess.TimeoutExpired:
        raise Failure(f"{running.peer.name}: not done after {seconds} s\n{running.server.log_text()}") from None
    if result.returncode != 0:
        raise Failure(f"{running.peer.name}: {result.stderr}{running.server.log_text()}")
    return json.loads(result.stdout)


def cpu(bench, running, path, *options, **more):
    """CPU seconds of the proxy while load runs, and what load printed."""
    before = running.cpu_seconds()
    printed = run(bench, running, path, *options, **more)
    return running.cpu_seconds() - before, printed


def cpu_per_request(bench, running, file, requests, *options, clients=CLIENTS):
    """FILE is (path, length). A warm-up fills the pool, then comes the part that counts."""
    path, length = file
    requests = bench.count(requests)
    few = max(2 * clients, requests // 20)
    common = ("-c", clients, "-l", length, *options)
    run(bench, running, path, "-n", few, *common)
    seconds, printed = cpu(bench, running, path, "-n", requests, *common)
    return {"cpu": seconds / requests * 1e6, "per_second": printed["per_second"]}
