# SPDX-License-Identifier: Apache-2.0
"""Scripted servers that speak HTTP/2: an unchanged handler reads and writes HTTP/1, once a lane of a connection.

A lane is what a connection is in HTTP/1: it carries one request at a time, and the next one when the
last is answered. So a server's conns are lanes, the first of each TLS connection being that
connection. What a handler does to its connection becomes what HTTP/2 has for it:

  end before an answer's head   the TLS connection ends
  cut() in an answer            the TLS connection ends
  reset(), finish() in one      RST_STREAM; END_STREAM where the answer lasts until the close
  finish() after an answer      GOAWAY; the TLS connection ends when its other lanes are done
  "Connection: close", 1.0      GOAWAY before the answer

A gentle server does nothing to the other lanes of a connection: the first two are RST_STREAM there
too, and a GOAWAY comes twice, the first naming no stream, so that none is refused (RFC 9113 6.8).
"""
import collections
import os
import select
import socket
import ssl
import struct
import threading
import time

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    PingAckReceived,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from h2.exceptions import ProtocolError, StreamClosedError
from h2.settings import SettingCodes, Settings
from hyperframe.frame import GoAwayFrame

from .scripted import Conn, Server

PREFACE = len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
GOAWAY = 7  # type of the frame
HOPS = {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
WAITING = 262144  # bytes not yet taken by the socket above which handlers wait
LINGER = 1.0  # s for a peer to end a connection that was ended here


class Stream:
    """One request as it comes in, as HTTP/1, and whether its ends are reached."""

    def __init__(self, number, method, chunked):
        self.number, self.method, self.chunked = number, method, chunked
        self.inbox = collections.deque()  # (bytes, what they count in flow control)
        self.ended = False  # the request is whole
        self.answered = False  # the answer is whole
        self.over = False  # reset, by either side
        self.begun = False  # the answer's head is sent
        self.lane = None

    @property
    def done(self):
        return self.over or (self.ended and self.answered)


def readable(sock, timeout):
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(timeout * 1000))


def render(stream, fields):
    """The head of STREAM's request as HTTP/1."""
    pseudo = {n: v for n, v in fields if n.startswith(b":")}
    lines = [b"%s %s HTTP/1.1" % (pseudo[b":method"], pseudo.get(b":path", pseudo.get(b":authority", b"")))]
    if b":authority" in pseudo:
        lines.append(b"Host: " + pseudo[b":authority"])
    lines += [b"%s: %s" % f for f in fields if not f[0].startswith(b":")]
    if stream.chunked:
        lines.append(b"Transfer-Encoding: chunked")
    return b"\r\n".join(lines) + b"\r\n\r\n"


class Frames:
    """What comes, frame by frame but for GOAWAY, behind which h2 would neither read nor send anything any more."""

    def __init__(self, first=0):
        self.raw, self.first = b"", first
        self.last = None  # stream that a GOAWAY named

    def cut(self, data):
        self.raw += data
        while True:
            size = self.first
            if not size:
                if len(self.raw) < 9:
                    return
                size = 9 + int.from_bytes(self.raw[:3], "big")
            if len(self.raw) < size:
                return
            frame, self.raw = self.raw[:size], self.raw[size:]
            if not self.first and frame[3] == GOAWAY:
                self.last = int.from_bytes(frame[9:13], "big")
            else:
                self.first = 0
                yield frame


