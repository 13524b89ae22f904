/* SPDX-License-Identifier: Apache-2.0 */
#include "upstream/carry.h"

enum {
    CARRY_KEPT = 60 * 1000 * 1000, /* µs */
    CARRY_MANY = 1000              /* requests: no reason to plan for so many */
};

void carry_learn(struct carry *c, unsigned n, int64_t now)
{
    if (n == 0)
        return;
    c->most = n < CARRY_MANY ? n : 0;
    c->until = now + CARRY_KEPT;
}

unsigned carry_most(struct carry *c, int64_t now)
{
    if (c->most >= CARRY_MANY || now >= c->until)
        c->most = 0;
    return c->most == 0 ? UINT32_MAX : c->most;
}
