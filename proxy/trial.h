/* SPDX-License-Identifier: Apache-2.0 */
/* What a configuration without faults would not do, on this machine or anywhere. Main thread. */
#ifndef TLSFAN_TRIAL_H
#define TLSFAN_TRIAL_H

#include "conf/conf.h"

/* Logs the doubts (conf/doubts.h), and a warning for an upstream.bind that this machine does not
 * have: no connection could be made. At start, reload and -t. */
void trial_tell(const struct conf *c, bool is_run);

/* For -t: logs a warning for each listener that cannot be bound here, and, where root asks, for
 * each file that the user of the service could not read. An address that is in use is none: it may
 * be the tlsfan that is about to reload this. Nothing is left open, made or removed. With IS_RUN no
 * file is looked at: who asks runs it. */
void trial_here(const struct conf *c, bool is_run);

#endif
