# SPDX-License-Identifier: Apache-2.0
"""Servers, certificates, clients and the proxy itself, all on loopback and all in one temporary directory."""
import os

SANITIZED = os.environ.get("TLSFAN_SANITIZED", "") not in ("", "0")
SLOW = 5 if SANITIZED else 1  # factor on every deadline of a test
