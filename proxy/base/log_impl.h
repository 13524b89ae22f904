/* SPDX-License-Identifier: Apache-2.0 */
/* What log_buf.c needs of log.c: the sink of access lines, for one thread at a time. */
#ifndef TLSFAN_BASE_LOG_IMPL_H
#define TLSFAN_BASE_LOG_IMPL_H

#include "base/str.h"

/* What came of the lines that were put. */
struct log_outcome {
    bool any;      /* there were some */
    unsigned lost; /* of which the sink has not taken these, */
    int why;       /* as of the last one: see sink_write() */
};

/* From here to log_access_release() it is the caller's, and stays the same one. */
void log_access_hold(void);
/* N bytes of whole lines; adds to O. */
void log_access_put(const char *p, size_t n, struct log_outcome *o);
/* Counts what was lost and, where that begins or ends, says so. */
void log_access_release(const struct log_outcome *o);

#endif
