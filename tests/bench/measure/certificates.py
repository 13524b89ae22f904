# SPDX-License-Identifier: Apache-2.0
"""A CA, an ECDSA P-256 certificate for the origin, and a CA that signed nothing."""

from .common import NAME, run_quiet

KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def make_ca(directory, name):
    run_quiet("openssl", "req", "-x509", *KEY, "-days", "2", "-subj", f"/CN=bench {name}",
              "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign",
              "-keyout", f"{directory}/{name}.key", "-out", f"{directory}/{name}.pem")


def make(directory):
    """Handshakes cost all proxies the same: one chain, one kind of key."""
    directory.mkdir()
    directory.chmod(0o755)
    make_ca(directory, "ca")
    make_ca(directory, "other")
    run_quiet("openssl", "req", *KEY, "-subj", f"/CN={NAME}", "-keyout", f"{directory}/origin.key",
              "-out", f"{directory}/origin.csr")
    (directory / "ext").write_text(f"subjectAltName=DNS:{NAME},DNS:*.{NAME}\nbasicConstraints=CA:FALSE\n"
                                   "extendedKeyUsage=serverAuth\n")
    run_quiet("openssl", "x509", "-req", "-in", f"{directory}/origin.csr", "-CA", f"{directory}/ca.pem",
              "-CAkey", f"{directory}/ca.key", "-days", "2", "-extfile", f"{directory}/ext",
              "-out", f"{directory}/origin.pem")
