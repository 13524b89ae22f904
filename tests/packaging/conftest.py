# SPDX-License-Identifier: Apache-2.0
"""Fixtures: both packages, made once, and what is in them.

They come from the build in TLSFAN_PACKAGE_BUILD, so that the runner need not compile again; without it one is made."""
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "integration"))


def run(*command, **kw):
    """Runs COMMAND, which must succeed, and returns what it printed."""
    env = dict(os.environ, LC_ALL="C.UTF-8", **kw.pop("env", {}))
    done = subprocess.run([str(x) for x in command], capture_output=True, text=True, timeout=600, env=env, **kw)
    assert done.returncode == 0, "%s: status %d\n%s%s" % (command[0], done.returncode, done.stdout, done.stderr)
    return done.stdout


def make(out, *version, build=None):
    """Paths of the .deb and the .rpm."""
    build = build or os.environ.get("TLSFAN_PACKAGE_BUILD") or out / "build"
    said = run("sh", os.path.join(ROOT, "packaging", "build-packages.sh"), "--build", build, out, *version)
    made = said.split("Made:\n")[1].split("\n")
    deb, rpm = [path for path in made if path.endswith(".deb")], [path for path in made if path.endswith(".rpm")]
    return SimpleNamespace(deb=deb[0], rpm=rpm[0], build=build)


@pytest.fixture(scope="session")
def packages(tmp_path_factory):
    return make(tmp_path_factory.mktemp("packages"))


@pytest.fixture(scope="session")
def root(packages, tmp_path_factory):
    """The files of the .deb, unpacked."""
    path = tmp_path_factory.mktemp("root")
    run("dpkg-deb", "-x", packages.deb, path)
    return path


@pytest.fixture(scope="session")
def control(packages, tmp_path_factory):
    """Its control files."""
    path = tmp_path_factory.mktemp("control")
    run("dpkg-deb", "-e", packages.deb, path)
    return path
