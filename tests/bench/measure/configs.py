# SPDX-License-Identifier: Apache-2.0
"""Configurations of the servers: files of tests/bench/configs/ with values put in for @names."""

import os
import string

from .common import BENCH


class AtTemplate(string.Template):
    """nginx and Squid have uses of their own for a dollar sign."""
    delimiter = "@"


def write(template, directory, /, **values):
    """Writes configs/TEMPLATE into DIRECTORY with VALUES in it; returns its path."""
    text = (BENCH / "configs" / template).read_text()
    path = directory / template
    path.write_text(AtTemplate(text).substitute(values, dir=directory))
    return path


def nginx_user():
    """Workers of a server that root starts would else not read what only root may."""
    return "user root;" if os.geteuid() == 0 else ""
