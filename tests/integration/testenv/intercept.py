# SPDX-License-Identifier: Apache-2.0
"""An intercepting proxy, and raw clients inside its tunnels that tell a proper end from none."""
import contextlib
import ssl
import warnings

from .client import Client
from .proxy import run

IGNORE_UNEXPECTED_EOF = 0x80  # SSL_OP_IGNORE_UNEXPECTED_EOF, which Python sets


class OwnCA:
    """What tlsfan --make-ca writes."""

    def __init__(self, directory, *names):
        self.dir = str(directory)
        done = run("--make-ca", self.dir, *names)
        assert done.returncode == 0, done.stderr
        self.cert, self.key = self.dir + "/ca.pem", self.dir + "/ca.key"

    def conf(self, more="", rules='rule "*" { intercept = on }'):
        return 'intercept { ca_cert = "%s"  ca_key = "%s"  %s }\n%s\n' % (self.cert, self.key, more, rules)

    def context(self, version=None, alpn=(), trusts=True):
        """A client's, that trusts this CA alone."""
        ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if trusts:
            ctx.load_verify_locations(self.cert)
        if version is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                ctx.minimum_version = ctx.maximum_version = version
        if version is not None and version < ssl.TLSVersion.TLSv1_2:
            ctx.set_ciphers("DEFAULT@SECLEVEL=0")
        if alpn:
            ctx.set_alpn_protocols(list(alpn))
        return ctx


class Memory:
    """A client's TLS in a tunnel, whose bytes are moved by hand: .hello is its first flight."""

    def __init__(self, context, name="origin.test"):
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=name)
        self.hello = self.try_to(self.tls.do_handshake)[1]

    def try_to(self, function, *args):
        """What FUNCTION gives, or False where it needs more; and what is to be sent."""
        try:
            value = function(*args)
        except ssl.SSLWantReadError:
            value = False
        return value, self.outgoing.read()

    def finish(self, client):
        """The rest of the handshake, over CLIENT, which has read the head of the answer to CONNECT."""
        self.client = client
        self.incoming.write(client.buf)
        client.buf = b""
        self.all_of(self.tls.do_handshake)

    def all_of(self, function, *args):
        while True:
            value, out = self.try_to(function, *args)
            self.client.send(out)
            if value is not False:
                return value
            data = self.client.sock.recv(65536)
            assert data, "the connection has ended"
            self.incoming.write(data)

    def get(self, path):
        """The bytes of an answer, up to PATH in its body."""
        self.all_of(self.tls.write, ("GET %s HTTP/1.1\r\nHost: origin.test\r\n\r\n" % path).encode())
        got = b""
        while path.encode() not in got:
            got += self.all_of(self.tls.read, 65536)
        return got


def to(server, *names):
    """connect_to that leads port 443 of NAMES, else of any, to SERVER."""
    return "connect_to = {%s}\n" % ", ".join('"%s:443:127.0.0.1:%d"' % (n, server.port) for n in names or ("",))


class TlsEnds:
    """Of a client that has TLS on its socket."""

    def ends(self):
        """Reads to the end: (bytes, "close_notify", "cut" or "reset")."""
        got = b""
        try:
            while True:
                data = self.sock.recv(65536)
                if not data:
                    return self.buf + got, "close_notify"
                got += data
        except ssl.SSLError as e:
            assert "EOF" in str(e), e
            return self.buf + got, "cut"
        except ConnectionResetError:
            return self.buf + got, "reset"


class Inside(TlsEnds, Client):
    """A client whose tunnel to HOST is made, and TLS in it. SNI None: none is sent."""

    def __init__(self, address, context, host="origin.test", sni="", port=443, fields=(), session=None, **kw):
        super().__init__(address, **kw)
        self.session = session
        self.connect(host, port, *fields)
        self.shake(context, host if sni == "" else sni)

    def connect(self, host, port=443, *fields):
        target = "%s:%d" % (host, port)
        self.send("CONNECT %s HTTP/1.1\r\nHost: %s\r\n%s\r\n" % (target, target, "".join(f + "\r\n" for f in fields)))
        answer = self.response("CONNECT")
        assert answer.status == 200, answer
        return answer

    def shake(self, context, sni):
        if sni is None:
            context.check_hostname = False
        context.options &= ~IGNORE_UNEXPECTED_EOF
        self.sock = context.wrap_socket(
            self.sock, server_hostname=sni, suppress_ragged_eofs=False, session=self.session
        )

    def names(self):
        return [value for _, value in self.sock.getpeercert()["subjectAltName"]]

    def get(self, path, *fields, host="origin.test", **kw):
        self.request("GET", path, *fields, host=host, **kw)
        return self.response()


@contextlib.contextmanager
def refused():
    """The handshake inside fails, however the client is told."""
    try:
        yield
    except (ssl.SSLError, ConnectionError):
        return
    raise AssertionError("the handshake went through")
