# SPDX-License-Identifier: Apache-2.0
"""Processor time of large bodies: down, up, and through a tunnel."""

from . import load
from .case import Figure, case
from .cases_requests import ALL, SMALL

CPU = {"cpu": Figure("CPU per GiB", "ms")}
CONNECTING = ("tlsfan", "squid", "ats", "apache")
SIZE = 256 << 20


def per_gib(bench, running, path, *options, **more):
    """One body with one client; what came before opened the connection to the origin."""
    seconds, printed = load.cpu(bench, running, path, "-c", 1, "-n", 1, *options, **more)
    return {"cpu": seconds * 1e3 * (1 << 30) / SIZE, "seconds": printed["seconds"]}


@case("download", "download of 256 MiB", CPU, ALL)
def download(bench, running):
    load.run(bench, running, SMALL[0], "-c", 1, "-n", 10, "-l", SMALL[1])
    return per_gib(bench, running, "256m", "-l", SIZE)


@case("upload", "upload of 256 MiB", CPU, ALL)
def upload(bench, running):
    load.run(bench, running, SMALL[0], "-c", 1, "-n", 10, "-l", SMALL[1])
    return per_gib(bench, running, "put/body", "-u", SIZE)


@case("tunnel", "CONNECT tunnel, 256 MiB down", CPU, CONNECTING)
def tunnel(bench, running):
    return per_gib(bench, running, None, "-C", "-l", SIZE, **running.tunnel(bench, "/256m"))


@case("tunnel-up", "CONNECT tunnel, 256 MiB up", CPU, CONNECTING)
def tunnel_up(bench, running):
    return per_gib(bench, running, None, "-C", "-u", SIZE, **running.tunnel(bench, "/put/body"))
