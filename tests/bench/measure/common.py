# SPDX-License-Identifier: Apache-2.0
"""Names and small helpers that all modules use."""

import os
import pathlib
import shutil
import subprocess
import sys

BENCH = pathlib.Path(__file__).resolve().parent.parent
ROOT = BENCH.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "integration"))

from testenv.ports import free_port  # noqa: E402
from testenv.term import unwind_on_term  # noqa: E402

NAME = "origin.test"  # the origin's, in its certificate
WORKERS = 2
CLIENTS = 32


class Failure(Exception):
    """A figure cannot be had: a server that does not start, an answer that is not right."""


def clean_environment():
    """Ours without what would turn a proxy, or turn us to one."""
    return {k: v for k, v in os.environ.items()
            if not k.startswith("TLSFAN_") and not k.lower().endswith("_proxy")}


def program_path(name):
    """Where a program is, servers of Debian included; None where it is not installed."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin:/sbin")


def find_program(name):
    path = program_path(name)
    if path is None:
        raise Failure(f"{name} is not installed")
    return path


def run_quiet(*command):
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if result.returncode != 0:
        raise Failure(f"{command[0]} failed:\n{result.stdout}{result.stderr}")
    return result.stdout


def compile_c(name, directory, *libraries):
    """Builds the C program NAME of tests/bench from all its files; returns its path."""
    program = directory / name
    sources = sorted(str(source) for source in BENCH.glob(f"{name}*.c"))
    run_quiet(os.environ.get("CC", "cc"), "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-pthread", "-o", str(program),
              *sources, *libraries)
    return program


def find_tlsfan(parser, named):
    """The binary to measure, for a command's --tlsfan."""
    path = named or str(ROOT / "build/release/tlsfan")
    if not os.access(path, os.X_OK):
        parser.error(f"no tlsfan binary at {path}: name one with --tlsfan")
    return os.path.abspath(path)
