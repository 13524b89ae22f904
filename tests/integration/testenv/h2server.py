# SPDX-License-Identifier: Apache-2.0
"""A scripted HTTP/2 server: a function a connection or a stream drives it, raw frames included, and it judges its peer.

What a peer may not do (RFC 9113) is kept in `faults`: the fixture that made the server fails on it."""
import hashlib
import re
import socket
import ssl
import struct
import threading
from collections import Counter, deque, namedtuple

import hpack
from hyperframe.frame import FRAMES

from .listener import Listener, shut
from .scripted import Conn
from .wait import wait_until

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
NAMES = {number: kind.__name__.replace("Frame", "") for number, kind in FRAMES.items()}
END_STREAM = ACK = 1
END_HEADERS, PADDED, PRIORITY_FLAG = 4, 8, 32

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED = range(6)
FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM = range(6, 12)
INADEQUATE_SECURITY, HTTP_1_1_REQUIRED = 12, 13

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST = range(
    1, 7
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PSEUDO = {":method", ":scheme", ":authority", ":path"}
OF_CONNECTION = {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"}
MAX_WINDOW = 2**31 - 1
NO_LIMIT = 2**32

Frame = namedtuple("Frame", "type flags stream payload")


def frame(kind, flags=0, stream=0, payload=b""):
    """The bytes of a frame, whatever sense it makes."""
    return struct.pack(">HBBBI", len(payload) >> 8, len(payload) & 255, kind, flags, stream) + payload


def settings(values):
    return frame(SETTINGS, payload=b"".join(struct.pack(">HI", k, v) for k, v in values.items()))


def goaway(last, code=NO_ERROR, text=b""):
    return frame(GOAWAY, payload=struct.pack(">II", last, code) + text)


def rst(stream, code=CANCEL):
    return frame(RST_STREAM, 0, stream, struct.pack(">I", code))


def window(stream, count):
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", count))


def offered_protocols(hello):
    """ALPN of a ClientHello, as its record came."""
    at = 5 + 4 + 2 + 32
    at += 1 + hello[at]
    at += 2 + int.from_bytes(hello[at : at + 2], "big")
    at += 1 + hello[at]
    end = at + 2 + int.from_bytes(hello[at : at + 2], "big")
    at += 2
    while at < end:
        kind, size = struct.unpack(">HH", hello[at : at + 4])
        if kind == 16:
            names, at, stop = [], at + 6, at + 4 + size
            while at < stop:
                names.append(hello[at + 1 : at + 1 + hello[at]].decode())
                at += 1 + hello[at]
            return names
        at += 4 + size
    return []


class Channel:
    """TLS over memory BIOs: any thread may send while one reads, and records are counted. Also a socket, for HTTP/1."""

    def __init__(self, sock, context):
        self.sock = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self.lock, self.order = threading.Lock(), threading.Lock()
        self.hello, self.counted, self.reads = b"", 0, 0
        self._behind, self._skip = b"", 0  # of records: a header that is not whole, and what is still to come of one

    def handshake(self):
        while True:
            try:
                self.tls.do_handshake()
                self._flush()
                return
            except ssl.SSLWantReadError:
                self._flush()
                if not self._receive():
                    raise ConnectionAbortedError("ended in the handshake") from None
            except ssl.SSLError:
                self._flush()  # the alert
                raise

    def _flush(self):
        data = self.outgoing.read()
        if data:
            self.sock.sendall(data)

    def _receive(self):
        data = self.sock.recv(1 << 18)
        self.reads += 1
        if len(self.hello) < 4096:
            self.hello += data
        self._count(data)
        with self.lock:
            if data:
                self.incoming.write(data)
            else:
                self.incoming.write_eof()
        return bool(data)

    def _count(self, data):
        rest, at = self._behind + data, self._skip
        while at + 5 <= len(rest):
            self.counted += rest[at] == 23
            at += 5 + int.from_bytes(rest[at + 3 : at + 5], "big")
        self._behind, self._skip = rest[at:], max(0, at - len(rest))

    @property
    def records(self):
        """Of application data that came; TLS 1.3's Finished looks like one."""
        return self.counted - (self.tls.version() == "TLSv1.3")

    def recv(self, size=1 << 18):
        while True:
            try:
                with self.lock:
                    return self.tls.read(size)
            except ssl.SSLWantReadError:
                self._receive()
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""

    def sendall(self, data):
        with self.order:
            with self.lock:
                self.tls.write(data)
                out = self.outgoing.read()
            self.sock.sendall(out)

    def close_notify(self):
        with self.lock:
            try:
                self.tls.unwrap()
            except (ssl.SSLError, OSError, ValueError):
                pass
            out = self.outgoing.read()
        try:
            self.sock.sendall(out)
        except OSError:
            pass

    def shutdown(self, how):
        if how == socket.SHUT_WR:
            self.close_notify()
        self.sock.shutdown(how)

    def close(self):
        self.sock.close()

    def fileno(self):
        return self.sock.fileno()

    def pending(self):
        return 0

    def setsockopt(self, *args):
        self.sock.setsockopt(*args)


class Stream:
    """A request and what has been said to it. FIELDS are (name, value) as they came; body grows."""

    def __init__(self, conn, number):
        self.conn, self.id = conn, number
        self.fields, self.trailers = [], []
        self.body, self.received, self.digest = bytearray(), 0, hashlib.sha256()
        self.window = conn.peer[INITIAL_WINDOW_SIZE]
        self.credit = conn.own[INITIAL_WINDOW_SIZE]
        self.reset = None  # the peer's RST_STREAM code
        self.ended = False  # the request is whole
        self.done = False  # END_STREAM or RST_STREAM was sent
        self.sent = 0  # bytes of DATA
        self.pending = deque()  # [memoryview or bytes of a block, is a block, end]

    @property
    def method(self):
        return self.get(":method")

    @property
    def target(self):
        return self.get(":path")

    def all(self, name):
        return [v for n, v in self.fields if n == name]

    def get(self, name, default=None):
        values = self.all(name)
        return values[0] if values else default

    # --- answering, from any thread

    def head(self, *fields, status=200, end=False):
        """HEADERS with exactly these "name: value" fields; STATUS None: no :status."""
        block = [] if status is None else [(":status", str(status))]
        self._queue_block(block + [tuple(f.split(": ", 1)) if isinstance(f, str) else f for f in fields], end)

    def data(self, data, end=False):
        with self.conn.lock:
            self.pending.append([memoryview(data), False, end])
            self.done = self.done or end
            self.conn.pump((self,))

    def trailer(self, *fields):
        self._queue_block([tuple(f.split(": ", 1)) for f in fields], True)

    def _queue_block(self, fields, end):
        with self.conn.lock:
            self.pending.append([fields, True, end])
            self.done = self.done or end
            self.conn.pump((self,))

    def respond(self, body=b"", *fields, status=200, length=True, trailers=()):
        """A complete response, as flow control lets it go; HEAD gets no body."""
        body = body.encode() if isinstance(body, str) else body
        fields = list(fields) + (["content-length: %d" % len(body)] if length else [])
        bare = self.method == "HEAD" or not body
        with self.conn.lock:
            self.head(*fields, status=status, end=bare and not trailers)
            if not bare:
                self.data(body, end=not trailers)
            if trailers:
                self.trailer(*trailers)

    def refuse(self, code=REFUSED_STREAM):
        with self.conn.lock:
            self.done = True
            self.pending.clear()
            self.conn.raw(rst(self.id, code))

    def restore(self, count):
        """Lets the peer send COUNT bytes more on this stream."""
        self.credit += count
        self.conn.raw(window(self.id, count))

    @property
    def waiting(self):
        """Bytes that flow control holds back."""
        with self.conn.lock:
            return sum(len(p[0]) for p in self.pending if not p[1])


class H2Conn:
    """A connection after ALPN said h2."""

    def __init__(self, server, channel, number):
        self.server, self.channel, self.number = server, channel, number
        self.sock = channel
        self.sni, self.resumed, self.offered, self.protocol = None, False, [], None
        self.frames, self.streams, self.requests = [], {}, []
        self.closed = False  # the peer ended its side, or this side did
        self.gone = None  # (last stream, code) of the peer's GOAWAY
        self.acks = 0  # of SETTINGS and of PING, by the peer
        self.pongs = []
        self.started = False
        self.most = 0  # streams at once
        self.last = 0
        self.auto = {"settings", "ping", "window", "stream window"}  # what is answered without being told
        self.peer = {HEADER_TABLE_SIZE: 4096, INITIAL_WINDOW_SIZE: 65535, MAX_FRAME_SIZE: 16384}
        self.told = deque()  # SETTINGS that the peer has not acknowledged
        self.own = {MAX_CONCURRENT_STREAMS: NO_LIMIT, INITIAL_WINDOW_SIZE: 65535}  # those in force
        self.window, self.credit = 65535, 65535
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder(max_header_list_size=1 << 20)
        self.lock = threading.RLock()
        self.buf = bytearray()

    def count(self, kind):
        return sum(1 for f in list(self.frames) if f.type == kind)

    @property
    def summary(self):
        return Counter(NAMES.get(f.type, f.type) for f in list(self.frames))

    @property
    def resets(self):
        """{stream: code} that the peer reset."""
        return {s.id: s.reset for s in list(self.streams.values()) if s.reset is not None}

    def fault(self, text):
        self.server.faults.append("connection %d: %s" % (self.number, text))

    # --- sending

    def raw(self, data):
        self.channel.sendall(data)

    def set(self, values, behind=b""):
        """SETTINGS, and BEHIND in the same record."""
        with self.lock:
            self.told.append(values)
            if HEADER_TABLE_SIZE in values:
                self.decoder.max_allowed_table_size = max(4096, values[HEADER_TABLE_SIZE])
            self.raw(settings(values) + behind)

    def ping(self, data=b"tlsfan??"):
        self.raw(frame(PING, payload=data))

    def goaway(self, last=None, code=NO_ERROR, text=b""):
        self.raw(goaway(self.last if last is None else last, code, text))

    def block(self, fields):
        """FIELDS compressed; what is made has to be sent before the next one."""
        return self.encoder.encode(fields)

    def headers(self, stream, fields, flags=0):
        """HEADERS and CONTINUATION of a block, as the peer's frame size demands."""
        with self.lock:
            block, size = self.block(fields), self.peer[MAX_FRAME_SIZE]
            parts = [block[i : i + size] for i in range(0, len(block), size)] or [b""]
            out = []
            for i, part in enumerate(parts):
                last = END_HEADERS if i == len(parts) - 1 else 0
                kind = CONTINUATION if i else HEADERS
                out.append(frame(kind, last | (0 if i else flags), stream, part))
            self.raw(b"".join(out))

    def pump(self, streams=None):
        """Sends what flow control allows; under the lock."""
        for stream in list(self.streams.values()) if streams is None else streams:
            while stream.pending:
                what, is_block, end = stream.pending[0]
                if is_block:
                    self.headers(stream.id, what, END_STREAM if end else 0)
                elif not self._pump_data(stream, what, end):
                    break
                stream.pending.popleft()

    def _pump_data(self, stream, data, end):
        size = min(self.peer[MAX_FRAME_SIZE], 16384)
        while True:
            room = max(0, min(stream.window, self.window, len(data), 16 * size))
            if room == 0 and len(data) > 0:
                stream.pending[0][0] = data
                return False
            whole = room == len(data)
            out = []
            for at in range(0, room, size) if room else (0,):
                part = data[at : min(at + size, room)]
                last = whole and at + size >= room
                out.append(frame(DATA, END_STREAM if end and last else 0, stream.id, bytes(part)))
            self.window -= room
            stream.window -= room
            stream.sent += room
            self.raw(b"".join(out))
            data = data[room:]
            if whole:
                return True

    def cut(self):
        """Closes TCP without a word."""
        self.closed = True
        try:
            self.channel.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def reset(self):
        self.closed = True
        self.channel.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.channel.close()

    def finish(self):
        """close_notify, then FIN."""
        self.closed = True
        try:
            self.channel.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    # --- receiving

    def exactly(self, count):
        while len(self.buf) < count:
            data = self.channel.recv()
            if not data:
                self.closed = True
                return None
            self.buf += data
        out = bytes(self.buf[:count])
        del self.buf[:count]
        return out

    def begin(self, behind=b""):
        """Both prefaces, BEHIND in one record with ours; False where the peer said nothing."""
        preface = self.exactly(len(PREFACE))
        if preface is None:
            return False
        if preface != PREFACE:
            self.fault("preface %r" % preface)
            return False
        self.started = True
        self.set(self.server.settings, behind)
        return True

    def next_frame(self):
        """The next frame, after the duties it brings; None at the end."""
        head = self.exactly(9)
        if head is None:
            return None
        size = int.from_bytes(head[:3], "big")
        payload = self.exactly(size)
        if payload is None:
            return None
        f = Frame(head[3], head[4], int.from_bytes(head[5:], "big") & MAX_WINDOW, payload)
        if size > self.server.settings.get(MAX_FRAME_SIZE, 16384):
            self.fault("a frame of %d bytes" % size)
        if not self.frames and f.type != SETTINGS:
            self.fault("%s first" % NAMES.get(f.type))
        keep = f if f.type != DATA else f._replace(payload=f.payload[:64])
        self.frames.append(keep)
        with self.lock:
            getattr(self, "_on_%d" % f.type, lambda _: None)(f)
        return f

    def _on_0(self, f):
        stream = self.streams.get(f.stream)
        if stream is None or stream.ended:
            return self.fault("DATA on stream %d" % f.stream)
        body = f.payload
        if f.flags & PADDED:
            body = body[1 : len(body) - body[0]]
        stream.credit -= len(f.payload)
        self.credit -= len(f.payload)
        if stream.credit < 0 or self.credit < 0:
            self.fault("stream %d went over its window by %d" % (f.stream, -min(stream.credit, self.credit)))
        stream.received += len(body)
        if self.server.keep:
            stream.body += body
        stream.digest.update(body)
        if f.flags & END_STREAM:
            self._end(stream)
        if f.payload and not self.closed:
            out = b""
            if "window" in self.auto:
                self.credit += len(f.payload)
                out = window(0, len(f.payload))
            if "stream window" in self.auto and not stream.ended:
                stream.credit += len(f.payload)
                out += window(f.stream, len(f.payload))
            if out:
                self.raw(out)

    def _on_1(self, f):
        block = f.payload
        if f.flags & PADDED:
            block = block[1 : len(block) - block[0]]
        if f.flags & PRIORITY_FLAG:
            block = block[5:]
        flags = f.flags
        while not flags & END_HEADERS:
            head = self.exactly(9)
            part = None if head is None else self.exactly(int.from_bytes(head[:3], "big"))
            if part is None:
                return
            more = Frame(head[3], head[4], int.from_bytes(head[5:], "big") & MAX_WINDOW, part)
            self.frames.append(more)
            if more.type != CONTINUATION or more.stream != f.stream:
                self.fault("%s inside a block" % NAMES.get(more.type))
            block, flags = block + part, more.flags
        fields = [
            (bytes(n).decode("latin-1"), bytes(v).decode("latin-1")) for n, v in self.decoder.decode(block, True)
        ]
        known = self.streams.get(f.stream)
        if known is not None:
            if known.ended or not f.flags & END_STREAM:
                self.fault("HEADERS again on stream %d" % f.stream)
            known.trailers = fields
            self._judge_names(fields)
            return self._end(known)
        self._open(f, fields)

    def _open(self, f, fields):
        if f.stream % 2 == 0 or f.stream <= self.last:
            self.fault("stream %d after %d" % (f.stream, self.last))
        self.last = f.stream
        stream = self.streams[f.stream] = Stream(self, f.stream)
        stream.fields = fields
        active = sum(1 for s in self.streams.values() if s.reset is None and not (s.done and s.ended))
        self.most = max(self.most, active)
        if active > self.own[MAX_CONCURRENT_STREAMS]:
            self.fault("%d streams at once, %d allowed" % (active, self.own[MAX_CONCURRENT_STREAMS]))
        self._judge(fields)
        self.requests.append(stream)
        self.server.requests.append(stream)
        if f.flags & END_STREAM:
            self._end(stream)

    def _judge_names(self, fields):
        for name, value in fields:
            if name != name.lower() or name.strip() != name or re.search(r"[^!#$%&'*+.^_`|~0-9a-z:-]", name):
                self.fault("field name %r" % name)
            if value != value.strip() or re.search("[\r\n\0]", value):
                self.fault("value of %s: %r" % (name, value))

    def _judge(self, fields):
        self._judge_names(fields)
        pseudo = [n for n, _ in fields if n.startswith(":")]
        if set(pseudo) != PSEUDO or len(pseudo) != 4 or [n for n, _ in fields[:4]] != pseudo:
            self.fault("pseudo fields %s" % pseudo)
        for name, value in fields:
            if name in OF_CONNECTION or name.startswith("proxy-") or (name == "te" and value != "trailers"):
                self.fault("%s: %s" % (name, value))
        if dict(fields).get("host", dict(fields).get(":authority")) != dict(fields).get(":authority"):
            self.fault("Host is not :authority")

    def _end(self, stream):
        stream.ended = True
        length = stream.get("content-length")
        if length is not None and int(length) != stream.received:
            self.fault("content-length %s, %d bytes" % (length, stream.received))

    def _on_3(self, f):
        stream = self.streams.get(f.stream)
        if stream is None:
            if f.stream % 2:
                self.fault("RST_STREAM on stream %d, which is idle" % f.stream)
            return
        stream.reset = int.from_bytes(f.payload, "big")
        stream.pending.clear()

    def _on_4(self, f):
        if f.flags & ACK:
            self.acks += 1
            values = self.told.popleft() if self.told else {}
            more = values.get(INITIAL_WINDOW_SIZE, self.own[INITIAL_WINDOW_SIZE]) - self.own[INITIAL_WINDOW_SIZE]
            for stream in self.streams.values():
                stream.credit += more
            self.own.update(values)
            return
        values = {k: v for k, v in struct.iter_unpack(">HI", f.payload)}
        if INITIAL_WINDOW_SIZE in values:
            for s in self.streams.values():
                s.window += values[INITIAL_WINDOW_SIZE] - self.peer[INITIAL_WINDOW_SIZE]
        if HEADER_TABLE_SIZE in values:
            self.encoder.header_table_size = min(4096, values[HEADER_TABLE_SIZE])
        self.peer.update(values)
        if "settings" in self.auto:
            self.raw(frame(SETTINGS, ACK))
        self.pump()

    def _on_6(self, f):
        if f.flags & ACK:
            self.pongs.append(f.payload)
        elif "ping" in self.auto:
            self.raw(frame(PING, ACK, 0, f.payload))

    def _on_7(self, f):
        self.gone = struct.unpack(">II", f.payload[:8])

    def _on_8(self, f):
        count = int.from_bytes(f.payload, "big") & MAX_WINDOW
        if count == 0:
            self.fault("WINDOW_UPDATE of nothing")
        if f.stream != 0:
            if f.stream in self.streams:
                self.streams[f.stream].window += count
                self.pump((self.streams[f.stream],))
            return
        self.window += count
        if self.window > MAX_WINDOW:
            self.fault("the window is over 2^31")
        self.pump()

    def incoming(self, at="end"):
        """Streams as they come: at their head, or when they have ENDed."""
        if not self.started and not self.begin():
            return
        seen = 0
        waiting = []
        while True:
            f = self.next_frame()
            if f is None:
                return
            waiting += self.requests[seen:]
            seen = len(self.requests)
            ready = [s for s in waiting if s.ended or at == "head"]
            waiting = [s for s in waiting if s not in ready and s.reset is None]
            yield from ready

    def hang(self):
        """Reads and does its duties until the peer closes."""
        if not self.started and not self.begin():
            return
        while self.next_frame() is not None:
            pass


def each(function, at="end"):
    """A handler from FUNCTION(stream)."""

    def handler(conn):
        for stream in conn.incoming(at):
            function(stream)

    return handler


def echo(stream):
    """Answers with the path."""
    stream.respond(stream.target)


def held():
    """A handler that answers nothing by itself, and the list of the streams that came."""
    streams = []
    return each(streams.append, "head"), streams


class H2Server(Listener):
    """Listens at once; HANDLER(conn) runs in a thread per connection that chose h2, H1(conn) for the others.

    SETTINGS are the server's; KEEP: bodies are kept, not only hashed; GATE, an Event: handshakes wait for it."""

    def __init__(self, handler, context, h1=None, settings=None, keep=True, gate=None, port=0):
        self.handler, self.context, self.h1, self.keep, self.gate = handler, context, h1, keep, gate
        self.settings = {MAX_CONCURRENT_STREAMS: 1000, **(settings or {})}
        self.requests, self.conns, self.errors, self.faults = [], [], [], []
        self.heard = 0  # bytes of HTTP/1
        self.stopping, self.names = threading.Event(), {}
        context.sni_callback = lambda tls, name, _: self.names.__setitem__(id(tls), name)
        self.socks = []
        self.listen(port=port)

    def on_accept(self, sock):
        self.socks.append(sock)
        return super().on_accept(sock)

    def serve(self, sock):
        channel = Channel(sock, self.context)
        conn = None
        try:
            if self.gate is not None:
                self.gate.wait(30)
            channel.handshake()
            protocol = channel.tls.selected_alpn_protocol()
            kind, handler = (H2Conn, self.handler) if protocol == "h2" else (Conn, self.h1)
            conn = kind(self, channel, len(self.conns))
            conn.sni, conn.resumed = self.names.get(id(channel.tls)), channel.tls.session_reused
            conn.offered, conn.protocol = offered_protocols(channel.hello), protocol
            self.conns.append(conn)
            if handler is not None:
                handler(conn)
        except OSError as e:
            self.errors.append(e)
        except Exception as e:  # a handler's own fault must show in the test
            self.errors.append(e)
            self.faults.append("handler: %r" % e)
            raise
        finally:
            if conn is not None:
                conn.closed = True
            for end in (lambda: channel.shutdown(socket.SHUT_WR), channel.close):
                try:
                    end()
                except OSError:
                    pass

    @property
    def handshakes(self):
        """Whole ones: without those that a session shortened."""
        return sum(1 for c in self.conns if not c.resumed)

    @property
    def h2(self):
        return [c for c in self.conns if c.protocol == "h2"]

    def wait_requests(self, count, timeout=5):
        wait_until(lambda: len(self.requests) >= count, timeout, "%d requests at the origin" % count)
        return self.requests

    def paths(self):
        return [s.target for s in list(self.requests)]

    def stop(self):
        self.stopping.set()
        if self.gate is not None:
            self.gate.set()
        super().stop()
        for sock in self.socks:
            shut(sock)
