/* SPDX-License-Identifier: Apache-2.0 */
/* service/exchanges.c, feed.c, exchange_json.c: what a reader gets who asks for all that is kept,
 * what is under way beside what has ended, failures apart, and what is told of one. The rest of
 * /exchanges is in test_status.c. */
#include "json_fixture.h"

#include "exchange/running.h"
#include "exchange/stats.h"
#include "service/exchanges.h"
#include "service/watch.h"

static json_t *exchanges(const char *after, int64_t limit)
{
    struct evbuffer *out = evbuffer_new();
    struct page_query q = {.after = str_from(after), .limit = limit};
    exchanges_print(out, &view, &q);
    return load(out);
}

static json_t *failures(const char *after)
{
    struct evbuffer *out = evbuffer_new();
    struct page_query q = {.after = str_from(after), .limit = -1};
    failures_print(out, &view, &q);
    return load(out);
}

static void put(unsigned worker, uint64_t id, int64_t end)
{
    struct record r = {.id = id, .t = {.begin = end - 1000, .end = end}};
    ring_put(all_stats[worker]->records, &r, sizeof(r));
}

/* The ids in the list called KEY, "1 2 3". */
static const char *ids(const json_t *root, const char *key)
{
    static char text[8192];
    size_t i;
    int n = 0;
    const json_t *x;
    text[0] = '\0';
    json_array_foreach (json_object_get(root, key), i, x) {
        assert_in_range(n, 0, sizeof(text) - 32);
        n += snprintf(text + n, 32, "%s%s", i > 0 ? " " : "", word(x, "id"));
    }
    return text;
}

/* Checks an answer and gives its cursor. */
static const char *check(const char *after, int64_t limit, const char *expected, json_int_t gone,
                         json_int_t waiting)
{
    static char cursors[2][100];
    static unsigned turn;
    json_t *root = exchanges(after, limit);
    assert_string_equal(ids(root, "exchanges"), expected);
    assert_int_equal(number(root, "gone"), gone);
    assert_int_equal(number(root, "skipped"), gone);
    assert_int_equal(number(root, "waiting"), waiting);
    char *cursor = cursors[turn++ % 2];
    snprintf(cursor, sizeof(cursors[0]), "%s", word(root, "cursor"));
    json_decref(root);
    return cursor;
}

static void a_pause(void **state)
{
    char paused[100];
    (void)state;
    put(0, 0x1, 100);
    snprintf(paused, sizeof(paused), "%s", check("", -1, "1", 0, 0));
    put(0, 0x2, 400);
    put(1, 0x3, 200);
    put(1, 0x4, 300);
    put(0, 0x5, 350); /* told late: in its ring's order */
    assert_string_equal(check(paused, 0, "", 0, 4), paused);
    assert_string_equal(check(paused, 0, "", 0, 4), paused);
    const char *cursor = check(paused, 2, "3 4", 0, 2);
    cursor = check(cursor, 1, "2", 0, 1);
    cursor = check(cursor, 1000, "5", 0, 0);
    cursor = check(cursor, 1000, "", 0, 0);
    check(cursor, -1, "", 0, 0);
}

/* From the first that is held on, for who has no place yet. */
static void from_the_beginning(void **state)
{
    (void)state;
    put(0, 0x1, 100);
    put(0, 0x2, 200);
    const char *cursor = check("", 0, "", 0, 2);
    cursor = check(cursor, 1, "1", 0, 1);
    check(cursor, 9, "2", 0, 0);
    check("nonsense", 1, "1", 0, 1);
}

static void what_the_rings_do_not_hold(void **state)
{
    char paused[100];
    (void)state;
    json_t *root = exchanges("", -1);
    snprintf(paused, sizeof(paused), "%s", word(root, "cursor"));
    json_decref(root);
    unsigned slots = (unsigned)all_stats[0]->records->slots;
    for (unsigned i = 0; i < slots + 40; i++)
        put(0, i, i);
    put(1, 0xabc, 1000000);
    assert_string_equal(check(paused, 0, "", 40, slots + 1), paused);
    root = exchanges(paused, 100);
    assert_int_equal(number(root, "gone"), 40);
    assert_int_equal(number(root, "waiting"), slots - 99);
    const json_t *list = json_object_get(root, "exchanges");
    assert_int_equal(json_array_size(list), 100);
    assert_string_equal(word(json_array_get(list, 0), "id"), "28"); /* 40 */
    snprintf(paused, sizeof(paused), "%s", word(root, "cursor"));
    json_decref(root);
    unsigned seen = 100;
    json_int_t waiting = 1;
    while (waiting > 0) { /* "gone" is told once */
        root = exchanges(paused, 100);
        assert_int_equal(number(root, "gone"), 0);
        seen += (unsigned)json_array_size(json_object_get(root, "exchanges"));
        waiting = number(root, "waiting");
        snprintf(paused, sizeof(paused), "%s", word(root, "cursor"));
        json_decref(root);
    }
    assert_int_equal(seen, slots + 1);
}

/* ---- under way */

