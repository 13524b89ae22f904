/* SPDX-License-Identifier: Apache-2.0 */
/* base/hash.c: the function is SipHash-1-3, and the key is the process's own. */
#include "base/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* What Python 3.11 gives for hash(bytes) under PYTHONHASHSEED=0, which is SipHash-1-3 with a key of
 * zeros. */
static void test_function(void **state)
{
    unsigned char bytes[24];
    (void)state;
    for (unsigned char i = 0; i < sizeof(bytes); i++)
        bytes[i] = i;
    assert_true(hash_bytes("a", 1) == UINT64_C(0x407448d2b89b1813));
    assert_true(hash_bytes("01234567", 8) == UINT64_C(0xda3dcedf84ea6cc6));
    assert_true(hash_bytes("example.com", 11) == UINT64_C(0x7e0432aaedb1758c));
    assert_true(hash_bytes(bytes, sizeof(bytes)) == UINT64_C(0x31185a47af932f3a));
}

static void test_key(void **state)
{
    (void)state;
    uint64_t before = hash_bytes("example.com", 11);
    hash_init();
    uint64_t once = hash_bytes("example.com", 11);
    hash_init();
    assert_true(once != before);
    assert_true(once != hash_bytes("example.com", 11));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_function), cmocka_unit_test(test_key)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
