/* SPDX-License-Identifier: Apache-2.0 */
/* net/dns_cache.c: records, what needs no server, and a table bounded by names and addresses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include <stdio.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "net/dns_cache.h"

static struct dns_cache cache;

static int begin(void **state)
{
    (void)state;
    dns_cache_init(&cache);
    return 0;
}

static int end(void **state)
{
    (void)state;
    dns_cache_clear(&cache);
    return cache.n == 0 && cache.n_addrs == 0 ? 0 : -1;
}

static struct dns_key key_of(const char *name)
{
    struct dns_key k;
    dns_key_set(&k, str_from(name));
    return k;
}

/* N addresses of IPv4 for NAME; the cache has the only references. */
static void put(const char *name, unsigned n, int64_t until)
{
    struct addr *addrs = xcalloc(n + 1, sizeof(*addrs));
    struct dns_key k = key_of(name);
    struct dns_pair pair = {{NULL, dns_record_new(addrs, n)}};
    dns_cache_put(&cache, &k, &(struct dns_kept){.pair = pair, .until = until});
    dns_record_unref(pair.of[1]);
    free(addrs);
}

static const struct dns_pair *get(const char *name, int64_t now)
{
    struct dns_key k = key_of(name);
    return dns_cache_get(&cache, &k, now);
}

static void kept_until(void **state)
{
    (void)state;
    put("a.test", 2, 100);
    assert_int_equal(get("a.test", 99)->of[1]->n, 2);
    assert_null(get("a.test", 99)->of[0]);
    assert_null(get("b.test", 99));
    assert_null(get("a.test.", 99)); /* another name */
    assert_null(get("a.test", 100));
    /* And gone, not only hidden. */
    assert_int_equal(cache.n, 0);
    assert_int_equal(cache.n_addrs, 0);
}

static void replaced(void **state)
{
    (void)state;
    put("a.test", 2, 100);
    put("a.test", 5, 50);
    assert_int_equal(cache.n, 1);
    assert_int_equal(cache.n_addrs, 5);
    assert_int_equal(get("a.test", 49)->of[1]->n, 5);
    assert_null(get("a.test", 50));
}

/* Expired, and kept for when the servers fail. */
static void stale_until(void **state)
{
    (void)state;
    struct dns_key k = key_of("a.test");
    struct dns_kept kept = {
        .pair = {{NULL, dns_record_new(NULL, 0)}}, .until = 100, .stale = 300, .source = 7};
    dns_cache_put(&cache, &k, &kept);
    assert_null(dns_cache_stale(&cache, &k, 99));
    assert_non_null(get("a.test", 99));
    assert_null(get("a.test", 100));
    assert_int_equal(dns_cache_stale(&cache, &k, 100)->source, 7);
    dns_cache_stale(&cache, &k, 100)->is_failing = true;
    assert_true(dns_cache_stale(&cache, &k, 299)->is_failing);
    assert_null(dns_cache_stale(&cache, &k, 300));
    assert_int_equal(cache.n, 0);
    /* News takes its place; and it can be forgotten. */
    dns_cache_put(&cache, &k, &kept);
    kept.until = 200;
    dns_cache_put(&cache, &k, &kept);
    assert_int_equal(cache.n, 1);
    assert_null(dns_cache_stale(&cache, &k, 199));
    dns_cache_forget(&cache, &k);
    dns_cache_forget(&cache, &k);
    assert_int_equal(cache.n, 0);
    dns_record_unref(kept.pair.of[1]);
}

/* All at once, as at a reload; what cannot serve is gone. */
static void expires(void **state)
{
    (void)state;
    struct dns_key k = key_of("a.test");
    struct dns_kept kept = {.pair = {{NULL, dns_record_new(NULL, 0)}},
                            .until = 100,
                            .stale = 300,
                            .ask_again = 150,
                            .is_failing = true};
    dns_cache_put(&cache, &k, &kept);
    put("b.test", 1, 100);
    dns_cache_expire(&cache, 50);
    assert_int_equal(cache.n, 1);
    assert_null(get("a.test", 50));
    struct dns_kept *found = dns_cache_stale(&cache, &k, 50);
    assert_false(found->is_failing);
    assert_int_equal(found->ask_again, 0);
    dns_cache_expire(&cache, 250); /* what has expired has not expired anew */
    assert_int_equal(dns_cache_stale(&cache, &k, 299)->until, 50);
    assert_null(dns_cache_stale(&cache, &k, 300));
    dns_record_unref(kept.pair.of[1]);
}

