/* SPDX-License-Identifier: Apache-2.0 */
/* Which certificate the origin of a place (tally.h) has shown last. Any thread; a lock that is held
 * for a copy, once a connection. */
#ifndef TLSFAN_UPSTREAM_TALLY_CERT_H
#define TLSFAN_UPSTREAM_TALLY_CERT_H

#include "net/stream.h"

struct tally_cert {
    char subject[240], issuer[240]; /* printable ASCII */
};

/* A connection to the origin of place I is there: keeps what it has shown, if it is TLS. Not of
 * TALLY_OTHER. */
void tally_cert_note(unsigned i, const struct stream *s);
/* False: none was seen. */
MUST_CHECK bool tally_cert_get(unsigned i, struct tally_cert *cert);

#endif
