/* SPDX-License-Identifier: Apache-2.0 */
/* Places on the service listener. Who client.allow names is a member; everybody else, and a
 * member who finds all places taken, is a guest, with a few places of their own and the health
 * checks alone. A guest always gets in: another one goes for it, one of those who come from the
 * address that has most. So a health check is answered whoever fills the listener. */
#ifndef TLSFAN_SERVICE_PLACES_H
#define TLSFAN_SERVICE_PLACES_H

#include "service/caller.h"

void places_init(struct places *p);
/* K, whose peer is known, gets a place; the connection of another one may be freed for it. */
void places_take(struct caller *k);
/* Idempotent. */
void places_leave(struct caller *k);

/* False with F when K is a guest and PAGE (NULL: there is none) is no health check; FAULT_DENIED,
 * or FAULT_LIMIT for who might be a member. */
MUST_CHECK bool places_may_ask(struct caller *k, const struct page *page, struct fault *f);

#endif
