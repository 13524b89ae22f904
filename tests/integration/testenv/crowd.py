# SPDX-License-Identifier: Apache-2.0
"""Many requests at once: in one write of one client, or of a client each."""

CROWD = 100


def pipeline(c, urls, *fields, method="GET"):
    """Sends them in one write; answers() has what comes back."""
    lines = "".join("\r\n%s" % f for f in fields)
    c.send("".join("%s %s HTTP/1.1\r\nHost: x%s\r\n\r\n" % (method, url, lines) for url in urls))


def answers(c, count):
    return [c.response() for _ in range(count)]


def get_all(c, urls, *fields):
    """GETs in one write; the answers."""
    pipeline(c, urls, *fields)
    return answers(c, len(urls))


def fan_out(c, server, count=CROWD, prefix="/", host="localhost"):
    """COUNT requests in one write to a server that echoes; every answer has to be that of its request."""
    paths = ["%s%d" % (prefix, i) for i in range(count)]
    got = get_all(c, [server.url(path, host) for path in paths])
    assert [(r.status, r.text) for r in got] == [(200, path) for path in paths]
    return got


def at_once(p, urls, timeout=30):
    """A client for each URL, all at the same time: the answers, in their order."""
    got, clients = [], [p.client(timeout=timeout) for _ in urls]
    for c, url in zip(clients, urls):
        c.request("GET", url)
    for c in clients:
        with c:
            got.append(c.response())
    return got
