/* SPDX-License-Identifier: Apache-2.0 */
/* client/client_memory.c: what a client may do while max_memory is used by others. */
#include "rig_fixture.h"

static int64_t used; /* by somebody else */

/* PERCENT of the budget is left. */
static void leave(int percent)
{
    int64_t wanted = budget_max(&rig.budget) / 100 * (100 - percent);
    budget_add(&rig.budget, wanted - used);
    used = wanted;
}

/* It is left in any case. */
static int leave_all(void **state)
{
    leave(100);
    return tear_down(state);
}

static bool is_started(const struct client *c, bool last)
{
    const struct list *it = last ? c->order.items.prev : c->order.items.next;
    return container_of(it, struct order_item, link)->started;
}

/* One request at a time while it is tight. */
static void one_at_a_time(void **state)
{
    (void)state;
    int fd = rig_connect(&rig);
    leave(20);
    rig_send(&rig, fd, GET("/a") GET("/b"));
    struct client *c = rig_client(&rig);
    assert_int_equal(c->order.n, 2);
    assert_true(is_started(c, false) && !is_started(c, true));
    int a = rig_accept(&rig, "GET /a ");
    fixture_write(a, "HTTP/1.1 204 No\r\n\r\n");
    (void)rig_read(&rig, a, "GET /b ", NULL);
    assert_int_equal(c->order.n, 1);
    leave(100);
    fixture_write(a, "HTTP/1.1 204 No\r\n\r\n");
    (void)rig_read(&rig, fd, " 204 ", NULL);
    close(a);
    close(fd);
}

/* A first request waits unread, and goes on when there is room. */
static void waits_for_room(void **state)
{
    (void)state;
    int fd = rig_connect(&rig);
    leave(0);
    rig_send(&rig, fd, GET("/a"));
    struct client *c = rig_client(&rig);
    assert_int_equal(c->order.n, 0);
    assert_int_equal(rig.clients.n_waiting, 1);
    assert_true(c->blocked);
    assert_int_equal(c->timer_is, TIMER_NONE);
    leave(100);
    int a = rig_accept(&rig, "GET /a ");
    assert_int_equal(rig.clients.n_waiting, 0);
    close(a);
    close(fd);
}

/* But not for ever; and not once it is closed. */
static void waits_no_longer_than(void **state)
{
    int end = 0;
    (void)state;
    int fd = rig_connect(&rig);
    leave(0);
    rig_send(&rig, fd, GET("/a"));
    rig_client(&rig)->waits_since -= 2000000;
    assert_non_null(strstr(rig_read(&rig, fd, "\r\n\r\n", &end), "HTTP/1.1 503 Memory"));
    close(fd);
    fixture_settle(&rig.f);
    fd = rig_connect(&rig);
    rig_send(&rig, fd, GET("/a"));
    assert_int_equal(rig.clients.n_waiting, 1);
    client_close(rig_client(&rig));
    assert_int_equal(rig.clients.n_waiting, 0);
    leave(100);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_at_a_time, set_up, leave_all),
        cmocka_unit_test_setup_teardown(waits_for_room, set_up, leave_all),
        cmocka_unit_test_setup_teardown(waits_no_longer_than, set_up, leave_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
