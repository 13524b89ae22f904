/* SPDX-License-Identifier: Apache-2.0 */
/* From settings to a snapshot: defaults, conversion, inheritance of rules, and the checks that need
 * more than one key. */
#ifndef TLSFAN_CONF_BUILD_H
#define TLSFAN_CONF_BUILD_H

#include "conf/settings.h"

/* Fills C, which is zeroed, from S. Every fault there is adds to FAULTS; C may be freed in any
 * case. */
void build_conf(struct conf *c, struct settings *s, struct conf_faults *faults);

/* What no single key shows: open listeners, doubles, keys that go together. Part of build_conf().
 * */
void check_conf(const struct conf *c, struct conf_faults *faults);

#endif
