# SPDX-License-Identifier: Apache-2.0
"""Ports that nothing listens on."""
import socket

_given = set()


def free_port(host="127.0.0.1"):
    """A port that was free a moment ago and that this session has not handed out before."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    while True:
        with socket.socket(family, socket.SOCK_STREAM) as s:
            s.bind((host, 0))
            port = s.getsockname()[1]
        if port not in _given:
            _given.add(port)
            return port
