# SPDX-License-Identifier: Apache-2.0
"""Certificates of any kind, byte by byte: what no tool would issue, too. Only keys and signatures are a library's.

certificate() makes one; Chain holds what a server shows. Values are DER, names of functions those of X.509."""
import datetime
import hashlib
import itertools
import os
import ssl
from collections import namedtuple

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa

# ---- DER ----


def tlv(tag, *parts):
    body = b"".join(parts)
    n = len(body)
    if n < 0x80:
        return bytes([tag, n]) + body
    size = n.to_bytes((n.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(size)]) + size + body


def seq(*parts):
    return tlv(0x30, *parts)


def integer(v):
    return tlv(2, v.to_bytes(v.bit_length() // 8 + 1, "big", signed=True))


def oid(text):
    first, second, *rest = map(int, text.split("."))
    out = bytearray([40 * first + second])
    for n in rest:
        part = [n & 0x7f]
        while n > 0x7f:
            n >>= 7
            part.insert(0, 0x80 | n & 0x7f)
        out += bytes(part)
    return tlv(6, bytes(out))


def bits(data):
    return tlv(3, b"\0", data)


def octets(data):
    return tlv(4, data)


TRUE, NULL = b"\x01\x01\xff", b"\x05\x00"


def name(cn):
    """A subject of one CN, text or bytes; "" is the empty one."""
    if cn == "":
        return seq()
    cn = cn.encode() if isinstance(cn, str) else cn
    return seq(tlv(0x31, seq(oid("2.5.4.3"), tlv(12, cn))))


def when(t, generalized=False):
    """UTCTime until 2049, then GeneralizedTime (RFC 5280 section 4.1.2.5), or that at once."""
    if t.year >= 2050 or generalized:
        return tlv(0x18, t.strftime("%Y%m%d%H%M%SZ").encode())
    return tlv(0x17, t.strftime("%y%m%d%H%M%SZ").encode())


NOW = datetime.datetime.utcnow().replace(microsecond=0)
DAY = datetime.timedelta(days=1)

# ---- keys and signatures ----

Key = namedtuple("Key", "private spki pem sign_by")  # sign_by: what signs with it where nothing else is asked for
_keys = {}

PSS_SHA256 = seq(tlv(0xa0, seq(oid("2.16.840.1.101.3.4.2.1"))),
                 tlv(0xa1, seq(oid("1.2.840.113549.1.1.8"), seq(oid("2.16.840.1.101.3.4.2.1")))),
                 tlv(0xa2, integer(32)))
ALGORITHMS = {
    "ecdsa-sha256": seq(oid("1.2.840.10045.4.3.2")),
    "ecdsa-sha1": seq(oid("1.2.840.10045.4.1")),
    "rsa-sha256": seq(oid("1.2.840.113549.1.1.11"), NULL),
    "rsa-sha1": seq(oid("1.2.840.113549.1.1.5"), NULL),
    "rsa-md5": seq(oid("1.2.840.113549.1.1.4"), NULL),
    "rsa-pss": seq(oid("1.2.840.113549.1.1.10"), PSS_SHA256),
    "dsa-sha256": seq(oid("2.16.840.1.101.3.4.3.2")),
    "ed25519": seq(oid("1.3.101.112")),
    "ed448": seq(oid("1.3.101.113")),
    "unknown": seq(oid("1.2.3.4")),
}
HASHES = {"sha256": hashes.SHA256, "sha1": hashes.SHA1, "md5": hashes.MD5}


def sign(key, data, by):
    kind, _, digest = by.partition("-")
    if kind == "ecdsa":
        return key.private.sign(data, ec.ECDSA(HASHES[digest]()))
    if by == "rsa-pss":
        return key.private.sign(data, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
    if kind == "rsa":
        return key.private.sign(data, padding.PKCS1v15(), HASHES[digest]())
    if kind == "dsa":
        return key.private.sign(data, HASHES[digest]())
    return key.private.sign(data)


CURVES = {"p192": ec.SECP192R1, "p224": ec.SECP224R1, "p256": ec.SECP256R1, "p384": ec.SECP384R1,
          "p521": ec.SECP521R1, "k256": ec.SECP256K1}


def generate(kind):
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate(), kind
    if kind == "ed448":
        return ed448.Ed448PrivateKey.generate(), kind
    if kind.startswith("rsa"):
        return rsa.generate_private_key(65537, int(kind[3:])), "rsa-sha256"
    if kind.startswith("dsa"):
        return dsa.generate_private_key(int(kind[3:])), "dsa-sha256"
    return ec.generate_private_key(CURVES[kind]()), "ecdsa-sha256"


def pem(label, der):
    return ssl.DER_cert_to_PEM_cert(der).replace("CERTIFICATE", label)


def pss_alone(key):
    """KEY, an RSA key, as one that may be used for RSA-PSS alone: the algorithm is the one of the key."""
    algorithm = seq(oid("1.2.840.113549.1.1.10"))
    f = serialization
    traditional = key.private.private_bytes(f.Encoding.DER, f.PrivateFormat.TraditionalOpenSSL, f.NoEncryption())
    public = key.private.public_key().public_bytes(f.Encoding.DER, f.PublicFormat.PKCS1)
    return key._replace(spki=seq(algorithm, bits(public)),
                        pem=pem("PRIVATE KEY", seq(integer(0), algorithm, octets(traditional))))


def explicit(key):
    """KEY, one of p256, that does not name its curve, but writes it out (RFC 3279 section 2.3.5)."""
    p = 2 ** 256 - 2 ** 224 + 2 ** 192 + 2 ** 96 - 1
    b = 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b
    base = "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296" \
        "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
    order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551
    curve = seq(octets((p - 3).to_bytes(32, "big")), octets(b.to_bytes(32, "big")))
    parameters = seq(integer(1), seq(oid("1.2.840.10045.1.1"), integer(p)), curve, octets(bytes.fromhex(base)),
                     integer(order), integer(1))
    f = serialization
    point = key.private.public_key().public_bytes(f.Encoding.X962, f.PublicFormat.UncompressedPoint)
    return key._replace(spki=seq(seq(oid("1.2.840.10045.2.1"), parameters), bits(point)))


def key(kind="p256", which=0):
    """The key number WHICH of a kind: one of CURVES, rsaBITS, dsaBITS, ed25519, ed448. Each is made once."""
    if (kind, which) not in _keys:
        private, by = generate(kind)
        f = serialization
        _keys[kind, which] = Key(
            private, private.public_key().public_bytes(f.Encoding.DER, f.PublicFormat.SubjectPublicKeyInfo),
            private.private_bytes(f.Encoding.PEM, f.PrivateFormat.PKCS8, f.NoEncryption()).decode(), by)
    return _keys[kind, which]

# ---- extensions ----


def extension(number, value, critical=False):
    return seq(oid(number), TRUE if critical else b"", octets(value))


def dns(text):
    return tlv(0x82, text.encode() if isinstance(text, str) else text)


def ip(packed):
    return tlv(0x87, packed)


def alt_names(*names, critical=False):
    return extension("2.5.29.17", seq(*names), critical)


def basic(ca, pathlen=None):
    return extension("2.5.29.19", seq(TRUE if ca else b"", b"" if pathlen is None else integer(pathlen)), True)


USES = ("digitalSignature", "nonRepudiation", "keyEncipherment", "dataEncipherment", "keyAgreement", "keyCertSign",
        "cRLSign")


def key_usage(*uses):
    value = sum(0x80 >> USES.index(u) for u in uses)
    unused = (value & -value).bit_length() - 1
    return extension("2.5.29.15", tlv(3, bytes([unused, value])), True)


PURPOSES = {"serverAuth": "1.3.6.1.5.5.7.3.1", "clientAuth": "1.3.6.1.5.5.7.3.2", "codeSigning": "1.3.6.1.5.5.7.3.3",
            "emailProtection": "1.3.6.1.5.5.7.3.4", "any": "2.5.29.37.0"}


def ext_key_usage(*purposes):
    return extension("2.5.29.37", seq(*(oid(PURPOSES[p]) for p in purposes)))


def name_constraints(permitted=(), excluded=()):
    def trees(tag, names):
        return tlv(tag, *(seq(n) for n in names)) if names else b""
    return extension("2.5.29.30", seq(trees(0xa0, permitted), trees(0xa1, excluded)), True)


def key_ids(k, by):
    def number(x):
        return hashlib.sha1(x.spki).digest()
    return [extension("2.5.29.14", octets(number(k))), extension("2.5.29.35", seq(tlv(0x80, number(by))))]

# ---- certificates ----


Cert = namedtuple("Cert", "der cn key serial")
CA_USE = (basic(True), key_usage("keyCertSign", "cRLSign"))
_serial, _authority = itertools.count(0x1000), itertools.count(1)
LEAF_KEY = key()


def certificate(cn, by, extensions=(), key=LEAF_KEY, version=3, serial=None, begin=NOW - DAY, end=NOW + 365 * DAY,
                generalized=False, digest=None, broken=False, inner=None, outer=None, dates=None):
    """One with CN, signed by the Cert BY (None: by itself).

    EXTENSIONS are in it besides the key identifiers. DIGEST: what signs instead of what is usual ("rsa-md5").
    BROKEN: its signature is of something else. INNER and OUTER: the algorithms that are named in and behind what
    is signed. DATES: both, as DER."""
    issuer_key = key if by is None else by.key
    algorithm = digest or issuer_key.sign_by
    serial = next(_serial) if serial is None else serial
    dates = dates or when(begin, generalized) + when(end, generalized)
    extra = b"" if version < 3 else tlv(0xa3, seq(*extensions, *key_ids(key, issuer_key)))
    tbs = seq(tlv(0xa0, integer(version - 1)) if version > 1 else b"", integer(serial),
              ALGORITHMS[inner or algorithm], name(cn if by is None else by.cn), seq(dates), name(cn), key.spki, extra)
    signature = sign(issuer_key, tbs + b"x" if broken else tbs, algorithm)
    return Cert(seq(tbs, ALGORITHMS[outer or algorithm], bits(signature)), cn, key, serial)


def authority(cn, by, *extensions, **kw):
    """A CA with a key of its own, and EXTENSIONS in the place of the usual ones where there are any."""
    kw.setdefault("key", key("p256", next(_authority)))
    return certificate(cn, by, extensions or CA_USE, **kw)


def crl(by, revoked=(), begin=NOW - DAY, end=NOW + 365 * DAY, extensions=()):
    """A revocation list in PEM."""
    algorithm = by.key.sign_by
    entries = seq(*(seq(integer(c.serial), when(begin)) for c in revoked)) if revoked else b""
    tbs = seq(integer(1), ALGORITHMS[algorithm], name(by.cn), when(begin), when(end), entries,
              tlv(0xa0, seq(*extensions)) if extensions else b"")
    return pem("X509 CRL", seq(tbs, ALGORITHMS[algorithm], bits(sign(by.key, tbs, algorithm))))


def to_pem(*certs):
    return "".join(pem("CERTIFICATE", c.der) for c in certs)


def write(directory, file_name, text):
    path = os.path.join(str(directory), file_name)
    with open(path, "w") as f:
        f.write(text)
    return path


def server_context(directory, chain):
    """For a server that shows CHAIN, the leaf first, as it is, however weak."""
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ctx.set_ciphers("ALL:@SECLEVEL=0")
    path = write(directory, "shown.pem", to_pem(*chain) + chain[0].key.pem)
    ctx.load_cert_chain(path)
    return ctx
