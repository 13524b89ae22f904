/* SPDX-License-Identifier: Apache-2.0 */
/* service/status.c: the object of /status, and the list of /exchanges: its order over workers, its
 * cursor, what is skipped, phases that add up, and that it is JSON whatever a peer wrote. */
#include "json_fixture.h"

#include "exchange/record.h"
#include "exchange/stats.h"
#include "service/exchanges.h"
#include "service/status.h"

static json_t *status(void)
{
    struct evbuffer *out = evbuffer_new();
    status_print(out, &view);
    return load(out);
}

static json_t *exchanges(const char *after)
{
    struct evbuffer *out = evbuffer_new();
    struct page_query q = {.after = str_from(after), .limit = -1};
    exchanges_print(out, &view, &q);
    return load(out);
}

static double real(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_real(value))
        fail_msg("%s is no real", key);
    return json_real_value(value);
}

static void put(unsigned worker, uint64_t id, int64_t end)
{
    struct record r = {.id = id, .t = {.begin = end - 1000, .end = end}};
    ring_put(all_stats[worker]->records, &r, sizeof(r));
}

/* The ids in LIST's "exchanges", "1 2 3". */
static const char *ids(const json_t *root)
{
    static char text[8192];
    size_t i;
    int n = 0;
    const json_t *x;
    text[0] = '\0';
    json_array_foreach (json_object_get(root, "exchanges"), i, x) {
        assert_in_range(n, 0, sizeof(text) - 32);
        n += snprintf(text + n, 32, "%s%s", i > 0 ? " " : "", word(x, "id"));
    }
    return text;
}

static void counters(void **state)
{
    (void)state;
    view_exchange(-1, "GET http://%P/ HTTP/1.1\r\nHost: h\r\n", "no HTTP\r\n\r\n");
    counter_add(&all_stats[1]->faults[FAULT_METHOD], 1);
    counter_add(&all_stats[1]->faults[FAULT_BAD_REQUEST], 1);
    unsigned place = tally_find(STR("127.0.0.1"), rig.port);
    tally_set_expiry(place, 1893456000);
    json_t *root = status();
    assert_string_equal(word(root, "version"), TLSFAN_VERSION);
    assert_true(real(root, "uptime") >= 0 && real(root, "uptime") < 60);
    assert_true(json_is_false(json_object_get(root, "draining")));
    assert_int_equal(number(root, "workers"), 2);
    assert_int_equal(number(root, "clients"), 3);
    assert_int_equal(number(root, "in_flight"), 0);
    assert_int_equal(number(root, "exchanges"), 1);
    assert_int_equal(number(root, "failed"), 3);
    assert_int_equal(number(root, "plain"), 1);
    const json_t *errors = json_object_get(root, "errors");
    assert_int_equal(json_object_size(errors), 2);
    assert_int_equal(number(errors, "http_protocol_error"), 1);
    assert_int_equal(number(errors, "http_request_error"), 2);
    const json_t *total = json_object_get(json_object_get(root, "phases"), "total");
    assert_int_equal(number(total, "count"), 1);
    assert_true(real(total, "sum") > 0);
    const json_t *origin = json_array_get(json_object_get(root, "origins"), place);
    assert_string_equal(word(origin, "origin"), tally_name(place));
    assert_int_equal(number(origin, "requests"), 1);
    assert_int_equal(number(origin, "failed"), 1);
    assert_int_equal(number(origin, "opened"), 1);
    assert_int_equal(number(origin, "reused"), 0);
    assert_int_equal(number(origin, "idle"), 0);
    assert_int_equal(number(origin, "busy"), 0);
    assert_int_equal(number(origin, "in_flight"), 0);
    assert_string_equal(word(origin, "certificate_expires"), "2030-01-01T00:00:00Z");
    tally_set_expiry(place, 0);
    json_decref(root);
    root = status();
    origin = json_array_get(json_object_get(root, "origins"), place);
    assert_true(json_is_null(json_object_get(origin, "certificate_expires")));
    json_decref(root);
}

/* Two that differ behind 200 bytes are two. */
static void long_origin(void **state)
{
    char host[250];
    (void)state;
    memset(host, 'a', sizeof(host));
    unsigned place = tally_register(str_make(host, sizeof(host)), 443);
    json_t *root = status();
    const json_t *origin = json_array_get(json_object_get(root, "origins"), place);
    assert_string_equal(word(origin, "origin"), tally_name(place));
    json_decref(root);
}

