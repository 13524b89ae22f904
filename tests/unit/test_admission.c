/* SPDX-License-Identifier: Apache-2.0 */
/* service/admission.c: members and guests of the service listener, and who goes for whom. */
#include "upstream_fixture.h"

#include <sys/resource.h>

#include "base/fds.h"
#include "exchange/engine.h"
#include "service/admission.h"

enum { LIMIT = 160, CONNS = 200 };

static struct loop loop;
static struct conf conf;
static struct conf_use use = {.conf = &conf};
static struct engine engine = {.use = &use};
static struct service_conns all;
static struct service_conn conns[CONNS];
static unsigned n_conns;
static uint16_t port;
static int listener;

static const struct page open_page = {.is_open = true}, closed_page = {.is_open = false};

/* As service_conn.c does when libevhtp frees a connection. */
static evhtp_res on_fini(evhtp_connection_t *conn, void *arg)
{
    struct service_conn *c = arg;
    (void)conn;
    admission_leave(c);
    admission_leave(c);
    c->conn = NULL;
    return EVHTP_RES_OK;
}

static int begin(void **state)
{
    (void)state;
    if (!loop_init(&loop))
        return -1;
    listener = fixture_listen(&port);
    n_conns = 0;
    all = (struct service_conns){.engine = &engine};
    admission_init(&all.admission);
    return netset_add(&conf.client.allow, STR("10.0.0.0/8")) ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    for (unsigned i = 0; i < n_conns; i++)
        if (conns[i].conn != NULL)
            evhtp_connection_free(conns[i].conn);
    bool is_empty = list_is_empty(&all.admission.members) && list_is_empty(&all.admission.guests);
    netset_clear(&conf.client.allow);
    close(listener);
    loop_clear(&loop);
    return is_empty && all.admission.n_members == 0 && all.admission.n_guests == 0 ? 0 : -1;
}

/* Somebody comes from ADDRESS. */
static struct service_conn *come(const char *address)
{
    struct service_conn *c = &conns[n_conns++];
    assert_true(n_conns <= CONNS);
    *c = (struct service_conn){.all = &all, .state = SERVICE_CONN_IDLE};
    assert_true(addr_parse_ip(&c->from.peer, str_from(address), 1));
    c->conn = evhtp_connection_new(loop.base, "127.0.0.1", port);
    assert_non_null(c->conn);
    assert_int_equal(
        evhtp_connection_set_hook(c->conn, evhtp_hook_on_connection_fini, (evhtp_hook)on_fini, c),
        0);
    admission_take(c);
    return c;
}

static void who_is_who(void **state)
{
    struct fault f;
    (void)state;
    struct service_conn *member = come("10.1.2.3"), *guest = come("192.0.2.1");
    assert_false(member->is_guest);
    assert_true(guest->is_guest);
    assert_true(admission_may_ask(member, &closed_page, &f));
    assert_true(admission_may_ask(member, NULL, &f));
    assert_true(admission_may_ask(guest, &open_page, &f));
    assert_false(admission_may_ask(guest, &closed_page, &f));
    assert_int_equal(f.code, FAULT_DENIED);
    assert_false(admission_may_ask(guest, NULL, &f));
    assert_int_equal(all.admission.n_guests, 1);
    /* A reload has let it in. */
    assert_true(netset_add(&conf.client.allow, STR("192.0.2.0/24")));
    assert_true(admission_may_ask(guest, &closed_page, &f));
    assert_false(guest->is_guest);
    assert_int_equal(all.admission.n_guests, 0);
    assert_int_equal(all.admission.n_members, 2);
}

/* The one that has waited longest makes room; who is busy does not. */
static void members_make_room(void **state)
{
    unsigned most = fds_budget()->service;
    struct fault f;
    (void)state;
    assert_in_range(most, 2, CONNS - 4);
    struct service_conn *busy = come("10.0.0.1");
    busy->state = SERVICE_CONN_HEAD;
    struct service_conn *idle = come("10.0.0.1");
    for (unsigned i = 2; i < most; i++)
        come("10.0.0.1")->state = SERVICE_CONN_BODY;
    struct service_conn *next = come("10.0.0.2");
    assert_null(idle->conn);
    assert_non_null(busy->conn);
    assert_false(next->is_guest);
    next->state = SERVICE_CONN_ANSWER;
    struct service_conn *late = come("10.0.0.3");
    assert_true(late->is_guest);
    assert_true(admission_may_ask(late, &open_page, &f));
    assert_false(admission_may_ask(late, &closed_page, &f));
    assert_int_equal(f.code, FAULT_LIMIT);
    /* A place has come free. */
    evhtp_connection_free(busy->conn);
    assert_true(admission_may_ask(late, &closed_page, &f));
    assert_int_equal(all.admission.n_members, most);
}

/* A guest always gets in: the oldest of those who have most goes. */
static void guests_make_room(void **state)
{
    struct service_conn *alone, *first_of_many, *last;
    (void)state;
    alone = come("192.0.2.1");
    first_of_many = come("192.0.2.2");
    for (int i = 2; i < FDS_GUESTS; i++)
        (void)come("192.0.2.2");
    assert_non_null(first_of_many->conn);
    last = come("192.0.2.3");
    assert_int_equal(all.admission.n_guests, FDS_GUESTS);
    assert_null(first_of_many->conn);
    assert_non_null(alone->conn);
    assert_non_null(last->conn);
}

/* An IPv6 host has a whole /64. */
static void one_host_many_addresses(void **state)
{
    struct service_conn *alone = come("2001:db8:1::1"), *first = come("2001:db8:2::1");
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
