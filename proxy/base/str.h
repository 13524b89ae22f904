/* SPDX-License-Identifier: Apache-2.0 */
/* Borrowed byte strings: pointer and length, not terminated, never owned. */
#ifndef TLSFAN_BASE_STR_H
#define TLSFAN_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Functions whose result must not be dropped: it says failure, or that an argument was closed. */
#define MUST_CHECK             __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

struct str {
    const char *p; /* may be NULL when len is 0 */
    size_t len;    /* bytes */
};

/* A struct str of a string literal, and of a literal in a static initialiser. */
#define STR(lit) ((struct str){(lit), sizeof(lit) - 1})
/* clang-format off */
#define STR_INIT(lit) {(lit), sizeof(lit) - 1}
/* clang-format on */
/* For "%.*s". */
#define STR_ARG(s) (int)(s).len, (s).p

static inline struct str str_make(const char *p, size_t len)
{
    return (struct str){p, len};
}

/* Of a terminated string; NULL gives the empty one. */
static inline struct str str_from(const char *z)
{
    return z == NULL ? (struct str){NULL, 0} : (struct str){z, strlen(z)};
}

/* White space inside a line. */
static inline bool str_is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Byte for byte. */
static inline bool str_eq(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

/* ASCII letters in any case. */
bool str_ieq(struct str a, struct str b);
bool str_starts(struct str s, struct str prefix);
bool str_istarts(struct str s, struct str prefix);
bool str_iends(struct str s, struct str suffix);

/* The part of S from byte FROM on; empty beyond its end. */
struct str str_from_byte(struct str s, size_t from);

/* Position of C, or S.len. */
size_t str_find(struct str s, char c);

/* Without the SP and HTAB at both ends (OWS, RFC 9110 §5.6.3). */
struct str str_trim(struct str s);

/* Takes the next element off a comma list (RFC 9110 §5.6.1) into ITEM, trimmed; quoted strings are
 * kept whole, empty elements skipped. False at the end. str_next_part() is the same for another
 * separator. */
bool str_next_item(struct str *list, struct str *item);
bool str_next_part(struct str *list, char separator, struct str *item);

/* True when the comma list LIST holds TOKEN, in any case. */
bool str_has_token(struct str list, struct str token);

/* Digits only, at least one; false when there is anything else or it does not fit. OUT is set on
 * true. */
MUST_CHECK bool str_to_u64(struct str s, uint64_t *out);
MUST_CHECK bool str_hex_to_u64(struct str s, uint64_t *out);

/* Writes V in decimal (20 bytes at most) or lower-case hex (16), no terminator; gives the bytes
 * written. */
size_t str_put_u64(char *dst, uint64_t v);
size_t str_put_hex(char *dst, uint64_t v);

/* Copies SRC lower-cased to DST, which has room for SRC.len bytes; gives DST as a str. */
struct str str_lower(char *dst, struct str src);

/* What a peer wrote, made fit for a log line or a field value: at most 200 bytes of SRC, bytes
 * outside printable ASCII, double quotes and backslashes as \xHH, always terminated. DST holds CAP
 * >= 4 bytes. */
const char *str_escape(char *dst, size_t cap, struct str src);

#endif
