/* SPDX-License-Identifier: Apache-2.0 */
/* What the operator is told of a configuration that comes into use. Main thread. */
#ifndef TLSFAN_NOTICE_H
#define TLSFAN_NOTICE_H

#include "listen.h"

/* Rules that are easily forgotten: verify = off, upgrade = off. Each time. */
void notice_rules(const struct conf *c);

/* Which of PLACES, those of C, are new, and which of OLD are gone. */
void notice_places(const struct listen_set *places, const struct listen_set *old,
                   const struct conf *c);

/* That there will be fewer clients than C wants, as descriptors do not suffice for more. */
void notice_descriptors(const struct conf *c);

/* Keys that are taken at start only and which C, about to come after RUNNING, has otherwise: they
 * are told, and C gets RUNNING's values, as these hold on. */
void notice_at_start(struct conf *c, const struct conf *running);

#endif