static void an_exchange(void **state)
{
    char url[64];
    (void)state;
    view_exchange(-1, "POST http://%P/a?b HTTP/1.1\r\nHost: h\r\n", "no HTTP\r\n\r\n");
    json_t *root = exchanges("");
    const json_t *x = json_array_get(json_object_get(root, "exchanges"), 0);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/a?b", rig.port);
    assert_string_equal(word(x, "client"), "127.0.0.1");
    assert_string_equal(word(x, "method"), "POST");
    assert_string_equal(word(x, "url"), url);
    assert_string_equal(word(x, "host"), "127.0.0.1");
    assert_int_equal(number(x, "status"), 502);
    assert_string_equal(word(x, "error"), "http_protocol_error");
    assert_non_null(strstr(word(x, "sentence"), "not valid HTTP"));
    assert_string_equal(word(x, "protocol"), "h1");
    assert_string_equal(word(x, "tls"), "");
    url[strlen(url) - 4] = '\0';
    assert_string_equal(word(x, "upstream"), url + 7);
    assert_true(json_is_false(json_object_get(x, "reused")));
    assert_int_equal(number(x, "retries"), 0);
    double start = real(x, "start");
    assert_true(start > (double)loop_wall() / 1e3 - 60000 && start <= (double)loop_wall() / 1e3);
    const json_t *ms = json_object_get(x, "ms");
    double sum = real(ms, "queue") + real(ms, "dns") + real(ms, "connect") + real(ms, "tls") +
                 real(ms, "send") + real(ms, "wait") + real(ms, "transfer");
    assert_true(real(ms, "connect") > 0);
    assert_true(sum > real(ms, "total") - 0.001 && sum < real(ms, "total") + 0.001);
    json_decref(root);
}

/* Phases of a connection that was begun for another exchange are longer than this one. */
static void phases_add_up(void **state)
{
    static const struct exchange_times cases[] = {
        {.begin = 1000,
         .dns = 5000,
         .connect = 9000,
         .tls = 9000,
         .sent = 3000,
         .head = 4000,
         .end = 6000},
        {.begin = 1000, .end = 1000},
        {.begin = 1000, .queued = 500, .end = 2000},
        {.begin = 1000, .sent = 1500, .end = 9000},
        {.begin = 1000, .head = 9000, .end = 9000},
        {.begin = 1000, .sent = 5000, .head = 4000, .end = 9000},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct record r = {.t = cases[i]};
        ring_put(all_stats[0]->records, &r, sizeof(r));
    }
    json_t *root = exchanges(NULL);
    size_t i;
    const json_t *x;
    assert_int_equal(json_array_size(json_object_get(root, "exchanges")), 6);
    json_array_foreach (json_object_get(root, "exchanges"), i, x) {
        double sum = 0;
        const char *key;
        json_t *value;
        json_t *ms = json_object_get(x, "ms");
        json_object_foreach (ms, key, value) {
            assert_true(json_real_value(value) >= 0);
            if (strcmp(key, "total") != 0)
                sum += json_real_value(value);
        }
        assert_true(sum > real(ms, "total") - 0.001 && sum < real(ms, "total") + 0.001);
    }
    json_decref(root);
}

static void order_and_cursor(void **state)
{
    char cursor[100];
    (void)state;
    put(0, 0x1, 100);
    put(0, 0x4, 400);
    put(1, 0x2, 200);
    put(1, 0x3, 300);
    json_t *root = exchanges("");
    assert_string_equal(ids(root), "1 2 3 4");
    assert_int_equal(number(root, "skipped"), 0);
    snprintf(cursor, sizeof(cursor), "%s", word(root, "cursor"));
    json_decref(root);
    root = exchanges(cursor);
    assert_string_equal(ids(root), "");
    assert_string_equal(word(root, "cursor"), cursor);
    json_decref(root);
    put(1, 0x5, 250); /* told late: not lost */
    put(0, 0x6, 500);
    root = exchanges(cursor);
    assert_string_equal(ids(root), "5 6");
    json_decref(root);
    root = exchanges(cursor); /* asking again gives it again */
    assert_string_equal(ids(root), "5 6");
    json_decref(root);
}

