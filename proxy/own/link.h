/* SPDX-License-Identifier: Apache-2.0 */
/* The Link field (RFC 8288): which page is the next one. Pure. */
#ifndef TLSFAN_OWN_LINK_H
#define TLSFAN_OWN_LINK_H

#include "base/mem.h"

/* The first link of VALUE whose relation types have "next", in any case; URI is a slice of VALUE,
 * as written. One with an anchor speaks of another page and is passed over. */
MUST_CHECK bool link_next(struct str value, struct str *uri);

/* REF without scheme and authority, seen from BASE (path and query), as path and query, which may
 * be slices or in ARENA (RFC 3986 §5.2). False for any other REF, for one that leads to BASE itself
 * by being empty, and for bytes that no target has. */
MUST_CHECK bool link_resolve(struct arena *arena, struct str base, struct str ref,
                             struct str *target);

#endif
