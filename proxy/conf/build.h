/* SPDX-License-Identifier: Apache-2.0 */
/* From settings to a snapshot: defaults, conversion, inheritance of rules, and the checks that need
 * more than one key. */
#ifndef TLSFAN_CONF_BUILD_H
#define TLSFAN_CONF_BUILD_H

#include "conf/conf.h"
#include "conf/settings.h"

/* Fills C, which is zeroed, from S and what RUN asks for. Every fault there is adds to FAULTS; C
 * may be freed in any case. */
void build_conf(struct conf *c, struct settings *s, const struct conf_run *run,
                struct conf_faults *faults);

#endif
