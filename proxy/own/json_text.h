/* SPDX-License-Identifier: Apache-2.0 */
/* Strings of JSON (RFC 8259 §7) piece by piece: a long one is never written or read in one go. */
#ifndef TLSFAN_OWN_JSON_TEXT_H
#define TLSFAN_OWN_JSON_TEXT_H

#include "base/str.h"

/* UTF-8 (RFC 3629) that comes in pieces; all zero before the first. */
struct utf8 {
    uint8_t left;      /* bytes that the character still lacks */
    uint8_t low, high; /* bounds of the next one */
};

/* False when S, behind what came before, is no UTF-8. */
MUST_CHECK bool utf8_take(struct utf8 *u, struct str s);
/* No character was cut by the end. */
static inline bool utf8_is_whole(const struct utf8 *u)
{
    return u->left == 0;
}

enum { JSON_ESCAPED_MAX = 6 }; /* bytes that one byte may become */

/* Writes UTF-8 as it stands between the quotes to DST, which has room for JSON_ESCAPED_MAX times
 * its length; gives the bytes written. A character may be cut. */
size_t json_escape(char *dst, struct str s);

/* What stands between the quotes of a string, that comes in pieces; all zero before the first. */
struct json_unescape {
    struct utf8 utf8;
    uint8_t digits;     /* of \uXXXX that are still to come */
    bool is_escape;     /* behind a backslash */
    uint16_t code;      /* of the digits that have come */
    uint16_t surrogate; /* the first half of a pair; 0: none */
    size_t at;          /* bytes that were read and are right */
    const char *wrong;  /* what is wrong with the next one, when something is */
};

/* Writes what S means to DST, which has room for S.len + 4 bytes; gives the bytes written, together
 * no more than those that were read. U->wrong is set when it is no string of JSON. */
size_t json_unescape(struct json_unescape *u, char *dst, struct str s);
/* True when the string may end here; else U->wrong is set. */
MUST_CHECK bool json_unescape_end(struct json_unescape *u);

#endif
