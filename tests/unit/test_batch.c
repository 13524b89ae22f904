/* SPDX-License-Identifier: Apache-2.0 */
/* own/batch.c on a rig with a scripted origin: events, pauses, and closing in each callback. */
#include "rig_fixture.h"

#include "own/batch.h"
#include "service/exchanges.h"
#include "service/status.h"
#include "service/metrics.h"
#include "exchange/stats.h"

enum close_at { NEVER, AT_HEAD, AT_BODY, AT_END };

/* Who makes the call. */
static struct {
    struct ustream *us;
    char got[65536];
    size_t n;
    struct fault fault;
    unsigned heads, ends, faults;
    enum close_at close_at;
    size_t total, in_turn, most_in_turn; /* bytes, more than `got` may hold */
    unsigned turn;                       /* of in_turn */
} user;

static unsigned turns;

static void on_turn(void *arg)
{
    (void)arg;
    turns++;
}

static void cancel_at(enum close_at where)
{
    if (user.close_at != where)
        return;
    struct ustream *us = user.us;
    user.us = NULL;
    us->ops->cancel(us);
}

static void on_head(void *arg, struct h1_head *head, const struct h1_body *body)
{
    (void)arg;
    assert_int_equal(head->status, 200);
    assert_int_equal(body->framing, H1_FRAMING_CHUNKED);
    user.heads++;
    cancel_at(AT_HEAD);
}

static void on_body(void *arg, const char *bytes, size_t n)
{
    (void)arg;
    size_t room = sizeof user.got - 1 - user.n, kept = n < room ? n : room;
    memcpy(user.got + user.n, bytes, kept);
    user.n += kept;
    user.got[user.n] = '\0';
    user.total += n;
    user.in_turn = user.turn == turns ? user.in_turn + n : n;
    user.turn = turns;
    if (user.most_in_turn < user.in_turn)
        user.most_in_turn = user.in_turn;
    cancel_at(AT_BODY);
}

static void on_end(void *arg, const struct fields *trailers)
{
    (void)arg;
    (void)trailers;
    user.us = NULL;
    user.ends++;
}

static void on_fault(void *arg, const struct fault *f, enum up_loss loss)
{
    (void)arg;
    assert_int_equal(loss, LOSS_FINAL);
    user.us = NULL;
    user.fault = *f;
    user.faults++;
}

static const struct ustream_events events = {
    .on_head = on_head, .on_body = on_body, .on_end = on_end, .on_fault = on_fault};

/* Calls with BODY ("%P": the origin), in two pieces. */
static void call(const char *type, const char *accept, const char *body)
{
    struct arena arena;
    struct fields fields;
    struct source_side side = {.is_local = true};
    struct up_request rq = {.method = method_lookup(STR("POST")), .fields = &fields};
    char text[4096];
    size_t n = 0;
    for (; *body != '\0'; body++) {
        if (body[0] == '%' && body[1] == 'P')
            n += (size_t)snprintf(text + n, 32, "127.0.0.1:%u", rig.port), body++;
        else
            text[n++] = *body;
    }
    memset(&user, 0, sizeof user);
    assert_true(addr_parse_ip(&side.peer, STR("127.0.0.1"), 1));
    memcpy(side.peer_text, "127.0.0.1", 10);
    arena_init(&arena, NULL, 0);
    fields_init(&fields, &arena, NULL, 0);
    fields_put(&fields, STR("Content-Type"), str_from(type));
    fields_put(&fields, STR("Accept"), str_from(accept));
    rq.framing = H1_FRAMING_CHUNKED;
    user.us = batch_open(&rig.engine, &side);
    ustream_attach(user.us, &events, NULL);
    user.us->ops->start(user.us, &rq, str_make(text, n / 2), false);
    assert_true(user.us->ops->body(user.us, str_make(text + n / 2, n - n / 2)));
    user.us->ops->end(user.us, STR(""), NULL);
    assert_int_equal(user.heads + user.faults, 0); /* nothing comes inside */
    arena_clear(&arena);
}

static void turn(void)
{
    fixture_settle(&rig.f);
}

static void answer(int fd, const char *body)
{
    char text[256];
    snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s", strlen(body),
             body);
    fixture_write(fd, text);
    turn();
}

static void a_call(void **state)
{
    (void)state;
    call("text/plain; charset=utf-8", "application/x-ndjson", "http://%P/a\nhttp://%P/b\n");
    turn();
    assert_int_equal(user.heads, 1);
    int a = rig_accept(&rig, "\r\n\r\n"), b = rig_accept(&rig, "\r\n\r\n");
    answer(b, "second");
    assert_null(strstr(user.got, "second"));
    answer(a, "first");
    assert_int_equal(user.ends, 1);
    const char *first = strstr(user.got, "\"first\""), *second = strstr(user.got, "\"second\"");
    assert_true(first != NULL && second != NULL && first < second);
    close(a);
    close(b);
    turn();
    rig_check_empty(&rig);
}

static void a_paused_reader_gets_nothing(void **state)
{
    (void)state;
    call("text/plain", "", "http://%P/a");
    turn();
    int fd = rig_accept(&rig, "\r\n\r\n");
    user.us->ops->pause(user.us, true);
    answer(fd, "hello");
    assert_int_equal(user.n, 0);
    user.us->ops->pause(user.us, false);
    turn();
    assert_non_null(strstr(user.got, "hello"));
    assert_int_equal(user.ends, 1);
    close(fd);
    turn();
    rig_check_empty(&rig);
}

