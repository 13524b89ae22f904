# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 origins of others: nghttpd, Node's http2, and python3-h2, which judges all that it receives."""
import os
import shutil

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from .httpbin import _Process
from .listener import Listener, shut
from .ports import free_port

NODE = """
const http2 = require('http2'), fs = require('fs'), crypto = require('crypto');
const [,, port, cert, key] = process.argv;
const seen = {sessions: 0, streams: 0};
const server = http2.createSecureServer({cert: fs.readFileSync(cert), key: fs.readFileSync(key),
  settings: {maxConcurrentStreams: 1000, maxHeaderListSize: 65535}});
const block = Buffer.alloc(65536, (() => { const b = Buffer.alloc(256); for (let i = 0; i < 256; i++) b[i] = i;
  return b; })());
const send = (stream, left) => {
  while (left > 0) {
    const part = left < block.length ? block.subarray(0, left) : block;
    left -= part.length;
    if (!stream.write(part)) { stream.once('drain', () => send(stream, left)); return; }
  }
  stream.end();
};
const echo = (stream, headers) => {
  const digest = crypto.createHash('sha256'); let size = 0, trailers = {};
  stream.on('data', (part) => { digest.update(part); size += part.length; });
  stream.on('trailers', (got) => { trailers = got; });
  stream.on('end', () => {
    const body = JSON.stringify({headers, trailers, size, sha256: digest.digest('hex'), seen,
      push: stream.pushAllowed});
    stream.respond({':status': 200, 'content-type': 'application/json', 'content-length': body.length});
    stream.end(body);
  });
};
const paths = {
  body: (stream, n) => { stream.respond({':status': 200, 'content-length': n}); send(stream, +n); },
  unknown: (stream, n) => { stream.respond({':status': 200}); send(stream, +n); },
  delay: (stream, ms) => setTimeout(() => { stream.respond({':status': 200}); stream.end('late'); }, +ms),
  trailers: (stream) => {
    stream.respond({':status': 200, trailer: 'x-sum'}, {waitForTrailers: true});
    stream.on('wantTrailers', () => stream.sendTrailers({'x-sum': '42', 'x-long': 'y'.repeat(20000)}));
    stream.end('body');
  },
  cookies: (stream, n) => {
    stream.respond({':status': 200, 'set-cookie': ['a=' + 'x'.repeat(+n), 'b=2']}); stream.end('ok'); },
  hints: (stream) => { stream.additionalHeaders({':status': 103, link: '</a>; rel=preload'});
    stream.respond({':status': 200}); stream.end('fin'); },
  reset: (stream, code) => stream.close(+code),
  half: (stream, code) => { stream.respond({':status': 200, 'content-length': 100});
    stream.write('half', () => setTimeout(() => stream.close(+code), 20)); },
  goaway: (stream) => { stream.session.goaway(0); stream.respond({':status': 200}); stream.end('bye'); },
  close: (stream) => { stream.session.close(); stream.respond({':status': 200}); stream.end('bye'); },
  destroy: (stream) => stream.session.destroy(),
  settings: (stream) => { stream.session.settings({maxConcurrentStreams: 7, initialWindowSize: 1000,
    headerTableSize: 0}); stream.respond({':status': 200}); stream.end('set'); },
  ping: (stream) => stream.session.ping((fault) => { stream.respond({':status': fault ? 500 : 200});
    stream.end('pong'); }),
};
server.on('session', () => { seen.sessions++; });
server.on('stream', (stream, headers) => {
  seen.streams++;
  stream.on('error', () => {});
  const [, word, rest] = headers[':path'].split('/');
  if (paths[word]) paths[word](stream, rest); else echo(stream, headers);
});
server.on('sessionError', () => {});
server.listen({port: +port, host: '127.0.0.1', backlog: 511});
"""


class NodeH2(_Process):
    """/body/N, /unknown/N (no length), /delay/MS, /trailers, /cookies/N, /hints, /reset/CODE, /half/CODE, /goaway,
    /close, /destroy, /settings, /ping; anything else tells as JSON what arrived."""

    def __init__(self, directory, leaf):
        self.port = free_port()
        script = os.path.join(str(directory), "h2.js")
        with open(script, "w") as f:
            f.write(NODE)
        super().__init__(["node", script, str(self.port), leaf.cert, leaf.key], directory, "node")


class Nghttpd(_Process):
    """Serves files of its directory, gives uploads back, and ends answers with a trailer."""

    def __init__(self, directory, leaf, *options):
        self.port, self.dir = free_port(), str(directory)
        program = shutil.which("nghttpd", path=os.environ["PATH"] + ":/usr/sbin")
        assert program is not None, "nghttpd is not installed (Debian: nghttp2-server)"
        super().__init__(
            [program, "-a", "127.0.0.1", "-d", self.dir, *options, str(self.port), leaf.key, leaf.cert],
            directory,
            "nghttpd",
        )

    def file(self, name, data=b"", size=None):
        """A file with DATA at its beginning; SIZE makes it longer, with zeros that take no room."""
        with open(os.path.join(self.dir, name), "wb") as f:
            f.write(data)
            if size is not None:
                f.truncate(size)


class Strict(Listener):
    """python3-h2 as a server: gives each request's path and body back; a fault of the peer is in `faults`."""

    def __init__(self, context):
        self.context, self.faults, self.conns, self.fields = context, [], 0, []
        self.socks = []
        self.listen()

    def on_accept(self, sock):
        self.socks.append(sock)
        return super().on_accept(sock)

    def serve(self, sock):
        try:
            sock = self.context.wrap_socket(sock, server_side=True)
            self.socks.append(sock)
            self.conns += 1
            self._talk(sock)
        except h2.exceptions.ProtocolError as e:
            self.faults.append(e)
        except OSError:
            pass
        finally:
            sock.close()

    def _talk(self, sock):
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        conn, asked, waiting = h2.connection.H2Connection(config), {}, {}
        conn.initiate_connection()
        sock.sendall(conn.data_to_send())
        while True:
            data = sock.recv(65536)
            if not data:
                return
            for event in conn.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    self.fields.append(event.headers)
                    asked[event.stream_id] = [dict(event.headers)[":path"].encode() + b"\n"]
                elif isinstance(event, h2.events.DataReceived):
                    asked[event.stream_id].append(event.data)
                    conn.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded):
                    conn.send_headers(event.stream_id, [(":status", "200"), ("x-by", "h2")])
                    waiting[event.stream_id] = b"".join(asked.pop(event.stream_id))
                elif isinstance(event, h2.events.StreamReset):
                    waiting.pop(event.stream_id, None)
            for number in list(waiting):
                self._push_on(conn, number, waiting)
            sock.sendall(conn.data_to_send())

    @staticmethod
    def _push_on(conn, number, waiting):
        """Sends what the windows allow."""
        while waiting[number]:
            room = min(conn.local_flow_control_window(number), conn.max_outbound_frame_size, len(waiting[number]))
            if room == 0:
                return
            conn.send_data(number, waiting[number][:room])
            waiting[number] = waiting[number][room:]
        conn.end_stream(number)
        del waiting[number]

    def stop(self):
        super().stop()
        for sock in self.socks:
            shut(sock)
