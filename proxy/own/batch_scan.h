/* SPDX-License-Identifier: Apache-2.0 */
/* Where an element of a batch's array ends, looked for piece by piece before a parser sees it; and
 * the long strings in it that are a body, which no parser needs to see. Judges nothing. */
#ifndef TLSFAN_OWN_BATCH_SCAN_H
#define TLSFAN_OWN_BATCH_SCAN_H

#include "base/str.h"

enum batch_member { BATCH_PLAIN, BATCH_BASE64, BATCH_MEMBERS }; /* "body", "body_base64" */

struct batch_cut {
    size_t begin, end; /* what is between the quotes; end 0: none */
};

struct batch_scan {
    size_t begin, at;            /* of the element; bytes of the whole that have been looked at */
    unsigned depth;              /* brackets and braces that are open */
    bool is_string;              /* inside one */
    bool is_escaped;             /* behind a backslash */
    size_t string;               /* where it begins */
    enum batch_member last, key; /* names of members: the last string, and whose value comes */
    struct batch_cut cuts[BATCH_MEMBERS];
};

/* An element begins at BEGIN. */
void batch_scan_init(struct batch_scan *s, size_t begin);
/* Looks at at most N bytes more of WHOLE. True when the element ends at S->at, or WHOLE does. */
bool batch_scan_step(struct batch_scan *s, struct str whole, size_t n);

#endif
