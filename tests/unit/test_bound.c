/* SPDX-License-Identifier: Apache-2.0 */
/* conf/bound.c: which address is one of our own listeners, and which. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "conf/bound.h"

static struct addr at(const char *ip, uint16_t port)
{
    struct addr a;
    assert_true(addr_parse_ip(&a, str_from(ip), port));
    return a;
}

/* The kind of the listener there; -1: none. */
static int kind_at(const char *ip, uint16_t port)
{
    struct bound b;
    struct addr a = at(ip, port);
    assert_int_equal(bound_find(&a, NULL), bound_find(&a, &b));
    return bound_find(&a, &b) ? (int)b.kind : -1;
}

static void which_listener(void **state)
{
    (void)state;
    struct bound v[] = {{.addr = at("127.0.0.1", 3128), .kind = LISTENER_PROXY},
                        {.addr = at("127.0.0.1", 3129), .kind = LISTENER_SERVICE},
                        {.addr = at("::1", 3129), .kind = LISTENER_FORWARD, .tls = true},
                        {.addr = at("0.0.0.0", 65535), .kind = LISTENER_FORWARD}};
    bound_set(v, 4);
    assert_true(bound_has_port(3128) && bound_has_port(3129) && bound_has_port(65535));
    assert_false(bound_has_port(3127) || bound_has_port(3130) || bound_has_port(0));
    assert_int_equal(kind_at("127.0.0.1", 3128), LISTENER_PROXY);
    assert_int_equal(kind_at("127.0.0.1", 3129), LISTENER_SERVICE);
    assert_int_equal(kind_at("::ffff:127.0.0.1", 3129), LISTENER_SERVICE);
    assert_int_equal(kind_at("0.0.0.0", 3128), LISTENER_PROXY);
    assert_int_equal(kind_at("::1", 3129), LISTENER_FORWARD);
    assert_int_equal(kind_at("127.0.0.2", 3129), -1);
    assert_int_equal(kind_at("127.0.0.1", 3130), -1);
    assert_int_equal(kind_at("192.0.2.1", 3128), -1);
    assert_int_equal(kind_at("127.9.9.9", 65535), LISTENER_FORWARD);
    assert_int_equal(kind_at("::1", 65535), LISTENER_FORWARD);
    assert_int_equal(kind_at("192.0.2.1", 65535), -1);
    bound_set(v, 1);
    assert_false(bound_has_port(3129) || bound_has_port(65535));
    assert_int_equal(kind_at("127.0.0.1", 3129), -1);
    bound_set(NULL, 0);
    assert_false(bound_has_port(3128));
}

static void where_the_service_is(void **state)
{
    (void)state;
    struct addr a;
    struct bound v[] = {{.addr = at("127.0.0.1", 3128), .kind = LISTENER_PROXY},
                        {.addr = at("::1", 3129), .kind = LISTENER_SERVICE}};
    assert_true(bound_is_open(&v[1]) && !bound_is_open(&v[0]));
    bound_set(v, 2);
    assert_true(bound_service(&a));
    assert_int_equal(addr_port(&a), 3129);
    bound_set(v, 1);
    assert_false(bound_service(&a));
    bound_set(NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(which_listener),
        cmocka_unit_test(where_the_service_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
