# SPDX-License-Identifier: Apache-2.0
"""Counts system calls of a proxy that runs."""

import contextlib
import pathlib
import re
import signal
import subprocess
import time

from .common import Failure, find_program

ATTACH_SECONDS = 10


@contextlib.contextmanager
def traced(running, calls):
    """Yields a dictionary that, once the block has ended, has {system call: how often}; CALLS is strace's -e."""
    output = running.server.directory / "strace"
    counted = {}
    processes = [word for pid in running.server.process_ids() for word in ("-p", str(pid))]
    command = [find_program("strace"), "-f", "-c", "-e", f"trace={calls}", "-o", str(output), *processes]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as tracer:
        try:
            wait_attached(running, tracer)
            yield counted
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.communicate(timeout=ATTACH_SECONDS)
    counted.update(read(output.read_text()))


def wait_attached(running, tracer):
    """Until every thread of the proxy has a tracer."""
    deadline = time.monotonic() + ATTACH_SECONDS
    while not all(all_traced(pid) for pid in running.server.process_ids()):
        if tracer.poll() is not None or time.monotonic() > deadline:
            tracer.kill()
            raise Failure(f"strace did not attach: {tracer.communicate()[1]}")
        time.sleep(0.01)


def all_traced(pid):
    states = [status.read_text() for status in pathlib.Path(f"/proc/{pid}/task").glob("*/status")]
    return all(re.search(r"^TracerPid:\t[1-9]", state, re.MULTILINE) for state in states)


def read(table):
    """Lines of -c: per cent, seconds, µs a call, calls, perhaps errors, name."""
    rows = (line.split() for line in table.splitlines())
    return {row[-1]: int(row[3]) for row in rows if len(row) >= 5 and row[3].isdigit() and row[-1] != "total"}
