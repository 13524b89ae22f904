# SPDX-License-Identifier: Apache-2.0
"""The founding experiment: ten pages of a second each by gevent + requests + pyOpenSSL, direct and through tlsfan."""
import os
import re
import subprocess
import sys
import time

import pytest

from testenv import SOON
from testenv.proxy import ROOT, binary, clean_env

FAN10 = os.path.join(ROOT, "packaging", "demo", "fan10.py")
PYTHON = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable


def fan10(ca, url, before=(), env=None):
    begun = time.monotonic()
    done = subprocess.run([*before, PYTHON, FAN10, *(["--ca", ca.root] if url.startswith("https") else []), url],
                          env=env or clean_env(), capture_output=True,
                          text=True, timeout=120)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout.strip(), time.monotonic() - begun


def seconds(text):
    """The time that the client itself measured, without the start of Python: the first number with a decimal point."""
    return float(re.search(r"(\d+\.\d+) ?s", text).group(1))


@pytest.mark.bench
def test_founding_experiment(proxy, httpbin, ca, protocol):
    for module in ("gevent", "requests", "OpenSSL"):
        pytest.importorskip(module)
    if protocol == "h1":  # the client itself speaks nothing else
        direct, _ = fan10(ca, "https://localhost:%d/delay/1" % httpbin.port)
        print("direct: %s" % direct)
        assert seconds(direct) > 8
    through, _ = fan10(ca, httpbin.url("/delay/1"), env=proxy.environ())
    print("through tlsfan: %s" % through)
    assert seconds(through) < SOON / 2  # and one after the other is over 8


@pytest.mark.bench
def test_one_command_cures_it(httpbin, ca):
    if binary() is None:
        pytest.skip("no tlsfan: build it, or set TLSFAN_BIN")
    through, _ = fan10(ca, httpbin.url("/delay/1"), before=[binary(), "-o", "tls.ca_file=" + ca.root, "run", "--"])
    print("tlsfan run: %s" % through)
    assert seconds(through) < SOON / 2  # and one after the other is over 8
