# SPDX-License-Identifier: Apache-2.0
"""A certificate authority made by the openssl command: root, intermediate, and leaves good and bad.

Every leaf is ECDSA P-256 and valid for HOSTS unless its kind says otherwise. Files are made on first use."""
import os
import ssl
import subprocess
import time
from collections import namedtuple

HOSTS = ("origin.test", "other.test", "localhost", "a.localhost", "b.localhost", "c.localhost", "www.example.test")
GOOD_SAN = ",".join("DNS:" + h for h in HOSTS) + ",IP:127.0.0.1,IP:::1"

Leaf = namedtuple("Leaf", "cert key")

CONFIG = """
[ca]
default_ca = x
[x]
dir = .
new_certs_dir = new
database = NAME.db
serial = NAME.serial
crlnumber = NAME.crlnumber
default_md = sha256
default_days = 3650
default_crl_days = 3650
policy = p
unique_subject = no
copy_extensions = none
email_in_dn = no
[p]
commonName = supplied
[req]
distinguished_name = dn
[dn]
[root]
basicConstraints = critical,CA:true
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[inter]
basicConstraints = critical,CA:true,pathlen:0
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")


def stamp(when):
    return time.strftime("%Y%m%d%H%M%SZ", time.gmtime(when))


SOON = stamp(time.time() + 7 * 86400)

#            CN               SAN                  start            end              issuer
KINDS = {
    "good": ("origin.test", GOOD_SAN, None, None, "inter"),
    "expired": ("origin.test", GOOD_SAN, "20200101000000Z", "20210101000000Z", "inter"),
    "ending_soon": ("origin.test", GOOD_SAN, "20200101000000Z", SOON, "inter"),
    "not_yet_valid": ("origin.test", GOOD_SAN, "20900101000000Z", "20910101000000Z", "inter"),
    "wrong_host": ("elsewhere.test", "DNS:elsewhere.test", None, None, "inter"),
    "cn_only": ("origin.test", None, None, None, "inter"),
    "san_wrong": ("origin.test", "DNS:elsewhere.test", None, None, "inter"),
    "name_no_ip": ("origin.test", "DNS:origin.test", None, None, "inter"),
    "revoked": ("origin.test", GOOD_SAN, None, None, "inter"),
    "unknown_root": ("origin.test", GOOD_SAN, None, None, "stranger"),
    "client": ("tlsfan client", "DNS:client.test", None, None, "inter"),
    "example": ("example.com", "DNS:example.com", None, None, "inter"),
    "wildcard": ("*.wild.test", "DNS:*.wild.test", None, None, "inter"),
}


class CA:
    def __init__(self, directory):
        self.dir = str(directory)
        self._leaves = {}
        os.makedirs(os.path.join(self.dir, "new"), exist_ok=True)
        self._authority("root", "tlsfan test root", None)
        self._authority("inter", "tlsfan test intermediate", "root")
        self._authority("stranger", "stranger root", None)
        self.root = self.path("root.pem")

    def path(self, name):
        return os.path.join(self.dir, name)

    def _run(self, *args):
        subprocess.run(("openssl",) + args, cwd=self.dir, check=True, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def _write(self, name, text):
        with open(self.path(name), "w") as f:
            f.write(text)

    def _read(self, name):
        with open(self.path(name)) as f:
            return f.read()

    def _key_and_request(self, name, cn, key_type=EC):
        self._run("req", "-new", "-nodes", *key_type, "-keyout", name + ".key", "-out", name + ".csr",
                  "-subj", "/CN=" + cn, "-config", "root.cnf")

    def _authority(self, name, cn, issuer):
        self._write(name + ".cnf", CONFIG.replace("NAME", name))
        if not os.path.exists(self.path("root.cnf")):
            self._write("root.cnf", CONFIG.replace("NAME", "root"))
        self._write(name + ".db", "")
        self._write(name + ".serial", "1000\n")
        self._write(name + ".crlnumber", "1000\n")
        self._key_and_request(name, cn)
        if issuer is None:
            self._run("x509", "-req", "-in", name + ".csr", "-signkey", name + ".key", "-days", "3650",
                      "-extfile", name + ".cnf", "-extensions", "root", "-out", name + ".pem")
        else:
            self._sign(name, issuer, name + ".cnf", "inter")

    def _sign(self, name, issuer, extfile, section, start=None, end=None):
        dates = ("-startdate", start, "-enddate", end) if start else ()
        self._run("ca", "-batch", "-notext", "-config", issuer + ".cnf", "-cert", issuer + ".pem",
                  "-keyfile", issuer + ".key", "-in", name + ".csr", "-out", name + ".pem",
                  "-extfile", extfile, "-extensions", section, *dates)

    def leaf(self, kind="good"):
        """Certificate file (with its intermediate) and key file of a KIND."""
        if kind not in self._leaves:
            self._leaves[kind] = self._make(kind)
        return self._leaves[kind]

    def _make(self, kind):
        if kind == "missing_intermediate":
            self.leaf("good")
            return Leaf(self.path("good.pem"), self.path("good.key"))
        if kind == "self_signed":
            self._run("req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                      "-keyout", kind + ".key", "-out", kind + ".pem", "-days", "3650", "-subj", "/CN=origin.test",
                      "-addext", "subjectAltName=" + GOOD_SAN)
            return Leaf(self.path(kind + ".pem"), self.path(kind + ".key"))
        cn, san, start, end, issuer = KINDS[kind]
        self._key_and_request(kind, cn)
        ext = "[v]\nbasicConstraints = CA:false\nauthorityKeyIdentifier = keyid\n"
        ext += "extendedKeyUsage = %s\n" % ("clientAuth" if kind == "client" else "serverAuth")
        ext += "subjectAltName = %s\n" % san if san else ""
        self._write(kind + ".ext", ext)
        self._sign(kind, issuer, kind + ".ext", "v", start, end)
        chain = self._read(kind + ".pem") + (self._read("inter.pem") if issuer == "inter" else "")
        self._write(kind + ".chain.pem", chain)
        return Leaf(self.path(kind + ".chain.pem"), self.path(kind + ".key"))

    def odd_leaf(self, name, key_type=EC, digest=None, dates=None):
        """A new leaf for HOSTS: with a key or a DIGEST that is too weak, or valid between two DATES (s since 1970)."""
        self._key_and_request(name, "origin.test", key_type)
        self._write(name + ".ext", "[v]\nbasicConstraints = CA:false\nsubjectAltName = %s\n" % GOOD_SAN)
        if digest:
            self._run("x509", "-req", "-in", name + ".csr", "-CA", "inter.pem", "-CAkey", "inter.key",
                      "-CAcreateserial", "-days", "30", "-" + digest, "-extfile", name + ".ext", "-extensions", "v",
                      "-out", name + ".pem")
        else:
            self._sign(name, "inter", name + ".ext", "v", *(stamp(t) for t in dates or ()))
        self._write(name + ".chain.pem", self._read(name + ".pem") + self._read("inter.pem"))
        return Leaf(self.path(name + ".chain.pem"), self.path(name + ".key"))

    def issue(self, name, extensions, issuer="inter", above=("inter",)):
        """A certificate CN=NAME with EXTENSIONS alone, by ISSUER; its file holds the certificates ABOVE it, too."""
        self._key_and_request(name, name)
        self._write(name + ".ext", "[v]\n%s\n" % extensions)
        self._run("x509", "-req", "-in", name + ".csr", "-CA", issuer + ".pem", "-CAkey", issuer + ".key",
                  "-CAcreateserial", "-days", "30", "-sha256", "-extfile", name + ".ext", "-extensions", "v",
                  "-out", name + ".pem")
        self._write(name + ".chain.pem", "".join(self._read(x + ".pem") for x in (name,) + tuple(above)))
        return Leaf(self.path(name + ".chain.pem"), self.path(name + ".key"))

    def short_crl(self, start, end):
        """A file with CRLs of intermediate and root that count between two times (s since 1970)."""
        for name in ("inter", "root"):
            self._run("ca", "-config", name + ".cnf", "-cert", name + ".pem", "-keyfile", name + ".key", "-gencrl",
                      "-crl_lastupdate", stamp(start), "-crl_nextupdate", stamp(end), "-out", name + ".short.crl")
        self._write("short.crl", self._read("inter.short.crl") + self._read("root.short.crl"))
        return self.path("short.crl")

    def crl(self):
        """A file with the CRLs of intermediate and root; the leaf of kind revoked is in it."""
        out = self.path("all.crl")
        if not os.path.exists(out):
            self.leaf("revoked")
            self._run("ca", "-config", "inter.cnf", "-cert", "inter.pem", "-keyfile", "inter.key",
                      "-revoke", "revoked.pem")
            for name in ("inter", "root"):
                self._run("ca", "-config", name + ".cnf", "-cert", name + ".pem", "-keyfile", name + ".key",
                          "-gencrl", "-out", name + ".crl")
            self._write("all.crl", self._read("inter.crl") + self._read("root.crl"))
        return out

    def server_context(self, kind="good", alpn=("http/1.1",), client_ca=False):
        """An ssl.SSLContext for a server that shows the leaf of KIND."""
        ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        leaf = self.leaf(kind)
        ctx.load_cert_chain(leaf.cert, leaf.key)
        if alpn:
            ctx.set_alpn_protocols(list(alpn))
        if client_ca:
            ctx.load_verify_locations(self.root)
            ctx.verify_mode = ssl.CERT_REQUIRED
        return ctx

    def client_context(self):
        return ssl.create_default_context(cafile=self.root)
