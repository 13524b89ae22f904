/* SPDX-License-Identifier: Apache-2.0 */
/* own/readahead.c, own/fetch.c and own/ahead_key.c, with an origin that the test plays. */
#include "rig_fixture.h"

#include "own/ahead_key.h"
#include "own/readahead.h"

#define CLOSE "Connection: close\r\nContent-Length: 2\r\n\r\n"

static int set_up_ahead(void **state)
{
    static const char *const options[] = {"rule[127.0.0.1].readahead=4", "readahead_memory=1m",
                                          "client.early_hints=on", NULL};
    (void)state;
    rig_open(&rig, options);
    rig.engine.reads_ahead = &performer_readahead;
    rig.engine.ahead = readahead_new(&rig.engine);
    return 0;
}

static int tear_down_ahead(void **state)
{
    readahead_close(rig.engine.ahead);
    readahead_close(NULL);
    return tear_down(state);
}

/* P is to ask for page N, with FIELD. */
static void open_with(unsigned n, const char *field)
{
    char head[256];
    snprintf(head, sizeof head, "GET http://%%P/?n=%u HTTP/1.1\r\nHost: h\r\n%s", n, field);
    probe_open(&p, &rig, head);
}

static void ask_with(unsigned n, const char *field)
{
    open_with(n, field);
    exchange_start(&p.x, STR(""), true);
}

static void ask(unsigned n)
{
    ask_with(n, "");
}

/* The origin gets a request for page N, AHEAD of its demand or not; gives the connection. */
static int get(unsigned n, bool ahead)
{
    char line[32];
    int fd = fixture_accept(&rig.f, rig.origin);
    const char *text = rig_read(&rig, fd, "\r\n\r\n", NULL);
    snprintf(line, sizeof line, "GET /?n=%u ", n);
    if (strstr(text, line) == NULL || (strstr(text, "Sec-Purpose: prefetch") != NULL) != ahead)
        fail_msg("not page %u, %s: %s", n, ahead ? "ahead" : "asked for", text);
    return fd;
}

/* The same for a demand, with any number of others ahead of it. */
static int get_demand(void)
{
    for (;;) {
        int fd = fixture_accept(&rig.f, rig.origin);
        if (strstr(rig_read(&rig, fd, "\r\n\r\n", NULL), "Sec-Purpose") == NULL)
            return fd;
        close(fd);
    }
}

static void answer(int fd, const char *text)
{
    fixture_write(fd, text);
    close(fd);
    fixture_settle(&rig.f);
}

/* Pages 1 to 3, and two requests ahead. */
static void begin(int ahead[2])
{
    for (unsigned n = 1; n < 4; n++) {
        ask(n);
        answer(get(n, false), "HTTP/1.1 200 OK\r\n" CLOSE "ok");
        until("ok|end");
        assert_false(p.x.is_ahead);
        probe_close(&p, &rig);
    }
    ahead[0] = get(4, true);
    ahead[1] = get(5, true);
}

/* What was fetched ahead is dropped; FD, and whatever else the origin still has, is closed. */
static void forget(int fd)
{
    readahead_drop(rig.engine.ahead);
    do {
        close(fd);
        fixture_settle(&rig.f);
    } while ((fd = accept(rig.origin, NULL, NULL)) >= 0);
}

static uint64_t issued(void)
{
    return counter_get(&rig.engine.stats->ahead_issued);
}

static void expect(uint64_t n_issued, uint64_t n_used, uint64_t n_wasted)
{
    fixture_settle(&rig.f);
    assert_int_equal(issued(), n_issued);
    assert_int_equal(counter_get(&rig.engine.stats->ahead_used), n_used);
    assert_int_equal(counter_get(&rig.engine.stats->ahead_wasted), n_wasted);
}

/* What is there is given, once; it opens the window. */
static void handed_out(void **state)
{
    int fd[2];
    (void)state;
    begin(fd);
    answer(fd[0], "HTTP/1.1 200 OK\r\nA: 4\r\n" CLOSE "p4");
    ask(4);
    assert_int_equal(p.x.state, EXCHANGE_ACTIVE);
    assert_string_equal(p.told, "");
    until("p4|end");
    assert_non_null(strstr(p.told, "A: 4\r\n"));
    assert_true(p.x.is_ahead);
    assert_int_equal(addr_port(&p.x.facts.peer), rig.port);
    assert_string_equal(p.x.facts.protocol, "h1");
    probe_close(&p, &rig);
    int more[] = {get(6, true), get(7, true), get(8, true)};
    expect(5, 1, 0);
    ask(4);
    answer(get(4, false), "HTTP/1.1 200 OK\r\n" CLOSE "ok");
    until("ok|end");
    probe_close(&p, &rig);
    close(fd[1]);
    for (size_t i = 0; i < 3; i++)
        close(more[i]);
    fixture_settle(&rig.f);
    expect(5, 1, 4);
}

