/* SPDX-License-Identifier: Apache-2.0 */
/* upstream/up_h1.c through a pool, against an origin on loopback that the test plays in plain HTTP.
 */
#include "pool_fixture.h"

enum { LARGE = 4000 }; /* bytes of a chunk that is given by itself, not joined with its neighbour */

/* One exchange and what came of it. */
struct probe {
    struct pool_wait wait;
    struct ustream *us;
    struct arena arena;
    struct fields fields;
    bool ready, over, failed, is_fresh, is_unsent;
    bool cancel_in_head, pause_in_body, take_in_head;
    struct stream *taken;
    void *slot;
    unsigned status, heads, infos, drains, bodies;
    enum h1_framing framing;
    enum fault_code code;
    char text[512];
    char body[65536];
    size_t n;
    char trailers[256];
};

static void on_info(void *arg, struct h1_head *head)
{
    struct probe *p = arg;
    (void)head;
    p->infos++;
}

static void on_head(void *arg, struct h1_head *head, const struct h1_body *body)
{
    struct probe *p = arg;
    p->heads++;
    p->status = head->status;
    p->framing = body->framing;
    if (p->take_in_head)
        p->taken = p->us->ops->take(p->us, &p->slot);
    if (p->cancel_in_head)
        p->us->ops->cancel(p->us);
}

static void on_body(void *arg, const char *bytes, size_t n)
{
    struct probe *p = arg;
    assert_false(p->over);
    assert_true(p->n + n < sizeof(p->body));
    p->bodies++;
    memcpy(p->body + p->n, bytes, n);
    p->n += n;
    if (p->pause_in_body)
        p->us->ops->pause(p->us, true);
}

static void on_end(void *arg, const struct fields *trailers)
{
    struct probe *p = arg;
    assert_false(p->over);
    p->over = true;
    if (trailers != NULL)
        snprintf(p->trailers, sizeof(p->trailers), "%.*s=%.*s", STR_ARG(trailers->v[0].name),
                 STR_ARG(trailers->v[0].value));
}

static void on_fault(void *arg, const struct fault *f, enum up_loss loss)
{
    struct probe *p = arg;
    assert_false(p->over);
    p->over = p->failed = true;
    p->is_fresh = loss == LOSS_REUSED;
    p->is_unsent = loss == LOSS_UNSENT;
    p->code = f->code;
    memcpy(p->text, f->text, sizeof(p->text));
}

static void on_drain(void *arg)
{
    struct probe *p = arg;
    p->drains++;
}

static const struct ustream_events events = {on_info, on_head, on_body, on_end, on_fault, on_drain};

static void on_ready(void *arg, struct ustream *us)
{
    struct probe *p = arg;
    p->us = us;
    p->ready = true;
}

static void on_wait_fault(void *arg, const struct fault *f)
{
    struct probe *p = arg;
    p->ready = p->over = p->failed = true;
    p->code = f->code;
}

static void get(struct probe *p)
{
    struct up_where where = fixture_where(&fix, "127.0.0.1", port);
    p->wait.on_ready = on_ready;
    p->wait.on_fault = on_wait_fault;
    p->wait.arg = p;
    p->us = pool_get(pool, &where, &(struct up_how){0}, &p->wait);
    p->ready = p->us != NULL;
    fixture_until(&fix, &p->ready);
    assert_non_null(p->us);
    ustream_attach(p->us, &events, p);
}

static struct up_request request(struct probe *p, const char *method, enum h1_framing framing)
{
    arena_init(&p->arena, NULL, 0);
    fields_init(&p->fields, &p->arena, NULL, 0);
    fields_put(&p->fields, STR("X-Case"), STR("kEpt"));
    return (struct up_request){.method = method_lookup(str_from(method)),
                               .target = STR("/x"),
                               .host = STR("example.com"),
                               .fields = &p->fields,
                               .framing = framing};
}

/* Sends a GET, accepts a connection when *FD is -1, and reads the request. */
static void send_get(struct probe *p, int *fd)
{
    static const char expect[] = "GET /x HTTP/1.1\r\nHost: example.com\r\nX-Case: kEpt\r\n\r\n";
    char buf[sizeof(expect)];
    struct up_request rq = request(p, "GET", H1_FRAMING_NONE);
    get(p);
    p->us->ops->start(p->us, &rq, (struct str){0}, true);
    arena_clear(&p->arena);
    if (*fd < 0)
        *fd = fixture_accept(&fix, listener);
    fixture_read(&fix, *fd, buf, sizeof(expect) - 1);
    assert_string_equal(buf, expect);
}

static int set_up(void **state)
{
    (void)state;
    pool_fixture_open();
    return 0;
}

