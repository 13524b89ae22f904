/* SPDX-License-Identifier: Apache-2.0 */
/* own/batch_item.c: one request of a batch on a rig: what it holds, when it slows its origin down,
 * how it breaks off, and that no byte of it stays counted. */
#include "rig_fixture.h"

#include "own/batch_item.h"

static struct batch_kind kind;
static struct batch_want want;
static struct batch_item *it;
static struct evbuffer *out;
static unsigned changes;
static char head[128];

static void on_change(void *arg)
{
    assert_ptr_equal(arg, &kind);
    changes++;
}

static void open_rig(const char *const *options)
{
    rig_open(&rig, options);
    kind = (struct batch_kind){.engine = &rig.engine,
                               .conf = rig.conf,
                               .boundary = "B",
                               .on_change = on_change,
                               .arg = &kind,
                               .from = {.kind = SOURCE_BATCH, .is_local = true}};
    assert_true(addr_parse_ip(&kind.from.peer, STR("127.0.0.1"), 1));
    want = (struct batch_want){0};
    out = evbuffer_new();
    changes = 0;
    it = NULL;
}

static int set_up_item(void **state)
{
    (void)state;
    open_rig(NULL);
    return 0;
}

static int tear_down_item(void **state)
{
    if (it != NULL)
        item_close(it, FAULT_CLIENT_GONE);
    evbuffer_free(out);
    return tear_down(state); /* which asks that no byte is counted any more */
}

static void begin(const char *method, bool is_ndjson)
{
    want.head_len = (size_t)snprintf(
        head, sizeof head, "%s http://127.0.0.1:%u/ HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n\r\n", method,
        rig.port, rig.port);
    want.head = head;
    kind.is_ndjson = is_ndjson;
    it = item_begin(&kind, &want, 7);
    assert_int_equal(kind.under_way, it->is_done ? 0 : 1);
}

static void until_done(void)
{
    int64_t end = loop_now() + 10000000;
    while (!it->is_done) {
        assert_true(loop_now() < end);
        loop_turn(&rig.f.loop, false);
    }
    assert_int_equal(kind.under_way, 0);
    assert_true(changes > 0);
}

/* All that it gives when it is first, and nothing waits behind it; terminated. */
static const char *take_all(void)
{
    item_promote(it);
    while (item_take(it, out, 1000))
        ;
    evbuffer_add(out, "", 1);
    return (const char *)evbuffer_pullup(out, -1);
}

static void expect(const char *text)
{
    if (strstr((const char *)evbuffer_pullup(out, -1), text) == NULL)
        fail_msg("%s\nis not in\n%s", text, (const char *)evbuffer_pullup(out, -1));
}

static void a_part(void **state)
{
    (void)state;
    begin("GET", false);
    int fd = rig_accept(&rig, "\r\n\r\n");
    fixture_write(fd, "HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\nA: b\r\n\r\n"
                      "2\r\nhi\r\n0\r\nC: d\r\n\r\n");
    until_done();
    take_all();
    expect("--B\r\n");
    expect("HTTP/1.1 200 Fine\r\n");
    expect("\r\n\r\n2\r\nhi\r\n0\r\nC: d\r\n\r\n");
    close(fd);
}

/* Text as text, else as base64; which one is known when all of it is there. */
static void a_line(void **state)
{
    static const struct {
        const char *body, *expected;
    } cases[] = {{"hi", "\"hi\""}, {"caf\xc3\xa9", "\"caf\xc3\xa9\""}, {"caf\xc3", "Y2Fmww=="}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[256];
        begin("GET", true);
        int fd = rig_accept(&rig, "\r\n\r\n");
        snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n%s",
                 cases[i].body);
        item_promote(it);
        fixture_write(fd, text);
        fixture_settle(&rig.f);
        assert_false(item_take(it, out, 1000)); /* the line begins when it is whole */
        assert_int_equal(evbuffer_get_length(out), 0);
        close(fd);
        until_done();
        take_all();
        expect("\"index\":7");
        expect("\"status\":200");
        expect(cases[i].expected);
        evbuffer_drain(out, evbuffer_get_length(out));
        item_close(it, FAULT_NONE);
        it = NULL;
        fixture_settle(&rig.f);
        rig_check_empty(&rig);
    }
}

/* What is wrong with it is its own answer, and nobody is asked. */
static void a_wrong_one(void **state)
{
    (void)state;
    for (int is_ndjson = 0; is_ndjson < 2; is_ndjson++) {
        want.wrong = (char *)"url: not given";
        kind.is_ndjson = is_ndjson;
        it = item_begin(&kind, &want, 0);
        assert_true(it->is_done);
        take_all();
        expect("url: not given");
        expect("400");
        evbuffer_drain(out, evbuffer_get_length(out));
        item_close(it, FAULT_NONE);
    }
    it = NULL;
}

