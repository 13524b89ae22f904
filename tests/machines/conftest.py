# SPDX-License-Identifier: Apache-2.0
"""Tests that make machines: a minimal Debian 12, a container image, installed packages. They need root, debootstrap,
buildah, iproute2 and what the integration tests need, and take some minutes:

    sh tests/run.sh --machines                     all of the project's tests, and these
    /usr/bin/python3 -m pytest tests/machines -v   these alone

There is no container engine in it. buildah makes the image from the Dockerfile, in chroots, on a base that
debootstrap made; then the tests do with the image's program what an engine would do, with unshare(1) and chroot(1):
its user, variables, entry point and health check, a root that cannot be written, its own processes and mounts.
Published ports, the engine's networks and its seccomp profile are therefore not tested.
TLSFAN_MACHINES_DIR names a directory where the minimal Debian is kept for the next time."""
import ctypes
import os
import shutil
import subprocess
import sys

import pytest

sys.path[:0] = [os.path.dirname(os.path.abspath(__file__)),
                os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "integration")]

from debian import Machine, make_base  # noqa: E402
from image import PRIVATE, STRANGER, Buildah, Image  # noqa: E402
from testenv.ca import CA  # noqa: E402
from testenv.proxy import ROOT  # noqa: E402

CLONE_NEWNET = 0x40000000


def pytest_collection_modifyitems(items):
    missing = [x for x in ("debootstrap", "buildah", "unshare", "nsenter", "ip", "git") if shutil.which(x) is None]
    reason = "needs root" if os.getuid() != 0 else "not installed: " + ", ".join(missing) if missing else None
    for item in items if reason else []:
        item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def tmp(tmp_path_factory):
    path = tmp_path_factory.mktemp("machines")
    yield path
    shutil.rmtree(str(path), ignore_errors=True)


@pytest.fixture(scope="session")
def ca(tmp):
    path = tmp / "ca"
    made = CA(path)
    os.chmod(str(path), 0o755)
    return made


@pytest.fixture(scope="session")
def base(tmp):
    """The directory of a minimal Debian; to be copied, not to be changed."""
    return make_base(os.environ.get("TLSFAN_MACHINES_DIR") or tmp / "base", tmp / "base.log")


@pytest.fixture(scope="session")
def image(tmp, base):
    buildah = Buildah(tmp / "buildah")
    buildah.import_base(base)
    buildah.build("tlsfan")
    yield Image(buildah, "tlsfan")
    buildah.clean()


@pytest.fixture(scope="session")
def fresh(base, ca, tmp):
    """What a person has who comes to the README: git and curl, and the repository cloned to /root/tlsfan.

    That is what was committed here. The tests' CA is in the machine's store, or will be with ca-certificates."""
    root = str(tmp / "fresh")
    machine = Machine.copy(base, root)
    machine.trust(ca.root)
    machine.install("git", "curl")
    subprocess.run(["git", "-c", "safe.directory=*", "clone", "-q", "--bare", "--no-hardlinks", ROOT,
                    root + "/srv/tlsfan.git"], check=True)
    machine.run("git", "clone", "-q", "/srv/tlsfan.git", "/root/tlsfan")
    yield machine
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def network():
    """The test, and all that it starts, gets a network of its own: the image's ports are free there."""
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    assert libc.unshare(CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for address in (PRIVATE, STRANGER):
        subprocess.run(["ip", "address", "add", address + "/32", "dev", "lo"], check=True)
    yield
    assert libc.setns(before, CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
    os.close(before)
