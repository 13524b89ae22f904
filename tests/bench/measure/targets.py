# SPDX-License-Identifier: Apache-2.0
"""How good tlsfan is to be: a table of bounds, each a ratio within one run or a figure."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Bound:
    """The figure of a case with this peer is at most LIMIT, times the best of AGAINST where that is given.

    What it is compared with is other peers of the same case, or other figures as (case, figure, peer).
    """
    case: str
    figure: str
    peer: str
    limit: float
    against: tuple = ()

    def references(self):
        return [one if isinstance(one, tuple) else (self.case, self.figure, one) for one in self.against]

    def value(self, results):
        """The ratio, or the figure itself; None where something was not measured."""
        own = look_up(results, (self.case, self.figure, self.peer))
        if not self.against:
            return own
        others = [look_up(results, reference) for reference in self.references()]
        if own is None or None in others or min(others) <= 0:
            return None
        return own / min(others)

    def met(self, results):
        value = self.value(results)
        return None if value is None else value <= self.limit


def look_up(results, reference):
    case, figure, peer = reference
    return results[case].median(figure, peer) if case in results else None


# What a row is called, and its bounds.
TARGETS = (
    ("1 KiB keep-alive, 32 clients, HTTP/1 upstream", (
        Bound("keepalive-1k", "cpu", "tlsfan", 0.75, ("nginx",)),
        Bound("keepalive-1k", "cpu", "tlsfan", 1.2, ("floor",)))),
    ("the same over h2", (
        Bound("keepalive-1k", "cpu", "tlsfan-h2", 0.75, ("haproxy-h2",)),)),
    ("the same, 256 clients, h2", (
        Bound("keepalive-256", "cpu", "tlsfan-h2", 0.65, ("haproxy-h2",)),)),
    ("100 KiB keep-alive", (
        Bound("keepalive-100k", "cpu", "tlsfan", 0.75, ("haproxy",)),
        Bound("keepalive-100k", "cpu", "tlsfan", 1.1, ("floor",)))),
    ("256 MiB download", (
        Bound("download", "cpu", "tlsfan", 1.1, ("floor",)),)),
    ("new client connection a request", (
        Bound("connect-1k", "cpu", "tlsfan", 0.8, ("nginx", "haproxy")),)),
    ("cold fan-out of 100 x 0.1 s, h2", (
        Bound("fanout", "handshakes", "tlsfan-h2", 1),
        Bound("fanout", "wall", "tlsfan-h2", 115),
        Bound("fanout", "cpu", "tlsfan-h2", 1, ("haproxy-h2",)))),
    ("the same, HTTP/1", (
        Bound("fanout", "cpu", "tlsfan", 0.8, ("nginx",)),)),
    ("100 pipelined x 0.1 s, cold", (
        Bound("pipelined", "wall", "tlsfan-h2", 130),
        Bound("pipelined", "wall", "tlsfan", 200))),
    ("CONNECT 256 MiB", (
        Bound("tunnel", "cpu", "tlsfan", 0.7, ("squid",)),)),
    ("memory: an idle client, an idle upstream, at start", (
        Bound("memory", "client", "tlsfan", 0.6),
        Bound("memory-upstream", "upstream", "tlsfan", 12),
        Bound("memory-upstream", "upstream", "tlsfan-h2", 12),
        Bound("memory", "start", "tlsfan", 10))),
    ("added p50 at 1,000 requests/s", (
        Bound("latency", "added", "tlsfan", 25),)),
    ("instructions with 10,000 idle clients, 1,000 origins, 10,000 rules against one", (
        Bound("scale", "clients", "tlsfan", 1.02, (("scale", "one", "tlsfan"),)),
        Bound("scale", "origins", "tlsfan", 1.02, (("scale", "one", "tlsfan"),)),
        Bound("scale", "rules", "tlsfan", 1.02, (("scale", "one", "tlsfan"),)))),
    ("CPU a request of two workers against one, no lock waited for", (
        Bound("workers", "ratio", "tlsfan", 1.05),
        Bound("workers", "futex", "tlsfan", 0))),
    ("access log as JSON against none, instructions; futex calls at 4 workers", (
        Bound("log", "json", "tlsfan", 1.05, (("log", "none", "tlsfan"),)),
        Bound("log", "futex", "tlsfan", 0))),
    ("h2, 100 pipelined: 1,000 instructions a request", (
        Bound("pipelined-instructions", "instructions", "tlsfan-h2", 48),)),
)
