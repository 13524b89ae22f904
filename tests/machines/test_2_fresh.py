# SPDX-License-Identifier: Apache-2.0
"""A fresh Debian 12 and the two commands of the README: what was committed is cloned, built, started and used.

example.com is a server of the test's. Its CA is in the machine's store, as if it were a public one."""
import os
import re
import shlex
import signal
import time

import pytest

from debian import children, end
from testenv.ports import free_port
from testenv.proxy import ROOT
from testenv.scripted import Server, answering, ok
from testenv.wait import can_connect, wait_until


def commands():
    """(what starts the proxy, what goes through it), as "The cure, in a minute" has them."""
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as f:
        section = f.read().split("\n## The cure, in a minute\n")[1].split("\n## ")[0]
    blocks = re.findall(r"^```sh\n(.*?)^```", section, re.S | re.M)
    use, = [x for x in blocks if "http://example.com/" in x]
    return blocks[0].strip(), use.strip()


@pytest.fixture
def example(ca):
    server = Server(answering(lambda request, conn: ok("a page\n")), ca.server_context("example"))
    yield server
    server.stop()


def addresses():
    """The two listeners' ports and the variables that choose them: none where the usual ones are free."""
    if not can_connect("127.0.0.1", 3128) and not can_connect("127.0.0.1", 3129):
        return 3128, {}
    port, service = free_port(), free_port()
    return port, {"TLSFAN_LISTEN": "127.0.0.1:%d" % port, "TLSFAN_SERVICE": "127.0.0.1:%d" % service}


def test_the_two_commands_of_the_readme(fresh, example, tmp, capsys):
    start, use = commands()
    port, variables = addresses()
    env = dict(variables, TLSFAN_CONNECT_TO="example.com:443:127.0.0.1:%d" % example.port,
               PATH=os.environ["PATH"], HOME="/root", LC_ALL="C.UTF-8")
    took = []
    for _ in range(2):
        began = time.monotonic()
        log = tmp / ("fresh%d.log" % len(took))
        with open(str(log), "wb") as f:
            process = fresh.start(shlex.split(start), env, cwd="/root/tlsfan", stdout=f, stderr=f)
        try:
            wait_until(lambda: process.poll() is not None or "has started" in log.read_text(errors="replace"), 1200,
                       "the proxy to start:\n" + log.read_text(errors="replace")[-4000:])
            assert process.poll() is None, log.read_text(errors="replace")[-6000:]
            took.append(time.monotonic() - began)
            text = fresh.run("sh", "-c", use.replace(":3128", ":%d" % port))
            assert text.endswith("a page\n"), text
            assert example.last_asked().sni == "example.com"
            os.kill(children(process.pid)[0], signal.SIGINT)
            assert process.wait(20) == 0, log.read_text(errors="replace")[-4000:]
        finally:
            end(process)
    with capsys.disabled():
        print("\nfrom clone to running: %.0f s; the second start: %.1f s; command: %s; %s" % (*took, start, use))
    assert took[1] < 10