static struct watch_worker watched[2];

static void watch(unsigned worker, unsigned n, uint64_t first, bool is_tunnel)
{
    free(watched[worker].list);
    struct running_list *list = xcalloc(1, sizeof(*list) + n * sizeof(list->v[0]));
    list->at = loop_now();
    list->end = ring_end(all_stats[worker]->records);
    list->n = n;
    list->all = n + 7;
    for (unsigned i = 0; i < n; i++)
        list->v[i] = (struct running){.phase = RUNNING_WAIT,
                                      .doing = "waits",
                                      .is_tunnel = is_tunnel,
                                      .r = {.id = first + i,
                                            .place = TALLY_PLACES,
                                            .t = {.begin = 10 * i + worker, .end = 100000}}};
    watched[worker].list = list;
    view.watched = watched;
}

static void unwatch(void)
{
    for (int i = 0; i < 2; i++) {
        free(watched[i].list);
        watched[i] = (struct watch_worker){0};
    }
    view.watched = NULL;
}

static void running_and_ended(void **state)
{
    (void)state;
    put(0, 0x1, 100);
    watch(0, 2, 0xa, false);
    watch(1, 2, 0xc, false);
    put(0, 0xa, 200); /* it has ended since: it is in one list, and in the other next time */
    json_t *root = exchanges("", -1);
    assert_string_equal(ids(root, "exchanges"), "1");
    assert_string_equal(ids(root, "running"), "a c b d"); /* as they began */
    assert_int_equal(number(root, "running_more"), 14);
    assert_int_equal(json_array_size(json_object_get(root, "silent")), 0);
    const json_t *x = json_array_get(json_object_get(root, "running"), 0);
    assert_string_equal(word(x, "phase"), "wait");
    assert_string_equal(word(x, "doing"), "waits");
    assert_string_equal(word(x, "origin"), "");
    char cursor[100];
    snprintf(cursor, sizeof(cursor), "%s", word(root, "cursor"));
    json_decref(root);
    watch(0, 1, 0xb, false);
    root = exchanges(cursor, -1);
    assert_string_equal(ids(root, "exchanges"), "a");
    assert_string_equal(ids(root, "running"), "b c d");
    json_decref(root);
    /* A late word of a worker is older than what was told before. */
    snprintf(cursor, sizeof(cursor), "%llx.2.0", (unsigned long long)view.since);
    watched[0].list->end = 1;
    root = exchanges(cursor, -1);
    assert_string_equal(ids(root, "exchanges"), "");
    assert_string_equal(word(root, "cursor"), cursor);
    json_decref(root);
    unwatch();
}

static void tunnels_and_many(void **state)
{
    (void)state;
    watch(0, RUNNING_MOST, 0x1000, true);
    watch(1, 20, 0x1, false);
    json_t *root = exchanges("", 0);
    const json_t *list = json_object_get(root, "running");
    assert_int_equal(json_array_size(list), EXCHANGES_RUNNING);
    assert_int_equal(number(root, "running_more"), 20 + 14);
    assert_string_equal(word(json_array_get(list, 19), "id"), "14");
    assert_string_equal(word(json_array_get(list, 20), "id"), "1000");
    json_decref(root);
    unwatch();
}

static void a_worker_is_silent(void **state)
{
    (void)state;
    watch(0, 1, 0x1, false);
    watched[1].asked = loop_now() - 2000000;
    json_t *root = exchanges("", -1);
    const json_t *one = json_array_get(json_object_get(root, "silent"), 0);
    assert_int_equal(number(one, "worker"), 2);
    assert_true(json_real_value(json_object_get(one, "ms")) >= 2000);
    assert_string_equal(ids(root, "running"), "1");
    json_decref(root);
    /* Another page has asked since then, and nothing was late. */
    watched[1].asked = loop_now();
    root = exchanges("", -1);
    assert_int_equal(json_array_size(json_object_get(root, "silent")), 0);
    json_decref(root);
    unwatch();
}

/* ---- failures */

static void fail_one(unsigned worker, uint64_t id, int64_t end, enum fault_code fault)
{
    struct stats *s = all_stats[worker];
    struct failure f = {.r = {.id = id,
                              .status = 502,
                              .fault = (uint8_t)fault,
                              .t = {.begin = end - 1000, .end = end}}};
    snprintf(f.s.text, sizeof(f.s.text), "it failed");
    ring_put(fault == FAULT_NONE ? s->refusals : s->failures, &f, sizeof(f));
}

