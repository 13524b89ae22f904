# SPDX-License-Identifier: Apache-2.0
"""Clients that stay connected and say nothing, thousands of them."""

import contextlib
import json
import subprocess
import time

from .common import Failure
from .load import LOAD_SECONDS

SETTLE_SECONDS = 0.5  # what their coming has left to do


@contextlib.contextmanager
def clients(bench, running, count, file, requests=1):
    """COUNT of them, each of which made so many requests of FILE, (path, length), before."""
    path, length = file
    command = [str(bench.load), "-c", str(count), "-i", str(requests), "-l", str(length), str(running.port),
               running.host, running.target(path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True, errors="replace")
    try:
        wait_until_ready(running, process, count)
        yield
        end(running, process, count)
    finally:
        process.kill()
        process.communicate()


def wait_until_ready(running, process, count):
    """load says so in a line, or ends: it gives up itself when nothing comes for some seconds."""
    line = process.stdout.readline()
    if not line or json.loads(line) != {"ready": count}:
        raise Failure(f"{running.peer.name}, {count} clients: {process.stderr.read()}{running.server.log_text()}")
    time.sleep(SETTLE_SECONDS)


def end(running, process, count):
    """All of them have to be there until the end."""
    process.stdin.close()
    process.stdin = None
    if process.wait(LOAD_SECONDS) != 0:
        raise Failure(f"{running.peer.name}, {count} clients: {process.stderr.read()}{running.server.log_text()}")
