/* SPDX-License-Identifier: Apache-2.0 */
/* A section oauth "NAME": where an access token comes from, by the client credentials of RFC 6749
 * §4.4. What is sent there is made as the snapshot is. */
#ifndef TLSFAN_CONF_OAUTH_H
#define TLSFAN_CONF_OAUTH_H

#include "conf/conf.h"
#include "conf/conf_fault.h"

/* Owner: the snapshot. */
struct oauth_conf {
    const char *name, *where;
    const char *url;  /* of the token endpoint: https:// */
    const char *host; /* of it, lower case */
    uint16_t port;
    const char *client_id, *scope, *audience; /* "": none */
    struct secret_text secret;
    const char *secret_where;
    bool in_body;                     /* client_id and client_secret; else by Basic */
    const struct secret_store *store; /* of the snapshot */
    const char *value;                /* of the secret */
    struct str encoded;               /* the same as a form has it */
    /* What is sent, secrets of the snapshot. */
    struct str authorization; /* the field's value; empty: in the body */
    struct str body;          /* the form */
};

/* NULL: there is none. */
const struct oauth_conf *oauth_find(const struct conf *c, const char *name);
/* They ask for the same token in the same way. */
bool oauth_is_same(const struct oauth_conf *a, const struct oauth_conf *b);

/* Checks O, which has all that was written. False with a fault. */
MUST_CHECK bool oauth_check(const struct oauth_conf *o, const struct conf *c,
                            struct conf_faults *faults);
/* Makes what is sent, with SECRET, which lasts as long as O. */
void oauth_finish(struct oauth_conf *o, const char *secret, struct secret_store *store);

#endif