static void bad_cursors(void **state)
{
    char since[40], texts[6][100];
    (void)state;
    put(0, 0x1, 100);
    snprintf(since, sizeof(since), "%llx", (unsigned long long)view.since);
    snprintf(texts[0], 100, "%s.1", since);
    snprintf(texts[1], 100, "%s.1.0.0", since);
    snprintf(texts[2], 100, "%s.2.0", since);
    snprintf(texts[3], 100, "%s.1.x", since);
    snprintf(texts[4], 100, "1.1.0");
    snprintf(texts[5], 100, "\xff\"<");
    for (size_t i = 0; i < 6; i++) {
        json_t *root = exchanges(texts[i]);
        assert_string_equal(ids(root), "1");
        assert_int_equal(number(root, "skipped"), 0);
        json_decref(root);
    }
    snprintf(texts[0], 100, "%s.1.0", since);
    json_t *root = exchanges(texts[0]);
    assert_string_equal(ids(root), "");
    json_decref(root);
}

/* More than are shown, and more than the ring holds. */
static void skipped(void **state)
{
    char cursor[100];
    (void)state;
    json_t *root = exchanges("");
    snprintf(cursor, sizeof(cursor), "%s", word(root, "cursor"));
    json_decref(root);
    for (unsigned i = 1; i <= 150; i++) {
        put(0, 2 * i, 2 * i);
        put(1, 2 * i + 1, 2 * i + 1);
    }
    root = exchanges(cursor);
    assert_int_equal(number(root, "skipped"), 100);
    const json_t *list = json_object_get(root, "exchanges");
    assert_int_equal(json_array_size(list), EXCHANGES_SAMPLED);
    assert_string_equal(word(json_array_get(list, 0), "id"), "2");
    assert_string_equal(word(json_array_get(list, 100), "id"), "98"); /* 152: half of them */
    assert_string_equal(word(json_array_get(list, 199), "id"), "12c");
    json_decref(root);
    root = exchanges(""); /* who has just come gets the newest */
    assert_int_equal(number(root, "skipped"), 0);
    list = json_object_get(root, "exchanges");
    assert_string_equal(word(json_array_get(list, 0), "id"), "66"); /* 102 */
    assert_string_equal(word(json_array_get(list, 199), "id"), "12d");
    json_decref(root);
    for (unsigned i = 0; i < 1000; i++)
        put(0, 1000 + i, 1000 + i);
    root = exchanges(cursor);
    assert_int_equal(number(root, "skipped"), 1300 - EXCHANGES_SAMPLED);
    assert_int_equal(json_array_size(json_object_get(root, "exchanges")), EXCHANGES_SAMPLED);
    json_decref(root);
}

/* What no client should be able to send, too. */
static void any_bytes(void **state)
{
    static const char url[] = "http://h\"\\\xff\xc3\x28\x01/<script>";
    (void)state;
    struct record r = {.t = {.begin = 1, .end = 2}, .url_len = sizeof(url) - 1};
    memcpy(r.text, url, sizeof(url));
    r.sentence = 12345; /* gone, or never there */
    r.fault = FAULT_DNS;
    ring_put(all_stats[0]->records, &r, sizeof(r));
    json_t *root = exchanges("");
    const json_t *x = json_array_get(json_object_get(root, "exchanges"), 0);
    assert_string_equal(word(x, "url"), "http://h\\x22\\x5c\\xff\\xc3(\\x01/<script>");
    assert_string_equal(word(x, "sentence"), "");
    assert_string_equal(word(x, "error"), "dns_error");
    json_decref(root);
}

static void hosts(void **state)
{
    static const char *const cases[][2] = {
        {"http://a.test/x://y", "a.test"},
        {"https://a.test:8443/", "a.test"},
        {"http://[::1]:81/", "::1"},
        {"a.test:443", "a.test"},
        {"[::1]:443", "::1"},
        {"-", ""},
        {"*", ""},
        {"/path://x", ""},
        {"http://a.test?q", "a.test"},
        {"x", "x"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct record r = {.t = {.end = 1 + (int64_t)i}};
        r.url_len = (uint8_t)strlen(cases[i][0]);
        memcpy(r.text, cases[i][0], r.url_len);
        ring_put(all_stats[0]->records, &r, sizeof(r));
    }
    json_t *root = exchanges("");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const json_t *x = json_array_get(json_object_get(root, "exchanges"), i);
        assert_string_equal(word(x, "url"), cases[i][0]);
        assert_string_equal(word(x, "host"), cases[i][1]);
    }
    json_decref(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(counters, set_up, tear_down),
        cmocka_unit_test_setup_teardown(long_origin, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_exchange, set_up, tear_down),
        cmocka_unit_test_setup_teardown(phases_add_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(order_and_cursor, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bad_cursors, set_up, tear_down),
        cmocka_unit_test_setup_teardown(skipped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(any_bytes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(hosts, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
