# SPDX-License-Identifier: Apache-2.0
"""Memory: at start, of each client that is connected and idle, of each idle connection to an origin."""

import resource
import socket
import sys
import time

from . import hold, load
from .case import Figure, case
from .cases_requests import HOLDING, SMALL
from .common import NAME, Failure

FEW = 5000
# tlsfan keeps a third of its descriptors for origins and turns further clients away.
MANY = min(15000, resource.getrlimit(resource.RLIMIT_NOFILE)[1] * 6 // 10)
FIGURES = {"client": Figure(f"idle client, of {FEW:,}", "KiB"),
           "client_many": Figure(f"idle client, of {MANY:,}", "KiB"), "start": Figure("at start (RSS)", "MiB")}
UPSTREAM = {"upstream": Figure("idle connection to an origin", "KiB")}
CROWD = 64  # asks at once before anything is measured: what requests need is then there
ORIGINS = (250, 650)
STILL_SECONDS = 2  # longer than anybody keeps what he gives back once nothing more comes
STILL_KIB = 64  # and as good as still
SETTLE_SECONDS = 30
LOOK_SECONDS = 0.1


def settled(running):
    """Memory once it stays the same: some is given back a while after the last request."""
    kib, since = running.memory_kib(), time.monotonic()
    limit = since + SETTLE_SECONDS
    while time.monotonic() - since < STILL_SECONDS:
        if time.monotonic() > limit:
            raise Failure(f"{running.peer.name}: its memory still changes after {SETTLE_SECONDS} s")
        time.sleep(LOOK_SECONDS)
        now = running.memory_kib()
        if abs(now - kib) > STILL_KIB:
            kib, since = now, time.monotonic()
    return now


@case("memory", "memory, idle clients", FIGURES, HOLDING, fresh=True, rounds=3)
def memory(bench, start):
    with start(asked=False, extra=(f"client.max_connections={MANY + CROWD}",)) as running:
        settled(running)
        kib = {"start": running.server.resident_kib() / 1024}
        load.run(bench, running, SMALL[0], "-c", CROWD, "-n", 20 * CROWD, "-l", SMALL[1])
        before = settled(running)
        with hold.clients(bench, running, FEW, SMALL):
            kib["client"] = (settled(running) - before) / FEW
            with hold.clients(bench, running, MANY - FEW, SMALL):
                kib["client_many"] = (settled(running) - before) / MANY
    return kib


@case("memory-upstream", "memory, idle connections to origins", UPSTREAM, ("tlsfan", "tlsfan-h2"), fresh=True, rounds=3)
def memory_upstream(bench, start):
    """One client asks many origins in turn, so that each has one connection, over HTTP/2 as over HTTP/1, and
    was made when no other was being made. Sessions to resume are an origin's, not a connection's."""
    extra = (f"connect_to=::{bench.origin.address}:{bench.origin.port}", "tls.session_resumption=off")
    with start(workers=1, extra=extra) as running:
        few, many = (ask_origins(bench, running, count) for count in ORIGINS)
    kib, opened = (b - a for a, b in zip(few, many))
    if opened < (ORIGINS[1] - ORIGINS[0]) * 0.9:
        raise Failure(f"{running.peer.name}: only {opened} more connections to the origins were kept")
    return {"upstream": kib / opened}


def ask_origins(bench, running, count):
    """(memory, connections) once so many origins were asked."""
    name = f"n%u.{NAME}:{bench.origin.port}"
    load.run(bench, running, None, "-c", 1, "-n", 2 * count, "-t", count, "-l", SMALL[1], host=name,
             target=f"http://{name}/{SMALL[0]}")
    return settled(running), connections(bench.origin.address, bench.origin.port)


def connections(address, port):
    """Those that are established with this address and port, seen from their clients."""
    remote = f"{int.from_bytes(socket.inet_aton(address), sys.byteorder):08X}:{port:04X}"
    with open("/proc/net/tcp", encoding="ascii") as lines:
        return sum(fields[2] == remote and fields[3] == "01" for fields in map(str.split, lines))
