/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of a whole snapshot. */
#ifndef TLSFAN_CONF_CHECK_H
#define TLSFAN_CONF_CHECK_H

#include "conf/conf.h"
#include "conf/conf_fault.h"

/* What no single key shows: open listeners, doubles, keys that go together. C was read to its end.
 */
void check_conf(const struct conf *c, struct conf_faults *faults);

#endif
