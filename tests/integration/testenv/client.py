# SPDX-License-Identifier: Apache-2.0
"""A raw client with a small strict response parser: what it cannot frame exactly is a failure."""
import re
import socket
import ssl

from . import SLOW

STATUS = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9]) ([^\r\n]*)$")
FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*?)[ \t]*$")


class Broken(Exception):
    """The connection ended inside a response, or the response is not HTTP."""


class Response:
    def __init__(self, head):
        lines = head[:-4].split(b"\r\n")
        m = STATUS.match(lines[0])
        if m is None:
            raise Broken("bad status line %r" % lines[0])
        self.head = head
        self.version, self.status = "1." + m.group(1).decode(), int(m.group(2))
        self.reason = m.group(3).decode("latin-1")
        self.fields = []
        for line in lines[1:]:
            f = FIELD.match(line)
            if f is None:
                raise Broken("bad field line %r" % line)
            self.fields.append((f.group(1).decode(), f.group(2).decode("latin-1")))
        self.body, self.trailers, self.interim = b"", [], []

    def all(self, name):
        return [v for n, v in self.fields if n.lower() == name.lower()]

    def get(self, name, default=None):
        values = self.all(name)
        return values[0] if values else default

    @property
    def text(self):
        return self.body.decode("utf-8", "replace")

    @property
    def error(self):
        """Error type of Proxy-Status, or None."""
        m = re.search(r"(?:^|;)\s*error=([a-z_]+)", self.get("Proxy-Status") or "")
        return m.group(1) if m else None

    def __repr__(self):
        return "<%d %s %r %r>" % (self.status, self.reason, self.fields, self.body[:200])


class Client:
    """ADDRESS is a port on 127.0.0.1, (host, port) or a path of a Unix socket."""

    def __init__(self, address, timeout=10):
        if isinstance(address, str):
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.connect(address)
        else:
            self.sock = socket.create_connection(address if isinstance(address, tuple) else ("127.0.0.1", address))
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.settimeout(timeout * SLOW)
        self.buf = b""

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        self.sock.close()

    def start_tls(self, context, name):
        self.sock = context.wrap_socket(self.sock, server_hostname=name)

    def send(self, data):
        self.sock.sendall(data.encode("latin-1") if isinstance(data, str) else data)

    def request(self, method, url, *fields, body=b"", host=None, version="1.1"):
        """Sends one request in absolute form; FIELDS are "Name: value" strings."""
        authority = host if host is not None else re.sub(r"^[a-z]+://([^/?#]*).*$", r"\1", url, flags=re.S | re.I)
        lines = ["%s %s HTTP/%s" % (method, url, version)]
        if authority:
            lines.append("Host: " + authority)
        lines += fields
        if body:
            lines.append("Content-Length: %d" % len(body))
        self.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)

    def get(self, url, *fields, **kw):
        return self.exchange("GET", url, *fields, **kw)

    def exchange(self, method, url, *fields, **kw):
        self.request(method, url, *fields, **kw)
        return self.response(method)

    def fill(self):
        data = self.sock.recv(262144)
        self.buf += data
        return bool(data)

    def until(self, mark):
        while mark not in self.buf:
            if not self.fill():
                raise Broken("closed after %r" % self.buf[-100:])
        out, _, self.buf = self.buf.partition(mark)
        return out + mark

    def exactly(self, count):
        parts, have = [self.buf], len(self.buf)
        while have < count:
            data = self.sock.recv(262144)
            if not data:
                raise Broken("closed %d bytes short" % (count - have))
            parts.append(data)
            have += len(data)
        data = b"".join(parts)
        self.buf = data[count:]
        return data[:count]

    def head(self):
        return Response(self.until(b"\r\n\r\n"))

    def response(self, method="GET"):
        """The next final response with its body; 1xx before it are in .interim."""
        interim = []
        r = self.head()
        while 100 <= r.status < 200 and r.status != 101:
            interim.append(r)
            r = self.head()
        r.interim = interim
        self.read_body(r, method)
        return r

    def read_body(self, r, method="GET"):
        if method == "HEAD" or r.status in (101, 204, 304) or (method == "CONNECT" and r.status // 100 == 2):
            return
        coding, lengths = r.get("Transfer-Encoding"), r.all("Content-Length")
        if coding is not None:
            if lengths or coding.lower() != "chunked" or r.version != "1.1":
                raise Broken("bad framing %r" % r.head)
            self._chunked(r)
        elif lengths:
            if len(lengths) != 1 or not lengths[0].isdigit():
                raise Broken("bad length %r" % lengths)
            r.body = self.exactly(int(lengths[0]))
        else:
            if (r.get("Connection") or "").lower() != "close" and r.version == "1.1":
                raise Broken("no length and not closed: %r" % r.head)
            r.body = self.rest()

    def _chunked(self, r):
        while True:
            line = self.until(b"\r\n")
            if not re.match(rb"[0-9A-Fa-f]+(;.*)?\r\n$", line):
                raise Broken("bad chunk size %r" % line)
            size = int(line.split(b";")[0], 16)
            if size == 0:
                break
            r.body += self.exactly(size)
            if self.exactly(2) != b"\r\n":
                raise Broken("bad chunk end")
        while True:
            line = self.until(b"\r\n")
            if line == b"\r\n":
                return
            f = FIELD.match(line[:-2])
            r.trailers.append((f.group(1).decode(), f.group(2).decode("latin-1")))

    def rest(self):
        """Everything until the peer closes."""
        try:
            while self.fill():
                pass
        except (ConnectionResetError, ssl.SSLEOFError):
            pass
        out, self.buf = self.buf, b""
        return out

    def closed(self):
        """True when the peer closes and sent nothing further; waits for it."""
        return self.rest() == b""