/* Who asks while it is under way waits for it, and gets it as it comes: a 1xx, the head, the body,
 * trailers. */
static void streamed(void **state)
{
    int fd[2];
    (void)state;
    begin(fd);
    ask(4);
    fixture_settle(&rig.f);
    assert_string_equal(p.told, "");
    fixture_write(
        fd[0], "HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    until("200");
    assert_non_null(strstr(p.told, "|103"));
    exchange_pause(&p.x, true);
    fixture_write(fd[0], "2\r\nxy\r\n0\r\nT: 1\r\n\r\n");
    fixture_settle(&rig.f);
    assert_null(strstr(p.told, "xy"));
    exchange_pause(&p.x, false);
    until("xy|trailers|end");
    probe_close(&p, &rig);
    close(fd[0]);
    close(fd[1]);
}

/* Part of it was there before. */
static void half(void **state)
{
    int fd[2];
    (void)state;
    begin(fd);
    fixture_write(fd[0], "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab");
    fixture_settle(&rig.f);
    ask(4);
    until("ab");
    fixture_write(fd[0], "cd");
    until("abcd|end");
    probe_close(&p, &rig);
    close(fd[0]);
    close(fd[1]);
}

/* Nothing usable has come of it: the demand is performed as ever. */
static void came_to_nothing(void **state)
{
    static const char *const answers[] = {"",
                                          "HTTP/1.1 404 No\r\n" CLOSE "no",
                                          "HTTP/1.1 200 OK\r\nVary: a, *\r\n" CLOSE "no",
                                          "HTTP/1.1 206 Part\r\n" CLOSE "no",
                                          "HTTP/1.1 304 Same\r\nConnection: close\r\n\r\n",
                                          "garbage"};
    (void)state;
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        for (int is_late = 0; is_late < 2; is_late++) {
            int fd[2];
            begin(fd);
            if (is_late == 0)
                answer(fd[0], answers[i]);
            ask(4);
            if (is_late == 1) {
                fixture_settle(&rig.f);
                answer(fd[0], answers[i]);
            }
            answer(get_demand(), "HTTP/1.1 200 OK\r\n" CLOSE "ok");
            until("ok|end");
            assert_false(p.x.is_ahead);
            assert_int_equal(p.x.retry.tries, 0);
            assert_null(strstr(p.told, "no"));
            probe_close(&p, &rig);
            forget(fd[1]);
        }
    }
    assert_int_equal(counter_get(&rig.engine.stats->ahead_used), 0);
    assert_int_equal(counter_get(&rig.engine.stats->ahead_wasted), issued());
}

/* It breaks off when some of it was given: no proper end, and it is not asked again. */
static void broke_off(void **state)
{
    int fd[2];
    (void)state;
    begin(fd);
    ask(4);
    fixture_write(fd[0], "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab");
    until("ab");
    close(fd[0]);
    until("ab|cut");
    probe_close(&p, &rig);
    close(fd[1]);
}

/* The demand goes away at any time, inside its last callback, too; and what was fetched with it. */
static void left(void **state)
{
    (void)state;
    for (int when = 0; when < 4; when++) {
        int fd[2];
        begin(fd);
        if (when == 1)
            answer(fd[0], "HTTP/1.1 200 OK\r\n" CLOSE "p4");
        ask(4);
        if (when == 2) {
            fixture_write(fd[0], "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab");
            until("ab");
        }
        if (when == 3) {
            p.close_at_end = true;
            fixture_write(fd[0], "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab");
            until("ab|end");
        }
        probe_close(&p, &rig);
        if (when != 1)
            close(fd[0]);
        forget(fd[1]);
        rig_check_empty(&rig);
    }
}

/* Forgetting leaves what somebody has taken. */
static void forgotten(void **state)
{
    int fd[2];
    (void)state;
    begin(fd);
    ask(4);
    readahead_drop(rig.engine.ahead);
    answer(fd[0], "HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\n" CLOSE "p4");
    until("p4|end");
    probe_close(&p, &rig);
    close(fd[1]);
    expect(2, 1, 1);
}

