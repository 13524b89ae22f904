/* SPDX-License-Identifier: Apache-2.0 */
/* Which snapshot a worker uses: see engine.h. */
#include "exchange/engine.h"

#include <stdlib.h>

void engine_set_conf(struct engine *e, struct conf *c)
{
    struct conf_use *old = e->use;
    e->use = NULL;
    if (c != NULL) {
        e->use = xcalloc(1, sizeof *e->use);
        e->use->conf = c;
        e->use->users = 1;
    }
    if (old != NULL)
        engine_unuse(old);
}

struct conf_use *engine_use(struct engine *e)
{
    e->use->users++;
    return e->use;
}

void engine_unuse(struct conf_use *use)
{
    if (--use->users > 0)
        return;
    conf_unref(&use->conf);
    free(use);
}
