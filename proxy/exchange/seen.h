/* SPDX-License-Identifier: Apache-2.0 */
/* The fields of a request and of its answer for the live page: names and sizes, and values with
 * log.fields. Credentials never: what HTTP calls so, what a rule put in, what sounds or looks like
 * it; in URLs neither userinfo nor, unless log.query, what follows the path.
 *
 * A section is written as bytes that rings take and another thread reads. They are noted of
 * failures always, of others while somebody watches: engine->credit. */
#ifndef TLSFAN_EXCHANGE_SEEN_H
#define TLSFAN_EXCHANGE_SEEN_H

#include "base/list.h"
#include "http/fields.h"

struct conf;
struct exchange;
struct rule;

enum {
    SEEN_FIELDS = 48, /* of a section that are noted; further ones are counted */
    SEEN_NAME = 64,   /* bytes of each that are kept */
    SEEN_VALUE = 200,
    SEEN_SECTION = 3072,          /* bytes of a section, as written, at most */
    SEEN_ROOM = 2 * SEEN_SECTION, /* the request's, and the answer's behind it */
    SEEN_CREDIT = 100             /* exchanges of a worker that are noted for one look at them */
};

/* What an exchange keeps for it. */
struct seen {
    struct list link;  /* in engine->running or engine->tunnels */
    struct str answer; /* the section of its answer, in its arena; empty: it was not noted */
    uint64_t body;     /* bytes of the answer's body, as the source was given them */
    unsigned position; /* on the connection of its source, from 1 */
};

/* Whose fields they are. */
struct seen_how {
    const struct conf *conf;
    const struct rule *rule;   /* that may have put some in; NULL: none */
    const struct fields *sent; /* the request's, of which an answer may repeat secrets; or NULL */
};

/* Writes the section of F to DST (SEEN_SECTION bytes); gives its size. */
size_t seen_write(char *dst, const struct fields *f, const struct seen_how *how);

/* The answer of X, which may be shown, has the head fields F, as they came from its origin. */
void seen_note_answer(struct exchange *x, const struct fields *f);
/* Both sections of X, that of the request first; the second may be missing. */
struct seen_heads {
    uint16_t len;
    char bytes[SEEN_ROOM + 6]; /* rings give whole words */
};
/* Gives how many bytes of H are used. */
size_t seen_write_both(struct seen_heads *h, const struct exchange *x);

/* ---- reading, for service/ */

/* One field. Slices point into the section. */
struct seen_field {
    struct str name, value; /* value.p NULL: it is not there */
    int64_t size;           /* bytes of the whole value; -1: a rule has put it in */
    bool is_hidden;         /* it may be a credential */
    bool is_cut;            /* the value is longer */
};

/* Takes the beginning of a section off SECTIONS: *N fields follow, and *MORE were left out. False:
 * there is none. */
MUST_CHECK bool seen_section(struct str *sections, unsigned *n, unsigned *more);
/* Then each of its N fields. False: it is broken. */
MUST_CHECK bool seen_next(struct str *sections, struct seen_field *field);

#endif
