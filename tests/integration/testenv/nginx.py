# SPDX-License-Identifier: Apache-2.0
"""A real nginx over TLS in a temporary directory."""
import os
import subprocess

from .ports import free_port
from .wait import can_connect, wait_until

CONF = """
daemon off;
master_process off;
pid @DIR@/pid;
error_log @DIR@/error.log info;
@USER@
events { worker_connections 16384; }
http {
    types { text/plain txt; text/html html; }
    default_type application/octet-stream;
    access_log @DIR@/access.log;
    client_body_temp_path @DIR@/body;
    proxy_temp_path @DIR@/proxy;
    fastcgi_temp_path @DIR@/fcgi;
    uwsgi_temp_path @DIR@/uwsgi;
    scgi_temp_path @DIR@/scgi;
    ssl_certificate @CERT@;
    ssl_certificate_key @KEY@;
    ssl_session_cache builtin:1000;
    keepalive_requests 100000;
    keepalive_timeout 60s;
    server {
        listen 127.0.0.1:@PORT@ ssl@HTTP2@ backlog=511;
        server_name _;
        root @DIR@/html;
        @LOCATIONS@
    }
    @SERVERS@
}
"""


class Nginx:
    """LOCATIONS go into the default TLS server, SERVERS beside it.

    @PORT@, @PLAIN@ (a second free port) and @DIR@ are filled in."""

    def __init__(self, directory, leaf, locations="", servers="", protocol="h1"):
        self.dir = str(directory)
        self.html = os.path.join(self.dir, "html")
        os.makedirs(self.html, exist_ok=True)
        self.port, self.plain = free_port(), free_port()
        text = CONF.replace("@LOCATIONS@", locations).replace("@SERVERS@", servers)
        values = {"DIR": self.dir, "PORT": str(self.port), "PLAIN": str(self.plain), "CERT": leaf.cert,
                  "KEY": leaf.key, "USER": "user root;" if os.geteuid() == 0 else "",
                  "HTTP2": " http2" if protocol == "h2" else ""}
        for name, value in values.items():
            text = text.replace("@%s@" % name, value)
        path = os.path.join(self.dir, "nginx.conf")
        with open(path, "w") as f:
            f.write(text)
        with open(os.path.join(self.dir, "stderr"), "wb") as err:
            self.process = subprocess.Popen(["nginx", "-p", self.dir, "-c", path], stdin=subprocess.DEVNULL,
                                            stdout=err, stderr=err, env=dict(os.environ,
                                                    PATH=os.environ["PATH"] + ":/usr/sbin"))
        wait_until(lambda: self.process.poll() is not None or can_connect("127.0.0.1", self.port), 10, "nginx")
        assert self.process.poll() is None, open(os.path.join(self.dir, "stderr")).read()

    def url(self, path="/", host="localhost"):
        return "http://%s:%d%s" % (host, self.port, path)

    def file(self, name, data):
        path = os.path.join(self.html, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(data)

    def stop(self):
        self.process.terminate()
        self.process.wait(10)
