/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer target: responses as an origin sends them, to GET, HEAD and CONNECT, strict and
 * lenient. The input is the bytes up to the close. */
#include "fuzz_h1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum method_id methods[] = {METHOD_GET, METHOD_HEAD, METHOD_CONNECT};
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        struct reader r = {.is_response = true, .method = methods[i]};
        fuzz_message(r, data, size);
        fuzz_lenience(r, data, size);
        r.lenient = true;
        fuzz_message(r, data, size);
    }
    return 0;
}
