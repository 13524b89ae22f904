/* SPDX-License-Identifier: Apache-2.0 */
/* Which requests an answer that was fetched ahead may be for: the key has all that decides it, byte
 * for byte, so that none ever reaches another client or another request. */
#ifndef TLSFAN_OWN_AHEAD_KEY_H
#define TLSFAN_OWN_AHEAD_KEY_H

#include "own/fetch.h"

enum { AHEAD_KEY_MAX = 16384 }; /* bytes; with more nothing is fetched ahead */

/* X is a GET that may be part of a walk: no body, nothing conditional or partial, no wish for a
 * fresh answer. */
bool ahead_may(const struct exchange *x);

/* What X is, borrowed from it. */
struct fetch_like ahead_like(const struct exchange *x);

/* Who asks (the address without its port, and the credentials that let it in), the snapshot, where
 * it goes, and each field but Via, then LAST: the target, or its shape. In the arena of X; len 0:
 * it would be too long. */
struct str ahead_key(struct exchange *x, const struct fetch_like *like, struct str last);

/* What the keys of all that is asked of this origin from X's address begin with, by whomever and
 * with whatever fields; len 0 as above. */
struct str ahead_key_begin(struct exchange *x, const struct fetch_like *like);

/* KEY, whose last part has OLD bytes, with LAST instead, at DST; gives its length, at most that of
 * both. */
size_t ahead_key_with(char *dst, struct str key, size_t old, struct str last);

#endif
