/* SPDX-License-Identifier: Apache-2.0 */
/* exchange/stats.c and the record of exchange/record.c: what an exchange leaves behind, by how it
 * ended, and what the pool counts per origin on the way. */
#include "view_fixture.h"

#include "exchange/record.h"
#include "exchange/stats.h"

#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

static struct stats_sum sum_now(void)
{
    struct stats_sum sum = {0};
    stats_add(&sum, rig.engine.stats);
    return sum;
}

static struct tally_sum origin_now(void)
{
    struct tally_sum sum = {0};
    tally_add(&sum, &rig.engine.stats->tally, tally_find(STR("127.0.0.1"), rig.port));
    return sum;
}

/* The newest record, and its texts. */
static struct record last_record(struct str *client, struct str *method, struct str *url)
{
    static struct record r;
    uint64_t end = ring_end(rig.engine.stats->records);
    assert_true(end > 0);
    assert_true(ring_get(rig.engine.stats->records, end - 1, &r, sizeof(r)));
    *client = str_make(r.text, r.client_len);
    *method = str_make(r.text + r.client_len, r.method_len);
    *url = str_make(method->p + method->len, r.url_len);
    return r;
}

static void assert_str(struct str s, const char *expected)
{
    assert_int_equal(s.len, strlen(expected));
    assert_memory_equal(s.p, expected, s.len);
}

static void one_that_ends_well(void **state)
{
    struct str client, method, url;
    char expected[64];
    (void)state;
    probe_open(&p, &rig, "GET http://%P/a?b HTTP/1.1\r\nHost: h\r\n");
    p.x.bytes_in = 40;
    p.x.bytes_out = 50;
    struct stats_sum sum = sum_now();
    assert_int_equal(sum.in_flight, 1);
    assert_int_equal(sum.exchanges, 0);
    exchange_close(&p.x, FAULT_NONE);
    probe_close(&p, &rig);
    int fd = view_exchange(-1, "GET http://%P/a?b HTTP/1.1\r\nHost: h\r\n", OK);
    sum = sum_now();
    assert_int_equal(sum.in_flight, 0);
    assert_int_equal(sum.exchanges, 2);
    assert_int_equal(sum.classes[0], 1);
    assert_int_equal(sum.classes[2], 1);
    assert_int_equal(sum.failed, 0);
    assert_int_equal(sum.bytes_in, 40);
    assert_int_equal(sum.bytes_out, 50);
    assert_int_equal(sum.plain, 1);
    assert_int_equal(sum.unverified, 0);
    assert_int_equal(sum.h1, 1);
    assert_int_equal(sum.h2, 0);
    assert_int_equal(sum.phases[PHASE_TOTAL].count, 2);
    assert_int_equal(sum.phases[PHASE_QUEUE].count, 1);
    assert_int_equal(sum.phases[PHASE_WAIT].count, 1);
    assert_int_equal(sum.phases[PHASE_CONNECT].count, 1);
    assert_int_equal(sum.phases[PHASE_TLS].count, 0);
    struct record r = last_record(&client, &method, &url);
    snprintf(expected, sizeof(expected), "http://127.0.0.1:%u/a?b", rig.port);
    assert_str(client, "127.0.0.1");
    assert_str(method, "GET");
    assert_str(url, expected);
    assert_int_equal(r.status, 200);
    assert_int_equal(r.fault, FAULT_NONE);
    assert_int_equal(r.sentence, 0);
    assert_false(r.is_reused);
    assert_string_equal(r.protocol, "h1");
    struct addr peer;
    char text[ADDR_TEXT];
    addr_from_sockaddr(&peer, (struct sockaddr *)&r.peer, r.peer_len);
    assert_memory_equal(expected + 7, addr_print(&peer, text), strlen(text));
    assert_true(r.t.begin > 0 && r.t.end >= r.t.begin && r.t.head >= r.t.sent);
    close(fd);
}

