/* SPDX-License-Identifier: Apache-2.0 */
/* What a token endpoint answers (RFC 6749 §5). */
#ifndef TLSFAN_OWN_TOKEN_READ_H
#define TLSFAN_OWN_TOKEN_READ_H

#include "base/fault.h"
#include "conf/oauth.h"

struct token_answer {
    struct str token;   /* p NULL: `fault` says why there is none */
    int64_t lifetime;   /* ms */
    struct fault fault; /* with the endpoint's own words, but for those that repeat the secret */
};

/* What TEXT, an answer with STATUS to a request of O, says. The token is in ARENA. */
void token_read(struct token_answer *a, const struct oauth_conf *o, unsigned status,
                struct str text, struct arena *arena);

#endif
