/* SPDX-License-Identifier: Apache-2.0 */
/* What a certificate says about names, where OpenSSL's own judgement is not all: dNSNames that it
 * reads too narrowly, and name constraints (RFC 5280 §4.2.1.10) held against the name that was
 * asked for, not only against what the certificate holds. */
#ifndef TLSFAN_NET_TLS_NAMES_H
#define TLSFAN_NET_TLS_NAMES_H

#include <openssl/x509v3.h>

#include "base/str.h"

/* A name as certificates hold them. The bytes are borrowed. */
struct tls_name {
    bool is_ip;
    struct str v; /* a host name without a dot at its end, or the 4 or 16 bytes of an address */
};

/* G as such a name; false when it is of a kind that names no server. */
bool tls_names_take(const GENERAL_NAME *g, struct tls_name *name);

/* For a host name that OpenSSL did not find in CERT: true when a dNSName of it is that name all the
 * same. A dot at its end counts for nothing, and "*." stands for one label that may hold an
 * underscore, as may the labels behind it; there are two of those at least. */
MUST_CHECK bool tls_names_match(X509 *cert, struct str host);

/* The place among CERTS, which somebody has shown, of one that is not to be looked into; -1: there
 * is none. To be asked before anything of OpenSSL does that. */
MUST_CHECK int tls_names_costly(STACK_OF(X509) * certs);

enum tls_limit {
    TLS_LIMIT_NONE,         /* it may issue for that name */
    TLS_LIMIT_EXCLUDED,     /* its constraints exclude the name */
    TLS_LIMIT_NOT_PERMITTED /* they permit others alone, or cannot be read */
};

/* What the constraints of CA say about NAME. */
MUST_CHECK enum tls_limit tls_names_limit(X509 *ca, struct tls_name name);
/* The same of its constraints, for many names: to read them takes long where they are many. */
MUST_CHECK enum tls_limit tls_names_limit_by(const NAME_CONSTRAINTS *c, struct tls_name name);

#endif
