/* SPDX-License-Identifier: Apache-2.0 */
/* upstream/up_h2_stream*.c: one request, told by hand what nghttp2's callbacks would have recorded,
 * on a connection whose other end nobody reads. */
#include "up_h2_fixture.h"

#include "abort_fixture.h"
#include "base/state.h"
#include "upstream/up_h2_stream_impl.h"

enum { BUFFER = 100 };

static int other_end;

/* ---- who asks, and notes "i" for an interim response, "h", the body, "." and "!" */

static struct {
    struct ustream *us;
    char seen[256], text[512], trailer[64];
    char stop; /* where to cancel: one of these, "b" inside the body */
    bool pauses;
    unsigned drains;
    enum up_loss loss;
    enum fault_code code;
} probe;

static void note(const char *p, size_t n, char what)
{
    size_t len = strlen(probe.seen);
    assert_true(len + n < sizeof probe.seen);
    memcpy(probe.seen + len, p, n);
    probe.seen[len + n] = '\0';
    if (probe.stop == what)
        probe.us->ops->cancel(probe.us);
}

static void on_info(void *arg, struct h1_head *head)
{
    (void)arg;
    (void)head;
    note("i", 1, 'i');
}

static void on_head(void *arg, struct h1_head *head, const struct h1_body *body)
{
    (void)arg;
    (void)head;
    (void)body;
    note("h", 1, 'h');
}

static void on_body(void *arg, const char *bytes, size_t n)
{
    (void)arg;
    note(bytes, n, 'b');
    if (probe.pauses)
        probe.us->ops->pause(probe.us, true);
}

static void on_end(void *arg, const struct fields *trailers)
{
    (void)arg;
    note(".", 1, '.');
    if (trailers != NULL)
        snprintf(probe.trailer, sizeof probe.trailer, "%.*s=%.*s", STR_ARG(trailers->v[0].name),
                 STR_ARG(trailers->v[0].value));
}

static void on_fault(void *arg, const struct fault *f, enum up_loss loss)
{
    (void)arg;
    note("!", 1, '!');
    probe.loss = loss;
    probe.code = f->code;
    memcpy(probe.text, f->text, sizeof probe.text);
}

static void on_drain(void *arg)
{
    (void)arg;
    probe.drains++;
}

static const struct ustream_events events = {on_info, on_head, on_body, on_end, on_fault, on_drain};

/* A request whose body is BODY, and more unless END. */
static struct up_h2_stream *ask(const char *method, const char *body, bool end)
{
    memset(&probe, 0, sizeof probe);
    probe.us = up_h2_use(&events, &probe);
    up_h2_start(probe.us, method, BUFFER, body, end);
    loop_turn(&fix.loop, false);
    return up_h2_stream_of(probe.us);
}

static struct slab blocks = {.size = sizeof(struct up_h2_block)}; /* keeps none */

/* A header section of "name=value" separated by spaces; the word "$" is END_STREAM. */
static struct up_h2_block *block_of(const char *text)
{
    struct up_h2_block *block = up_h2_block_new(&blocks);
    char copy[256], *save = NULL;
    snprintf(copy, sizeof copy, "%s", text);
    for (char *w = strtok_r(copy, " ", &save); w != NULL; w = strtok_r(NULL, " ", &save)) {
        char *is = strchr(w, '=');
        if (is == NULL) {
            block->is_end = true;
            continue;
        }
        *is = '\0';
        up_h2_block_add(block, str_from(w), str_from(is + 1), 1000);
    }
    return block;
}

/* Steps, separated by "|": H and a header section, D and data, E, R and the code of a reset. */
static void come(struct up_h2_stream *s, const char *script)
{
    char copy[512], *save = NULL;
    snprintf(copy, sizeof copy, "%s", script);
    for (char *step = strtok_r(copy, "|", &save); step != NULL; step = strtok_r(NULL, "|", &save)) {
        if (*step == 'H') {
            up_h2_stream_headers(s, block_of(step + 1));
        } else if (*step == 'D') {
            s->window.unread += (int32_t)strlen(step + 1);
            up_h2_stream_data(s, str_from(step + 1));
        } else if (*step == 'E') {
            up_h2_stream_end(s, NULL);
        } else {
            s->by_peer = true;
            up_h2_stream_reset(s, (uint32_t)strtoul(step + 1, NULL, 10));
        }
    }
}

