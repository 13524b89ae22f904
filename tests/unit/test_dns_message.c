/* SPDX-License-Identifier: Apache-2.0 */
/* net/dns_message.c: queries as dig and libraries send them, and what is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "net/dns_message.h"

#define HEAD      "4d2a01000001000000000000"
#define A_TEST    "01610474657374000001" /* a.test, A; the class comes behind it */
#define OPT_PLAIN "00002904d0000000000000"

static uint8_t bytes[2048];
static struct dns_asked asked;

static size_t from_hex(uint8_t *to, const char *hex)
{
    size_t n = strlen(hex) / 2;
    for (size_t i = 0; i < n; i++) {
        unsigned byte;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        to[i] = (uint8_t)byte;
    }
    return n;
}

static enum dns_code parse(const char *hex)
{
    size_t n = from_hex(bytes, hex);
    return dns_message_parse(&asked, bytes, n);
}

static void is_name(const char *name)
{
    assert_int_equal(asked.name_len, strlen(name));
    assert_memory_equal(asked.name, name, asked.name_len);
}

/* The answer R to `asked` is HEX. */
static void writes(const struct dns_reply *r, const char *hex)
{
    uint8_t out[DNS_ANSWER_SIZE], expected[DNS_ANSWER_SIZE];
    size_t n = dns_message_write(out, &asked, r);
    assert_int_equal(n, from_hex(expected, hex));
    assert_memory_equal(out, expected, n);
}

static void real_queries(void **state)
{
    (void)state;
    /* dig www.example.com in mixed case, with a cookie */
    assert_int_equal(parse("291e0120000100000000000103775777074578416d706c6503636f6d000001000100002"
                           "904d000000000000c000a00086d37034d70735f95"),
                     DNS_CODE_NOERROR);
    is_name("www.example.com");
    assert_true(asked.is_plain && asked.has_opt && !asked.wants_dnssec);
    assert_int_equal(asked.type, DNS_TYPE_A);
    assert_int_equal(asked.class, DNS_CLASS_IN);
    assert_memory_equal(asked.question, "\3wWw\7ExAmple\3com", 17);
    /* dig +noedns AAAA, which is also what glibc, musl and Go send */
    assert_int_equal(parse("270d0100000100000000000003777777076578616d706c6503636f6d00001c0001"),
                     DNS_CODE_NOERROR);
    assert_int_equal(asked.type, DNS_TYPE_AAAA);
    assert_false(asked.has_opt);
    /* dig +dnssec +cd TYPE65 */
    assert_int_equal(
        parse("8d8701300001000000000001076578616d706c6503636f6d000041000100002904d00000"
              "80000000"),
        DNS_CODE_NOERROR);
    assert_true(asked.wants_dnssec);
    assert_int_equal(asked.type, 65);
    /* dig -x */
    assert_int_equal(
        parse("7eab01200001000000000000013101300231380331393807696e2d616464720461727061"
              "00000c0001"),
        DNS_CODE_NOERROR);
    is_name("1.0.18.198.in-addr.arpa");
    /* dig . NS */
    assert_int_equal(parse("8c81012000010000000000000000020001"), DNS_CODE_NOERROR);
    assert_true(asked.is_plain);
    is_name("");
    /* dig CH TXT version.bind */
    assert_int_equal(parse("a636012000010000000000000776657273696f6e0462696e640000100003"),
                     DNS_CODE_NOERROR);
    assert_int_equal(asked.class, 3);
}

static void names(void **state)
{
    (void)state;
    /* A dot and a NUL inside of labels, an underscore */
    assert_int_equal(parse("4f3e0120000100000000000003612e62037800790674652d5f73740000010001"),
                     DNS_CODE_NOERROR);
    assert_false(asked.is_plain);
    is_name("");
    assert_int_equal(asked.question_len, 20);
    assert_int_equal(parse(HEAD "045f546370025f61000001"
                                "0001"),
                     DNS_CODE_NOERROR);
    assert_true(asked.is_plain);
    is_name("_tcp._a");
    /* a space */
    assert_int_equal(parse(HEAD "03612062000001"
                                "0001"),
                     DNS_CODE_NOERROR);
    assert_false(asked.is_plain);
}