static void faults_of_the_whole(void **state)
{
    (void)state;
    static const struct {
        const char *type, *body;
        enum fault_code code;
    } calls[] = {{"text/html", "http://h/", FAULT_MEDIA_TYPE},
                 {"application/json", "[", FAULT_BAD_REQUEST},
                 {"text/plain", "", FAULT_BAD_REQUEST}};
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        call(calls[i].type, "", calls[i].body);
        turn();
        assert_int_equal(user.faults, 1);
        assert_int_equal(user.fault.code, calls[i].code);
        assert_int_equal(user.heads + user.ends, 0);
        rig_check_empty(&rig);
    }
}

static void closed_in_each_callback(void **state)
{
    (void)state;
    static const char *const accepts[] = {"", "application/x-ndjson"};
    for (int i = 0; i < 2; i++)
        for (enum close_at where = AT_HEAD; where <= AT_BODY; where++) {
            call("text/plain", accepts[i], "nonsense\nhttp://%P/b\nhttp://%P/c");
            user.close_at = where;
            turn();
            assert_null(user.us);
            assert_int_equal(user.ends + user.faults, 0);
            rig_check_empty(&rig);
        }
    call("text/plain", "", "http://%P/b");
    user.us->ops->cancel(user.us); /* before anything */
    turn();
    assert_int_equal(user.heads + user.faults, 0);
    rig_check_empty(&rig);
}

static void an_origin_that_goes(void **state)
{
    (void)state;
    call("text/plain", "", "http://%P/a");
    turn();
    int fd = rig_accept(&rig, "\r\n\r\n");
    fixture_write(fd, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfour");
    turn();
    close(fd);
    turn();
    assert_int_equal(user.ends, 1);
    assert_non_null(strstr(user.got, "\r\n\r\nfour\r\n--"));
    rig_check_empty(&rig);
}

/* The origin answers with N bytes of BYTE, as fast as they are taken. */
static void answer_long(int fd, size_t n, char byte)
{
    char text[4096];
    snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", n);
    fixture_write(fd, text);
    memset(text, byte, sizeof text);
    for (size_t sent = 0; sent < n;) {
        size_t left = n - sent < sizeof text ? n - sent : sizeof text;
        ssize_t done = send(fd, text, left, MSG_NOSIGNAL | MSG_DONTWAIT);
        sent += done > 0 ? (size_t)done : 0;
        loop_turn(&rig.f.loop, false);
    }
}

/* A line may be long, and is written while it is given: one turn has a part of it. */
static void a_long_answer_takes_turns(void **state)
{
    (void)state;
    enum { BYTES = 3 * 1024 * 1024, MOST = 1024 * 1024 };
    static const struct {
        char byte;
        size_t becomes; /* bytes, of three */
    } bytes[] = {{'a', 3}, {'\1', 18}, {'\xff', 4}};
    struct turn hook;
    loop_add_turn(&rig.f.loop, &hook, on_turn, NULL);
    for (size_t i = 0; i < sizeof bytes / sizeof bytes[0]; i++) {
        call("text/plain", "application/x-ndjson", "http://%P/a");
        turn();
        int fd = rig_accept(&rig, "\r\n\r\n");
        answer_long(fd, BYTES, bytes[i].byte);
        for (int n = 0; n < 1000 && user.ends == 0; n++)
            loop_turn(&rig.f.loop, false);
        assert_int_equal(user.ends, 1);
        assert_true(user.total > BYTES / 3 * bytes[i].becomes);
        assert_true(user.total < BYTES / 3 * bytes[i].becomes + 256);
        assert_true(user.most_in_turn < MOST);
        assert_non_null(
            strstr(user.got, bytes[i].byte == '\xff' ? "\"body_base64\":\"////" : "\"body\":\""));
        close(fd);
        turn();
        rig_check_empty(&rig);
    }
    loop_remove_turn(&hook);
}

/* What has been counted meanwhile can be told. */
static void it_is_counted(void **state)
{
    (void)state;
    struct stats *all[] = {rig.engine.stats};
    struct service_reloads reloads = {0};
    struct service_view w = {.stats = all,
                             .n = 1,
                             .workers = 1,
                             .conf = rig.conf,
                             .budget = &rig.budget,
                             .reloads = &reloads};
    struct evbuffer *out = evbuffer_new();
    struct stats_sum sum = {0};
    stats_add(&sum, rig.engine.stats);
    assert_true(sum.exchanges > 0);
    assert_int_equal(sum.in_flight, 0);
    status_print(out, &w);
    metrics_print(out, &w);
    struct page_query q = {.limit = -1};
    exchanges_print(out, &w, &q);
    evbuffer_add(out, "", 1);
    const char *text = (const char *)evbuffer_pullup(out, -1);
    assert_non_null(strstr(text, "\"in_flight\":0"));
    assert_non_null(strstr(text, "tlsfan_errors_total{type=\"client_gone\"}"));
    assert_non_null(strstr(text, "\"url\":\"http://127.0.0.1:"));
    evbuffer_free(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call),
        cmocka_unit_test(a_paused_reader_gets_nothing),
        cmocka_unit_test(faults_of_the_whole),
        cmocka_unit_test(closed_in_each_callback),
        cmocka_unit_test(an_origin_that_goes),
        cmocka_unit_test(a_long_answer_takes_turns),
        cmocka_unit_test(it_is_counted),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
