/* SPDX-License-Identifier: Apache-2.0 */
/* Which rules may share what is made for TLS: those whose keys that decide it are equal. The keys
 * are found in the table of keys by their mark, so that none can be forgotten. */
#ifndef TLSFAN_CONF_TLS_KEY_H
#define TLSFAN_CONF_TLS_KEY_H

#include "conf/keys.h"
#include "conf/sections.h"

/* The values that R has of the keys which decide WHAT, as a text: it is equal for two rules just
 * when each of these values is. Heap, owned by the caller. */
char *tls_key(const struct rule *r, enum key_decides what);

#endif
