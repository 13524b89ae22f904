/* SPDX-License-Identifier: Apache-2.0 */
/* A parent: the proxy through which origins are reached. */
#ifndef TLSFAN_CONF_PARENT_H
#define TLSFAN_CONF_PARENT_H

#include "conf/secret_store.h"
#include "conf/secret_text.h"

/* In the arena of a snapshot; rules that inherit it share it. */
struct parent {
    const char *host; /* a name, with a dot at its end where it means that one alone, or an address
                         without brackets */
    uint16_t port;
    const char *shown; /* "HOST:PORT", for sentences */
    const char *auth;  /* value of Proxy-Authorization; NULL: none. Never shown nor logged */
    const char *user;
    struct secret_text password; /* {file:PATH} or {env:NAME}; empty: it stood in the URL, if any */
};

/* Parses "http://[user:password@]HOST:PORT" to P, in ARENA: all but the field of a password that is
 * elsewhere. False with a reason that has nothing of user and password in it; ERR may be NULL. */
MUST_CHECK bool parent_parse(struct arena *arena, struct str text, struct parent *p, char *err);

/* PASSWORD is what P's stands for. The field goes to STORE. */
void parent_finish(struct parent *p, const char *password, struct secret_store *store);

/* TEXT, the URL of a parent or not, without a user and password that stand in it. Heap,
 * caller-owned. */
char *parent_mask(struct str text);

#endif
