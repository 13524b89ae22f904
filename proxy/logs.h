/* SPDX-License-Identifier: Apache-2.0 */
/* The files that are written while tlsfan runs: the access log and tls.keylog. */
#ifndef TLSFAN_LOGS_H
#define TLSFAN_LOGS_H

#include "conf/conf.h"

/* Opens those that C names in the place of those before. All or none: false when one cannot be
 * opened, which is logged, and those before stay. */
MUST_CHECK bool logs_open(const struct conf *c);
/* Opens them again (USR1), which is logged. */
void logs_reopen(void);
void logs_close(void);

#endif
