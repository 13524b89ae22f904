/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer target: requests as a client sends them, strict and lenient. The input is the bytes of
 * the connection. */
#include "fuzz_h1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bool is_silent;
    (void)h1_foreign((const char *)data, size, &is_silent);
    fuzz_message((struct reader){.lenient = false}, data, size);
    fuzz_message((struct reader){.lenient = true}, data, size);
    return 0;
}
