/* SPDX-License-Identifier: Apache-2.0 */
/* service/places.c: members and guests of the service listener, and who goes for whom. */
#include "upstream_fixture.h"

#include <sys/resource.h>

#include "base/fds.h"
#include "exchange/engine.h"
#include "service/places.h"

enum { LIMIT = 160, CALLERS = 200 };

static struct loop loop;
static struct conf conf;
static struct conf_use use = {.conf = &conf};
static struct engine engine = {.use = &use};
static struct callers all;
static struct caller callers[CALLERS];
static unsigned n_callers;
static uint16_t port;
static int listener;

static const struct page open_page = {.is_open = true}, closed_page = {.is_open = false};

/* As caller.c does when libevhtp frees a connection. */
static evhtp_res on_fini(evhtp_connection_t *c, void *arg)
{
    struct caller *k = arg;
    (void)c;
    places_leave(k);
    places_leave(k);
    k->conn = NULL;
    return EVHTP_RES_OK;
}

static int begin(void **state)
{
    (void)state;
    if (!loop_init(&loop))
        return -1;
    listener = fixture_listen(&port);
    n_callers = 0;
    all = (struct callers){.engine = &engine};
    places_init(&all.places);
    return netset_add(&conf.client.allow, STR("10.0.0.0/8")) ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    for (unsigned i = 0; i < n_callers; i++)
        if (callers[i].conn != NULL)
            evhtp_connection_free(callers[i].conn);
    bool is_empty = list_is_empty(&all.places.members) && list_is_empty(&all.places.guests);
    netset_clear(&conf.client.allow);
    close(listener);
    loop_clear(&loop);
    return is_empty && all.places.n_members == 0 && all.places.n_guests == 0 ? 0 : -1;
}

/* Somebody comes from ADDRESS. */
static struct caller *come(const char *address)
{
    struct caller *k = &callers[n_callers++];
    assert_true(n_callers <= CALLERS);
    *k = (struct caller){.all = &all, .state = CALLER_IDLE};
    assert_true(addr_parse_ip(&k->from.peer, str_from(address), 1));
    k->conn = evhtp_connection_new(loop.base, "127.0.0.1", port);
    assert_non_null(k->conn);
    assert_int_equal(
        evhtp_connection_set_hook(k->conn, evhtp_hook_on_connection_fini, (evhtp_hook)on_fini, k),
        0);
    places_take(k);
    return k;
}

static void who_is_who(void **state)
{
    struct fault f;
    (void)state;
    struct caller *member = come("10.1.2.3"), *guest = come("192.0.2.1");
    assert_false(member->is_guest);
    assert_true(guest->is_guest);
    assert_true(places_may_ask(member, &closed_page, &f));
    assert_true(places_may_ask(member, NULL, &f));
    assert_true(places_may_ask(guest, &open_page, &f));
    assert_false(places_may_ask(guest, &closed_page, &f));
    assert_int_equal(f.code, FAULT_DENIED);
    assert_false(places_may_ask(guest, NULL, &f));
    assert_int_equal(all.places.n_guests, 1);
    /* A reload has let it in. */
    assert_true(netset_add(&conf.client.allow, STR("192.0.2.0/24")));
    assert_true(places_may_ask(guest, &closed_page, &f));
    assert_false(guest->is_guest);
    assert_int_equal(all.places.n_guests, 0);
    assert_int_equal(all.places.n_members, 2);
}

/* The one that has waited longest makes room; who is busy does not. */
static void members_make_room(void **state)
{
    unsigned most = fds_budget()->service;
    struct fault f;
    (void)state;
    assert_in_range(most, 2, CALLERS - 4);
    struct caller *busy = come("10.0.0.1");
    busy->state = CALLER_HEAD;
    struct caller *idle = come("10.0.0.1");
    for (unsigned i = 2; i < most; i++)
        come("10.0.0.1")->state = CALLER_BODY;
    struct caller *next = come("10.0.0.2");
    assert_null(idle->conn);
    assert_non_null(busy->conn);
    assert_false(next->is_guest);
    next->state = CALLER_ANSWER;
    struct caller *late = come("10.0.0.3");
    assert_true(late->is_guest);
    assert_true(places_may_ask(late, &open_page, &f));
    assert_false(places_may_ask(late, &closed_page, &f));
    assert_int_equal(f.code, FAULT_LIMIT);
    /* A place has come free. */
    evhtp_connection_free(busy->conn);
    assert_true(places_may_ask(late, &closed_page, &f));
    assert_int_equal(all.places.n_members, most);
}

/* A guest always gets in: the oldest of those who have most goes. */
static void guests_make_room(void **state)
{
    struct caller *alone, *first_of_many, *last;
    (void)state;
    alone = come("192.0.2.1");
    first_of_many = come("192.0.2.2");
    for (int i = 2; i < FDS_GUESTS; i++)
        (void)come("192.0.2.2");
    assert_non_null(first_of_many->conn);
    last = come("192.0.2.3");
    assert_int_equal(all.places.n_guests, FDS_GUESTS);
    assert_null(first_of_many->conn);
    assert_non_null(alone->conn);
    assert_non_null(last->conn);
}

/* An IPv6 host has a whole /64. */
static void one_host_many_addresses(void **state)
{
    struct caller *alone = come("2001:db8:1::1"), *first = come("2001:db8:2::1");
    (void)state;
    for (int i = 2; i <= FDS_GUESTS; i++)
        (void)come(i % 2 == 0 ? "2001:db8:2::2" : "2001:db8:2::3");
    assert_non_null(alone->conn);
    assert_null(first->conn);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct rlimit few = {LIMIT, LIMIT};
    const struct CMUnitTest tests[] = {CASE(who_is_who), CASE(members_make_room),
                                       CASE(guests_make_room), CASE(one_host_many_addresses)};
    if (setrlimit(RLIMIT_NOFILE, &few) != 0)
        return 1;
    fds_init(1, 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
