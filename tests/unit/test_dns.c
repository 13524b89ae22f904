/* SPDX-License-Identifier: Apache-2.0 */
/* net/dns.c and net/dns_cache.c against a DNS server on loopback. */
#include "upstream_fixture.h"

#include "net/dns_cache.h"

static struct fixture fix;
static struct fixture_dns server;

struct result {
    bool done;
    unsigned n;
    bool is_nodata;
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
    r = look("none.test", AF_INET);
    assert_false(r.is_nodata);
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
    dns_lookup(fix.dns, STR("silent.y"), AF_INET, on_answer, &r);
    unsetenv("LOCALDOMAIN");
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
        cmocka_unit_test_setup_teardown(test_least_ttl, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_shared, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_timeout, set_up, tear_down),
        cmocka_unit_test(test_cache_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
