/* SPDX-License-Identifier: Apache-2.0 */
/* The reason phrase of an answer of tlsfan's own: what happened in a few words, for the many
 * programs that print nothing else of it. */
#ifndef TLSFAN_EXCHANGE_PHRASE_H
#define TLSFAN_EXCHANGE_PHRASE_H

#include "base/fault.h"

enum { PHRASE_MAX = 80 }; /* bytes */

/* The phrase of F with HOST (p NULL: none is known) in its place, in DST of PHRASE_MAX bytes.
 * Printable ASCII, whatever HOST is: what no host name has in it is not shown, and of a long one
 * only the end is, which says whose it is. */
struct str phrase_make(char *dst, const struct fault *f, struct str host);

#endif
