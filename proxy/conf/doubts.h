/* SPDX-License-Identifier: Apache-2.0 */
/* What a configuration says that can be read, and will not do what it seems to. */
#ifndef TLSFAN_CONF_DOUBTS_H
#define TLSFAN_CONF_DOUBTS_H

#include "conf/conf.h"

/* Logs a warning for each: a rule behind one that matches all of its hosts, a port 80 at which
 * nothing is asked, what leads to a listener of this very process, what nothing uses, a proxy that
 * nobody may use. In a time that is linear in the rules. IS_RUN: the listeners of the file are not
 * opened. */
void doubts_tell(const struct conf *c, bool is_run);

#endif
