# SPDX-License-Identifier: Apache-2.0
"""For programs that start others and are no tests themselves."""
import signal
import sys


def unwind_on_term():
    """TERM ends this program as Ctrl-C does, by an exception: what it has started and written goes with it."""
    def unwind(number, frame):
        signal.signal(number, signal.SIG_IGN)  # once is enough, and the end takes a moment
        sys.exit(128 + number)
    signal.signal(signal.SIGTERM, unwind)
