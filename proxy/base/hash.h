/* SPDX-License-Identifier: Apache-2.0 */
/* Hash tables: uthash, with a hash function under a key that is made anew at each start. Clients
 * and origins choose names that become keys (hosts, users, addresses); with a function that
 * everybody can compute they could choose thousands that fall into one bucket, and each look-up
 * would walk them all. Whoever needs a table includes this file and never <uthash.h> (tests/lint).
 *
 * With chains that are long all the same uthash stops making a table larger ("noexpand"): with a
 * keyed hash that is chance, and needs no remedy. */
#ifndef TLSFAN_BASE_HASH_H
#define TLSFAN_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"

#define HASH_FUNCTION(p, n, hash) ((hash) = (unsigned)hash_bytes((p), (n)))
#define uthash_malloc(size)       xmalloc(size)
#define uthash_free(p, size)      free(p)
#include <uthash.h> /* behind what it is told */

/* Draws the key from the system; before the first table is made, and before there are threads.
 * Until then it is zero, as in tests that want the same each time. */
void hash_init(void);

/* SipHash-1-3 of N bytes at P under the key. */
uint64_t hash_bytes(const void *p, size_t n);

#endif
