/* SPDX-License-Identifier: Apache-2.0 */
/* net/dns.c and net/dns_cache.c against a DNS server on loopback. */
#include "upstream_fixture.h"

#include "base/counter.h"
#include "net/dns_cache.h"

static struct fixture fix;
static struct fixture_dns server;

struct result {
    bool done;
    unsigned n;
    bool is_nodata, is_absent;
    int64_t said;
    enum fault_code code;
    char text[512];
    char first[ADDR_TEXT];
    char full[DNS_NAME_MAX + 1];
};

static void on_answer(void *arg, const struct dns_answer *a)
{
    struct result *r = arg;
    assert_false(r->done);
    r->done = true;
    r->n = a->n;
    r->is_nodata = a->is_nodata;
    r->is_absent = a->is_absent;
    r->said = a->said;
    memcpy(r->full, a->full.p == NULL ? "" : a->full.p, a->full.len);
    if (a->n > 0)
        addr_print_ip(&a->addrs[0], r->first);
    if (a->n > 0)
        return;
    assert_non_null(a->fault);
    r->code = a->fault->code;
    memcpy(r->text, a->fault->text, sizeof(r->text));
}

static struct result look(const char *host, int family)
{
    struct result r = {0};
    assert_non_null(dns_lookup(fix.dns, str_from(host), family, on_answer, &r));
    assert_false(r.done);
    fixture_until(&fix, &r.done);
    return r;
}

static int set_up(void **state)
{
    (void)state;
    fixture_open(&fix);
    fixture_dns_open(&fix, &server);
    fixture_open_dns(&fix);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fixture_dns_close(&server);
    fixture_close(&fix);
    return 0;
}

static void test_known(void **state)
{
    (void)state;
    static char longest[300];
    memset(longest, 'a', sizeof(longest) - 1);
    assert_string_equal(look("192.0.2.7", AF_INET).first, "192.0.2.7");
    assert_true(look("192.0.2.7", AF_INET6).is_nodata);
    assert_string_equal(look("2001:db8::1", AF_INET6).first, "2001:db8::1");
    assert_string_equal(look("localhost", AF_INET).first, "127.0.0.1");
    assert_string_equal(look("x.localhost", AF_INET6).first, "::1");
    assert_int_equal(look(longest, AF_INET).code, FAULT_DNS);
    assert_int_equal(look("", AF_INET).code, FAULT_DNS);
    assert_int_equal(server.queries, 0);
}

static void test_answers(void **state)
{
    (void)state;
    struct result r = look("both.test", AF_INET);
    assert_int_equal(r.n, 1);
    assert_string_equal(r.first, "127.0.0.1");
    assert_string_equal(look("both.test", AF_INET6).first, "::1");
    unsigned asked = server.queries;
    look("both.test", AF_INET);
    look("both.test", AF_INET6);
    assert_int_equal(server.queries, asked);
    r = look("four.test", AF_INET6);
    assert_int_equal(r.n, 0);
    assert_true(r.is_nodata);
    assert_false(r.is_absent);
    r = look("none.test", AF_INET);
    assert_false(r.is_nodata);
    assert_true(r.is_absent);
    assert_int_equal(r.code, FAULT_DNS);
    assert_non_null(strstr(r.text, "none.test"));
    asked = server.queries;
    look("none.test", AF_INET);
    look("four.test", AF_INET6);
    assert_int_equal(server.queries, asked);
}

/* The search list, of the environment here: both families are of the full name, also from the
 * cache. A dot is another name. */