/* More than readahead_memory has room for, said before and not. */
static void too_large(void **state)
{
    static char big[40000];
    int fd[2];
    (void)state;
    begin(fd);
    fixture_write(fd[0], "HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n");
    fixture_settle(&rig.f);
    expect(2, 0, 2); /* the walk has ended */
    close(fd[0]);
    close(fd[1]);
    begin(fd);
    memset(big, 'x', sizeof big - 1);
    fixture_write(fd[1], "HTTP/1.1 200 OK\r\n\r\n");
    for (int i = 0; i < 40 && counter_get(&rig.engine.stats->ahead_wasted) < 3; i++) {
        (void)send(fd[1], big, sizeof big - 1, MSG_NOSIGNAL);
        fixture_settle(&rig.f);
    }
    expect(4, 0, 3);
    answer(fd[0], "HTTP/1.1 200 OK\r\n" CLOSE "p4"); /* what is before it may be asked for */
    ask(4);
    until("p4|end");
    probe_close(&p, &rig);
    close(fd[1]);
}

/* ---- who may have it */

static struct str key_of(const char *field, const char *peer, const char *credentials,
                         const char *user)
{
    static char text[2][2048];
    static unsigned turn;
    open_with(1, field);
    assert_true(addr_parse_ip(&p.side.peer, str_from(peer), 99));
    p.side.user = str_from(user);
    exchange_start(&p.x, STR(""), true);
    p.x.credentials = str_from(credentials);
    struct fetch_like like = ahead_like(&p.x);
    struct str key = ahead_key(&p.x, &like, p.x.rq.target);
    char *to = text[turn++ % 2];
    assert_true(key.len > 0 && key.len < sizeof text[0]);
    memcpy(to, key.p, key.len);
    probe_close(&p, &rig);
    return str_make(to, key.len);
}

static void keys(void **state)
{
    (void)state;
    struct str mine = key_of("A: b\r\n", "127.0.0.1", "Basic a", "u");
    assert_true(str_eq(mine, key_of("Via: 1.1 other\r\nA: b\r\n", "127.0.0.1", "Basic a", "u")));
    static const char *const others[][4] = {
        {"A: c\r\n", "127.0.0.1", "Basic a", "u"},
        {"A: b\r\nB: c\r\n", "127.0.0.1", "Basic a", "u"},
        {"A: b\r\nAuthorization: c\r\n", "127.0.0.1", "Basic a", "u"},
        {"A: b\r\nCookie: c\r\n", "127.0.0.1", "Basic a", "u"},
        {"A: b\r\nX-Forwarded-For: 1.1.1.1\r\n", "127.0.0.1", "Basic a", "u"},
        {"A: b\r\n", "127.0.0.2", "Basic a", "u"},
        {"A: b\r\n", "::1", "Basic a", "u"},
        {"A: b\r\n", "127.0.0.1", "Basic b", "u"},
        {"A: b\r\n", "127.0.0.1", "Basic a", "v"},
        {"A: b\r\n", "127.0.0.1", "Basic ", "au"},
    };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        const char *const *o = others[i];
        mine = key_of("A: b\r\n", "127.0.0.1", "Basic a", "u");
        assert_false(str_eq(mine, key_of(o[0], o[1], o[2], o[3])));
    }
}

static void not_for(void **state)
{
    static const char *const fields[] = {
        "Range: bytes=0-1\r\n",           "If-Range: a\r\n",
        "If-Modified-Since: x\r\n",       "If: x\r\n",
        "Cache-Control: a, No-Cache\r\n", "Cache-Control: no-store\r\n",
        "Cache-Control: max-age=0\r\n",   "Pragma: no-cache\r\n",
        "Content-Length: 0\r\n"};
    (void)state;
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        ask_with(1, fields[i]);
        assert_ptr_equal(p.x.performer, &performer_readahead);
        assert_false(p.x.looks_ahead);
        probe_close(&p, &rig);
    }
    ask_with(1, "Cache-Control: max-age=5\r\nX-Range: a\r\n");
    assert_true(p.x.looks_ahead);
    probe_close(&p, &rig);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up_ahead, tear_down_ahead)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(handed_out), TEST(streamed), TEST(half),      TEST(came_to_nothing),
        TEST(broke_off),  TEST(left),     TEST(forgotten), TEST(too_large),
        TEST(keys),       TEST(not_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
