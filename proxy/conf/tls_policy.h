/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked of TLS with an origin: the section `tls`, and a rule's keys of the same. Every
 * pointer inside is owned by the snapshot. */
#ifndef TLSFAN_CONF_TLS_POLICY_H
#define TLSFAN_CONF_TLS_POLICY_H

#include <stdbool.h>

/* SHA-256 of a SubjectPublicKeyInfo. */
struct pin {
    unsigned char sha256[32];
};

struct list_of_pins {
    struct pin *v;
    unsigned n;
};

/* All that decides a TLS handshake but the host: conf/keys.c marks which keys do. */
struct tls_policy {
    bool verify;
    bool session_resumption;
    const char *ca_file, *ca_dir, *ca_extra, *crl_file; /* "" = none */
    const char *client_cert, *client_key;
    const char *ciphers, *ciphersuites;
    const char *keylog;
    int min_version;    /* 0x0301 .. 0x0304, as in the protocol */
    int security_level; /* OpenSSL's and 1: 1 .. 6; 0: the one that OpenSSL has been set up with */
    bool legacy_renegotiation; /* servers without RFC 5746 are taken */
    bool fetch_intermediates;  /* an issuer that is not there may be got: upstream/issuer.h */
    struct list_of_pins pins;  /* one of the verified chain must be among them; n = 0: any */
    void *ctx; /* struct tls_ctx, made by net/tls_ctx.c before workers see the snapshot */
};

#endif