static void test_search(void **state)
{
    (void)state;
    setenv("LOCALDOMAIN", "one.test two.test", 1);
    dns_configure(fix.dns, &fix.conf);
    for (int i = 0; i < 2; i++) {
        struct result r = look("four", AF_INET);
        assert_string_equal(r.full, "four.one.test");
        assert_string_equal(r.first, "127.0.0.1");
        assert_true(look("four", AF_INET6).is_nodata);
        assert_string_equal(look("four.", AF_INET).full, "");
    }
    assert_int_equal(server.queries, 4);
    assert_string_equal(look("four.test", AF_INET).full, "");
    unsigned asked = server.queries;
    struct result r = look("none", AF_INET);
    assert_int_equal(server.queries, asked + 6);
    assert_non_null(strstr(r.text, "none: there is no such name"));
    look("none", AF_INET6);
    assert_int_equal(server.queries, asked + 6);
    assert_non_null(strstr(look("none.", AF_INET).text, "none: there is no such name"));
    assert_int_equal(server.queries, asked + 8);
    /* Closed while one that stays silent is asked, and after it was passed over. */
    fix.conf.dns.timeout = 60;
    dns_configure(fix.dns, &fix.conf);
    r = look("silent.x", AF_INET);
    assert_int_equal(r.code, FAULT_DNS_TIMEOUT);
    assert_false(r.is_absent);
    dns_lookup(fix.dns, STR("silent.y"), AF_INET, on_answer, &r);
    unsetenv("LOCALDOMAIN");
}

/* ---- servers that fail */

/* NODATA is a flag that says nothing (CD), beside NOERROR and no record. */
enum { SILENT = -1, SERVFAIL = 2, ABSENT = 3, NODATA = 16 };

static int code_one, code_two, code_rest; /* below one.test, two.test, and of all else */
static int code_v4, code_v6;              /* of one family, where the others are 0 */

static int code_of(const char *labels, bool is_v6)
{
    int code = strstr(labels, "\003one") != NULL   ? code_one
               : strstr(labels, "\003two") != NULL ? code_two
                                                   : code_rest;
    return code != 0 ? code : is_v6 ? code_v6 : code_v4;
}

static void set_codes(int one, int two, int rest)
{
    code_one = one;
    code_two = two;
    code_rest = rest;
}

/* All answers have expired when they come. */
static struct counter begin_stale(void)
{
    server.code_of = code_of;
    set_codes(0, 0, 0);
    code_v4 = code_v6 = 0;
    fix.conf.dns.ttl_max = 0;
    fix.conf.dns.stale = 60000;
    dns_configure(fix.dns, &fix.conf);
    return (struct counter){0};
}

static void test_stale(void **state)
{
    (void)state;
    struct counter n = begin_stale();
    dns_count_stale(fix.dns, &n);
    assert_true(look("both.test", AF_INET).said != 0);
    set_codes(0, 0, SERVFAIL);
    unsigned asked = server.queries;
    struct result r = look("both.test", AF_INET);
    assert_string_equal(r.first, "127.0.0.1");
    assert_int_equal(r.said, 0);
    assert_true(server.queries > asked);
    asked = server.queries;
    assert_string_equal(look("both.test", AF_INET6).first, "::1");
    assert_string_equal(look("both.test", AF_INET).first, "127.0.0.1");
    assert_int_equal(server.queries, asked); /* not again so soon */
    assert_int_equal(counter_get(&n), 3);
    /* What was never known. */
    assert_int_equal(look("other.test", AF_INET).code, FAULT_DNS);
    /* After a reload they are asked at once. */
    dns_configure(fix.dns, &fix.conf);
    assert_string_equal(look("both.test", AF_INET).first, "127.0.0.1");
    assert_true(server.queries > asked);
    assert_int_equal(counter_get(&n), 4);
    /* What other servers have said is forgotten. */
    const char *others[] = {server.server, server.server};
    struct conf changed = fix.conf;
    changed.dns.servers = (struct strings){.v = others, .n = 2};
    dns_configure(fix.dns, &changed);
    assert_int_equal(look("both.test", AF_INET).n, 0);
    dns_configure(fix.dns, &fix.conf);
    assert_int_equal(look("both.test", AF_INET).n, 0);
    assert_int_equal(counter_get(&n), 4);
    dns_count_stale(fix.dns, NULL);
}