/* What the origin's place has, at each step of a connection's life. */
static void an_origin(void **state)
{
    (void)state;
    assert_int_equal(tally_find(STR("127.0.0.1"), rig.port), TALLY_OTHER);
    probe_open(&p, &rig, "GET http://%P/ HTTP/1.1\r\nHost: h\r\n");
    exchange_start(&p.x, STR(""), true);
    assert_int_equal(origin_now().in_flight, 1); /* of "other": there is no connection yet */
    int fd = rig_accept(&rig, "\r\n\r\n");
    assert_int_not_equal(tally_find(STR("127.0.0.1"), rig.port), TALLY_OTHER);
    struct tally_sum o = origin_now();
    assert_true(o.in_flight == 1 && o.busy == 1 && o.idle == 0 && o.opened == 1);
    struct tally_sum other = {0};
    tally_add(&other, &rig.engine.stats->tally, TALLY_OTHER);
    assert_int_equal(other.in_flight, 0);
    fixture_write(fd, OK);
    view_end();
    o = origin_now();
    assert_true(o.in_flight == 0 && o.busy == 0 && o.idle == 1 && o.requests == 1);
    assert_int_equal(o.reused, 0);
    view_exchange(fd, "GET http://%P/ HTTP/1.1\r\nHost: h\r\n", OK);
    o = origin_now();
    assert_true(o.idle == 1 && o.requests == 2 && o.reused == 1 && o.opened == 1);
    close(fd);
    for (int i = 0; i < 10000 && origin_now().idle > 0; i++)
        loop_turn(&rig.f.loop, false);
    o = origin_now();
    assert_true(o.in_flight == 0 && o.busy == 0 && o.idle == 0 && o.failed == 0);
}

static void faults(void **state)
{
    struct str client, method, url;
    struct sentence s;
    (void)state;
    probe_open(&p, &rig, "GET http://user:sec@ret@h/ HTTP/1.1\r\nHost: h\r\n");
    exchange_start(&p.x, STR(""), true);
    probe_close(&p, &rig);
    struct record r = last_record(&client, &method, &url);
    assert_str(url, "-");
    assert_int_equal(r.fault, FAULT_BAD_REQUEST);
    assert_int_equal(r.status, 400);
    assert_int_equal(r.peer_len, 0);
    assert_null(r.protocol);

    view_exchange(-1, "POST http://%P/ HTTP/1.1\r\nHost: h\r\n", "no HTTP at all\r\n\r\n");
    r = last_record(&client, &method, &url);
    assert_int_equal(r.fault, FAULT_UP_PROTOCOL);
    assert_true(ring_get(rig.engine.stats->sentences, r.sentence - 1, &s, sizeof(s)));
    assert_non_null(strstr(s.text, "not valid HTTP"));
    struct stats_sum sum = sum_now();
    assert_int_equal(sum.failed, 2);
    assert_int_equal(sum.faults[FAULT_BAD_REQUEST], 1);
    assert_int_equal(sum.faults[FAULT_UP_PROTOCOL], 1);
    assert_true(sum.classes[4] == 1 && sum.classes[5] == 1);
    assert_int_equal(sum.plain, 1);
    struct tally_sum o = origin_now();
    assert_true(o.requests == 1 && o.failed == 1 && o.busy == 0);
}

