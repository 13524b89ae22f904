/* SPDX-License-Identifier: Apache-2.0 */
/* suggest.c: what is said of a key that there is none of. */
#include "conf/suggest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct asked {
    enum key_scope scope;
    const char *section, *name, *answer;
};

static void in_files(void **state)
{
    static const struct asked rows[] = {
        {KEY_GLOBAL, "", "worker", ": did you mean workers?"},
        {KEY_GLOBAL, "", "wokrers", ": did you mean workers?"},
        {KEY_GLOBAL, "", "WORKERS", ": did you mean workers?"},
        {KEY_GLOBAL, "", "max-memory", ": did you mean max_memory?"},
        {KEY_GLOBAL, "client", "max_hed", ": did you mean max_head?"},
        {KEY_RULE, "rule", "verfy", ": did you mean verify?"},
        {KEY_FORWARD, "forward", "orgins", ": did you mean origins?"},
        /* rather than the dns.timeout that there is */
        {KEY_GLOBAL, "client", "timeout",
         ": did you mean header_timeout, body_timeout, write_timeout, idle_timeout or "
         "tunnel_timeout?"},
        {KEY_RULE, "rule", "cert", ": did you mean client_cert?"},
        {KEY_GLOBAL, "destination", "hosts", ": did you mean allow_hosts or deny_hosts?"},
        {KEY_GLOBAL, "", "ca_file", ": it belongs into tls { } or rule \"PATTERN\" { }"},
        {KEY_GLOBAL, "upstream", "early_hints", ": it belongs into client { }"},
        {KEY_GLOBAL, "tls", "verify", ": it belongs into rule \"PATTERN\" { }"},
        {KEY_RULE, "rule", "to", ": it belongs into forward \"LISTENER\" { }"},
        {KEY_RULE, "rule", "token_url", ": it belongs into oauth \"NAME\" { }"},
        {KEY_GLOBAL, "client", "workers", ": it stands outside of all sections"},
        {KEY_GLOBAL, "client", "worker", ": did you mean workers, outside of all sections?"},
        {KEY_GLOBAL, "", "early_hint", ": did you mean early_hints, in client { }?"},
        {KEY_GLOBAL, "", "clinet", ": did you mean client { }?"},
        {KEY_GLOBAL, "", "rules", ": did you mean rule \"PATTERN\" { }?"},
        {KEY_RULE, "rule", "tls", ": sections do not stand in each other: close rule { } first"},
        {KEY_GLOBAL, "", "tls.ca_file", ": in a file it is written tls { ca_file = ... }"},
        {KEY_GLOBAL, "", "workers:", ": a key is followed by \"=\", not by \":\""},
        {KEY_GLOBAL, "", "client:", ": write client { }"},
        {KEY_GLOBAL, "", "[client]", ": write client { }"},
        {KEY_GLOBAL, "", "[main]", ": a section is written NAME { }"},
        /* what is far away is not guessed at */
        {KEY_GLOBAL, "", "xyzzy", ""},
        {KEY_GLOBAL, "", "x", ""},
        {KEY_GLOBAL, "", "", ""},
        {KEY_GLOBAL, "", "listeners_of_it", ""},
        {KEY_RULE, "rule", "url", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char dst[SUGGEST_MAX];
        const struct asked *r = &rows[i];
        assert_string_equal(suggest_in_file(dst, r->scope, str_from(r->section), str_from(r->name)),
                            r->answer);
    }
}

static void as_options(void **state)
{
    static const struct asked rows[] = {
        {KEY_GLOBAL, "", "tls.ca_fle", ": did you mean tls.ca_file?"},
        {KEY_GLOBAL, "", "tsl.ca_file", ": did you mean tls.ca_file?"},
        {KEY_GLOBAL, "", "early_hints", ": did you mean client.early_hints?"},
        {KEY_GLOBAL, "", "early_hint", ": did you mean client.early_hints?"},
        {KEY_GLOBAL, "", "dns.early_hints", ": did you mean client.early_hints?"},
        {KEY_GLOBAL, "", "verify", ": did you mean rule[PATTERN].verify?"},
        {KEY_GLOBAL, "", "idle_timeout",
         ": did you mean client.idle_timeout or upstream.idle_timeout?"},
        {KEY_GLOBAL, "", "destination.hosts",
         ": did you mean destination.allow_hosts or destination.deny_hosts?"},
        {KEY_RULE, "rule[*.a].", "level", ": did you mean rule[*.a].security_level?"},
        {KEY_RULE, "rule[*.a].", "verfy", ": did you mean rule[*.a].verify?"},
        {KEY_RULE, "rule[*.a].", "ciphersuites", ": did you mean tls.ciphersuites?"},
        {KEY_GLOBAL, "", "xyzzy.plugh", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char dst[SUGGEST_MAX];
        const struct asked *r = &rows[i];
        assert_string_equal(suggest_option(dst, r->scope, str_from(r->section), str_from(r->name)),
                            r->answer);
    }
}

static void as_variables(void **state)
{
    static const struct asked rows[] = {
        {KEY_GLOBAL, "", "TLSFAN_WORKER", ": did you mean TLSFAN_WORKERS?"},
        {KEY_GLOBAL, "", "TLSFAN_LOG_LEVLE", ": did you mean TLSFAN_LOG_LEVEL?"},
        {KEY_GLOBAL, "", "TLSFAN_CRL_FILE", ": did you mean TLSFAN_TLS_CRL_FILE?"},
        {KEY_GLOBAL, "", "TLSFAN_VERIFY",
         ": there are variables for keys outside of rule { } alone"},
        {KEY_GLOBAL, "", "TLSFAN_XYZZY", ""},
        {KEY_GLOBAL, "", "TLSFAN_BIN", ""}, /* and not upstream.bind */
        {KEY_GLOBAL, "", "TLSFAN_", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char dst[SUGGEST_MAX];
        assert_string_equal(suggest_variable(dst, str_from(rows[i].name)), rows[i].answer);
    }
}

/* Whatever was written fits. */
static void long_names(void **state)
{
    char name[5000], dst[SUGGEST_MAX];
    (void)state;
    memset(name, 'a', sizeof(name));
    for (size_t n = 0; n < sizeof(name); n += 37) {
        struct str s = str_make(name, n);
        (void)suggest_in_file(dst, KEY_GLOBAL, s, s);
        assert_true(strlen(dst) < SUGGEST_MAX);
        (void)suggest_in_file(dst, KEY_RULE, STR("rule"), s);
        (void)suggest_option(dst, KEY_GLOBAL, STR(""), s);
        (void)suggest_option(dst, KEY_RULE, s, STR("verfy"));
        assert_true(strlen(dst) < SUGGEST_MAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_files),
        cmocka_unit_test(as_options),
        cmocka_unit_test(as_variables),
        cmocka_unit_test(long_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