/* One family alone fails: what came of the other one is news, and nothing old stands beside it. */
static void test_stale_is_never_mixed(void **state)
{
    (void)state;
    begin_stale();
    assert_string_equal(look("both.test", AF_INET6).first, "::1");
    code_v6 = SERVFAIL;
    struct result r = look("both.test", AF_INET);
    assert_string_equal(r.first, "127.0.0.1");
    assert_true(r.said != 0);
    r = look("both.test", AF_INET6);
    assert_int_equal(r.n, 0);
    assert_int_equal(r.code, FAULT_DNS);
    /* Also when both are waited for, and time runs out for one of them. */
    code_v6 = 0;
    fix.conf.dns.timeout = 300;
    dns_configure(fix.dns, &fix.conf);
    assert_string_equal(look("both.test", AF_INET6).first, "::1");
    code_v6 = SILENT;
    struct result six = {0};
    dns_lookup(fix.dns, STR("both.test"), AF_INET6, on_answer, &six);
    assert_true(look("both.test", AF_INET).said != 0);
    assert_false(six.done);
    fixture_until(&fix, &six.done);
    assert_int_equal(six.n, 0);
    assert_int_equal(six.code, FAULT_DNS_TIMEOUT);
    /* Where the other one has nothing, what is known serves. */
    code_v6 = 0;
    assert_string_equal(look("six.test", AF_INET6).first, "::1");
    code_v6 = SERVFAIL;
    assert_string_equal(look("six.test", AF_INET6).first, "::1");
    assert_true(look("six.test", AF_INET).is_nodata);
}

static void test_an_answer_ends_it(void **state)
{
    (void)state;
    begin_stale();
    for (int i = 0; i < 2; i++) {
        fix.conf.dns.negative_ttl = i == 0 ? 0 : 5000;
        look("both.test", AF_INET);
        set_codes(0, 0, ABSENT);
        assert_int_equal(look("both.test", AF_INET).code, FAULT_DNS);
        set_codes(0, 0, SERVFAIL);
        assert_int_equal(look("both.test", AF_INET6).n, 0);
        set_codes(0, 0, 0);
        dns_configure(fix.dns, &fix.conf);
    }
}

/* The same where the other family fails: there is no such name in either, and who has had addresses
 * has none. Only what was said before, too, is no news. */
static void test_half_an_answer_ends_it(void **state)
{
    static const int news[][2] = {{ABSENT, SERVFAIL}, {SERVFAIL, ABSENT}, {NODATA, SERVFAIL}};
    (void)state;
    begin_stale();
    for (unsigned i = 0; i < sizeof(news) / sizeof(news[0]); i++) {
        assert_string_equal(look("both.test", AF_INET6).first, "::1");
        code_v4 = news[i][0];
        code_v6 = news[i][1];
        assert_int_equal(look("both.test", AF_INET).n, 0);
        code_v4 = code_v6 = SERVFAIL;
        assert_int_equal(look("both.test", AF_INET6).n, 0);
        code_v4 = code_v6 = 0;
    }
    code_v4 = ABSENT;
    assert_string_equal(look("six.test", AF_INET6).first, "::1");
    code_v6 = SERVFAIL;
    assert_string_equal(look("six.test", AF_INET6).first, "::1");
}

/* An expired answer is of the name that had it, in both families: it goes before the answer of a
 * name that comes behind, and not when that name is not there any more. */
static void test_stale_in_the_list(void **state)
{
    (void)state;
    setenv("LOCALDOMAIN", "one.test two.test", 1);
    begin_stale();
    assert_string_equal(look("four", AF_INET).full, "four.one.test");
    set_codes(SERVFAIL, 0, ABSENT);
    struct result r = look("four", AF_INET);
    assert_string_equal(r.full, "four.one.test");
    assert_int_equal(r.said, 0);
    r = look("four", AF_INET6);
    assert_true(r.is_nodata);
    assert_int_equal(r.said, 0);
    /* It is gone; that the one behind it fails is no reason to use it. */
    begin_stale();
    look("four", AF_INET);
    set_codes(ABSENT, SERVFAIL, ABSENT);
    assert_int_equal(look("four", AF_INET).n, 0);
    set_codes(SERVFAIL, SERVFAIL, SERVFAIL);
    assert_int_equal(look("four", AF_INET).n, 0);
    /* It is gone, and the one behind it is there. */
    begin_stale();
    look("four", AF_INET);
    set_codes(ABSENT, 0, ABSENT);
    assert_string_equal(look("four", AF_INET).full, "four.two.test");
    unsetenv("LOCALDOMAIN");
}

