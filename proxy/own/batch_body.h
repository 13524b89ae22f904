/* SPDX-License-Identifier: Apache-2.0 */
/* The long bodies of an element, decoded piece by piece, and what is left of the element. */
#ifndef TLSFAN_OWN_BATCH_BODY_H
#define TLSFAN_OWN_BATCH_BODY_H

#include "base/base64.h"
#include "own/batch_scan.h"
#include "own/json_text.h"

/* All zero before the first call. */
struct batch_body {
    char *bytes; /* heap; whoever takes it over sets it to NULL. NULL: no body is long */
    size_t len;
    bool is_bad_base64;
    unsigned member; /* enum batch_member: the one that is decoded */
    size_t done;     /* bytes of it */
    struct base64 base64;
    struct json_unescape text; /* text.wrong: WHOLE is no JSON, at WRONG_AT */
    size_t wrong_at;
};

/* Decodes what S cut out of WHOLE, at most *LEFT bytes of it, which becomes less. True when it is
 * done, or wrong. */
MUST_CHECK bool batch_body_step(struct batch_body *b, const struct batch_scan *s, struct str whole,
                                size_t *left);

/* Bytes of the element without what was cut out, and these with empty strings in place of it; heap.
 */
size_t batch_rest_size(const struct batch_scan *s);
char *batch_rest(const struct batch_scan *s, struct str whole);
/* Where in WHOLE byte AT of the rest was. */
size_t batch_rest_place(const struct batch_scan *s, size_t at);

#endif