/* A response that is longer than may wait is slowed down, until enough of it has been taken. */
static void slowed_down(void **state)
{
    static const char *const small[] = {"client.buffer=16k", NULL};
    static char block[8192];
    size_t total = 0;
    tear_down_item(state);
    open_rig(small);
    begin("GET", false);
    int fd = rig_accept(&rig, "\r\n\r\n");
    fixture_write(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n");
    memset(block, 'x', sizeof block);
    for (int i = 0; i < 2000 && !it->x.paused; i++) {
        (void)send(fd, block, sizeof block, MSG_DONTWAIT | MSG_NOSIGNAL);
        loop_turn(&rig.f.loop, false);
    }
    assert_true(it->x.paused);
    assert_true(backlog_len(&it->held) < 128 * 1024);
    item_promote(it);
    while (it->x.paused) {
        assert_true(total < 1000000);
        (void)item_take(it, out, 4096);
        total = evbuffer_get_length(out);
    }
    assert_true(backlog_len(&it->held) <= 8192);
    close(fd);
}

/* NDJSON holds a response whole: one that is larger than may be breaks off, and only that. */
static void too_large(void **state)
{
    static const char *const small[] = {"batch.max_item_response=1024", NULL};
    tear_down_item(state);
    open_rig(small);
    for (size_t n = 1024; n <= 1025; n++) {
        char text[2048];
        begin("GET", true);
        int fd = rig_accept(&rig, "\r\n\r\n");
        int len = snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", n);
        memset(text + len, 'x', n);
        text[(size_t)len + n] = '\0';
        fixture_write(fd, text);
        until_done();
        const char *taken = take_all();
        assert_int_equal(strstr(taken, "xxx") == NULL, n > 1024);
        assert_int_equal(strstr(taken, "batch.max_item_response") != NULL, n > 1024);
        assert_int_equal(it->x.fault, n > 1024 ? FAULT_RESPONSE_SIZE : FAULT_NONE);
        evbuffer_drain(out, evbuffer_get_length(out));
        item_close(it, FAULT_NONE);
        it = NULL;
        close(fd);
        fixture_settle(&rig.f);
    }
}

/* The same when nothing is left of max_memory, for the one that others wait behind. */
static void memory_is_full(void **state)
{
    static char block[20000];
    int64_t had;
    (void)state;
    begin("GET", true);
    item_promote(it);
    int fd = rig_accept(&rig, "\r\n\r\n");
    fixture_write(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
    fixture_settle(&rig.f);
    had = rig.budget.max;
    rig.budget.max = 1;
    memset(block, 'x', sizeof block - 1);
    fixture_write(fd, block);
    until_done();
    rig.budget.max = had;
    take_all();
    expect("max_memory");
    assert_int_equal(it->x.fault, FAULT_LIMIT);
    close(fd);
}

/* A response that breaks off: a part just ends, a line says so instead of what came. */
static void broken_off(void **state)
{
    (void)state;
    for (int is_ndjson = 0; is_ndjson < 2; is_ndjson++) {
        begin("GET", is_ndjson);
        int fd = rig_accept(&rig, "\r\n\r\n");
        fixture_write(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n");
        fixture_settle(&rig.f);
        close(fd);
        until_done();
        const char *text = take_all();
        assert_int_equal(strstr(text, "hi") == NULL, is_ndjson);
        assert_null(strstr(text, "\r\n0\r\n"));
        if (is_ndjson)
            expect("http_response_incomplete");
        evbuffer_drain(out, evbuffer_get_length(out));
        item_close(it, FAULT_NONE);
        it = NULL;
        fixture_settle(&rig.f);
    }
}

/* Its own time is over before and amid the answer; unsafe methods are warned of. */
static void its_own_time(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        bool has_begun = (i & 1) != 0, is_safe = (i & 2) != 0;
        want.timeout_ms = 60000;
        begin(is_safe ? "GET" : "DELETE", true);
        int fd = rig_accept(&rig, "\r\n\r\n");
        if (has_begun)
            fixture_write(fd, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi");
        fixture_settle(&rig.f);
        deadline_set(&it->deadline, 1);
        until_done();
        take_all();
        expect("timeout_ms (60000)");
        const char *text = (const char *)evbuffer_pullup(out, -1);
        assert_int_equal(strstr(text, "may have been carried out") == NULL, is_safe);
        assert_null(strstr(text, "hi"));
        evbuffer_drain(out, evbuffer_get_length(out));
        item_close(it, FAULT_NONE);
        it = NULL;
        close(fd);
        fixture_settle(&rig.f);
    }
}

/* Given up at any point, with what it holds. */
static void given_up(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) {
        begin("GET", (i & 1) != 0);
        int fd = i >= 2 ? rig_accept(&rig, "\r\n\r\n") : -1;
        if (i >= 4)
            fixture_write(fd, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi");
        fixture_settle(&rig.f);
        item_close(it, FAULT_CLIENT_GONE);
        it = NULL;
        kind.under_way = 0;
        int left = fd;
        do {
            close(left);
        } while ((left = accept(rig.origin, NULL, NULL)) >= 0);
        fixture_settle(&rig.f);
        rig_check_empty(&rig);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up_item, tear_down_item)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_part),      TEST(a_line),       TEST(a_wrong_one),
        TEST(slowed_down), TEST(too_large),    TEST(memory_is_full),
        TEST(broken_off),  TEST(its_own_time), TEST(given_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
