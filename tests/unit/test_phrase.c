/* SPDX-License-Identifier: Apache-2.0 */
/* exchange/phrase.c and net/tls_verdict.c: few words, and no byte in them that a peer chose but the
 * host's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "exchange/phrase.h"
#include "net/tls_verdict.h"

static const char *phrase_of(const char *phrase, enum fault_code code, struct str host)
{
    static char text[PHRASE_MAX + 1];
    struct fault f;
    fault_set(&f, code, "a sentence");
    f.phrase = phrase;
    struct str s = phrase_make(text, &f, host);
    assert_ptr_equal(s.p, text);
    assert_true(s.len > 0 && s.len <= PHRASE_MAX);
    text[s.len] = '\0';
    for (size_t i = 0; i < s.len; i++)
        assert_in_range(text[i], 0x20, 0x7e);
    return text;
}

/* What a verdict leaves in a fault; DEPTH 0: of the leaf. */
static struct fault verdict_of(long what, int depth)
{
    struct fault f;
    tls_verdict_fault(&f, &(struct tls_verdict){what, NULL, depth, STR("h")});
    return f;
}

static void every_code(void **state)
{
    char long_host[256];
    (void)state;
    memset(long_host, 'a', sizeof(long_host) - 1);
    long_host[sizeof(long_host) - 1] = '\0';
    for (int code = FAULT_NONE + 1; code < FAULT_COUNT; code++) {
        if (fault_info((enum fault_code)code)->status == 0)
            continue;
        phrase_of(NULL, code, STR("h"));
        phrase_of(NULL, code, str_make(NULL, 0));
        phrase_of(NULL, code, str_from(long_host));
    }
    for (long what = 0; what < 200; what++) {
        phrase_of(verdict_of(what, 0).phrase, FAULT_TLS_CERTIFICATE, str_from(long_host));
        phrase_of(verdict_of(what, 1).phrase, FAULT_TLS_CERTIFICATE, str_from(long_host));
    }
}

static void names_the_cause(void **state)
{
    (void)state;
    static const struct {
        long what;
        const char *leaf, *ca;
    } cases[] = {
        {X509_V_ERR_CERT_HAS_EXPIRED, "Certificate of h.example has expired",
         "Issuer certificate of h.example has expired"},
        {X509_V_ERR_EE_KEY_TOO_SMALL, "Certificate key of h.example is too small", NULL},
        {X509_V_ERR_CA_KEY_TOO_SMALL, NULL, "Issuer certificate key of h.example is too small"},
        {X509_V_ERR_INVALID_CA, NULL, "Issuer certificate of h.example is not a CA"},
        {TLS_BAD_EXTENSION, "Certificate of h.example has a malformed extension",
         "Issuer certificate of h.example has a malformed extension"},
        {TLS_BAD_ISSUER, "Issuer certificate of h.example has a malformed extension", NULL},
        {X509_V_ERR_AKID_SKID_MISMATCH, "Issuer of certificate of h.example is unknown",
         "Issuer certificate of h.example is by an unknown CA"},
        {X509_V_ERR_UNSUPPORTED_SIGNATURE_ALGORITHM,
         "Certificate of h.example has an unknown signature", NULL},
        {X509_V_ERR_ERROR_IN_CERT_NOT_AFTER_FIELD,
         "Certificate of h.example has an unreadable date", NULL},
        {X509_V_ERR_CERT_CHAIN_TOO_LONG, "Certificate chain of h.example is too long",
         "Certificate chain of h.example is too long"},
        {X509_V_ERR_UNSPECIFIED, "Certificate of h.example cannot be checked", NULL},
        {X509_V_ERR_EXCLUDED_VIOLATION, "CA of h.example may not issue for that name", NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *const texts[] = {cases[i].leaf, cases[i].ca};
        for (int depth = 0; depth < 2; depth++) {
            struct fault f = verdict_of(cases[i].what, depth);
            if (texts[depth] != NULL)
                assert_string_equal(phrase_of(f.phrase, FAULT_TLS_CERTIFICATE, STR("h.example")),
                                    texts[depth]);
        }
    }
    assert_null(verdict_of(X509_V_ERR_OUT_OF_MEM, 0).phrase);
    assert_string_equal(phrase_of(NULL, FAULT_REFUSED, STR("::1")), "Connection to ::1 refused");
    assert_string_equal(phrase_of("a bare CR in the head", FAULT_BAD_REQUEST, STR("h")),
                        "A bare CR in the head");
}

/* Of a long host the end is shown, so that nobody can put another's name there. */
static void a_long_host(void **state)
{
    char host[254];
    (void)state;
    memset(host, 'x', sizeof(host));
    memcpy(host + sizeof(host) - 13, ".evil.example", 13);
    memcpy(host, "bank.example.", 13);
    const char *text = phrase_of(NULL, FAULT_REFUSED, str_make(host, sizeof(host)));
    assert_int_equal(strlen(text), PHRASE_MAX);
    assert_non_null(strstr(text, "Connection to ...xxx"));
    assert_non_null(strstr(text, ".evil.example refused"));
}

static void a_hostile_host(void **state)
{
    static const char *const hosts[] = {"a b",  "a\r\nX: y", "a\x1b[2J", "a%41", "a\"b", "a%s%n",
                                        "\xc3", "a'b",       "a/b",      "a@b",  "<b>",  "a;b"};
    (void)state;
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++)
        assert_string_equal(phrase_of(NULL, FAULT_REFUSED, str_from(hosts[i])),
                            "Connection to the host refused");
    assert_string_equal(phrase_of(NULL, FAULT_REFUSED, str_make("a\0b", 3)),
                        "Connection to the host refused");
}

static void a_long_sentence(void **state)
{
    (void)state;
    assert_string_equal(phrase_of("this port speaks plain HTTP and got a TLS hello: write the "
                                  "proxy's URL with http://, not https://",
                                  FAULT_BAD_REQUEST, STR("h")),
                        "This port speaks plain HTTP and got a TLS hello");
    assert_string_equal(
        phrase_of("one sentence of many words which has no clause that ends before "
                  "it is far too long for it",
                  FAULT_BAD_REQUEST, STR("h")),
        "One sentence of many words which has no clause that ends before it is far too");
    assert_string_equal(phrase_of("a\r\nb\xff", FAULT_BAD_REQUEST, STR("h")), "A??b?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code),      cmocka_unit_test(names_the_cause),
        cmocka_unit_test(a_long_host),     cmocka_unit_test(a_hostile_host),
        cmocka_unit_test(a_long_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
