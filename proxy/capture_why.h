/* SPDX-License-Identifier: Apache-2.0 */
/* Why a system does not let COMMAND have a network of its own, and what else there is. */
#ifndef TLSFAN_CAPTURE_WHY_H
#define TLSFAN_CAPTURE_WHY_H

#include "capture_net.h"

/* One sentence for the operator, which names the setting that stands in the way: found out by
 * looking at the files below ROOT, which is "/proc" but for tests. STEP failed with CAUSE, an
 * errno. Heap, for the caller. */
char *capture_why(const char *root, enum capture_step step, int cause);

#endif
