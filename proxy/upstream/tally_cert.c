/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates of origins: see tally_cert.h. At most TALLY_NAMES of them, made as they are seen. */
#include "upstream/tally_cert.h"

#include <pthread.h>

#include "net/tls_client.h"
#include "upstream/tally.h"

static struct {
    pthread_mutex_t lock; /* guards the rest */
    struct tally_cert *of[TALLY_NAMES];
} certs = {.lock = PTHREAD_MUTEX_INITIALIZER};

void tally_cert_note(unsigned i, const struct stream *s)
{
    struct tally_cert seen;
    if (i >= TALLY_NAMES)
        return;
    tls_client_names(s, seen.subject, seen.issuer, sizeof(seen.subject));
    if (seen.issuer[0] == '\0')
        return;
    pthread_mutex_lock(&certs.lock);
    if (certs.of[i] == NULL)
        certs.of[i] = xcalloc(1, sizeof(seen));
    *certs.of[i] = seen;
    pthread_mutex_unlock(&certs.lock);
}

bool tally_cert_get(unsigned i, struct tally_cert *cert)
{
    pthread_mutex_lock(&certs.lock);
    /* Without an end it is that of the name which had the place before. */
    bool is_there = i < TALLY_NAMES && certs.of[i] != NULL && tally_expiry(i) != 0;
    if (is_there)
        *cert = *certs.of[i];
    pthread_mutex_unlock(&certs.lock);
    return is_there;
}
