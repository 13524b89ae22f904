# SPDX-License-Identifier: Apache-2.0
"""TCP and TLS servers driven by a Python function, one thread a connection, recording every byte they receive."""
import select
import socket
import ssl
import struct
import threading

from .listener import Listener, shut
from .wait import wait_until


class Request:
    """One request as it arrived: fields keep order and case."""

    def __init__(self, head):
        self.head = head
        lines = head[:-4].decode("latin-1").split("\r\n")
        self.method, self.target, self.version = lines[0].split(" ")
        self.fields = [tuple(line.split(": ", 1)) if ": " in line else (line.rstrip(":"), "") for line in lines[1:]]
        self.body = b""
        self.trailers = []

    def all(self, name):
        return [v for n, v in self.fields if n.lower() == name.lower()]

    def get(self, name, default=None):
        values = self.all(name)
        return values[0] if values else default


class Conn:
    """A connection of a scripted server; raises OSError like the socket does."""

    def __init__(self, server, sock, number):
        self.server, self.sock, self.number = server, sock, number
        self.buf = b""
        self.received = bytearray()
        self.requests = []
        self.sni = None
        self.resumed = False
        self.alpn = None  # what was agreed on in the handshake
        self.closed = False  # the peer ended its side, or this side did

    def recv(self, size=65536):
        data = self.sock.recv(size)
        self.received += data
        self.server.heard += len(data)
        if not data:
            self.closed = True
        return data

    def fill(self):
        data = self.recv()
        self.buf += data
        return bool(data)

    def until(self, mark):
        while mark not in self.buf:
            if not self.fill():
                return None
        out, _, self.buf = self.buf.partition(mark)
        return out + mark

    def exactly(self, count):
        while len(self.buf) < count:
            if not self.fill():
                return None
        out, self.buf = self.buf[:count], self.buf[count:]
        return out

    @staticmethod
    def need(data):
        """DATA, which is None where the connection ended inside a message."""
        if data is None:
            raise ConnectionAbortedError("ended inside a request body")
        return data

    def read_head(self):
        """The next request without its body, or None at the end of the connection."""
        head = self.until(b"\r\n\r\n")
        if head is None:
            return None
        request = Request(head)
        self.requests.append(request)
        self.server.requests.append(request)
        return request

    def read_body(self, request):
        if "chunked" in (request.get("Transfer-Encoding") or ""):
            while True:
                size = int(self.need(self.until(b"\r\n")).split(b";")[0], 16)
                if size == 0:
                    break
                request.body += self.need(self.exactly(size))
                self.need(self.exactly(2))
            while True:
                line = self.need(self.until(b"\r\n"))
                if line == b"\r\n":
                    break
                name, _, value = line[:-2].decode("latin-1").partition(":")
                request.trailers.append((name, value.strip()))
        elif request.get("Content-Length"):
            request.body = self.need(self.exactly(int(request.get("Content-Length"))))
        return request

    def read_request(self):
        request = self.read_head()
        return None if request is None else self.read_body(request)

    def send(self, data):
        self.sock.sendall(data)

    def drip(self, data, pause=0.01, step=1):
        for i in range(0, len(data), step):
            self.send(data[i:i + step])
            if self.server.stopping.wait(pause):
                return

    def hang(self):
        """Reads until the peer closes or the server stops, answering nothing."""
        try:
            while not self.server.stopping.is_set():
                if isinstance(self.sock, ssl.SSLSocket) and self.sock.pending():
                    ready = [self.sock]
                else:
                    ready = select.select([self.sock], [], [], 0.1)[0]
                if ready and not self.recv():
                    return
        except OSError:
            self.closed = True

    def end_sending(self):
        self.sock.shutdown(socket.SHUT_WR)

    def cut(self):
        """Closes TCP without a close_notify."""
        self.closed = True
        self.sock.close()

    def finish(self):
        """Ends properly: close_notify over TLS, then FIN."""
        self.closed = True
        try:
            if isinstance(self.sock, ssl.SSLSocket):
                self.sock.setblocking(False)
                try:
                    self.sock = self.sock.unwrap()
                except (OSError, ValueError):
                    pass
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        self.sock.close()

    def reset(self):
        self.closed = True
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


def ok(body=b"ok", *fields, status="200 OK", length=True):
    """A complete response; FIELDS are "Name: value" strings."""
    if isinstance(body, str):
        body = body.encode()
    head = ["HTTP/1.1 " + status] + list(fields)
    if length:
        head.append("Content-Length: %d" % len(body))
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body


def answering(function):
    """A handler from FUNCTION(request, conn) -> bytes; None ends the connection."""
    def handler(conn):
        while True:
            request = conn.read_request()
            if request is None:
                return
            reply = function(request, conn)
            if reply is None:
                return
            conn.send(reply)
            head = reply.split(b"\r\n\r\n")[0]
            if request.get("Connection", "").lower() == "close" or b"\r\nConnection: close" in head:
                conn.finish()
                return
    return handler


class Server(Listener):
    """Listens at once; HANDLER(conn) runs in a thread per connection. TLS is an SSLContext or None.

    RAW: handler gets the connection before any handshake (conn.start_tls() does it)."""

    def __init__(self, handler, tls=None, host="127.0.0.1", port=0, raw=False):
        self.handler, self.tls, self.raw = handler, tls, raw
        self.requests, self.conns, self.tls_errors, self.errors = [], [], [], []
        self.heard = 0  # bytes of all connections, as they came in TLS
        self.stopping = threading.Event()
        self.lock = threading.Lock()  # of conns
        self.names = {}
        if tls is not None:
            tls.sni_callback = self._on_sni
        self.listen(host, port)

    def _on_sni(self, sslobj, name, _ctx):
        self.names[id(sslobj)] = name

    def on_accept(self, sock):
        with self.lock:
            self.accepted += 1
            conn = Conn(self, sock, len(self.conns))
            self.conns.append(conn)
        return conn

    def serve(self, conn):
        self.guarded(conn, self._start)

    def _start(self, conn):
        if self.tls is not None and not self.raw:
            self.start_tls(conn)
        self.handle(conn)

    def handle(self, conn):
        """What follows the handshake."""
        self.handler(conn)

    def guarded(self, conn, function):
        """Runs FUNCTION(conn), keeps its faults and ends the connection."""
        try:
            function(conn)
        except ssl.SSLError as e:
            (self.errors if conn.received else self.tls_errors).append(e)
        except OSError as e:
            self.errors.append(e)
        except Exception as e:  # a handler's own fault must show in the test
            self.errors.append(e)
            if not self.stopping.is_set() and not isinstance(e, TypeError):
                raise
        finally:
            if conn.sock.fileno() >= 0:
                conn.finish()
            conn.closed = True

    def start_tls(self, conn):
        conn.sock.settimeout(30)
        conn.sock = self.tls.wrap_socket(conn.sock, server_side=True)
        conn.sock.settimeout(None)
        conn.sni = self.names.get(id(conn.sock))
        conn.resumed = bool(conn.sock.session_reused)
        conn.alpn = conn.sock.selected_alpn_protocol()

    @property
    def received(self):
        return b"".join(bytes(c.received) for c in self.conns)

    def last_asked(self):
        """The newest connection that a request came on; others may have been made and not needed."""
        return [c for c in self.conns if c.received][-1]

    def wait_requests(self, count, timeout=5):
        wait_until(lambda: len(self.requests) >= count, timeout, "%d requests at the origin" % count)
        return self.requests

    def open_conns(self):
        return [c for c in self.conns if not c.closed]

    def stop(self):
        self.stopping.set()
        super().stop()
        for conn in self.conns:
            shut(conn.sock)
