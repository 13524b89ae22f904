# SPDX-License-Identifier: Apache-2.0
"""Servers, certificates, clients and the proxy itself, all on loopback and all in one temporary directory."""
import os

SANITIZED = os.environ.get("TLSFAN_SANITIZED", "") not in ("", "0")
SLOW = 5 if SANITIZED else 2  # factor on every deadline of a test, which passes the sooner the faster the machine is
# Seconds: far more than any timeout that a test sets, less than those that hold where it sets none. A test that
# looks at the clock asks for no more: how fast something is depends on what else the machine does.
SOON = 8
