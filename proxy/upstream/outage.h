/* SPDX-License-Identifier: Apache-2.0 */
/* Origins that have refused a moment ago. One that is started again refuses for as long as that
 * takes: who was refused then tries again 100 ms and 300 ms after the first refusal. Where it lasts
 * longer nobody is listening, and who comes while that is remembered, 1 s after the latest refusal,
 * tries once and waits for nothing. Of one thread, of bounded size; a record that is lost costs
 * those tries, and nothing else. */
#ifndef TLSFAN_UPSTREAM_OUTAGE_H
#define TLSFAN_UPSTREAM_OUTAGE_H

#include <stdint.h>

#include "base/str.h"

/* Every address of HOST has just refused: after how many ms it is worth another try; 0: it is not.
 * *FIRST, of whoever asks and 0 at first, is when that was so for the first time (µs): it bounds
 * the tries whatever has become of the record. */
int64_t outage_wait(struct str host, uint16_t port, int64_t *first);
/* HOST serves. */
void outage_end(struct str host, uint16_t port);

#endif
