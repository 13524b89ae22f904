/* SPDX-License-Identifier: Apache-2.0 */
/* What tls: listeners show and demand: one SSL_CTX a snapshot, made when it is loaded, so that `-t`
 * and a reload find faults before a worker sees them. Connections keep the one they began with;
 * tickets that were given under an older one are not taken: nobody goes on as whom another
 * client.client_ca would not let in. */
#ifndef TLSFAN_NET_TLS_LISTENER_H
#define TLSFAN_NET_TLS_LISTENER_H

#include "conf/conf.h"
#include "conf/conf_fault.h"

/* Makes C->client.tls, where client.cert and client.key are set: TLS 1.2 and 1.3, HTTP/1 by ALPN
 * (RFC 7301), the whole chain of the file, EC or RSA, no renegotiation. With client.client_ca a
 * client shows a certificate for that purpose which leads to one of those, a root or not, over
 * TLS_LISTENER_DEPTH others at most. A certificate that has expired is warned of. False with faults
 * about the files: unreadable, not its key, a key that others can read. */
MUST_CHECK bool tls_listener_make(struct conf *c, struct conf_faults *faults);
/* For conf->on_free. */
void tls_listener_free(struct conf *c);

enum { TLS_LISTENER_DEPTH = 5 };

#endif
