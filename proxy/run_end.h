/* SPDX-License-Identifier: Apache-2.0 */
/* What `tlsfan run` says when COMMAND has ended: what came of it, or why nothing did. */
#ifndef TLSFAN_RUN_END_H
#define TLSFAN_RUN_END_H

#include "exchange/summary.h"

/* How COMMAND was run, and how it ended. */
struct run_end {
    const char *command;  /* its first word */
    const char *no_proxy; /* what it found in its environment; NULL or "": nothing */
    bool is_captured;     /* --capture */
    bool intercepts;      /* --intercept, or a rule */
    bool is_choosy;       /* and that for hosts that are named alone */
    bool was_killed;      /* a signal has ended it: it may not have come to its requests */
};

/* One line on stderr, or none. The figures where stderr is a terminal, or as a line of the log at
 * info; where there are none a warning, in the log. Nothing is said at the level error. It waits
 * for nobody: a terminal that takes nothing gets nothing. */
void run_end_tell(const struct run_end *end, const struct summary *s);

/* "12 requests, 11.4 s of waiting in 1.1 s (10 at once)". Heap. */
char *run_end_figures(const struct summary *s);
/* Why there are no figures; heap. NULL: there are, or there is no telling. */
char *run_end_warning(const struct run_end *end, const struct summary *s);

#endif
