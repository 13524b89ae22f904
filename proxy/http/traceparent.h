/* SPDX-License-Identifier: Apache-2.0 */
/* Which trace a request belongs to (W3C Trace Context, section 3.2). tlsfan takes no part in it:
 * traceparent and tracestate travel on as they came, and the log names the trace. */
#ifndef TLSFAN_HTTP_TRACEPARENT_H
#define TLSFAN_HTTP_TRACEPARENT_H

#include "http/fields.h"

enum { TRACE_ID_LEN = 32 };

/* The trace-id of VALUE, TRACE_ID_LEN lower-case hex digits, as a slice of it. Empty where VALUE
 * is not valid: version ff, digits in capitals, an id of zeros, version 00 with anything behind
 * the flags. A later version may have more there, behind a "-". */
struct str traceparent_id(struct str value);
/* That of the one traceparent in F. Empty where there is none, or more than one, and where it is a
 * secret of the configuration. */
struct str traceparent_find(const struct fields *f);

#endif
