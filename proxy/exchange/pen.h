/* SPDX-License-Identifier: Apache-2.0 */
/* Writing lines by hand, for they are on every request's path: a pen writes within its room, and
 * what does not fit is left out. Most of it is here, to be inlined: literals are stores then. */
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
    size_t room = (size_t)(w->end - w->p);
    if (n > room) {
        memcpy(w->p, p, room);
        w->p = w->end;
    } else if (n > 0) { /* by itself, for the compiler to know N of a literal */
        memcpy(w->p, p, n);
        w->p += n;
    }
}

static inline void pen_text(struct pen *w, const char *z)
{
    pen_bytes(w, z, strlen(z));
}

/* In decimal. */
static inline void pen_number(struct pen *w, uint64_t v)
{
    char digits[20];
    if ((size_t)(w->end - w->p) >= sizeof digits)
        w->p += str_put_u64(w->p, v);
    else
        pen_bytes(w, digits, str_put_u64(digits, v));
}

/* What others wrote: quotes, backslashes and what is not printable ASCII as \u00HH, good in JSON
 * and in common lines. */
void pen_put_escaped(struct pen *w, struct str s);
static inline void pen_escaped(struct pen *w, struct str s)
{
    if (s.len > 0)
        pen_put_escaped(w, s);
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
