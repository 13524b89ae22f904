# SPDX-License-Identifier: Apache-2.0
"""Debian's python3-httpbin under gunicorn with TLS, and a Node origin whose delays cost nothing.

httpbin has an nginx before it to speak HTTP/2."""
import os
import subprocess
import sys

from .nginx import Nginx
from .ports import free_port
from .wait import can_connect, wait_until

NODE = """
const fs = require('fs'), [,, port, cert, key, protocol] = process.argv;
const create = protocol === 'h2' ? require('http2').createSecureServer : require('https').createServer;
const server = create({cert: fs.readFileSync(cert), key: fs.readFileSync(key), allowHTTP1: true}, (req, res) => {
  const m = /^\\/delay\\/([0-9.]+)/.exec(req.url);
  const answer = () => { const b = JSON.stringify({method: req.method, url: req.url});
    res.writeHead(200, {'Content-Type': 'application/json', 'Content-Length': b.length}); res.end(b); };
  if (m) setTimeout(answer, 1000 * parseFloat(m[1])); else answer();
});
server.keepAliveTimeout = 60000; server.maxConnections = 10000;
server.listen({port: +port, host: '127.0.0.1', backlog: 511});
"""

PASS = """location / {
    proxy_pass http://127.0.0.1:%d;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $http_host;
    proxy_buffering off;
    client_max_body_size 0;
}
"""


class _Process:
    def __init__(self, args, directory, what):
        self.log_path = os.path.join(str(directory), "log")
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=str(directory))
        wait_until(lambda: self.process.poll() is not None or can_connect("127.0.0.1", self.port), 20, what)
        assert self.process.poll() is None, open(self.log_path).read()

    def url(self, path="/", host="localhost"):
        return "http://%s:%d%s" % (host, self.port, path)

    def stop(self):
        self.process.terminate()
        self.process.wait(15)


class Httpbin(_Process):
    def __init__(self, directory, leaf, protocol="h1", threads=32):
        os.makedirs(str(directory), exist_ok=True)
        self.port, self.front = free_port(), None
        tls = ["--certfile", leaf.cert, "--keyfile", leaf.key] if protocol == "h1" else []
        super().__init__([sys.executable, "-m", "gunicorn", *tls,
                          "-k", "gthread", "--threads", str(threads), "--keep-alive", "60", "--graceful-timeout", "1",
                          "-b", "127.0.0.1:%d" % self.port, "httpbin:app"], directory, "httpbin")
        if protocol == "h2":
            self.front = Nginx(os.path.join(str(directory), "front"), leaf, PASS % self.port, protocol=protocol)
            self.port = self.front.port

    def stop(self):
        if self.front is not None:
            self.front.stop()
        super().stop()


class NodeOrigin(_Process):
    def __init__(self, directory, leaf, protocol="h1"):
        os.makedirs(str(directory), exist_ok=True)
        self.port = free_port()
        script = os.path.join(str(directory), "origin.js")
        with open(script, "w") as f:
            f.write(NODE)
        super().__init__(["node", script, str(self.port), leaf.cert, leaf.key, protocol], directory, "node")
