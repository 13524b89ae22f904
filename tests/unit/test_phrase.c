/* SPDX-License-Identifier: Apache-2.0 */
/* exchange/phrase.c and net/tls_phrase.c: few words, and no byte in them that a peer chose but the
 * host's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <openssl/x509_vfy.h>

#include "exchange/phrase.h"
#include "net/tls_phrase.h"

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
        phrase_of(tls_phrase(what, false), FAULT_TLS_CERTIFICATE, str_from(long_host));
        phrase_of(tls_phrase(what, true), FAULT_TLS_CERTIFICATE, str_from(long_host));
    }
}

static void names_the_cause(void **state)
{
    (void)state;
    const char *expired = tls_phrase(X509_V_ERR_CERT_HAS_EXPIRED, false);
    assert_string_equal(phrase_of(expired, FAULT_TLS_CERTIFICATE, STR("example.com")),
                        "Certificate of example.com has expired");
    assert_string_equal(phrase_of(tls_phrase(X509_V_ERR_CERT_HAS_EXPIRED, true),
                                  FAULT_TLS_CERTIFICATE, STR("xn--mller-kva.example")),
                        "Issuer certificate of xn--mller-kva.example has expired");
    assert_null(tls_phrase(X509_V_ERR_OUT_OF_MEM, false));
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
