# SPDX-License-Identifier: Apache-2.0
"""Waiting for a condition; the only place where a test sleeps."""
import socket
import time

from . import SLOW


def wait_until(condition, timeout=5.0, what="condition"):
    """Polls CONDITION until it is true and returns its value; AssertionError after TIMEOUT seconds.

    WHAT is a text, or is called for one then, which tells how things stand at that end."""
    end = time.monotonic() + timeout * SLOW
    pause = 0.001
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError("timed out waiting for %s" % (what() if callable(what) else what))
        time.sleep(pause)
        pause = min(pause * 2, 0.05)


def can_connect(host, port):
    try:
        socket.create_connection((host, port), 1).close()
        return True
    except OSError:
        return False
