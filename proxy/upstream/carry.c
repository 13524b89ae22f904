/* SPDX-License-Identifier: Apache-2.0 */
#include "upstream/carry.h"

enum {
    CARRY_KEPT = 60 * 1000 * 1000, /* µs */
    CARRY_MANY = 1000              /* requests: no reason to plan for so many */
};

static void forget_late(struct carry *c, int64_t now)
{
    if (now >= c->until)
        c->most = c->once = 0;
    if (c->most >= CARRY_MANY)
        c->most = 0;
}

void carry_learn(struct carry *c, unsigned n, int64_t now)
{
    forget_late(c, now);
    if (n == 0)
        return;
    if (c->most > 0)
        c->most = n;
    else if (c->once > 0)
        c->most = n > c->once ? n : c->once;
    c->once = n;
    c->until = now + CARRY_KEPT;
}

unsigned carry_most(struct carry *c, int64_t now)
{
    forget_late(c, now);
    return c->most == 0 ? UINT32_MAX : c->most;
}
