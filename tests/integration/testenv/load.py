# SPDX-License-Identifier: Apache-2.0
"""Clients that ask without end, in all the ways there are, and count what they got."""
import threading
from collections import Counter

from . import SLOW
from .client import Broken, Client
from .wait import wait_until

DEPTH = 5  # requests that are pipelined at once


class Load:
    """ADDRESS as for Client. FAST and SLOWLY are (URL, body): of an answer at once, and of one that takes a while.

    Nothing is asked for twice: a connection refused, one that ends without an answer that is due, and any answer
    but the one that is expected are in .failed, as (kind of client, what happened). A connection whose last answer
    had Connection: close is made anew, as every client does; one that ended between two answers without is not, but
    that is a failure too."""

    KINDS = {"keep-alive": 3, "thinking": 2, "one each": 3, "pipelined": 2, "slow": 2}

    def __init__(self, address, fast, slowly):
        self.address, self.fast, self.slowly = address, fast, slowly
        self.done, self.failed, self.longest = Counter(), [], 0.0
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.threads = [
            threading.Thread(target=self.run, args=(kind,), daemon=True)
            for kind, count in self.KINDS.items()
            for _ in range(count)
        ]
        for thread in self.threads:
            thread.start()
        self.everybody_goes_on()

    def run(self, kind):
        client = None
        while not self.stopping.is_set():
            try:
                if client is None:
                    client = Client(self.address, timeout=20)
                goes_on = getattr(self, kind.replace("-", "_").replace(" ", "_"))(client)
            except (OSError, Broken, AssertionError) as e:
                self.failed.append((kind, repr(e)))
                goes_on = False
            if not goes_on and client is not None:
                client.close()
                client = None
            if len(self.failed) > 1000:
                return
        if client is not None:
            client.close()

    def ask(self, kind, client, what, *fields):
        client.request("GET", what[0], *fields)
        return self.take(kind, client, what[1])

    def take(self, kind, client, body, is_last=True):
        """True when the connection may be used again."""
        answer = client.response()
        assert answer.status == 200 and answer.body == body, answer
        closes = (answer.get("Connection") or "").lower() == "close"
        assert is_last or not closes, "closed with requests unanswered"
        with self.lock:
            self.done[kind] += 1
        return not closes

    def keep_alive(self, client):
        return self.ask("keep-alive", client, self.fast)

    def thinking(self, client):
        goes_on = self.ask("thinking", client, self.fast)
        self.stopping.wait(0.2)
        return goes_on

    def one_each(self, client):
        return self.ask("one each", client, self.fast, "Connection: close")

    def slow(self, client):
        return self.ask("slow", client, self.slowly)

    def pipelined(self, client):
        host = self.fast[0].split("/")[2]
        client.send("GET %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (self.fast[0], host) * DEPTH)
        return [self.take("pipelined", client, self.fast[1], n == DEPTH - 1) for n in range(DEPTH)][-1]

    def everybody_goes_on(self):
        """Waits until each kind of client has had two further answers, or one has failed."""
        with self.lock:
            before = Counter(self.done)
        wait_until(
            lambda: self.failed or all(self.done[kind] > before[kind] + 1 for kind in self.KINDS),
            30,
            "answers: %s after %s" % (self.done, before),
        )

    def stop(self):
        """Ends the load. Returns how many requests were answered."""
        self.stopping.set()
        for thread in self.threads:
            thread.join(30 * SLOW)
        assert not any(thread.is_alive() for thread in self.threads), "a client hangs"
        return sum(self.done.values())

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stopping.set()

    def told(self):
        """What went through, in a line."""
        kinds = ", ".join("%d %s" % (self.done[kind], kind) for kind in self.KINDS)
        return "%d requests (%s), %d failed" % (sum(self.done.values()), kinds, len(self.failed))
