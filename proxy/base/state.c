/* SPDX-License-Identifier: Apache-2.0 */
/* Moves of state machines, told: see state.h. */
#include "base/state.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/log.h"

void state_trace(const char *machine, uint64_t id, const struct state_row *table, unsigned from,
                 unsigned to)
{
    log_write(LOG_LEVEL_DEBUG, "%s %" PRIx64 ": %s -> %s", machine, id, table[from].name,
              table[to].name);
    if ((table[from].next & STATE_BIT(to)) != 0)
        return;
    log_error("a defect of tlsfan: %s %" PRIx64 " may not go from %s to %s", machine, id,
              table[from].name, table[to].name);
    abort();
}
