/* SPDX-License-Identifier: Apache-2.0 */
/* upstream/peers.c against a DNS server on loopback, on which answers expire as they come. When an
 * address was missed for the first time is set back here; tests/replay/dns_leaves.rpl lets the
 * time pass. */
#include "upstream_fixture.h"

#include "upstream/peers.h"

enum { MINUTE = 60000000 };

static struct fixture fix;
static struct fixture_dns server;
static struct peers peers;
static struct addr here, there, six;
static unsigned n_gone;
static int code; /* what the server answers; 0: as the name says */

static int code_of(const char *labels, bool is_v6)
{
    (void)labels;
    (void)is_v6;
    return code;
}

static void on_gone(void *arg)
{
    assert_ptr_equal(arg, &fix);
    n_gone++;
}

static int set_up(void **state)
{
    (void)state;
    fixture_open(&fix);
    fixture_dns_open(&fix, &server);
    fix.conf.dns.ttl_max = 0;
    fix.conf.dns.negative_ttl = 0;
    fix.conf.dns.stale = 60000;
    fixture_open_dns(&fix);
    server.code_of = code_of;
    code = 0;
    n_gone = 0;
    assert_true(addr_parse_ip(&here, STR("127.0.0.1"), 443)); /* what the server says */
    assert_true(addr_parse_ip(&there, STR("127.0.0.2"), 443));
    assert_true(addr_parse_ip(&six, STR("::2"), 443));
    peers_init(&peers, on_gone, &fix);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    peers_close(&peers);
    peers_close(&peers);
    fixture_dns_close(&server);
    fixture_close(&fix);
    return 0;
}

/* A connection is used when the last look is long ago; until that one is over. */
static void look(void)
{
    peers_use(&peers, peers.look_at);
    int64_t end = loop_now() + 10000000;
    do {
        loop_turn(&fix.loop, false);
        assert_true(loop_now() < end);
    } while (peers.queries[0] != NULL || peers.queries[1] != NULL);
}

static void leaves(void **state)
{
    (void)state;
    struct peer *a = peers_add(&peers, fix.dns, "four.test", &here);
    struct peer *b = peers_add(&peers, fix.dns, "four.test", &there);
    assert_ptr_equal(peers_add(&peers, fix.dns, "four.test", &here), a);
    look();
    assert_int_equal(a->missed, 0);
    assert_true(b->missed != 0);
    assert_false(b->is_gone);
    b->missed -= MINUTE - 5000000;
    look();
    assert_int_equal(n_gone, 0);
    b->missed -= 5000000;
    look();
    assert_int_equal(n_gone, 1);
    assert_true(b->is_gone);
    look();
    assert_int_equal(n_gone, 1); /* that is told once */
    assert_false(a->is_gone);
    peers_remove(&peers, b);
    peers_remove(&peers, a);
    peers_remove(&peers, a);
    assert_true(list_is_empty(&peers.all));
    assert_null(peers.name);
}

/* Where each answer has others, that an address is in none of them says nothing. */
static void others_each_time(void **state)
{
    (void)state;
    struct peer *a = peers_add(&peers, fix.dns, "four.test", &there);
    for (int i = 0; i < 3; i++) {
        look();
        a->missed -= MINUTE;
        assert_int_equal(peers.last[1].n, 1);
        peers.last[1].marks[0]++;
    }
    look();
    assert_int_equal(n_gone, 0);
    code = 3; /* that there is no such name for once is not another set */
    look();
    assert_int_equal(peers.last[1].n, 1);
    code = 0;
    dns_configure(fix.dns, &fix.conf);
    a->missed -= MINUTE;
    look();
    assert_int_equal(n_gone, 1);
    peers_remove(&peers, a);
    assert_null(peers.last[1].marks);
}

static void comes_back(void **state)
{
    (void)state;
    struct peer *a = peers_add(&peers, fix.dns, "four.test", &here);
    a->missed = loop_now() - MINUTE;
    look();
    assert_int_equal(a->missed, 0);
    a->is_gone = true;
    a->missed = 1;
    look();
    assert_false(a->is_gone);
    assert_int_equal(n_gone, 0);
    peers_remove(&peers, a);
}

/* That there is no such name is an answer; that nobody can say is none, and neither is what has
 * expired. */
static void absent_and_failed(void **state)
{
    (void)state;
    struct peer *a = peers_add(&peers, fix.dns, "four.test", &there);
    for (int i = 0; i < 3; i++) {
        code = 2;
        look();
        assert_int_equal(a->missed, 0);
        code = 0;
        if (i == 0) {
            look(); /* from now on there is something that may serve */
            a->missed = 0;
        }
    }
    dns_configure(fix.dns, &fix.conf); /* or the servers are left alone for a while */
    code = 3;
    look();
    assert_true(a->missed != 0);
    a->missed -= MINUTE;
    look();
    assert_int_equal(n_gone, 1);
    peers_remove(&peers, a);
}

/* One family says nothing of the other, and is not asked where no connection is of it. */
static void families(void **state)
{
    (void)state;
    struct peer *a = peers_add(&peers, fix.dns, "both.test", &here);
    struct peer *s = peers_add(&peers, fix.dns, "both.test", &six);
    look();
    assert_int_equal(a->missed, 0);
    assert_true(s->missed != 0);
    peers_remove(&peers, s);
    peers_use(&peers, peers.look_at);
    loop_turn(&fix.loop, false);
    assert_null(peers.queries[0]);
    look();
    peers_remove(&peers, a);
}

static void no_more_often(void **state)
{
    (void)state;
    int64_t now = loop_now();
    struct peer *a = peers_add(&peers, fix.dns, "four.test", &here);
    assert_in_range(peers.look_at - now, 5000000, 6000000);
    peers_use(&peers, now);
    loop_turn(&fix.loop, false);
    assert_null(peers.queries[1]);
    now = peers.look_at;
    peers_use(&peers, now);
    assert_int_equal(peers.look_at, now + 5000000);
    /* Nobody is left when it would begin; and it ends with whoever owns it. */
    peers_remove(&peers, a);
    loop_turn(&fix.loop, false);
    assert_null(peers.queries[1]);
    server.hold = true;
    peers_add(&peers, fix.dns, "four.test", &here);
    peers_use(&peers, peers.look_at);
    loop_turn(&fix.loop, false);
    assert_non_null(peers.queries[1]);
    struct peer *left = container_of(list_first(&peers.all), struct peer, link);
    peers_remove(&peers, left);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(leaves, set_up, tear_down),
        cmocka_unit_test_setup_teardown(others_each_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(comes_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(absent_and_failed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(families, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_more_often, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
