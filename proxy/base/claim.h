/* SPDX-License-Identifier: Apache-2.0 */
/* What all connections of a thread share and use across calls of each other: a buffer, a parser
 * that has no argument. Who uses it claims it, and gives it up when the last call that could see
 * its contents has returned. A second claim before that would show one peer's bytes to another, so
 * it ends the process, in every build. */
#ifndef TLSFAN_BASE_CLAIM_H
#define TLSFAN_BASE_CLAIM_H

#include <stdbool.h>

/* Zero-initialised. One thread. */
struct claim {
    bool is_held;
};

/* Says that WHAT was claimed twice, or given up without being claimed, and aborts. */
_Noreturn void claim_fail(const struct claim *c, const char *what);

/* WHAT is a name for people: "the read buffer". */
static inline void claim_take(struct claim *c, const char *what)
{
    if (c->is_held)
        claim_fail(c, what);
    c->is_held = true;
}

static inline void claim_give(struct claim *c, const char *what)
{
    if (!c->is_held)
        claim_fail(c, what);
    c->is_held = false;
}

#endif
