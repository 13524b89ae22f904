# SPDX-License-Identifier: Apache-2.0
"""A terminal with a program that leads its session: keys typed, what is seen, the end."""
import os
import pty
import signal

from .proxy import clean_env
from .wait import wait_until


class Terminal:
    """A program that leads the session of a pty."""

    def __init__(self, *command):
        self.seen = b""
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            for number in (signal.SIGINT, signal.SIGQUIT):  # ignored where the suite was started in the background
                signal.signal(number, signal.SIG_DFL)
            os.execvpe(command[0], command, clean_env({"PS1": ""}))
        self.status = None

    def type(self, text):
        os.write(self.master, text)

    def read(self):
        os.set_blocking(self.master, False)
        try:
            self.seen += os.read(self.master, 65536)
        except OSError:
            pass
        return self.seen

    def wait_seen(self, text):
        wait_until(lambda: text in self.read(), 10, lambda: "%r on the terminal: %r" % (text, self.seen))

    def stop_and_go_on(self):
        """Ctrl-Z, by which a shell says "stopped=" and does fg; then Ctrl-C, and it says "ended=" and ends."""
        self.type(b"\x1a")
        self.wait_seen(b"stopped=%d" % (128 + signal.SIGTSTP))
        os.set_blocking(self.master, True)
        # Before fg has given the terminal away, Ctrl-C would end the shell.
        wait_until(lambda: os.tcgetpgrp(self.master) != self.pid, 10, "fg")
        self.type(b"\x03")
        self.wait_seen(b"ended=")
        self.wait(0)

    def hang_up(self):
        os.close(self.master)
        self.master = None

    def poll(self):
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid != 0:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status

    def wait(self, status):
        wait_until(lambda: self.poll() is not None, 10, lambda: "the end of the session: %r" % self.read())
        assert self.status == status, self.seen

    def close(self):
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        if self.master is not None:
            os.close(self.master)