class Answer:
    """Reads a response in HTTP/1 as it is written and sends it on one stream."""

    def __init__(self, lane, stream):
        self.lane, self.stream, self.link = lane, stream, lane.link
        self.buf = b""
        self.step = self.head
        self.left = 0

    def feed(self, data):
        self.buf += data
        while self.step is not None and self.step():
            pass

    def line(self, mark=b"\r\n"):
        if mark not in self.buf:
            return None
        out, _, self.buf = self.buf.partition(mark)
        return out

    def head(self):
        head = self.line(b"\r\n\r\n")
        if head is None:
            return False
        first, *lines = head.split(b"\r\n")
        version, status = (first.split(b" ") + [b""])[:2]
        fields = [(n.lower(), v.strip(b" \t")) for n, _, v in (x.partition(b":") for x in lines)]
        if not version.startswith(b"HTTP/"):
            self.link.end_stream(self.stream, ErrorCodes.PROTOCOL_ERROR)
            self.step = None
            return False
        named = {w.strip().lower() for n, v in fields if n == b"connection" for w in v.split(b",")}
        sent = [(b":status", status)] + [f for f in fields if f[0] not in HOPS and f[0] not in named]
        if status.startswith(b"1"):
            self.link.send_headers(self.stream, sent, False)
            return True
        if version == b"HTTP/1.0" or b"close" in named:
            self.link.go_away()
        self.begin(status, fields, sent)
        return True

    def begin(self, status, fields, sent):
        lengths = [v for n, v in fields if n == b"content-length"]
        if any(n == b"transfer-encoding" and b"chunked" in v for n, v in fields):
            self.step = self.chunk
        elif lengths and lengths[0].isdigit() and len(lengths[0]) < 18:
            self.step, self.left = self.length, int(lengths[0])
        else:
            self.step = self.until_close
        end = (
            self.stream.method == b"HEAD"
            or status in (b"204", b"304")
            or (self.step == self.length and self.left == 0)
        )
        self.stream.begun = True
        if end:
            self.step = None
        self.link.send_headers(self.stream, sent, end)

    def length(self):
        if not self.buf:
            return False
        data, self.buf = self.buf[: self.left], self.buf[self.left :]
        self.left -= len(data)
        if self.left == 0:
            self.step = None
        self.link.send_data(self.stream, data, self.left == 0)
        return self.left > 0

    def until_close(self):
        data, self.buf = self.buf, b""
        if data:
            self.link.send_data(self.stream, data, False)
        return False

    def chunk(self):
        line = self.line()
        if line is None:
            return False
        try:
            self.left = int(line.split(b";")[0], 16)
        except ValueError:
            self.link.end_stream(self.stream, ErrorCodes.PROTOCOL_ERROR)
            self.step = None
            return False
        self.step = self.chunk_data if self.left else self.trailers
        return True

    def chunk_data(self):
        if self.left:
            data, self.buf = self.buf[: self.left], self.buf[self.left :]
            self.left -= len(data)
            if data:
                self.link.send_data(self.stream, data, False)
        if self.left or len(self.buf) < 2:
            return False
        self.buf = self.buf[2:]
        self.step = self.chunk
        return True

    def trailers(self):
        text = b"\r\n" + self.buf
        if b"\r\n\r\n" not in text:
            return False
        text, _, self.buf = text.partition(b"\r\n\r\n")
        fields = [(n.lower(), v.strip(b" \t")) for n, _, v in (x.partition(b":") for x in text.split(b"\r\n")[1:])]
        self.step = None
        if fields:
            self.link.send_headers(self.stream, fields, True)
        else:
            self.link.send_data(self.stream, b"", True)
        return False


class Lane(Conn):
    """What a handler has of a connection that speaks HTTP/2; raises OSError like a socket does."""

    def __init__(self, link, number):
        super().__init__(link.server, link.sock, number)
        self.link = link
        self.sni, self.resumed, self.alpn = link.conn.sni, link.conn.resumed, link.conn.alpn
        self.changed = threading.Condition(link.lock)
        self.stream, self.next, self.answer = None, None, None
        self.hanging = self.ended = False

    def free(self):
        """Whether it takes another request; called with the link's lock."""
        return not (self.hanging or self.ended or self.closed or self.next) and (
            self.stream is None or (self.stream.ended and self.stream.answered and not self.stream.inbox)
        )

    def take(self):
        """Bytes that are there for the handler, b"" at the end, None where it has to wait."""
        if self.stream is not None and self.stream.inbox:
            data, credit = self.stream.inbox.popleft()
            self.link.credit(self.stream, credit)
            return data
        if self.stream is not None and self.stream.over:
            return b""
        if self.stream is None or self.stream.done:
            if self.next is not None:
                self.stream, self.next = self.next, None
                self.answer = Answer(self, self.stream)
                return self.take()
            if self.link.going or (self.stream is not None and self.hanging):
                return b""
        return b"" if self.link.over else None

    def recv(self, size=65536):
        with self.link.lock:
            data = b"" if self.closed else self.take()
            while data is None:
                self.changed.wait()
                data = self.take()
            if len(data) > size:
                self.stream.inbox.appendleft((data[size:], 0))
                data = data[:size]
            self.received += data
            if not data:
                self.closed = True
        return data

    def send(self, data):
        with self.link.lock:
            if self.link.over or (self.stream is not None and self.stream.over):
                raise ConnectionResetError("the peer ended the stream")
            try:
                if self.answer is not None:
                    self.answer.feed(data)
            except StreamClosedError as e:
                raise ConnectionResetError(str(e))
            self.link.flush()

    def hang(self):
        self.hanging = True
        while self.recv():
            pass

    def end_sending(self):
        """An answer that is whole has ended its stream."""

    def cut(self):
        self.end("cut")

    def reset(self):
        self.end("reset")

    def finish(self):
        self.end("finish")

    def end(self, how):
        """Ends the lane as a handler ended its connection."""
        with self.link.lock:
            if self.ended:
                return
            left, self.closed, self.ended = self.closed, True, True
            stream = self.stream
            if stream is not None and not stream.done:
                self.end_stream(stream, how)
            elif how != "finish" and not self.server.gentle:
                self.link.end(how)
            if not left and how == "finish":
                self.link.go_away()
            if self.next is not None:
                self.link.assign(self.next)
            self.link.flush()

    def end_stream(self, stream, how):
        if stream.answered:
            self.link.end_stream(stream, ErrorCodes.NO_ERROR)  # and the rest of the request is not wanted
        elif stream.begun and how == "finish" and self.answer.step == self.answer.until_close:
            self.link.send_data(stream, b"", True)
            if not stream.done:
                self.link.end_stream(stream, ErrorCodes.NO_ERROR)
        elif not self.server.gentle and (how == "cut" or not stream.begun):
            self.link.end(how)
        else:
            self.link.end_stream(stream, ErrorCodes.INTERNAL_ERROR)


