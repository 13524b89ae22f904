/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer target: what happens to a whole worker, and in which order. See tests/replay/. */
#include <stdlib.h>

#include "../replay/schedule.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *fault = schedule_play(data, size);
    if (fault == NULL)
        return 0;
    schedule_print(stderr);
    fprintf(stderr, "%s\n", fault);
    abort();
}
