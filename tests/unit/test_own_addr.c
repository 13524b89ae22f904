/* SPDX-License-Identifier: Apache-2.0 */
/* net/own_addr.c, over interfaces and a clock of the test's own; and once over the real ones. */
#include <ifaddrs.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/addr.h"
#include "base/loop.h"

static int64_t test_time = 1;
static struct {
    const char *ips[4];
    bool is_real, fails;
    unsigned asked;
} test_faces;

static int64_t test_now(void)
{
    return test_time;
}

static int test_getifaddrs(struct ifaddrs **list)
{
    test_faces.asked++;
    if (test_faces.fails)
        return -1;
    if (test_faces.is_real)
        return getifaddrs(list);
    static struct ifaddrs faces[5];
    static struct addr addrs[5];
    faces[0] = (struct ifaddrs){0}; /* an interface that has no address */
    *list = faces;
    for (unsigned i = 0; i < 4 && test_faces.ips[i] != NULL; i++) {
        assert_true(addr_parse_ip(&addrs[i], str_from(test_faces.ips[i]), 0));
        faces[i].ifa_next = &faces[i + 1];
        faces[i + 1] = (struct ifaddrs){.ifa_addr = &addrs[i].sa};
    }
    return 0;
}

static void test_freeifaddrs(struct ifaddrs *list)
{
    if (test_faces.is_real)
        freeifaddrs(list);
}

#define loop_now    test_now
#define getifaddrs  test_getifaddrs
#define freeifaddrs test_freeifaddrs
#include "../../proxy/net/own_addr.c"
#undef getifaddrs
#undef freeifaddrs

static bool has(const char *ip)
{
    struct addr a;
    assert_true(addr_parse_ip(&a, str_from(ip), 443));
    return own_addr_has(&a);
}

static int setup(void **state)
{
    (void)state;
    known.looked = 0;
    known.n = 0;
    memset(&test_faces, 0, sizeof(test_faces));
    return 0;
}

static void knows_its_own(void **state)
{
    (void)state;
    test_faces.ips[0] = "192.0.2.7";
    test_faces.ips[1] = "2001:db8::7";
    assert_true(has("192.0.2.7"));
    assert_true(has("::ffff:192.0.2.7"));
    assert_true(has("2001:db8::7"));
    assert_false(has("192.0.2.8"));
    assert_false(has("2001:db8::8"));
    /* That somebody may be reached there does not say that he is there. */
    assert_false(has("64:ff9b::192.0.2.7"));
    assert_true(has("127.8.8.8"));
    assert_true(has("::1"));
    struct addr file;
    assert_true(addr_parse(&file, STR("unix:/x")));
    assert_false(own_addr_has(&file));
}

/* A flood of strangers costs one look a second. */
static void looks_again_but_seldom(void **state)
{
    (void)state;
    test_faces.ips[0] = "192.0.2.7";
    assert_true(has("192.0.2.7"));
    assert_int_equal(test_faces.asked, 1);
    for (int i = 0; i < 1000; i++)
        assert_false(has("192.0.2.9"));
    assert_int_equal(test_faces.asked, 1);
    test_faces.ips[1] = "192.0.2.9";
    test_time += AGAIN - 1;
    assert_false(has("192.0.2.9"));
    test_time += 1;
    assert_true(has("192.0.2.9"));
    assert_int_equal(test_faces.asked, 2);
}

static void forgets_what_has_gone(void **state)
{
    (void)state;
    test_faces.ips[0] = "192.0.2.7";
    assert_true(has("192.0.2.7"));
    test_faces.ips[0] = "192.0.2.8";
    test_time += KEPT - 1;
    assert_true(has("192.0.2.7"));
    test_time += 1;
    assert_false(has("192.0.2.7"));
    assert_true(has("192.0.2.8"));
    /* The system does not answer. */
    test_faces.fails = true;
    test_time += KEPT;
    assert_true(has("192.0.2.8"));
    assert_int_equal(test_faces.asked, 3);
}

static void many_interfaces(void **state)
{
    (void)state;
    struct addr a;
    for (unsigned i = 0; i < 1000; i++) {
        assert_true(addr_parse_ip(&a, STR("10.0.0.1"), 0));
        a.in4.sin_addr.s_addr += htonl(i);
        own_addr_add(&a.sa);
    }
    known.looked = test_time;
    assert_true(has("10.0.0.1"));
    assert_true(has("10.0.3.231"));
    assert_false(has("10.0.3.254"));
}

static void *ask_often(void *arg)
{
    struct addr a;
    (void)arg;
    assert_true(addr_parse_ip(&a, STR("192.0.2.7"), 0));
    for (int i = 0; i < 2000; i++)
        assert_true(own_addr_has(&a));
    return NULL;
}

static void threads_agree_from_the_first(void **state)
{
    (void)state;
    test_faces.ips[0] = "192.0.2.7";
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_often, NULL), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(test_faces.asked, 1);
}

static void the_real_ones(void **state)
{
    (void)state;
    struct ifaddrs *list = NULL;
    test_faces.is_real = true;
    assert_int_equal(getifaddrs(&list), 0);
    for (struct ifaddrs *i = list; i != NULL; i = i->ifa_next) {
        struct addr a;
        if (i->ifa_addr == NULL || i->ifa_addr->sa_family != AF_INET)
            continue;
        addr_from_sockaddr(&a, i->ifa_addr, sizeof(struct sockaddr_in));
        assert_true(own_addr_has(&a));
    }
    freeifaddrs(list);
    assert_false(has("192.0.2.7"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(knows_its_own, setup),
        cmocka_unit_test_setup(looks_again_but_seldom, setup),
        cmocka_unit_test_setup(forgets_what_has_gone, setup),
        cmocka_unit_test_setup(many_interfaces, setup),
        cmocka_unit_test_setup(threads_agree_from_the_first, setup),
        cmocka_unit_test_setup(the_real_ones, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
