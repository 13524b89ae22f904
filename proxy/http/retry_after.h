/* SPDX-License-Identifier: Apache-2.0 */
/* The Retry-After field (RFC 9110 §10.2.3): seconds, or a date in one of the three forms of §5.6.7.
 */
#ifndef TLSFAN_HTTP_RETRY_AFTER_H
#define TLSFAN_HTTP_RETRY_AFTER_H

#include "base/str.h"

/* How long VALUE asks to wait: ms, 0 for a date that is past, RETRY_AFTER_MOST for all beyond that;
 * -1: it is neither. WALL is the time, µs since 1970. */
enum { RETRY_AFTER_MOST = 1000000000 };
int64_t retry_after_ms(struct str value, int64_t wall);

/* VALUE as seconds since 1970; -1: it is no date, or one before 1970. WALL, in seconds, says in
 * which century two digits are. */
int64_t http_date(struct str value, int64_t wall);

#endif