class Link:
    """One TLS connection: the only place that touches its socket, always with the lock held."""

    def __init__(self, server, conn):
        self.server, self.conn, self.sock = server, conn, conn.sock
        self.lock = threading.RLock()
        self.thread, self.first = None, None
        self.lanes, self.streams = [], {}
        self.last = 0  # number of the last stream that was taken
        self.warned = self.going = self.over = False
        self.ending = None  # "cut", "reset" or "finish" once it is to end here
        self.frames, self.out = Frames(PREFACE), bytearray()
        self.bell, self.ring = os.pipe()
        self.h2 = H2Connection(
            H2Configuration(
                client_side=False,
                header_encoding=None,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self.h2.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: server.max_streams,
                SettingCodes.MAX_HEADER_LIST_SIZE: 1 << 20,
            },
        )
        self.h2.decoder.max_header_list_size = 1 << 20

    # --- the connection

    def run(self):
        """Reads until the connection ends; the lanes run beside it."""
        self.thread = threading.current_thread()
        self.sock.setblocking(False)
        self.first = self.lane()
        with self.lock:
            self.h2.initiate_connection()
            self.h2.increment_flow_control_window(1 << 30)  # of the connection; streams have their own
            self.flush()
        try:
            while not self.over:
                self.turn()
        finally:
            with self.lock:
                self.over = True
                self.tell_lanes()
            self.close()

    def turn(self):
        poll = select.poll()
        poll.register(self.sock, select.POLLIN | (select.POLLOUT if self.out else 0))
        poll.register(self.bell, select.POLLIN)
        for fd, _ in poll.poll():
            if fd == self.bell:
                os.read(self.bell, 4096)
        with self.lock:
            self.read()
            waited = len(self.out) > WAITING
            self.flush()
            if waited:
                self.tell_lanes()
            if self.going and not self.streams and not self.out:
                self.end("finish")
            if self.ending is not None:
                self.over = True

    def read(self):
        while not self.over:
            try:
                data = self.sock.recv(65536)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
                return
            except OSError:
                data = b""
            if not data:
                self.over = True
                return
            self.server.heard += len(data)
            self.receive(data)

    def receive(self, data):
        for frame in self.frames.cut(data):
            try:
                events = self.h2.receive_data(frame)
            except ProtocolError as e:
                self.server.errors.append(e)
                self.flush()
                self.end("finish")
                return
            for event in events:
                self.on(event)

    def on(self, event):
        if isinstance(event, RequestReceived):
            self.on_request(event)
        elif isinstance(event, (WindowUpdated, RemoteSettingsChanged)):
            self.tell_lanes()
        elif isinstance(event, PingAckReceived) and self.warned and not self.going:
            self.leave()
        elif isinstance(event, (DataReceived, TrailersReceived, StreamEnded, StreamReset)):
            stream = self.streams.get(event.stream_id)
            if stream is not None:
                self.on_stream(stream, event)
            elif isinstance(event, DataReceived):
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)

    def on_request(self, event):
        if self.going:
            return  # it was told that this one is not taken
        names = [n for n, _ in event.headers]
        method = dict(event.headers)[b":method"]
        chunked = event.stream_ended is None and b"content-length" not in names
        stream = Stream(event.stream_id, method, chunked)
        stream.inbox.append((render(stream, event.headers), 0))
        self.streams[event.stream_id] = stream
        self.last = max(self.last, event.stream_id)
        self.assign(stream)

    def on_stream(self, stream, event):
        if isinstance(event, DataReceived):
            size = b"%x\r\n" % len(event.data)
            data = size + event.data + b"\r\n" if stream.chunked and event.data else event.data
            if data:
                stream.inbox.append((data, event.flow_controlled_length))
        elif isinstance(event, TrailersReceived):
            if stream.chunked:
                fields = b"".join(b"%s: %s\r\n" % f for f in event.headers)
                stream.inbox.append((b"0\r\n" + fields + b"\r\n", 0))
                stream.chunked = False
        elif isinstance(event, StreamEnded):
            if stream.chunked:
                stream.inbox.append((b"0\r\n\r\n", 0))
            stream.ended = True
            self.settle(stream)
        else:
            stream.over = True
            stream.inbox.clear()
            self.settle(stream)
        stream.lane.changed.notify_all()

    def settle(self, stream):
        if stream.done:
            self.streams.pop(stream.number, None)
            if self.going and not self.streams:
                self.wake()

    def flush(self):
        """Writes what can be written; the rest is the reading thread's."""
        self.out += self.h2.data_to_send()
        while self.out and not self.over:
            try:
                del self.out[: self.sock.send(self.out[:65536])]
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
                self.wake()
                return
            except OSError:
                self.over = True
        if self.over:
            self.out.clear()
            self.wake()

    def tell_lanes(self):
        for lane in self.lanes:
            lane.changed.notify_all()

    def wake(self):
        if self.ring is not None and threading.current_thread() is not self.thread:
            os.write(self.ring, b"x")

    def go_away(self):
        if not self.going and not self.over:
            if self.server.gentle and not self.warned:
                self.warned = True
                self.say_goaway((1 << 31) - 1)
                self.h2.ping(b"goodbye.")
                self.flush()
            elif not self.server.gentle:
                self.leave()

    def leave(self):
        """Takes no other stream."""
        self.going = True
        self.say_goaway(self.last)
        self.tell_lanes()
        self.flush()
        self.wake()

    def say_goaway(self, last):
        self.out += self.h2.data_to_send() + GoAwayFrame(0, last_stream_id=last).serialize()

    def end(self, how):
        if self.ending is None:
            self.flush()
            self.ending = how
            self.wake()

    def close(self):
        """In the reading thread, after the last turn."""
        try:
            if self.ending == "reset":
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif self.ending == "finish":
                try:
                    self.sock = self.sock.unwrap()
                except (OSError, ValueError):
                    pass
                self.sock.shutdown(socket.SHUT_WR)
                end = time.monotonic() + LINGER  # a close with unread bytes would reset what was sent away
                while time.monotonic() < end and readable(self.sock, LINGER):
                    if not self.sock.recv(65536):
                        break
        except OSError:
            pass
        self.conn.closed = True
        self.sock.close()
        self.conn.sock.close()
        with self.lock:
            os.close(self.bell)
            os.close(self.ring)
            self.ring = None

    # --- lanes

    def lane(self):
        """A new one with its own thread; the first stands for the connection among the server's."""
        with self.server.lock:
            lane = Lane(self, len(self.server.conns) if self.first else self.conn.number)
            if self.first is None:
                self.server.conns[lane.number] = lane
            else:
                self.server.conns.append(lane)
        self.lanes.append(lane)
        threading.Thread(target=self.server.guarded, args=(lane, self.server.handler), daemon=True).start()
        return lane

    def assign(self, stream):
        """Gives STREAM to the first lane with nothing to do, or to a new one."""
        self.lanes = [x for x in self.lanes if not x.ended]
        lane = next((x for x in self.lanes if x.free()), None) or self.lane()
        lane.next = stream
        stream.lane = lane
        lane.changed.notify_all()

    # --- what lanes send; all with the lock held

    def credit(self, stream, size):
        if size and not self.over:
            self.h2.acknowledge_received_data(size, stream.number)
            self.flush()

    def send_headers(self, stream, fields, end):
        self.h2.send_headers(stream.number, fields, end_stream=end)
        if end:
            self.answered(stream)

    def send_data(self, stream, data, end):
        """Waits for the peer's windows."""
        at = 0
        while at < len(data) or end:
            room = min(self.h2.local_flow_control_window(stream.number), self.h2.max_outbound_frame_size)
            if (room <= 0 and data) or len(self.out) > WAITING:
                self.flush()
                if not stream.over and not self.over:
                    stream.lane.changed.wait()
            else:
                size = min(max(room, 0), len(data) - at)
                last = end and at + size == len(data)
                self.h2.send_data(stream.number, data[at : at + size], end_stream=last)
                at += size
                if last:
                    self.answered(stream)
                    return
            if stream.over or self.over:
                raise ConnectionResetError("the peer ended the stream")

    def answered(self, stream):
        stream.answered = True
        self.settle(stream)

    def end_stream(self, stream, code):
        if not stream.over and not self.over:
            self.h2.reset_stream(stream.number, code)
        stream.over = True
        self.settle(stream)
        self.flush()


class H2Front(Server):
    """Offers HTTP/2, and serves HTTP/1 to whoever does not want it."""

    def __init__(self, handler, tls, gentle=False, max_streams=100, **kw):
        self.gentle, self.max_streams = gentle, max_streams
        tls.set_alpn_protocols(["h2", "http/1.1"])
        super().__init__(handler, tls, **kw)

    def handle(self, conn):
        if conn.alpn == "h2":
            Link(self, conn).run()
        else:
            self.handler(conn)
