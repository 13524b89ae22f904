/* SPDX-License-Identifier: Apache-2.0 */
/* A state machine as a table: a row a state, with its name and the states that may follow it. Its
 * owner has one function that sets the state, and that calls state_check() first. Debug and
 * sanitizer builds end the process at a move that the table does not have, and write every move to
 * the log at level debug; in a release build nothing of it is left. */
#ifndef TLSFAN_BASE_STATE_H
#define TLSFAN_BASE_STATE_H

#include <stdint.h>

/* One state; the table is indexed by the enum. */
struct state_row {
    const char *name;
    unsigned next; /* bits: STATE_BIT() of each that may follow */
};

#define STATE_BIT(state) (1u << (state))

#ifdef NDEBUG
enum { STATES_ARE_CHECKED = 0 };
#else
enum { STATES_ARE_CHECKED = 1 };
#endif

/* What state_check() does in the builds that check. */
void state_trace(const char *machine, uint64_t id, const struct state_row *table, unsigned from,
                 unsigned to);

/* MACHINE ("exchange") number ID is about to go from FROM to TO, which are rows of TABLE. */
static inline void state_check(const char *machine, uint64_t id, const struct state_row *table,
                               unsigned from, unsigned to)
{
    if (STATES_ARE_CHECKED)
        state_trace(machine, id, table, from, to);
}

#endif