/* The resolver is closed while it asks for a name whose expired answer serves. */
static void test_closed_in_the_background(void **state)
{
    (void)state;
    begin_stale();
    look("both.test", AF_INET);
    server.hold = true;
    int64_t start = loop_now();
    assert_int_equal(look("both.test", AF_INET).said, 0);
    assert_in_range(loop_now() - start, 1700000, 2900000); /* before dns.timeout */
    start = loop_now();
    look("both.test", AF_INET);
    assert_in_range(loop_now() - start, 0, 1000000);
}

/* The CNAME's TTL of 1 s holds, not the 60 s of the address behind it. */
static void test_least_ttl(void **state)
{
    (void)state;
    int64_t start = loop_now();
    look("alias.test", AF_INET);
    unsigned asked = server.queries;
    while (server.queries == asked && loop_now() - start < 30000000)
        look("alias.test", AF_INET);
    assert_in_range(loop_now() - start, 990000, 29000000);
}

static void test_shared(void **state)
{
    (void)state;
    struct result a = {0};
    struct result b = {0};
    struct result c = {0};
    dns_lookup(fix.dns, STR("both.test"), AF_INET, on_answer, &a);
    struct dns_query *q = dns_lookup(fix.dns, STR("both.test"), AF_INET, on_answer, &b);
    dns_lookup(fix.dns, STR("both.test"), AF_INET, on_answer, &c);
    dns_cancel(q);
    fixture_until(&fix, &c.done);
    assert_true(a.done);
    assert_false(b.done);
    assert_int_equal(server.queries, 2); /* A and AAAA */
    /* Cancelled, and all alone: the answer is kept all the same. */
    q = dns_lookup(fix.dns, STR("other.test"), AF_INET, on_answer, &b);
    dns_cancel(q);
    for (int i = 0; server.queries < 4 && i < 100000; i++)
        loop_turn(&fix.loop, false);
    fixture_settle(&fix);
    look("other.test", AF_INET);
    assert_int_equal(server.queries, 4);
    q = dns_lookup(fix.dns, STR("localhost"), AF_INET, on_answer, &b);
    dns_cancel(q);
    fixture_settle(&fix);
    assert_false(b.done);
}

static void test_timeout(void **state)
{
    (void)state;
    fix.conf.dns.timeout = 60;
    dns_configure(fix.dns, &fix.conf);
    struct result r = look("silent.test", AF_INET);
    assert_int_equal(r.code, FAULT_DNS_TIMEOUT);
    assert_non_null(strstr(r.text, "dns.timeout"));
    /* Closed with a request that c-ares still holds, and with one that somebody waits for. */
    dns_lookup(fix.dns, STR("silent.test"), AF_INET6, on_answer, &r);
    dns_configure(fix.dns, &fix.conf);
    dns_lookup(fix.dns, STR("silent2.test"), AF_INET6, on_answer, &r);
}

static void test_cache_bound(void **state)
{
    (void)state;
    struct dns_cache c;
    struct dns_key first;
    struct dns_key k;
    struct addr a;
    assert_true(addr_parse_ip(&a, STR("192.0.2.1"), 0));
    struct dns_record *r = dns_record_new(&a, 1);
    struct dns_pair pair = {.of = {r}};
    dns_cache_init(&c);
    dns_key_set(&first, STR("n0"));
    for (unsigned i = 0; i < 5000; i++) {
        char name[16];
        snprintf(name, sizeof(name), "n%u", i);
        dns_key_set(&k, str_from(name));
        dns_cache_put(&c, &k, &(struct dns_kept){.pair = pair, .until = 1000});
    }
    assert_int_equal(c.n, 4096);
    assert_null(dns_cache_get(&c, &first, 1));
    assert_ptr_equal(dns_cache_get(&c, &k, 999)->of[0], r);
    assert_null(dns_cache_get(&c, &k, 1000));
    assert_int_equal(c.n, 4095);
    dns_cache_clear(&c);
    assert_int_equal(r->refs, 1);
    dns_record_unref(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_known, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_answers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_search, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_stale, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_stale_is_never_mixed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_answer_ends_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_half_an_answer_ends_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_stale_in_the_list, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_closed_in_the_background, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_least_ttl, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_shared, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_timeout, set_up, tear_down),
        cmocka_unit_test(test_cache_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
