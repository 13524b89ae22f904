/* SPDX-License-Identifier: Apache-2.0 */
/* Writing lines by hand, for they are on every request's path: a pen writes within its room, and
 * what does not fit is left out. Here, and not in a file of its own, to be inlined. */
#ifndef TLSFAN_EXCHANGE_PEN_H
#define TLSFAN_EXCHANGE_PEN_H

#include "base/str.h"

/* On its maker's stack. */
struct pen {
    char *p;     /* where the next byte goes; borrowed */
    char *end;   /* of the room */
    bool is_raw; /* what others wrote is kept as it is: who prints it escapes it */
};

/* As they are. */
static inline void pen_bytes(struct pen *w, const char *p, size_t n)
{
    if (n > (size_t)(w->end - w->p))
        n = (size_t)(w->end - w->p);
    if (n > 0)
        memcpy(w->p, p, n);
    w->p += n;
}

static inline void pen_text(struct pen *w, const char *z)
{
    pen_bytes(w, z, strlen(z));
}

/* In decimal. */
static inline void pen_number(struct pen *w, uint64_t v)
{
    char digits[20];
    pen_bytes(w, digits, str_put_u64(digits, v));
}

/* What others wrote: quotes, backslashes and what is not printable ASCII as \u00HH, good in JSON
 * and in common lines. */
static inline void pen_escaped(struct pen *w, struct str s)
{
    static const char hex[] = "0123456789abcdef";
    size_t from = 0;
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\')
            continue;
        char u[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
        pen_bytes(w, s.p + from, i - from);
        pen_bytes(w, u, sizeof u);
        from = i + 1;
    }
    if (from < s.len)
        pen_bytes(w, s.p + from, s.len - from);
}

/* What others wrote, the way of W. */
static inline void pen_part(struct pen *w, struct str s)
{
    if (w->is_raw)
        pen_bytes(w, s.p, s.len);
    else
        pen_escaped(w, s);
}

#endif
