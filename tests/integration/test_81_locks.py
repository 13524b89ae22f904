# SPDX-License-Identifier: Apache-2.0
"""Workers do not wait for each other: as they serve, with an access log, none makes a system call for a lock."""
import re
import shutil
import subprocess

import pytest

from testenv import SANITIZED
from testenv.scripted import answering, ok
from testenv.wait import wait_until

WORKERS = 4
CLIENTS, DEPTH, ROUNDS = 16, 10, 80  # no more at once than max_per_host, or they take turns
STRACE = ["strace", "-D", "-f", "--seccomp-bpf", "-e", "trace=futex,exit,exit_group"]

pytestmark = [
    pytest.mark.skipif(shutil.which("strace") is None, reason="no strace"),
    pytest.mark.skipif(SANITIZED, reason="the sanitizers take locks of their own"),
]


@pytest.fixture(scope="module", autouse=True)
def traced():
    """A container may forbid ptrace()."""
    done = subprocess.run([*STRACE, "true"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=30)
    if "exit_group(" not in done.stderr:
        pytest.skip("strace can trace nothing here: " + done.stderr.strip()[:200])


@pytest.fixture
def plain(serve):
    return serve(answering(lambda r, c: ok(b"x" * 300)), tls=False)


@pytest.mark.h1_only("about workers among themselves; its origin speaks in clear")
def test_no_lock_is_waited_for(make_proxy, plain, tmp_path):
    calls = tmp_path / "calls"
    p = make_proxy('workers = %d\nrule "*" { upgrade = off }\nlog { access = "%s" }\n'
                   % (WORKERS, tmp_path / "access"), prefix=[*STRACE, "-o", str(calls)])
    clients = [p.client(timeout=60) for _ in range(CLIENTS)]

    def one_round(depth):
        for c in clients:
            c.send(("GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % plain.url("/a")) * depth)
        for c in clients:
            for _ in range(depth):
                assert c.response().status == 200
    one_round(1)
    before = calls.read_text()
    assert "futex(" in before  # those of a start are seen
    for _ in range(ROUNDS):
        one_round(DEPTH)
    made = [x for x in calls.read_text()[len(before):].splitlines() if "futex(" in x]
    for c in clients:
        c.close()
    assert not made, (len(made), made[:10])
    count = CLIENTS * (1 + ROUNDS * DEPTH)
    wait_until(lambda: len(re.findall("\n", (tmp_path / "access").read_text())) == count, 10, "all lines")
    p.stop()
    wait_until(lambda: calls.read_text().count(" exit(0") >= WORKERS, 10, "a trace of each worker's end")
