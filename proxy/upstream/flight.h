/* SPDX-License-Identifier: Apache-2.0 */
/* Something that many want, of all threads, and that one of them gets for all: it leads, the others
 * wait. When the leader goes without it, the next of those who wait leads. */
#ifndef TLSFAN_UPSTREAM_FLIGHT_H
#define TLSFAN_UPSTREAM_FLIGHT_H

#include "base/loop.h"

struct flight_ticket; /* a token */

enum { FLIGHTS_MOST = 16 }; /* in the process, at once */

/* LEADS: it is for the callee to get it from now on; the ticket stays. Else somebody has, and the
 * ticket is gone. */
typedef void (*flight_fn)(void *arg, bool leads);

/* Who wants what is called KEY joins them, on the loop L. LEADS: nobody else gets it yet, and FN is
 * not called. NULL: there are too many already. Never calls FN before it returns. */
struct flight_ticket *flight_join(struct loop *l, const char *key, bool *leads, flight_fn fn,
                                  void *arg);
/* The ticket is gone, and FN is not called any more. DONE: its holder leads, and has it. */
void flight_leave(struct flight_ticket *t, bool done);

#endif
