# SPDX-License-Identifier: Apache-2.0
"""A real Apache httpd over TLS in a temporary directory."""
import os
import shutil
import subprocess
import tempfile

from .ports import free_port
from .wait import wait_until

CONF = """
ServerRoot @DIR@
ServerName localhost
PidFile @DIR@/pid
ErrorLog @DIR@/error.log
LogLevel info
Mutex file:@DIR@
@USER@
@MODULES@
LogFormat "%m %U %>s" short
CustomLog @DIR@/access.log short
ServerLimit 1
ThreadLimit 16
ThreadsPerChild 16
MaxRequestWorkers 16
StartServers 1
ScriptSock @DIR@/cgid
Listen 127.0.0.1:@PORT@
Protocols @PROTOCOLS@
H2MinWorkers 2
DocumentRoot @DIR@/html
SSLEngine on
SSLCertificateFile @CERT@
SSLCertificateKeyFile @KEY@
SSLCACertificateFile @CA@
SSLVerifyDepth 3
SSLProtocol @VERSION@
SSLSessionTickets on
<Directory @DIR@/html>
    Options +ExecCGI
    SetHandler cgi-script
    SSLOptions +StdEnvVars
    Require all granted
</Directory>
@LOCATIONS@
"""
MODULES = ("mpm_event", "authz_core", "cgid", "http2", "ssl")
ECHO = """#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n%s|' "$SSL_CLIENT_S_DN"
wc -c | tr -d ' \\n'
"""


class Apache:
    """Everything under / is a script that says who the client is by its certificate, "|", and how long the body was.

    LOCATIONS is what else there is to say; VERSION is of TLS, PROTOCOLS of HTTP. Its directory is its own: it reads it
    as another user, and pytest keeps those of its sessions from all others."""

    def __init__(self, leaf, ca_file, locations, version="TLSv1.3", protocols="http/1.1"):
        self.dir = tempfile.mkdtemp(prefix="tlsfan-apache-")
        self.port = free_port()
        os.makedirs(os.path.join(self.dir, "html"))
        modules = "".join("LoadModule %s_module /usr/lib/apache2/modules/mod_%s.so\n" % (m, m) for m in MODULES)
        values = {"DIR": self.dir, "PORT": str(self.port), "CERT": leaf.cert, "KEY": leaf.key, "CA": ca_file,
                  "MODULES": modules, "VERSION": version, "PROTOCOLS": protocols, "LOCATIONS": locations,
                  "USER": "User www-data\nGroup www-data" if os.geteuid() == 0 else ""}
        text = CONF
        for name, value in values.items():
            text = text.replace("@%s@" % name, value)
        path = os.path.join(self.dir, "apache.conf")
        with open(path, "w") as f:
            f.write(text)
        for at in (self.dir, os.path.join(self.dir, "html")):
            os.chmod(at, 0o755)
        with open(os.path.join(self.dir, "stderr"), "wb") as err:
            self.process = subprocess.Popen(["apache2", "-f", path, "-DFOREGROUND"], stdin=subprocess.DEVNULL,
                                            stdout=err, stderr=err,
                                            env=dict(os.environ, PATH=os.environ["PATH"] + ":/usr/sbin"))
        wait_until(lambda: self.process.poll() is not None or "resuming normal operations" in self.log("error.log"),
                   10, "Apache")
        assert self.process.poll() is None, self.log("stderr") + self.log("error.log")

    def script(self, name):
        path = os.path.join(self.dir, "html", name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(ECHO)
        os.chmod(path, 0o755)
        os.chmod(os.path.dirname(path), 0o755)

    def url(self, path="/"):
        return "http://localhost:%d%s" % (self.port, path)

    def log(self, name="access.log"):
        path = os.path.join(self.dir, name)
        if not os.path.exists(path):
            return ""
        with open(path, errors="replace") as f:
            return f.read()

    def stop(self):
        self.process.terminate()
        self.process.wait(20)
        shutil.rmtree(self.dir, ignore_errors=True)