static int tear_down(void **state)
{
    unsigned idle, busy;
    (void)state;
    pool_count(pool, &idle, &busy);
    assert_int_equal(busy, 0);
    pool_fixture_close();
    return 0;
}

static void expect_idle(unsigned n)
{
    expect_count(n, 0);
}

/* Runs one GET answered by TEXT (and an end of the connection if CUT). */
static void answered(struct probe *p, const char *text, bool cut)
{
    int fd = -1;
    send_get(p, &fd);
    fixture_write(fd, text);
    if (cut)
        shutdown(fd, SHUT_WR);
    fixture_until(&fix, &p->over);
    close(fd);
}

static void test_length_and_reuse(void **state)
{
    (void)state;
    int fd = -1;
    for (int i = 0; i < 3; i++) {
        struct probe *p = xcalloc(1, sizeof(*p));
        send_get(p, &fd);
        assert_int_equal(p->us->facts.is_reused, i > 0);
        fixture_write(fd, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
        fixture_until(&fix, &p->over);
        assert_false(p->failed);
        assert_int_equal(p->status, 200);
        assert_int_equal(p->n, 5);
        expect_idle(1);
        free(p);
    }
    close(fd);
    expect_idle(0);
}

static void test_byte_by_byte(void **state)
{
    (void)state;
    static const char text[] = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
                               "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                               "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX-T: 1\r\n\r\n";
    struct probe *p = xcalloc(1, sizeof(*p));
    int fd = -1;
    send_get(p, &fd);
    for (const char *c = text; *c != '\0'; c++) {
        char one[2] = {*c, '\0'};
        fixture_write(fd, one);
        fixture_settle(&fix);
    }
    fixture_until(&fix, &p->over);
    assert_false(p->failed);
    assert_int_equal(p->infos, 1);
    assert_int_equal(p->heads, 1);
    p->body[p->n] = '\0';
    assert_string_equal(p->body, "abcde");
    assert_string_equal(p->trailers, "X-T=1");
    expect_idle(1);
    close(fd);
    free(p);
}

static void test_ends(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool cut, failed;
        enum fault_code code;
        unsigned idle;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\n\r\nuntil close", true, false, FAULT_NONE, 0},
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok", false, false,
         FAULT_NONE, 0},
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n", false, false,
         FAULT_NONE, 0},
        {"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", false, false, FAULT_NONE, 0},
        {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", true, true, FAULT_RESPONSE_INCOMPLETE,
         0},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", true, true,
         FAULT_RESPONSE_INCOMPLETE, 0},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", false, true,
         FAULT_UP_PROTOCOL, 0},
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n", false, true,
         FAULT_UP_PROTOCOL, 0},
        {"HTTP/1.1 101 Switching Protocols\r\n\r\n", false, true, FAULT_UP_PROTOCOL, 0},
        {"SSH-2.0-x\r\n\r\n", false, true, FAULT_UP_PROTOCOL, 0},
        {"HTTP/1.1 200", true, true, FAULT_UP_CLOSED, 0},
        {"", true, true, FAULT_UP_CLOSED, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct probe *p = xcalloc(1, sizeof(*p));
        answered(p, cases[i].text, cases[i].cut);
        assert_int_equal(p->failed, cases[i].failed);
        assert_int_equal(p->code, cases[i].code);
        assert_false(p->is_fresh);
        assert_false(p->failed && p->is_unsent);
        expect_idle(cases[i].idle);
        free(p);
    }
}

static void test_too_many_infos(void **state)
{
    (void)state;
    struct probe *p = xcalloc(1, sizeof(*p));
    char text[4096] = "";
    for (int i = 0; i < 33; i++)
        strncat(text, "HTTP/1.1 102 Processing\r\n\r\n", sizeof(text) - strlen(text) - 1);
    answered(p, text, false);
    assert_int_equal(p->code, FAULT_UP_PROTOCOL);
    assert_int_equal(p->infos, 32);
    free(p);
}

static void test_large_head(void **state)
{
    (void)state;
    struct probe *p = xcalloc(1, sizeof(*p));
    char text[5000];
    memset(text, 'a', sizeof(text));
    memcpy(text, "HTTP/1.1 200 OK\r\nX: ", 20);
    text[sizeof(text) - 1] = '\0';
    fix.conf.upstream.max_head = 4096;
    answered(p, text, false);
    assert_int_equal(p->code, FAULT_UP_PROTOCOL);
    assert_non_null(strstr(p->text, "upstream.max_head"));
    free(p);
}

