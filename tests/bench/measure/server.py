# SPDX-License-Identifier: Apache-2.0
"""A program that runs beside the bench: started, waited for, accounted, ended."""

import contextlib
import http.client
import os
import pathlib
import socket
import subprocess
import time

from .common import Failure, clean_environment

START_SECONDS = 15
PRIVATE = ("Private_Clean", "Private_Dirty")


class Server:
    """One program with its own directory and log; its children are found by their parent's id."""

    def __init__(self, name, directory, command, ):
        self.name = name
        self.directory = directory
        self.log = directory / f"{name}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            cwd=directory, env=clean_environment())

    def wait_until_ready(self, port, probe=lambda: None, seconds=START_SECONDS, address="127.0.0.1"):
        """Until it listens and the probe returns no error."""
        deadline = time.monotonic() + seconds
        error = "it does not listen"
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                error = f"it ended with status {self.process.returncode}"
                break
            try:
                with socket.create_connection((address, port), timeout=1):
                    pass
                error = probe()
                if error is None:
                    return
            except (OSError, http.client.HTTPException) as caught:
                error = str(caught) or type(caught).__name__
            time.sleep(0.02)
        raise Failure(f"{self.name} does not serve: {error}\n{self.log_text()}")

    def expect_alive(self, seconds):
        """Who closes a connection because it ends has ended by then."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
            raise Failure(f"{self.name} ended with status {self.process.returncode}\n{self.log_text()}")

    def log_text(self):
        return self.log.read_text(errors="replace")[-4000:]

    def stop(self):
        """Ends it and whatever it started, by TERM and then by KILL."""
        everyone = self.process_ids()
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
        for pid in everyone if self.process.poll() is None else everyone[1:]:
            with contextlib.suppress(OSError):
                os.kill(pid, 9)
        self.process.wait()

    def end(self, seconds):
        """Ends it by TERM; what it does not end with 0 within that time is a failure."""
        self.process.terminate()
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} did not end within {seconds} s") from None
        if status != 0:
            raise Failure(f"{self.name} ended with {status}\n{self.log_text()}")

    def process_ids(self):
        """The program's own id and those of all its descendants."""
        parents = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                with contextlib.suppress(OSError):
                    stat = pathlib.Path(f"/proc/{entry}/stat").read_text()
                    parents[int(entry)] = int(stat.rsplit(")", 1)[1].split()[1])
        found = [self.process.pid]
        for pid in found:
            found += [child for child, parent in parents.items() if parent == pid]
        return found

    def cpu_seconds(self):
        return self.sum_up(cpu_seconds)

    def memory_kib(self):
        """What all its processes hold, pages they share counted once (Pss)."""
        return self.sum_up(lambda pid: memory_kib(pid, "Pss"))

    def resident_kib(self):
        """The same with all pages of libraries, whoever else has them: of a single process its RSS."""
        first = self.process.pid
        return self.sum_up(lambda pid: memory_kib(pid, *(("Rss",) if pid == first else PRIVATE)))

    def sum_up(self, figure):
        """Of all its processes; a helper may end meanwhile, the program itself may not."""
        total = 0
        for pid in self.process_ids():
            with contextlib.suppress(OSError):
                total += figure(pid)
        if self.process.poll() is not None:
            raise Failure(f"{self.name} ended with {self.process.returncode}\n{self.log_text()}")
        return total


def cpu_seconds(pid):
    """User and system time of a process with all its threads; exact where the kernel has it."""
    try:
        tasks = pathlib.Path(f"/proc/{pid}/task").iterdir()
        nanoseconds = sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)
        if nanoseconds > 0:
            return nanoseconds / 1e9
    except OSError:
        pass
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_kib(pid, *kinds):
    rows = (line.split() for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    kib = {row[0].rstrip(":"): int(row[1]) for row in rows}
    return sum(kib[kind] for kind in kinds)
