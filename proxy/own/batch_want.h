/* SPDX-License-Identifier: Apache-2.0 */
/* One request of a batch: from an element of the array, or a line of the text, to the bytes of a
 * request head, which then goes through the same parser as a client's. */
#ifndef TLSFAN_OWN_BATCH_WANT_H
#define TLSFAN_OWN_BATCH_WANT_H

#include "base/str.h"

/* One request. What is wrong with one of them is its own error, not the call's. */
struct batch_want {
    char *head; /* heap: a request head as a client would send it; NULL with `wrong` */
    size_t head_len;
    char *body; /* heap; NULL: none */
    size_t body_len;
    char *id;           /* heap: the id as JSON; NULL: none was given */
    char *name;         /* heap: the id as a Content-ID may hold it; NULL: none was given */
    char *wrong;        /* heap: a sentence; NULL: nothing is wrong */
    int64_t timeout_ms; /* 0: none */
};

/* An element of the array. */
struct batch_element {
    struct str text;    /* as it stands there, but "" in place of a long body */
    size_t memory;      /* bytes that parsing it may take */
    bool is_bad_base64; /* the long body is none */
    size_t wrong_at;    /* when it is no JSON: the byte of TEXT, and why */
    char why[160];
};

/* Fills W, which is zero but for the long body. False: it is no JSON. */
MUST_CHECK bool batch_want_element(struct batch_want *w, struct batch_element *e);
/* The same for a line of text: URL, which may have MAX bytes. */
void batch_want_line(struct batch_want *w, struct str url, size_t max);
/* Frees what W holds; it is then as if nothing had been asked for. */
void batch_want_clear(struct batch_want *w);

#endif
