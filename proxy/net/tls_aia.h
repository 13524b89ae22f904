/* SPDX-License-Identifier: Apache-2.0 */
/* Where a certificate says that its issuer's is to be found (RFC 5280 section 4.2.2.1), and what is
 * found there. Both are written by somebody who is not known: nothing here believes a word. */
#ifndef TLSFAN_NET_TLS_AIA_H
#define TLSFAN_NET_TLS_AIA_H

#include <openssl/x509.h>

#include "base/str.h"

enum {
    TLS_AIA_URLS = 2,    /* of one certificate that are looked at */
    TLS_AIA_TEXT = 512,  /* bytes of a URL */
    TLS_AIA_CERTS = 8,   /* of one answer that are looked at */
    TLS_AIA_BODY = 65536 /* bytes of an answer */
};

/* http://HOST[:80]/PATH, without userinfo, query and fragment, in printable ASCII. Terminated. */
struct tls_aia_url {
    char text[TLS_AIA_TEXT + 1]; /* all of it, the host in lower case: what it is known by */
    char host[TLS_AIA_TEXT + 1]; /* lower case, no dot at its end, IPv6 without brackets */
    char path[TLS_AIA_TEXT + 2]; /* begins with "/" */
    bool is_ip;
};

/* The caIssuers of CERT that can be asked, the first of them; gives how many. */
unsigned tls_aia_urls(X509 *cert, struct tls_aia_url urls[TLS_AIA_URLS]);

/* The certificates of a body: DER, PEM, or a PKCS#7 of certificates alone in either. NULL: it holds
 * none that can be read, or one that would cost too much to look into. */
STACK_OF(X509) * tls_aia_read(struct str body);

#endif
