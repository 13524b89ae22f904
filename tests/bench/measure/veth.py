# SPDX-License-Identifier: Apache-2.0
"""A network namespace for the origin, behind a veth pair: on loopback, sending does the receiver's work too."""

import contextlib
import os

from .common import Failure, run_quiet

MTU = "1500"


@contextlib.contextmanager
def namespace():
    """Yields the words that run a command in it, and its address; as root."""
    if os.geteuid() != 0:
        raise Failure("a network namespace has to be made by root")
    pid = os.getpid()
    name, near, far = f"tlsfan-bench-{pid}", f"tb{pid}a", f"tb{pid}b"
    network = f"198.18.{pid >> 6 & 255}."  # of the block for benchmarks, RFC 2544
    here, there = (network + str((pid & 63) * 4 + n) for n in (1, 2))
    run_quiet("ip", "netns", "add", name)
    try:
        run_quiet("ip", "link", "add", near, "mtu", MTU, "type", "veth", "peer", "name", far, "mtu", MTU, "netns", name)
        run_quiet("ip", "address", "add", f"{here}/30", "dev", near)
        run_quiet("ip", "-n", name, "address", "add", f"{there}/30", "dev", far)
        for inside, device in (((), near), (("-n", name), far), (("-n", name), "lo")):
            run_quiet("ip", *inside, "link", "set", device, "up")
        yield ("ip", "netns", "exec", name), there
    finally:
        run_quiet("ip", "netns", "delete", name)
