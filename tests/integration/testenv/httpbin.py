# SPDX-License-Identifier: Apache-2.0
"""Debian's python3-httpbin under gunicorn with TLS, and a Node origin whose delays cost nothing."""
import os
import subprocess
import sys

from .ports import free_port
from .wait import can_connect, wait_until

NODE = """
const https = require('https'), fs = require('fs');
const [,, port, cert, key] = process.argv;
const server = https.createServer({cert: fs.readFileSync(cert), key: fs.readFileSync(key)}, (req, res) => {
  const m = /^\\/delay\\/([0-9.]+)/.exec(req.url);
  const answer = () => { const b = JSON.stringify({method: req.method, url: req.url});
    res.writeHead(200, {'Content-Type': 'application/json', 'Content-Length': b.length}); res.end(b); };
  if (m) setTimeout(answer, 1000 * parseFloat(m[1])); else answer();
});
server.keepAliveTimeout = 60000; server.maxConnections = 10000;
server.listen({port: +port, host: '127.0.0.1', backlog: 511});
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
    def __init__(self, directory, leaf, threads=32):
        self.port = free_port()
        super().__init__([sys.executable, "-m", "gunicorn", "--certfile", leaf.cert, "--keyfile", leaf.key,
                          "-k", "gthread", "--threads", str(threads), "--keep-alive", "60", "--graceful-timeout", "1",
                          "-b", "127.0.0.1:%d" % self.port, "httpbin:app"], directory, "httpbin")


class NodeOrigin(_Process):
    def __init__(self, directory, leaf):
        self.port = free_port()
        script = os.path.join(str(directory), "origin.js")
        with open(script, "w") as f:
            f.write(NODE)
        super().__init__(["node", script, str(self.port), leaf.cert, leaf.key], directory, "node")
