/* SPDX-License-Identifier: Apache-2.0 */
/* Who gets a place among the clients, judged as soon as a connection is accepted and before
 * anything is done for it. */
#ifndef TLSFAN_CLIENT_ADMIT_H
#define TLSFAN_CLIENT_ADMIT_H

#include "client/client.h"

/* True: FD may be served, and is counted in cs->total. False: it is ours no more; its peer gets an
 * answer and no place: 403 when client.allow does not have it, 503 when there are too many, or when
 * descriptors are used up and no idle connection to an origin can be given up for it. */
MUST_CHECK bool admit_client(struct clients *cs, int fd, const struct addr *peer,
                             const struct client_listener *l);

#endif
