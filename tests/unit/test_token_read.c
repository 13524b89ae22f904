/* SPDX-License-Identifier: Apache-2.0 */
/* own/token_read.c: what a token endpoint answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "own/token_read.h"

static struct secret_store store;
static const struct oauth_conf conf = {.name = "n",
                                       .store = &store,
                                       .host = "h.test",
                                       .value = "hunter2",
                                       .encoded = STR_INIT("hunter%32"),
                                       .authorization = STR_INIT("Basic aHVudGVy")};

static const struct {
    unsigned status;
    const char *text;
    const char *token; /* NULL: what the fault says stands in `said` */
    int64_t lifetime;
    const char *said;
} cases[] = {
    {200, "{\"access_token\":\"a.B-_~+/9==\",\"token_type\":\"bearer\",\"expires_in\":7}",
     "a.B-_~+/9==", 7000, NULL},
    {200, "{\"access_token\":\"a\"}", "a", 300000, NULL},
    {200, "{\"access_token\":\"a\",\"expires_in\":\"90\"}", "a", 90000, NULL},
    {200, "{\"access_token\":\"a\",\"expires_in\":1.5}", "a", 1500, NULL},
    {200, "{\"access_token\":\"a\",\"expires_in\":-1}", "a", 0, NULL},
    {200, "{\"access_token\":\"a\",\"expires_in\":1e300}", "a", 366LL * 86400000, NULL},
    {200, "{\"access_token\":\"a\",\"expires_in\":\"99999999999999\"}", "a", 366LL * 86400000,
     NULL},
    {200, "{\"access_token\":\"a\",\"expires_in\":null}", "a", 300000, NULL},
    {200, "{\"access_token\":\"a\",\"expires_in\":99999999999999999999}", "a", 366LL * 86400000,
     NULL},
    {200, "{\"access_token\":\"a b\"}", NULL, 0, "bytes that no token has"},
    {200, "{\"access_token\":\"a\\r\\n\"}", NULL, 0, "bytes that no token has"},
    {200, "{\"access_token\":\"==\"}", NULL, 0, "bytes that no token has"},
    {200, "{\"access_token\":\"a=b\"}", NULL, 0, "bytes that no token has"},
    {200, "{\"access_token\":7}", NULL, 0, "without an access_token"},
    {200, "{\"access_token\":\"a\",\"token_type\":\"MAC\"}", NULL, 0,
     "a token of type MAC, which is not Bearer"},
    {200, "{\"access_token\":\"a\",\"token_type\":\"hunter2\"}", NULL, 0, "type (it repeats"},
    {200, "{\"error\":\"bad\",\"error_description\":\"why\"}", NULL, 0, "answered 200 bad: why"},
    {200, "", NULL, 0, "no JSON object"},
    {200, "\"a\"", NULL, 0, "no JSON object"},
    {200, "{\"access_token\":\"a\"}x", NULL, 0, "no JSON object"},
    {401, "{\"error\":\"invalid_client\"}", NULL, 0, "h.test answered 401 invalid_client"},
    {400, "{\"error\":\"x\",\"error_description\":\"it was hunter2.\"}", NULL, 0,
     "answered 400 x: (it repeats the secret)"},
    {400, "{\"error\":\"hunter2\"}", NULL, 0, "answered 400 (it repeats the secret)"},
    {400, "{\"error\":\"a\",\"error_description\":\"hunter%32\"}", NULL, 0, "a: (it repeats"},
    {400, "{\"error\":\"aHVudGVy\"}", NULL, 0, "400 (it repeats"},
    {400, "{\"error\":\"the rule's key-of-rule\"}", NULL, 0, "400 (it repeats"},
    {500, "<html>hunter2", NULL, 0, "h.test answered 500"},
    {201, "{\"access_token\":\"a\"}", NULL, 0, "answered 201"},
};

static void answers(void **state)
{
    (void)state;
    secret_name(&store, secret_new(&store, STR("key-of-rule")), "file:/k");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct arena arena = {0};
        struct token_answer a;
        token_read(&a, &conf, cases[i].status, str_from(cases[i].text), &arena);
        assert_int_equal(a.token.p != NULL, cases[i].token != NULL);
        if (a.token.p != NULL) {
            assert_true(str_eq(a.token, str_from(cases[i].token)));
            assert_int_equal(a.lifetime, cases[i].lifetime);
        } else {
            assert_int_equal(a.fault.code, FAULT_TOKEN);
            assert_non_null(strstr(a.fault.text, cases[i].said));
            assert_non_null(strstr(a.fault.text, "oauth \"n\""));
            assert_null(strstr(a.fault.text, "hunter2"));
        }
        arena_clear(&arena);
    }
    secret_store_clear(&store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(answers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