/* A name of N bytes on the wire: labels of one byte, and where N is even one of two. */
static enum dns_code parse_long(size_t n)
{
    size_t at = from_hex(bytes, HEAD);
    size_t end = at + n - 1;
    while (at < end) {
        size_t label = end - at == 3 ? 2 : 1;
        bytes[at++] = (uint8_t)label;
        for (size_t i = 0; i < label; i++)
            bytes[at++] = 'x';
    }
    bytes[at++] = 0;
    at += from_hex(bytes + at, "00010001");
    return dns_message_parse(&asked, bytes, at);
}

static void long_names(void **state)
{
    (void)state;
    assert_int_equal(parse_long(254), DNS_CODE_NOERROR);
    assert_int_equal(parse_long(255), DNS_CODE_NOERROR);
    assert_int_equal(asked.name_len, 253);
    assert_int_equal(asked.question_len, DNS_QUESTION);
    assert_int_equal(parse_long(256), DNS_CODE_FORMERR);
    assert_int_equal(parse_long(257), DNS_CODE_FORMERR);
    assert_int_equal(asked.question_len, 0);
    is_name("");
}

static void no_query(void **state)
{
    (void)state;
    static const struct {
        const char *hex;
        enum dns_code code;
    } rows[] = {
        {"", DNS_CODE_SILENT},
        {"4d2a010000010000000000", DNS_CODE_SILENT},                 /* half a head */
        {"4d2a81000001000000000000" A_TEST "0001", DNS_CODE_SILENT}, /* an answer */
        {"9f0f21200001000000000000" A_TEST "0001", DNS_CODE_NOTIMP}, /* NOTIFY */
        {"9f0f2900", DNS_CODE_SILENT},                               /* cut */
        {"9f0f29000000000000000000", DNS_CODE_NOTIMP},               /* UPDATE, of nothing */
        {"4d2a01000000000000000000", DNS_CODE_FORMERR},              /* no question */
        {"4d2a01000002000000000000" A_TEST "0001" A_TEST "0001", DNS_CODE_FORMERR},
        {HEAD, DNS_CODE_FORMERR},
        {HEAD A_TEST "00", DNS_CODE_FORMERR},
        {HEAD "c00c00010001", DNS_CODE_FORMERR}, /* points to itself */
        {HEAD "0161c00c00010001", DNS_CODE_FORMERR},
        {HEAD "4061000001", DNS_CODE_FORMERR}, /* other kinds of labels */
        {HEAD "8061000001", DNS_CODE_FORMERR},
        {HEAD "3f61", DNS_CODE_FORMERR},
        {"4d2a01000001000000000001" A_TEST "0001", DNS_CODE_FORMERR}, /* a record is missing */
        {"4d2a0100000100000000ffff" A_TEST "0001" OPT_PLAIN, DNS_CODE_FORMERR},
        {"4d2a01000001000000000001" A_TEST "0001" OPT_PLAIN, DNS_CODE_NOERROR},
        {"4d2a01000001000000000002" A_TEST "0001" OPT_PLAIN OPT_PLAIN, DNS_CODE_FORMERR},
        {"4d2a01000001000000010000" A_TEST "0001" OPT_PLAIN, DNS_CODE_FORMERR}, /* authority */
        {"4d2a01000001000000000001" A_TEST "0001"
         "0161" OPT_PLAIN,
         DNS_CODE_FORMERR},
        {"4d2a01000001000000000001" A_TEST "0001"
         "00002904d0000000000001",
         DNS_CODE_FORMERR},
        {"4d2a01000001000000000001" A_TEST "0001"
         "00002904d0000100000000",
         DNS_CODE_BADVERS},
        /* a key behind the question, with a pointer for its name */
        {"4d2a01000001000000000001" A_TEST "0001"
         "c00c00fa00ff0000000000020102",
         DNS_CODE_NOERROR},
        {"4d2a01000001000000000001" A_TEST "0001"
         "c0",
         DNS_CODE_FORMERR},
        {HEAD A_TEST "0001"
                     "ffff",
         DNS_CODE_NOERROR}, /* bytes that no count knows of */
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (parse(rows[i].hex) != rows[i].code)
            fail_msg("%s", rows[i].hex);
}

static void addresses(void **state)
{
    (void)state;
    struct addr a;
    struct dns_reply r = {.ttl = 60, .address = &a};
    assert_int_equal(parse("4d2a01100001000000000000"
                           "01610454655374000001"
                           "0001"),
                     0);
    assert_true(addr_parse_ip(&a, STR("198.18.0.1"), 0));
    writes(&r, "4d2a81900001000100000000"
               "01610454655374000001"
               "0001"
               "c00c000100010000003c0004"
               "c6120001");
    assert_true(addr_parse_ip(&a, STR("::1"), 0));
    writes(&r, "4d2a81900001000100000000"
               "01610454655374000001"
               "0001"
               "c00c001c00010000003c0010"
               "00000000000000000000000000000001");
    /* No recursion was wanted; the answer to EDNS has OPT, and DO as it came. */
    assert_int_equal(parse("4d2a00000001000000000001" A_TEST "0001"
                           "0000291000000080000000"),
                     0);
    assert_true(addr_parse_ip(&a, STR("198.18.0.1"), 0));
    writes(&r, "4d2a80800001000100000001" A_TEST "0001"
               "c00c000100010000003c0004"
               "c6120001"
               "00002904d0000080000000");
}

static void pointers(void **state)
{
    (void)state;
    struct dns_reply r = {.ttl = 60, .pointer = STR_INIT("www.a.test")};
    assert_int_equal(parse(HEAD "0131000001"
                                "0001"),
                     DNS_CODE_NOERROR);
    writes(&r, "4d2a81800001000100000000"
               "0131000001"
               "0001"
               "c00c000c00010000003c000c"
               "037777770161047465737400");
}

static void nothing(void **state)
{
    (void)state;
    struct dns_reply r = {.ttl = 5};
    const char *soa = "0000060001000000050034"
                      "06746c7366616e07696e76616c696400"
                      "066e6f626f647907696e76616c696400"
                      "00000001"
                      "00000e10"
                      "00000258"
                      "00015180"
                      "00000005";
    char all[512];
    assert_int_equal(parse(HEAD A_TEST "0001"), 0);
    snprintf(all, sizeof(all), "4d2a81800001000000010000" A_TEST "0001%s", soa);
    writes(&r, all);
    r.code = DNS_CODE_NXDOMAIN;
    snprintf(all, sizeof(all), "4d2a81830001000000010000" A_TEST "0001%s", soa);
    writes(&r, all);
    r.code = DNS_CODE_SERVFAIL;
    writes(&r, "4d2a81820001000000000000" A_TEST "0001");
    r.code = DNS_CODE_REFUSED;
    writes(&r, "4d2a81850001000000000000" A_TEST "0001");
    assert_int_equal(r.code = parse("4d2a01000002000000000000" A_TEST "0001"), DNS_CODE_FORMERR);
    writes(&r, "4d2a81810000000000000000");
    assert_int_equal(r.code = parse("9f0f21200001000000000000" A_TEST "0001"), DNS_CODE_NOTIMP);
    writes(&r, "9f0fa1840000000000000000");
    r.code = parse("4d2a01000001000000000001" A_TEST "0001"
                   "00002904d0000100000000");
    writes(&r, "4d2a81800001000000000001" A_TEST "0001"
               "00002904d0010000000000");
}

/* Whatever is asked and said, it fits. */
static void largest(void **state)
{
    (void)state;
    uint8_t out[DNS_ANSWER_SIZE];
    char name[300];
    for (size_t i = 0; i < sizeof(name); i++)
        name[i] = i % 2 == 1 ? '.' : 'x';
    struct dns_reply r = {.pointer = str_make(name, sizeof(name))};
    assert_int_equal(parse_long(255), DNS_CODE_NOERROR);
    asked.has_opt = true;
    assert_in_range(dns_message_write(out, &asked, &r), 512, DNS_ANSWER_SIZE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(real_queries), cmocka_unit_test(names),
                                       cmocka_unit_test(long_names),   cmocka_unit_test(no_query),
                                       cmocka_unit_test(addresses),    cmocka_unit_test(pointers),
                                       cmocka_unit_test(nothing),      cmocka_unit_test(largest)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
