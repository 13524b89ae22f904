/* SPDX-License-Identifier: Apache-2.0 */
/* Secrets in memory that is cleared when it is freed. */
#ifndef TLSFAN_CONF_SECRET_STORE_H
#define TLSFAN_CONF_SECRET_STORE_H

#include "base/hash.h"
#include "base/mem.h"

/* One of them. */
struct secret_bytes {
    UT_hash_handle hh;         /* of one with a name, in store->named */
    struct secret_bytes *next; /* in store->all */
    char *name;                /* "file:PATH", "env:NAME"; NULL: what was made of such ones */
    size_t len;
    char text[]; /* terminated */
};

/* Zero-initialised. Owner: the snapshot. */
struct secret_store {
    struct secret_bytes *named; /* uthash */
    struct secret_bytes *all;
};

/* LEN bytes that are 0, to be filled in. */
struct secret_bytes *secret_room(struct secret_store *s, size_t len);
/* A copy of TEXT. */
struct secret_bytes *secret_new(struct secret_store *s, struct str text);
/* B is called NAME from now on. */
void secret_name(struct secret_store *s, struct secret_bytes *b, const char *name);
/* NULL: there is none. */
const struct secret_bytes *secret_find(const struct secret_store *s, const char *name);
/* TEXT has one of those with a name in it. */
bool secret_store_is_told(const struct secret_store *s, struct str text);
void secret_store_clear(struct secret_store *s);

/* Text on the heap that was in use for a moment: overwritten and freed; NULL is harmless. */
void secret_free(char *text);

#endif
