/* SPDX-License-Identifier: Apache-2.0 */
/* Who is let in to the service listener. Whom client.allow names is a member, as long as there are
 * not too many. Everybody else is a guest: gets the health checks alone, and there may be a few of
 * them. A guest always gets in; another one goes for it, one of those who come from the address
 * that has most. So a health check is answered whoever fills the listener. */
#ifndef TLSFAN_SERVICE_ADMISSION_H
#define TLSFAN_SERVICE_ADMISSION_H

#include "service/service_conn.h"

void admission_init(struct admission *a);
/* Lets in C, whose peer is known; the connection of another one may be freed for it. */
void admission_take(struct service_conn *c);
/* Idempotent. */
void admission_leave(struct service_conn *c);

/* False with F when C is a guest and PAGE (NULL: there is none) is no health check; FAULT_DENIED,
 * or FAULT_LIMIT for who might be a member. */
MUST_CHECK bool admission_may_ask(struct service_conn *c, const struct page *page, struct fault *f);

#endif
