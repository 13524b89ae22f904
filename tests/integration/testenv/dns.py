# SPDX-License-Identifier: Apache-2.0
"""A scripted DNS server: names to records with TTL and delay; counts what it is asked."""
import socket
import struct
import threading
import time
from collections import Counter

TYPES = {"A": 1, "CNAME": 5, "AAAA": 28}


def encode_name(name):
    return b"".join(bytes([len(p)]) + p.encode() for p in name.rstrip(".").split(".")) + b"\0"


def record(owner, kind, value, ttl=60):
    """A resource record. VALUE is an address, a name, or bytes as they are; so may OWNER be, encoded."""
    if not isinstance(value, bytes):
        value = encode_name(value) if kind == "CNAME" else \
            socket.inet_pton(socket.AF_INET if kind == "A" else socket.AF_INET6, value)
    owner = owner if isinstance(owner, bytes) else encode_name(owner)
    return owner + struct.pack(">HHIH", TYPES[kind], 1, ttl, len(value)) + value


class Ask:
    """A query that a function in the zone answers as it likes. By TCP what it sends has its length before it."""

    def __init__(self, server, data, peer):
        self.server, self.data, self.peer = server, data, peer
        self.name, kind, self.question = server.question(data)
        self.kind = {v: k for k, v in TYPES.items()}.get(kind, str(kind))
        self.id, self.is_tcp = data[:2], isinstance(peer, socket.socket)

    def reply(self, *answers, id=None, code=0, flags=0x8180, question=None, authority=(), additional=(), count=None):
        """The bytes of an answer, right unless told otherwise."""
        question = self.question if question is None else question
        counts = (1 if question else 0, len(answers) if count is None else count, len(authority), len(additional))
        return (id or self.id) + struct.pack(">HHHHH", flags | code, *counts) + question + \
            b"".join((*answers, *authority, *additional))

    def address(self, value, ttl=60):
        """The record for an address, or none where the other family is asked."""
        kind = "AAAA" if ":" in value else "A"
        return [record(self.name, kind, value, ttl)] if kind == self.kind else []

    def send(self, data, sock=None):
        if self.is_tcp:
            self.peer.sendall(struct.pack(">H", len(data)) + data)
        else:
            (sock or self.server.sock).sendto(data, self.peer)


class Dns:
    """ZONE: name -> list of (type, value, ttl[, delay in s]); value "silent" drops the query, type "RCODE" answers with
    that code and nothing else. "*.suffix" stands for all names below it that are not there. Or a function of an Ask,
    which answers, or does not.

    A name not in it is NXDOMAIN. While `failing` is "silent", a code or such a function, so is every answer. With
    tcp=False what is truncated cannot be had."""

    def __init__(self, zone=None, address=("127.0.0.1", 0), tcp=True):
        self.zone = zone or {}
        self.failing = None
        self.queries = Counter()
        self.sock, self.listener = self._bind(address)
        self.port = self.sock.getsockname()[1]
        if tcp:
            threading.Thread(target=self._listen, daemon=True).start()
        else:
            self.listener.close()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    @staticmethod
    def _bind(address):
        """A socket for datagrams and, on the same port, a listener for what is too long for one."""
        while True:
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
            sock = socket.socket(family, socket.SOCK_DGRAM)
            sock.bind(address)
            try:
                return sock, socket.create_server(sock.getsockname()[:2], family=family)
            except OSError:
                sock.close()
                if address[1] != 0:
                    raise

    @property
    def conf(self):
        return 'dns { servers = {"127.0.0.1:%d"} timeout = 2s negative_ttl = 1s }\n' % self.port

    def _run(self):
        while True:
            try:
                data, peer = self.sock.recvfrom(4096)
            except OSError:
                return
            if not data and self.sock.fileno() < 0:
                return
            if len(data) > 12:
                threading.Thread(target=self._answer, args=(data, peer), daemon=True).start()

    def _listen(self):
        while True:
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._converse, args=(conn,), daemon=True).start()

    def _converse(self, conn):
        """Queries that come by TCP, each with its length before it."""
        with conn, conn.makefile("rb") as stream:
            while True:
                head = stream.read(2)
                if len(head) < 2:
                    return
                self._answer(stream.read(struct.unpack(">H", head)[0]), conn)

    @staticmethod
    def question(data):
        labels, at = [], 12
        while data[at]:
            labels.append(data[at + 1:at + 1 + data[at]].decode("latin-1").lower())
            at += 1 + data[at]
        kind = struct.unpack(">H", data[at + 1:at + 3])[0]
        return ".".join(labels), kind, data[12:at + 5]

    def _records(self, name):
        """Of NAME or the nearest wildcard above it; None: there is no such name."""
        found, rest = self.zone.get(name), name
        while found is None and "." in rest:
            rest = rest.split(".", 1)[1]
            found = self.zone.get("*." + rest)
        return found

    def _answer(self, data, peer):
        name, kind, question = self.question(data)
        word = {v: k for k, v in TYPES.items()}.get(kind, str(kind))
        self.queries[name, word] += 1
        records, out, delay = self._records(name), [], 0.0
        if self.failing is not None:
            records = self.failing if callable(self.failing) else \
                [("RCODE", self.failing, 0)] if isinstance(self.failing, int) else [("A", "silent", 0)]
        if callable(records):
            try:
                return records(Ask(self, data, peer))
            except OSError:
                return None
        target, code = name, 0 if records is not None else 3
        seen = list(records or ())
        for record in seen:
            rtype, value, ttl = record[:3]
            if value == "silent":
                return None
            if rtype == "RCODE":
                code = value
            elif rtype == "CNAME":
                out.append((target, "CNAME", encode_name(value), ttl))
                target = value
                seen += self.zone.get(value, [])
            elif rtype == word:
                family = socket.AF_INET if word == "A" else socket.AF_INET6
                out.append((target, word, socket.inet_pton(family, value), ttl))
                delay = max(delay, record[3] if len(record) > 3 else 0)
        if delay:
            time.sleep(delay)
        flags = 0x8180 | code
        reply = data[:2] + struct.pack(">HHHHH", flags, 1, len(out), 0, 0) + question
        for owner, rtype, value, ttl in out:
            reply += encode_name(owner) + struct.pack(">HHIH", TYPES[rtype], 1, ttl, len(value)) + value
        try:
            if isinstance(peer, socket.socket):
                peer.sendall(struct.pack(">H", len(reply)) + reply)
            elif len(reply) > 512:
                self.sock.sendto(data[:2] + struct.pack(">HHHHH", flags | 0x200, 1, 0, 0, 0) + question, peer)
            else:
                self.sock.sendto(reply, peer)
        except OSError:
            pass
        return None

    def count(self, name):
        """Queries of type A for NAME."""
        return self.queries[name, "A"]

    def stop(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads, which keeps the port
        except OSError:
            pass
        self.sock.close()
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        self.thread.join()
