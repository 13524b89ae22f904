/* SPDX-License-Identifier: Apache-2.0 */
/* own/name_map.c: one address a name, which of them goes, and threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>

#include "own/name_map.h"

enum { ADDRESSES = (1 << 17) - 2, THREADS = 4, ROUNDS = 3000 };

static int set_up(void **state)
{
    (void)state;
    name_map_open();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    name_map_close();
    return 0;
}

static struct addr address_of(const char *name)
{
    struct addr a;
    assert_true(name_map_get(str_from(name), &a));
    return a;
}

static struct addr numbered(unsigned i)
{
    char name[32];
    snprintf(name, sizeof(name), "n%u.test", i);
    return address_of(name);
}

static void stands_for(const struct addr *a, const char *expected)
{
    char name[NAME_MAP_NAME];
    assert_true(name_map_find(a, name));
    assert_string_equal(name, expected);
}

static void stands_for_none(const char *ip)
{
    char name[NAME_MAP_NAME];
    struct addr a;
    assert_true(addr_parse_ip(&a, str_from(ip), 80));
    assert_false(name_map_find(&a, name));
}

static void one_a_name(void **state)
{
    (void)state;
    char text[ADDR_TEXT];
    struct addr a = address_of("a.test");
    struct addr b = address_of("b.test");
    assert_string_equal(addr_print_ip(&a, text), "198.18.0.1");
    assert_string_equal(addr_print_ip(&b, text), "198.18.0.2");
    assert_int_equal(addr_port(&a), 0);
    name_map_open(); /* it is already */
    struct addr again = address_of("a.test");
    assert_true(addr_equal(&a, &again));
    addr_set_port(&a, 443);
    stands_for(&a, "a.test");
    assert_true(addr_parse_ip(&a, STR("::ffff:198.18.0.2"), 80));
    stands_for(&a, "b.test");
    stands_for_none("198.18.0.3");
    stands_for_none("198.18.0.0");
    stands_for_none("198.19.255.255");
    stands_for_none("127.0.0.1");
    stands_for_none("::1");
}

static bool lies_inside(const char *ip)
{
    struct addr a;
    assert_true(addr_parse(&a, str_from(ip)));
    return name_map_has(&a);
}

static void the_network(void **state)
{
    (void)state;
    assert_true(lies_inside("198.18.0.0:80"));
    assert_true(lies_inside("198.19.255.255:80"));
    assert_true(lies_inside("[::ffff:198.18.7.7]:80"));
    assert_false(lies_inside("198.17.255.255:80"));
    assert_false(lies_inside("198.20.0.0:80"));
    assert_false(lies_inside("[c612:1::]:80"));
    assert_false(lies_inside("unix:/x"));
}

static void odd_names(void **state)
{
    (void)state;
    char longest[NAME_MAP_NAME + 1];
    struct addr a;
    memset(longest, 'x', sizeof(longest));
    assert_false(name_map_get(STR(""), &a));
    assert_false(name_map_get(str_make(longest, NAME_MAP_NAME), &a));
    assert_true(name_map_get(str_make(longest, NAME_MAP_NAME - 1), &a));
    longest[NAME_MAP_NAME - 1] = '\0';
    stands_for(&a, longest);
}

/* The one that was used longest ago goes; having been found is use, too. */
static void who_goes(void **state)
{
    (void)state;
    struct addr first[3];
    char name[NAME_MAP_NAME];
    for (unsigned i = 0; i < NAME_MAP_NAMES; i++) {
        struct addr a = numbered(i);
        if (i < 3)
            first[i] = a;
    }
    stands_for(&first[0], "n0.test");
    numbered(1);
    numbered(NAME_MAP_NAMES);
    assert_true(name_map_find(&first[0], name));
    assert_true(name_map_find(&first[1], name));
    assert_false(name_map_find(&first[2], name));
    /* It is another one when it comes back. */
    struct addr back = numbered(2);
    assert_false(addr_equal(&back, &first[2]));
    assert_false(name_map_find(&first[2], name));
}

/* An address has a second name only when all others have had a first one. */
static void last_resort(void **state)
{
    (void)state;
    char name[NAME_MAP_NAME];
    struct addr first = numbered(0);
    struct addr second = numbered(1);
    for (unsigned i = 2; i < ADDRESSES; i++)
        numbered(i);
    struct addr last;
    assert_true(addr_parse_ip(&last, STR("198.19.255.254"), 0));
    snprintf(name, sizeof(name), "n%u.test", ADDRESSES - 1);
    stands_for(&last, name);
    assert_false(name_map_find(&first, name));
    struct addr again = address_of("again.test");
    assert_true(addr_equal(&again, &first));
    again = address_of("once-more.test");
    assert_true(addr_equal(&again, &second));
    stands_for(&first, "again.test");
}

/* Each thread finds the name that it has just asked for, whatever the others do. */
static void *use(void *arg)
{
    unsigned from = *(unsigned *)arg;
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct addr a;
        char name[NAME_MAP_NAME], found[NAME_MAP_NAME] = "";
        int n = snprintf(name, sizeof(name), "n%u.test", from + i % (ROUNDS / 2));
        if (!name_map_get(str_make(name, (size_t)n), &a) || !name_map_find(&a, found) ||
            strcmp(name, found) != 0)
            return arg;
    }
    return NULL;
}

static void threads(void **state)
{
    (void)state;
    pthread_t ids[THREADS];
    unsigned from[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        from[i] = i * (ROUNDS / 4); /* half of them are another's, too */
        assert_int_equal(pthread_create(&ids[i], NULL, use, &from[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        void *failed;
        pthread_join(ids[i], &failed);
        assert_null(failed);
    }
}

static void closed(void **state)
{
    (void)state;
    struct addr a;
    assert_false(name_map_get(STR("a.test"), &a));
    stands_for_none("198.18.0.1");
    name_map_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_a_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_network, set_up, tear_down),
        cmocka_unit_test_setup_teardown(odd_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_goes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(last_resort, set_up, tear_down),
        cmocka_unit_test_setup_teardown(threads, set_up, tear_down),
        cmocka_unit_test(closed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