static void a_reader_keeps_its_record(void **state)
{
    (void)state;
    put("a.test", 1, 100);
    struct dns_record *r = dns_record_ref(get("a.test", 0)->of[1]);
    dns_cache_clear(&cache);
    assert_int_equal(r->refs, 1);
    assert_int_equal(r->outcome, DNS_FOUND);
    dns_record_unref(r);
}

static void oldest_name_goes_first(void **state)
{
    char name[16];
    (void)state;
    for (int i = 0; i < 4097; i++) {
        snprintf(name, sizeof(name), "n%d.test", i);
        put(name, 0, 100);
    }
    assert_int_equal(cache.n, 4096);
    assert_null(get("n0.test", 0));
    assert_non_null(get("n1.test", 0));
    assert_non_null(get("n4096.test", 0));
    /* One put anew is the youngest. */
    put("n1.test", 0, 100);
    put("more.test", 0, 100);
    assert_non_null(get("n1.test", 0));
    assert_null(get("n2.test", 0));
}

static void so_many_addresses(void **state)
{
    (void)state;
    put("a.test", 40000, 100);
    put("b.test", 25536, 100);
    assert_int_equal(cache.n, 2);
    put("c.test", 1, 100);
    assert_null(get("a.test", 0));
    assert_int_equal(cache.n_addrs, 25537);
    /* One that is too much by itself is kept alone. */
    put("d.test", 70000, 100);
    assert_int_equal(cache.n, 1);
    assert_non_null(get("d.test", 0));
}

static void known(const char *host, int family, enum dns_outcome outcome, const char *text)
{
    char shown[ADDR_TEXT];
    struct dns_record *r = dns_record_known(str_from(host), family);
    assert_non_null(r);
    assert_int_equal(r->outcome, outcome);
    if (outcome == DNS_FOUND)
        assert_string_equal(addr_print_ip(&r->addrs[0], shown), text);
    else
        assert_string_equal(r->fault->text, text);
    dns_record_unref(r);
}

static void needs_no_server(void **state)
{
    (void)state;
    known("192.0.2.7", AF_INET, DNS_FOUND, "192.0.2.7");
    known("192.0.2.7", AF_INET6, DNS_NODATA, "192.0.2.7: the name has no IPv6 address");
    known("2001:DB8::1", AF_INET6, DNS_FOUND, "2001:db8::1");
    known("2001:db8::1", AF_INET, DNS_NODATA, "2001:db8::1: the name has no IPv4 address");
    known("localhost", AF_INET, DNS_FOUND, "127.0.0.1");
    known("x.localhost", AF_INET6, DNS_FOUND, "::1");
    known("", AF_INET, DNS_FAILED, ": no DNS name is that long or empty");
    assert_null(dns_record_known(STR("a.test"), AF_INET));
}

static void the_longest_name(void **state)
{
    char name[DNS_NAME_MAX + 1];
    (void)state;
    memset(name, 'a', sizeof(name));
    assert_null(dns_record_known(str_make(name, DNS_NAME_MAX), AF_INET));
    struct dns_record *r = dns_record_known(str_make(name, DNS_NAME_MAX + 1), AF_INET);
    assert_int_equal(r->outcome, DNS_FAILED);
    dns_record_unref(r);
}

static void faults_name_the_host(void **state)
{
    (void)state;
    struct dns_record *r = dns_record_absent(STR("no.test"));
    assert_int_equal(r->outcome, DNS_ABSENT);
    assert_int_equal(r->n, 0);
    assert_int_equal(r->fault->code, FAULT_DNS);
    assert_string_equal(r->fault->text, "no.test: there is no such name in the DNS");
    assert_string_equal(r->fault->phrase, "No such host: %s");
    dns_record_unref(r);
    r = dns_record_fault(FAULT_DNS_TIMEOUT, "why", STR("a\nb"));
    assert_int_equal(r->outcome, DNS_FAILED);
    assert_int_equal(r->fault->code, FAULT_DNS_TIMEOUT);
    assert_null(strchr(r->fault->text, '\n'));
    dns_record_unref(r);
    dns_record_unref(NULL);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(kept_until),
        CASE(replaced),
        CASE(stale_until),
        CASE(expires),
        CASE(oldest_name_goes_first),
        CASE(a_reader_keeps_its_record),
        CASE(so_many_addresses),
        cmocka_unit_test(needs_no_server),
        cmocka_unit_test(the_longest_name),
        cmocka_unit_test(faults_name_the_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
