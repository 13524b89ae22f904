# SPDX-License-Identifier: Apache-2.0
"""An idle tlsfan does not wake up: a laptop's battery, and what a machine with hundreds of pods has of it."""
import ctypes
import os
import re
import subprocess
import time

import pytest

from testenv import SANITIZED
from testenv.netns import Namespace, why_not
from testenv.scripted import answering, ok
from testenv.wait import wait_until

# By the names of stat(1): file systems of which the kernel tells what changes; see proxy/news.c.
TOLD = {"btrfs", "ext2/ext3", "f2fs", "overlayfs", "ramfs", "squashfs", "tmpfs", "xfs", "zfs"}
QUIET = 5  # seconds: longer than from one look at files to the next, where they are looked at

pytestmark = [
    pytest.mark.skipif(why_not(inside=True) is not None, reason=str(why_not(inside=True))),
    pytest.mark.skipif(SANITIZED, reason="a sanitizer has threads of its own"),
]


def why_looked_at(path):
    """Why tlsfan has to look at a file below PATH every few seconds, for pytest.skip, or None."""
    kinds = subprocess.run(["stat", "-f", "-c", "%T", path, *path.parents], capture_output=True, text=True)
    others = set(kinds.stdout.split()) - TOLD
    if kinds.returncode != 0 or others:
        return "no news is promised of files below %s: %s" % (path, " ".join(others) or kinds.stderr)
    fd = ctypes.CDLL(None, use_errno=True).inotify_init()
    if fd < 0:
        return "inotify: " + os.strerror(ctypes.get_errno())
    os.close(fd)
    return None


@pytest.fixture
def alone(tmp_path):
    """A network where nobody else is; files are not looked at as long as nothing happens to them."""
    why = why_looked_at(tmp_path)
    if why is not None:
        pytest.skip(why)
    with Namespace() as ns, ns.inside():
        yield ns


def wakes(p):
    """How often its threads have run, by what the kernel counts when one stops running."""
    total = 0
    for task in os.listdir("/proc/%d/task" % p.pid):
        try:
            with open("/proc/%d/task/%s/status" % (p.pid, task)) as f:
                status = f.read()
        except (FileNotFoundError, ProcessLookupError):  # it has ended since
            continue
        total += sum(map(int, re.findall(r"^(?:non)?voluntary_ctxt_switches:\s+(\d+)", status, re.M)))
    return total


def wait_still(p, limit):
    """Until it has not run for QUIET seconds; what was begun before may still end by its timers."""
    since, last = time.monotonic(), wakes(p)

    def still():
        nonlocal since, last
        now = wakes(p)
        if now != last:
            since, last = time.monotonic(), now
        return time.monotonic() - since >= QUIET
    wait_until(still, limit, "%d s without a wake-up" % QUIET)


def test_started(alone, make_proxy):
    wait_still(make_proxy(), 20)


def test_service(alone, make_proxy):
    p = make_proxy(service=True)
    assert "tlsfan_build_info" in p.fetch("/metrics")
    wait_still(p, 40)


def test_pooled_connections(alone, make_proxy, serve):
    """And clients that stay."""
    server = serve(answering(lambda r, c: ok(b"x")))
    p = make_proxy("workers = 2\n", service=True)
    clients = [p.client() for _ in range(8)]
    for c in clients:
        assert c.get(server.url("/")).status == 200
    wait_still(p, 60)
    for c in clients:
        assert c.get(server.url("/")).status == 200
        c.close()


def test_watched_files(alone, make_proxy, ca, tmp_path):
    """They are seen to change all the same, by their own writing and by a link that is turned elsewhere."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        with open(ca.root) as f:
            (tmp_path / name / "ca.pem").write_text(f.read())
    (tmp_path / "link").symlink_to("one")
    with open(ca.path("stranger.pem")) as f:
        other = f.read()
    p = make_proxy(tls=False, flags=("-o", "tls.ca_file=%s" % (tmp_path / "link" / "ca.pem")))
    wait_still(p, 20)
    (tmp_path / "one" / "ca.pem").write_text(other)
    p.wait_log("configuration reloaded", 10)
    wait_still(p, 20)
    (tmp_path / "new").symlink_to("two")
    os.replace(str(tmp_path / "new"), str(tmp_path / "link"))
    wait_until(lambda: p.log().count("configuration reloaded") == 2, 10, "the second reload")
    wait_still(p, 20)
