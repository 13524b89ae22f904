# SPDX-License-Identifier: Apache-2.0
"""Ports for programs that must be told one."""
import os
import random
import re
import socket

# Below those that the system gives to sockets that ask for none: nobody's connection takes one meanwhile.
_LOW, _HIGH = 10000, 32000
_WORKERS = 8  # each process of the run has its own share
_MOST = (_HIGH - _LOW) // _WORKERS // 2  # of a share; who needs more is done with the first ones
_given = set()
_worker = int(re.sub(r"\D", "", os.environ.get("PYTEST_XDIST_WORKER", "")) or 0) % _WORKERS
_random = random.SystemRandom()


def free_port(host="127.0.0.1"):
    """A port that was free a moment ago and that this session has not handed out lately."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    while True:
        port = _random.randrange(_LOW + _worker, _HIGH, _WORKERS)
        if port in _given:
            continue
        if len(_given) == _MOST:
            _given.clear()
        _given.add(port)
        with socket.socket(family, socket.SOCK_STREAM) as s:
            try:
                s.bind((host, port))
            except OSError:
                continue
        return port