static void test_stale(void **state)
{
    (void)state;
    struct probe *p = xcalloc(1, sizeof(*p));
    struct probe *q = xcalloc(1, sizeof(*q));
    int fd = -1;
    send_get(p, &fd);
    fixture_write(fd, "HTTP/1.1 204 No Content\r\n\r\n");
    fixture_until(&fix, &p->over);
    /* The end is in the kernel, but the loop has not seen it when the connection is taken. */
    struct up_request rq = request(q, "GET", H1_FRAMING_NONE);
    get(q);
    close(fd);
    q->us->ops->start(q->us, &rq, (struct str){0}, true);
    arena_clear(&q->arena);
    fixture_until(&fix, &q->over);
    assert_int_equal(q->code, FAULT_UP_CLOSED);
    assert_true(q->is_fresh);
    free(p);
    free(q);
}

static void test_unasked_bytes(void **state)
{
    (void)state;
    struct probe *p = xcalloc(1, sizeof(*p));
    int fd = -1;
    send_get(p, &fd);
    fixture_write(fd, "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n");
    fixture_until(&fix, &p->over);
    expect_idle(1);
    fixture_write(fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    fixture_settle(&fix);
    expect_idle(0);
    close(fd);
    free(p);
}

static void test_cancel(void **state)
{
    (void)state;
    struct probe *p = xcalloc(1, sizeof(*p));
    int fd = -1;
    p->cancel_in_head = true;
    send_get(p, &fd);
    fixture_write(fd, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    char buf[2];
    assert_int_equal(fixture_read(&fix, fd, buf, 1), 0);
    assert_int_equal(p->heads, 1);
    assert_int_equal(p->n, 0);
    assert_false(p->over);
    close(fd);
    memset(p, 0, sizeof(*p));
    get(p); /* given out, never started: goes back */
    fd = fixture_accept(&fix, listener);
    p->us->ops->cancel(p->us);
    expect_idle(1);
    close(fd);
    free(p);
}

static void test_pause(void **state)
{
    (void)state;
    struct probe *p = xcalloc(1, sizeof(*p));
    int fd = -1;
    p->pause_in_body = true;
    send_get(p, &fd);
    char text[2 * LARGE + 100];
    snprintf(text, sizeof(text),
             "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%0*d\r\n%x\r\n%0*d\r\n"
             "0\r\n\r\n",
             LARGE, LARGE, 1, LARGE, LARGE, 2);
    fixture_write(fd, text);
    for (int i = 0; p->n < LARGE && i < 1000; i++)
        loop_turn(&fix.loop, false);
    fixture_settle(&fix);
    assert_int_equal(p->n, LARGE);
    assert_false(p->over);
    p->us->ops->pause(p->us, false);
    assert_int_equal(p->n, LARGE);
    for (int i = 0; p->n < 2 * LARGE && i < 1000; i++)
        loop_turn(&fix.loop, false);
    assert_int_equal(p->n, 2 * LARGE);
    p->pause_in_body = false;
    p->us->ops->pause(p->us, false);
    fixture_until(&fix, &p->over);
    expect_idle(1);
    close(fd);
    free(p);
}

static void test_request_body(void **state)
{
    (void)state;
    static const char expect[] = "POST /x HTTP/1.1\r\nHost: example.com\r\nX-Case: "
                                 "kEpt\r\nTransfer-Encoding: chunked\r\n\r\n"
                                 "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    char buf[sizeof(expect)];
    struct probe *p = xcalloc(1, sizeof(*p));
    struct up_request rq = request(p, "POST", H1_FRAMING_CHUNKED);
    get(p);
    int fd = fixture_accept(&fix, listener);
    p->us->ops->start(p->us, &rq, STR("abc"), false);
    assert_true(p->us->ops->body(p->us, STR("de")));
    p->us->ops->end(p->us, STR(""), NULL);
    fixture_read(&fix, fd, buf, sizeof(expect) - 1);
    assert_string_equal(buf, expect);
    fixture_write(fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    fixture_until(&fix, &p->over);
    arena_clear(&p->arena);
    expect_idle(1);
    close(fd);
    free(p);
}

/* The last of a body and what ends it, given at once. */
static void test_end_of_body(void **state)
{
    (void)state;
    char buf[256];
    struct probe *p = xcalloc(1, sizeof(*p));
    struct up_request rq = request(p, "POST", H1_FRAMING_CHUNKED);
    struct fields trailers;
    get(p);
    int fd = fixture_accept(&fix, listener);
    p->us->ops->start(p->us, &rq, STR(""), false);
    fixture_read(&fix, fd, buf,
                 strlen("POST /x HTTP/1.1\r\nHost: example.com\r\nX-Case: kEpt\r\n"
                        "Transfer-Encoding: chunked\r\n\r\n"));
    fields_init(&trailers, &p->arena, NULL, 0);
    fields_put(&trailers, STR("A"), STR("b"));
    p->us->ops->end(p->us, STR("last"), &trailers);
    fixture_read(&fix, fd, buf, strlen("4\r\nlast\r\n0\r\nA: b\r\n\r\n"));
    assert_string_equal(buf, "4\r\nlast\r\n0\r\nA: b\r\n\r\n");
    p->us->ops->cancel(p->us);
    arena_clear(&p->arena);
    close(fd);
    free(p);
}

/* An answer in chunks of a byte is told in as few runs as reads. */
static void test_tiny_chunks(void **state)
{
    (void)state;
    enum { CHUNKS = 1000 };
    static char text[64 + CHUNKS * 6 + 6];
    struct probe *p = xcalloc(1, sizeof(*p));
    int fd = -1;
    size_t n = (size_t)snprintf(text, sizeof(text),
                                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < CHUNKS; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "1\r\n%d\r\n", i % 10);
    snprintf(text + n, sizeof(text) - n, "0\r\n\r\n");
    send_get(p, &fd);
    fixture_write(fd, text);
    fixture_until(&fix, &p->over);
    assert_int_equal(p->n, CHUNKS);
    assert_int_equal(p->body[CHUNKS - 1], '9');
    assert_in_range(p->bodies, 1, 4);
    expect_idle(1);
    close(fd);
    free(p);
}

/* A body that the origin does not read is slowed down; an answer before its end closes the
 * connection. */
static void test_slow_origin(void **state)
{
    (void)state;
    static char block[32768];
    struct probe *p = xcalloc(1, sizeof(*p));
    struct up_request rq = request(p, "PUT", H1_FRAMING_LENGTH);
    rq.length = UINT64_C(1) << 40;
    get(p);
    int fd = fixture_accept(&fix, listener);
    p->us->ops->start(p->us, &rq, (struct str){0}, false);
    int blocks = 0;
    while (p->us->ops->body(p->us, str_make(block, sizeof(block))) && blocks < 10000)
        blocks++;
    assert_true(blocks < 10000);
    char *sink = xmalloc(1 << 20);
    for (int i = 0; p->drains == 0 && i < 100000; i++) {
        ssize_t ignored = recv(fd, sink, 1 << 20, MSG_DONTWAIT);
        (void)ignored;
        loop_turn(&fix.loop, false);
    }
    assert_int_equal(p->drains, 1);
    fixture_write(fd, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n");
    fixture_until(&fix, &p->over);
    assert_int_equal(p->status, 413);
    assert_false(p->failed);
    expect_idle(0);
    arena_clear(&p->arena);
    free(sink);
    close(fd);
    free(p);
}

static size_t eat(void *arg, const char *bytes, size_t n)
{
    struct probe *p = arg;
    memcpy(p->body + p->n, bytes, n);
    p->n += n;
    return n;
}

static void ignore_eof(void *arg, bool clean)
{
    (void)arg;
    (void)clean;
}

static void ignore_fault(void *arg, const struct fault *f)
{
    (void)arg;
    (void)f;
}

static void test_upgrade(void **state)
{
    (void)state;
    static const struct stream_user user = {
        .on_data = eat, .on_eof = ignore_eof, .on_fault = ignore_fault};
    struct probe *p = xcalloc(1, sizeof(*p));
    struct up_request rq = request(p, "GET", H1_FRAMING_NONE);
    rq.is_upgrade = true;
    p->take_in_head = true;
    get(p);
    int fd = fixture_accept(&fix, listener);
    p->us->ops->start(p->us, &rq, (struct str){0}, true);
    arena_clear(&p->arena);
    fixture_write(fd, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: "
                      "upgrade\r\n\r\nframes");
    for (int i = 0; p->taken == NULL && i < 100000; i++)
        loop_turn(&fix.loop, false);
    assert_non_null(p->taken);
    fixture_settle(&fix);
    stream_set_user(p->taken, &user, p);
    stream_resume(p->taken);
    fixture_settle(&fix);
    assert_int_equal(p->n, 6);
    assert_memory_equal(p->body, "frames", 6);
    stream_close(p->taken);
    pool_release_slot(p->slot);
    close(fd);
    expect_idle(0);
    free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_length_and_reuse, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_byte_by_byte, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ends, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_too_many_infos, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_large_head, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_stale, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_unasked_bytes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cancel, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_pause, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_request_body, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_end_of_body, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tiny_chunks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_slow_origin, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_upgrade, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