/* A response that breaks off has had its head: the reason is kept all the same. */
static void a_cut(void **state)
{
    struct str client, method, url;
    struct sentence s;
    (void)state;
    probe_open(&p, &rig, "GET http://%P/ HTTP/1.1\r\nHost: h\r\n");
    exchange_start(&p.x, STR(""), true);
    int fd = rig_accept(&rig, "\r\n\r\n");
    fixture_write(fd, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
    close(fd);
    view_end();
    struct record r = last_record(&client, &method, &url);
    assert_int_equal(r.fault, FAULT_RESPONSE_INCOMPLETE);
    assert_int_equal(r.status, 200);
    assert_true(ring_get(rig.engine.stats->sentences, r.sentence - 1, &s, sizeof(s)));
    assert_non_null(strstr(s.text, "inside the body"));
}

/* Who goes while the connection is being made is counted at the origin, too. */
static void one_that_gives_up(void **state)
{
    (void)state;
    view_exchange(-1, "GET http://%P/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\n",
                  "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    probe_open(&p, &rig, "GET http://%P/ HTTP/1.1\r\nHost: h\r\n");
    exchange_start(&p.x, STR(""), true);
    assert_int_equal(p.x.state, EXCHANGE_WAIT);
    assert_int_equal(origin_now().in_flight, 1);
    exchange_close(&p.x, FAULT_CLIENT_GONE);
    probe_close(&p, &rig);
    struct tally_sum o = origin_now();
    assert_true(o.requests == 2 && o.failed == 1 && o.in_flight == 0);
    assert_int_equal(sum_now().faults[FAULT_CLIENT_GONE], 1);
}

static void retries(void **state)
{
    (void)state;
    int fd = view_exchange(-1, "GET http://%P/ HTTP/1.1\r\nHost: h\r\n", OK);
    probe_open(&p, &rig, "GET http://%P/ HTTP/1.1\r\nHost: h\r\n");
    exchange_start(&p.x, STR(""), true);
    (void)rig_read(&rig, fd, "\r\n\r\n", NULL);
    close(fd);
    fd = rig_accept(&rig, "\r\n\r\n");
    fixture_write(fd, OK);
    view_end();
    assert_int_equal(sum_now().retries, 1);
    struct tally_sum o = origin_now();
    assert_true(o.requests == 2 && o.failed == 0 && o.opened == 2 && o.reused == 0);
    close(fd);
}

static void buckets(void **state)
{
    static const int64_t times[] = {0, 1000, 1001, 60000000, 60000001, 7200000000};
    (void)state;
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        probe_open(&p, &rig, "GET http://h/ HTTP/1.1\r\nHost: h\r\n");
        p.x.t.end = p.x.t.begin + times[i];
        probe_close(&p, &rig);
    }
    struct stats_sum sum = sum_now();
    const struct phase_sum *total = &sum.phases[PHASE_TOTAL];
    assert_int_equal(total->in[0], 2);
    assert_int_equal(total->in[1], 1);
    assert_int_equal(total->in[STATS_BOUNDS - 1], 1);
    assert_int_equal(total->in[STATS_BOUNDS], 2);
    assert_int_equal(total->count, 6);
    assert_int_equal(total->sum, 2001 + 60000000 + 60000001 + 7200000000);
}

/* Texts longer than a record's are cut, and do not get into each other. */
static void long_texts(void **state)
{
    struct str client, method, url;
    char head[3000], path[2500];
    (void)state;
    memset(path, 'p', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    snprintf(head, sizeof(head), "%.100s http://h/%s HTTP/1.1\r\nHost: h\r\n", path, path);
    probe_open(&p, &rig, head);
    memset(p.side.peer_text, 'c', 100);
    exchange_start(&p.x, STR(""), true);
    probe_close(&p, &rig);
    last_record(&client, &method, &url);
    assert_int_equal(client.len, RECORD_CLIENT);
    assert_int_equal(method.len, RECORD_METHOD);
    assert_int_equal(url.len, RECORD_URL);
    assert_memory_equal(url.p, "http://h/ppp", 12);
    assert_memory_equal(url.p + RECORD_URL - 4, "p...", 4);
    assert_true(client.p[RECORD_CLIENT - 1] == 'c' && method.p[0] == 'p');
}

/* One that just fits is whole. */
static void longest_url(void **state)
{
    struct str client, method, url;
    char head[500], path[RECORD_URL + 1];
    (void)state;
    for (int more = 0; more < 2; more++) {
        size_t n = RECORD_URL - strlen("http://h/") + (size_t)more;
        memset(path, 'p', n);
        path[n] = '\0';
        snprintf(head, sizeof(head), "GET http://h/%s HTTP/1.1\r\nHost: h\r\n", path);
        probe_open(&p, &rig, head);
        exchange_start(&p.x, STR(""), true);
        probe_close(&p, &rig);
        last_record(&client, &method, &url);
        assert_int_equal(url.len, RECORD_URL);
        assert_int_equal(url.p[RECORD_URL - 1], more ? '.' : 'p');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_that_ends_well, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_origin, set_up, tear_down),
        cmocka_unit_test_setup_teardown(faults, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_cut, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_that_gives_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(retries, set_up, tear_down),
        cmocka_unit_test_setup_teardown(buckets, set_up, tear_down),
        cmocka_unit_test_setup_teardown(long_texts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(longest_url, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