static int set_up(void **state)
{
    (void)state;
    up_h2_open_pool();
    other_end = up_h2_connect();
    pool_conn_room(conn, 100);
    return 0;
}

/* Whatever happened, every place and every byte has been given back. */
static int tear_down(void **state)
{
    (void)state;
    fixture_settle(&fix);
    assert_int_equal(origin->slots, 0);
    pool_close(pool);
    fixture_settle(&fix);
    assert_int_equal(budget.used, 0);
    close(other_end);
    fixture_close(&fix);
    return 0;
}

/* ---- tests */

/* What comes is told, and what is no response is told as a fault, in these words. */
static void responses(void **state)
{
    static const struct {
        const char *script, *seen, *text;
    } cases[] = {
        {"H:status=200|Done|Dtwo|E", "honetwo.", ""},
        {"H:status=200 $", "h.", ""},
        {"H:status=200 content-length=3|Done|E", "hone.", ""},
        {"H:status=100|H:status=103 link=x|H:status=204 $", "iih.", ""},
        {"H:status=200|Done|Hx-sum=42 $", "hone.", ""},
        {"H:status=200 content-length=3|Done|R0", "hone.", ""},
        {"H:status=200|E|R5|Dmore|E", "h.", ""},
        {"E", "!", "it ends before its head"},
        {"Dx", "!", "its body comes before its head"},
        {"H:status=200 content-length=3|Dfour", "h!", "its body is longer than it says"},
        {"H:status=200 content-length=3|Dab|E", "hab!", "shorter than its Content-Length"},
        {"H:status=200 content-length=3 $", "!", "shorter than its Content-Length"},
        {"H:status=200 content-length=x", "!", "Content-Length"},
        {"H:status=2", "!", "it has no :status of three digits"},
        {"Hx=y", "!", "it has no :status of three digits"},
        {"H:status=101", "!", "it is 101, which HTTP/2 does not know"},
        {"H:status=100 $", "!", "it ends with an interim response"},
        {"H:status=200|Hx=y", "h!", "trailers with a pseudo field, or that are not its end"},
        {"H:status=200|H:status=200 $", "h!", "trailers with a pseudo field"},
        {"H:status=200 upgrade=x", "!", "the origin does not keep to HTTP/2: its response has"},
        {"H:status=200 X=y", "!", "a field name that HTTP/2 does not allow"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct up_h2_stream *s = ask("GET", "", true);
        come(s, cases[i].script);
        assert_string_equal(probe.seen, cases[i].seen);
        assert_non_null(strstr(probe.text, cases[i].text));
        assert_int_equal(s->state, UP_H2_OVER);
        assert_int_equal(conn->n_requests, 0);
        loop_turn(&fix.loop, false);
    }
}

static void trailers(void **state)
{
    (void)state;
    come(ask("GET", "", true), "H:status=200|Hx-sum=42 content-length=9 $");
    assert_string_equal(probe.trailer, "X-Sum=42");
}

/* A head without a body says how long it would be. */
static void bare(void **state)
{
    (void)state;
    come(ask("HEAD", "", true), "H:status=200 content-length=3 $");
    assert_string_equal(probe.seen, "h.");
    come(ask("GET", "", true), "H:status=304 content-length=3 $");
    assert_string_equal(probe.seen, "h.");
}

/* A head that is too large is one fault, and its limit is named. */
static void large_head(void **state)
{
    (void)state;
    origin->max_head = 100;
    come(ask("GET", "", true), "H:status=200 x=12345678901234567890123456789012345678901234567890");
    assert_string_equal(probe.seen, "!");
    assert_non_null(strstr(probe.text, "larger than upstream.max_head (100 bytes)"));
}

/* What a reset says, and whether the request may be sent again. */
static void resets(void **state)
{
    static const struct {
        const char *script;
        bool has_answered;
        enum fault_code code;
        enum up_loss loss;
    } cases[] = {
        {"R2", false, FAULT_UP_CLOSED, LOSS_FINAL},
        {"R7", false, FAULT_UP_REFUSED, LOSS_UNSENT},
        {"R7", true, FAULT_UP_REFUSED, LOSS_FINAL},
        {"R13", false, FAULT_UP_WANTS_H1, LOSS_UNSENT},
        {"R13", true, FAULT_UP_WANTS_H1, LOSS_FINAL},
        {"H:status=200|Done|R2", true, FAULT_RESPONSE_INCOMPLETE, LOSS_FINAL},
        {"H:status=200|Done|R0", true, FAULT_RESPONSE_INCOMPLETE, LOSS_FINAL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct up_h2_stream *s = ask("GET", "", true);
        s->has_answered = cases[i].has_answered;
        s->is_refused = strcmp(cases[i].script, "R7") == 0;
        come(s, cases[i].script);
        assert_int_equal(probe.code, cases[i].code);
        assert_int_equal(probe.loss, cases[i].loss);
        loop_turn(&fix.loop, false);
    }
}

/* What is known of a request whose connection is lost. */
static void lost(void **state)
{
    static const struct {
        bool is_sent, has_left, is_reused, has_answered;
        unsigned others; /* that were answered since */
        enum up_loss loss;
    } cases[] = {
        {false, false, false, false, 0, LOSS_UNSENT}, {true, false, true, false, 0, LOSS_UNSENT},
        {true, true, false, false, 0, LOSS_FINAL},    {true, true, true, false, 0, LOSS_REUSED},
        {true, true, true, false, 1, LOSS_AMID},      {true, true, true, true, 1, LOSS_FINAL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fault f;
        struct up_h2_stream *s = ask("GET", "", true);
        struct up_h2 *c = s->c;
        fault_set(&f, FAULT_UP_CLOSED, "gone");
        s->is_sent = cases[i].is_sent;
        s->sent_at = 10;
        c->out_left = cases[i].has_left ? 10 : 9;
        s->us.facts.is_reused = cases[i].is_reused;
        s->has_answered = cases[i].has_answered;
        conn->n_answered = s->answered + cases[i].others;
        nghttp2_session_set_stream_user_data(c->session, s->id, NULL);
        list_remove(&s->link);
        c->found = s;
        up_h2_stream_lost(s, &f);
        assert_null(c->found);
        assert_string_equal(probe.seen, "!");
        assert_int_equal(probe.loss, cases[i].loss);
        pool_conn_done(conn);
        loop_turn(&fix.loop, false);
    }
}

/* What comes for a reader that stands still waits inside the promised window, and after the end of
 * its place on the connection as what it is; it is told in order, then the end. */
static void a_slow_reader(void **state)
{
    (void)state;
    int64_t before = budget.used;
    struct up_h2_stream *s = ask("GET", "", true);
    assert_true(budget.used >= before + s->window.size);
    probe.pauses = true;
    come(s, "H:status=200|Done|Dtwo|Dthree");
    assert_string_equal(probe.seen, "hone");
    assert_true(budget.used >= before + s->window.size);
    come(s, "E");
    assert_int_equal(s->state, UP_H2_TAIL);
    assert_int_equal(conn->n_requests, 0);
    assert_int_equal(budget.used, before + (int64_t)(sizeof *s + strlen("twothree")));
    probe.pauses = false;
    probe.us->ops->pause(probe.us, false);
    assert_string_equal(probe.seen, "hone");
    loop_turn(&fix.loop, false);
    assert_string_equal(probe.seen, "honetwothree.");
    assert_int_equal(budget.used, before);
}

/* A fault waits, too, until all that came before it is told. */
static void a_late_fault(void **state)
{
    (void)state;
    struct up_h2_stream *s = ask("GET", "", true);
    probe.pauses = true;
    come(s, "H:status=200|Done|Dtwo|R2");
    assert_string_equal(probe.seen, "hone");
    assert_int_equal(s->state, UP_H2_TAIL);
    probe.us->ops->pause(probe.us, false);
    loop_turn(&fix.loop, false);
    assert_string_equal(probe.seen, "honetwo");
    probe.us->ops->pause(probe.us, false);
    loop_turn(&fix.loop, false);
    assert_string_equal(probe.seen, "honetwo!");
    assert_int_equal(probe.code, FAULT_RESPONSE_INCOMPLETE);
}

/* It may be cancelled inside each of its callbacks, and hears nothing more. */
static void cancelled_inside(void **state)
{
    static const struct {
        char stop;
        const char *seen;
    } cases[] = {{'i', "i"}, {'h', "ih"}, {'b', "ihone"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct up_h2_stream *s = ask("GET", "", true);
        probe.stop = cases[i].stop;
        come(s, "H:status=100|H:status=200|Done|Dtwo|E");
        assert_string_equal(probe.seen, cases[i].seen);
        assert_int_equal(s->state, UP_H2_OVER);
        loop_turn(&fix.loop, false);
    }
    struct up_h2_stream *s = ask("GET", "", true);
    probe.pauses = true;
    come(s, "H:status=200|Done|Dtwo|Dthree");
    probe.stop = 'b';
    probe.us->ops->pause(probe.us, false);
    loop_turn(&fix.loop, false);
    assert_string_equal(probe.seen, "honetwothree");
}

/* The origin sends a frame of stream ID. */
static void origin_sends(uint8_t type, uint8_t flags, int32_t id, const char *payload)
{
    size_t n = strlen(payload);
    uint8_t frame[32] = {0, 0, (uint8_t)n, type, flags, 0, 0, 0, (uint8_t)id};
    assert_true(9 + n <= sizeof frame);
    memcpy(frame + 9, payload, n);
    assert_int_equal(write(other_end, frame, 9 + n), 9 + n);
}

/* One of two whose frames come in turn is given up: what comes of it behind that is nobody's. */
static void given_up_among_others(void **state)
{
    (void)state;
    struct up_h2_stream *a = ask("GET", "", true);
    struct up_h2_stream *b = ask("GET", "", true);
    struct up_h2 *c = b->c;
    int32_t id = a->id;
    origin_sends(NGHTTP2_SETTINGS, 0, 0, "");
    origin_sends(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, id, "\x88");
    origin_sends(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, b->id, "\x88");
    origin_sends(NGHTTP2_DATA, 0, b->id, "B");
    origin_sends(NGHTTP2_DATA, 0, id, "A");
    loop_turn(&fix.loop, false);
    assert_string_equal(probe.seen, "hhBA");
    c->found = a; /* as its frame was the last that came */
    a->us.ops->cancel(&a->us);
    assert_null(c->found);
    loop_turn(&fix.loop, false); /* A is no more */
    origin_sends(NGHTTP2_DATA, 0, id, "no");
    origin_sends(NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, b->id, "C");
    loop_turn(&fix.loop, false);
    assert_string_equal(probe.seen, "hhBAC.");
}

/* ---- out */

/* What nghttp2 takes of a body: all that waits, then nothing until there is more, then the end. */
static void a_body(void **state)
{
    uint8_t got[2 * BUFFER];
    uint32_t flags = 0;
    char large[BUFFER + 1];
    (void)state;
    struct up_h2_stream *s = ask("POST", "", false);
    memset(large, 'x', sizeof large);
    backlog_clear(&s->out);
    assert_int_equal(up_h2_stream_read(s, got, sizeof got, &flags), NGHTTP2_ERR_DEFERRED);
    assert_true(probe.us->ops->body(probe.us, str_make(large, BUFFER)));
    assert_false(probe.us->ops->body(probe.us, str_make(large, 1)));
    assert_int_equal(up_h2_stream_read(s, got, BUFFER / 2, &flags), BUFFER / 2);
    assert_false(s->is_drained);
    assert_int_equal(up_h2_stream_read(s, got, 1, &flags), 1);
    assert_true(s->is_drained);
    assert_int_equal(flags, 0);
    probe.us->ops->end(probe.us, STR("end"), NULL);
    assert_int_equal(up_h2_stream_read(s, got, sizeof got, &flags), BUFFER / 2 + 3);
    assert_int_equal(flags, NGHTTP2_DATA_FLAG_EOF);
    assert_memory_equal(got + BUFFER / 2, "end", 3);
    loop_turn(&fix.loop, false);
    assert_int_equal(probe.drains, 1);
    probe.us->ops->cancel(probe.us);
}

/* ---- states */

static void wake_the_dead(void)
{
    struct up_h2_stream *s = ask("GET", "", true);
    probe.us->ops->cancel(probe.us);
    up_h2_stream_set_state(s, UP_H2_ACTIVE);
}

static void moves(void **state)
{
    char text[512];
    (void)state;
    (void)ask("GET", "", true);
    probe.us->ops->cancel(probe.us); /* the pool knows the connection from now on */
    assert_int_equal(aborts(wake_the_dead, text, sizeof text), STATES_ARE_CHECKED);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(responses),
        TEST(trailers),
        TEST(bare),
        TEST(large_head),
        TEST(resets),
        TEST(lost),
        TEST(a_slow_reader),
        TEST(a_late_fault),
        TEST(cancelled_inside),
        TEST(given_up_among_others),
        TEST(a_body),
        TEST(moves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