static void failures_are_kept_apart(void **state)
{
    (void)state;
    fail_one(0, 0x1, 100, FAULT_DNS);
    fail_one(1, 0x2, 200, FAULT_NONE);
    fail_one(1, 0x3, 150, FAULT_REFUSED);
    for (unsigned i = 0; i < 3000; i++) /* a flood of what went well */
        put(i % 2, 1000 + i, 1000 + i);
    json_t *root = failures("");
    assert_string_equal(ids(root, "failures"), "1 3 2");
    const json_t *list = json_object_get(root, "failures");
    assert_string_equal(word(json_array_get(list, 0), "kind"), "tlsfan");
    assert_string_equal(word(json_array_get(list, 0), "sentence"), "it failed");
    assert_string_equal(word(json_array_get(list, 0), "error"), "dns_error");
    assert_string_equal(word(json_array_get(list, 2), "kind"), "origin");
    char cursor[200];
    snprintf(cursor, sizeof(cursor), "%s", word(root, "cursor"));
    json_decref(root);
    root = failures(cursor);
    assert_string_equal(ids(root, "failures"), "");
    json_decref(root);
    fail_one(0, 0x4, 300, FAULT_DNS);
    root = failures(cursor);
    assert_string_equal(ids(root, "failures"), "4");
    assert_int_equal(number(root, "gone"), 0);
    json_decref(root);
}

/* The last ones of all workers, and of each kind, however many there are of the other. */
static void the_last_failures(void **state)
{
    (void)state;
    fail_one(0, 0x1, 1, FAULT_NONE);
    json_t *root = failures("");
    char cursor[200];
    snprintf(cursor, sizeof(cursor), "%s", word(root, "cursor"));
    json_decref(root);
    for (unsigned i = 0; i < 250; i++)
        fail_one(i % 2, 0x1000 + i, 1000 + i, FAULT_DNS);
    root = failures("");
    const json_t *list = json_object_get(root, "failures");
    assert_int_equal(json_array_size(list), STATS_FAILURES + 1);
    assert_string_equal(word(json_array_get(list, 0), "id"), "1");
    assert_string_equal(word(json_array_get(list, 1), "id"), "1096");
    assert_string_equal(word(json_array_get(list, 100), "id"), "10f9");
    assert_int_equal(number(root, "gone"), 0);
    json_decref(root);
    root = failures(cursor);
    assert_int_equal(json_array_size(json_object_get(root, "failures")), STATS_FAILURES);
    assert_int_equal(number(root, "gone"), 150);
    json_decref(root);
}

/* ---- one of them */

static void connections_and_fields(void **state)
{
    static const char head[] = "GET http://%P/a HTTP/1.0\r\nHost: h\r\nX-A: \"1\"\r\n";
    (void)state;
    rig.engine.credit = 9;
    int fd = view_exchange(-1, "GET http://%P/a HTTP/1.1\r\nHost: h\r\n",
                           "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    view_exchange(fd, head, "HTTP/1.1 404 No\r\nContent-Length: 3\r\nETag: \"\xff\"\r\n\r\nno\n");
    json_t *root = exchanges("", -1);
    const json_t *x = json_array_get(json_object_get(root, "exchanges"), 1);
    assert_string_equal(word(x, "kind"), "origin");
    assert_string_equal(word(x, "version"), "1.0");
    assert_string_equal(word(x, "address"), "127.0.0.1");
    assert_string_equal(word(x, "upstream_connection"), "0.1"); /* the rig is worker 0 */
    assert_int_equal(number(x, "upstream_position"), 2);
    assert_int_equal(number(x, "client_position"), 1);
    assert_int_equal(number(x, "stream"), 0);
    assert_int_equal(number(x, "body"), 3);
    assert_true(json_is_true(json_object_get(x, "reused")));
    assert_string_equal(word(x, "origin"), tally_name(tally_find(STR("127.0.0.1"), rig.port)));
    double start = json_real_value(json_object_get(x, "start"));
    double end = json_real_value(json_object_get(x, "end"));
    double total = json_real_value(json_object_get(json_object_get(x, "ms"), "total"));
    assert_true(end - start > total - 0.002 && end - start < total + 0.002);
    const json_t *fields = json_object_get(json_object_get(x, "response"), "fields");
    assert_string_equal(word(json_array_get(fields, 0), "name"), "Content-Length");
    assert_int_equal(number(json_array_get(fields, 0), "size"), 1);
    assert_null(json_object_get(json_array_get(fields, 0), "value"));
    json_decref(root);
    close(fd);
}

/* What was not noted is null; and a place in the ring that another has taken is no one's. */
static void without_fields(void **state)
{
    (void)state;
    struct record r = {.t = {.end = 1}, .heads = 12345};
    ring_put(all_stats[0]->records, &r, sizeof(r));
    json_t *root = exchanges("", -1);
    const json_t *x = json_array_get(json_object_get(root, "exchanges"), 0);
    assert_true(json_is_null(json_object_get(x, "request")));
    assert_true(json_is_null(json_object_get(x, "response")));
    json_decref(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_pause, set_up, tear_down),
        cmocka_unit_test_setup_teardown(from_the_beginning, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_the_rings_do_not_hold, set_up, tear_down),
        cmocka_unit_test_setup_teardown(running_and_ended, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tunnels_and_many, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_worker_is_silent, set_up, tear_down),
        cmocka_unit_test_setup_teardown(failures_are_kept_apart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_last_failures, set_up, tear_down),
        cmocka_unit_test_setup_teardown(connections_and_fields, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_fields, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
