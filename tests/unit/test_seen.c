/* SPDX-License-Identifier: Apache-2.0 */
/* exchange/seen.c: names and sizes of fields, values with log.fields, and no credential whatever it
 * is called; that what is written is bounded, and that it is read back whatever the bytes. */
#include "exchange_fixture.h"

#include "exchange/record.h"

static struct arena arena;
static struct fields fields;
static struct conf conf;
static char section[SEEN_SECTION];
static struct header_edit edits[] = {{.name = "X-Plan"}};
static struct rule rule = {.edits = edits, .n_edits = 1};

static int seen_set_up(void **state)
{
    (void)state;
    arena_init(&arena, NULL, 0);
    fields_init(&fields, &arena, NULL, 0);
    conf.log.fields = true;
    conf.log.query = false;
    return 0;
}

static int seen_tear_down(void **state)
{
    (void)state;
    arena_clear(&arena);
    return 0;
}

static void put(const char *name, const char *value)
{
    fields_put(&fields, str_from(name), str_from(value));
}

/* What is read of a section: "name:size=value", "!" where it is hidden, "~" where it is cut. */
static const char *seen(unsigned expected_more)
{
    static char text[SEEN_SECTION * 2];
    struct seen_how how = {&conf, &rule, NULL};
    struct str rest = str_make(section, seen_write(section, &fields, &how));
    struct seen_field f;
    unsigned n, more;
    size_t len = 0;
    assert_true(rest.len <= SEEN_SECTION);
    assert_true(seen_section(&rest, &n, &more));
    assert_int_equal(more, expected_more);
    text[0] = '\0';
    for (; n > 0; n--) {
        assert_true(seen_next(&rest, &f));
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%.*s:%lld%s%.*s%s%s",
                                len > 0 ? " " : "", STR_ARG(f.name), (long long)f.size,
                                f.value.p == NULL ? "" : "=", STR_ARG(f.value),
                                f.is_hidden ? "!" : "", f.is_cut ? "~" : "");
    }
    assert_int_equal(rest.len, 0);
    return text;
}

static void names_and_sizes(void **state)
{
    (void)state;
    conf.log.fields = false;
    put("Host", "example.test");
    put("Authorization", "Basic c2VjcmV0");
    put("Empty", "");
    fields.v[0].name.p = NULL; /* removed */
    assert_string_equal(seen(0), "Authorization:14 Empty:0");
}

static void values(void **state)
{
    (void)state;
    put("Accept", "*/*");
    put("Empty", "");
    assert_string_equal(seen(0), "Accept:3=*/* Empty:0=");
}

static void no_credentials(void **state)
{
    static const char *const hidden[] = {
        "Authorization",    "proxy-authorization",
        "Cookie",           "Set-Cookie",
        "X-Api-Key",        "X-Auth-Token",
        "X-CSRF-Token",     "X-Amz-Security-Token",
        "Private-Secret",   "X-Session-Id",
        "X-Password",       "x-plan",
        "ApiKey",           "X-Access-JWT",
        "WWW-Authenticate", "X-Client-Cert",
        "X-Bearer",         "X-Ticket",
    };
    static const char *const looks[] = {"bearer abc",   "Basic YTpi",
                                        "token abc",    "AWS4-HMAC x",
                                        "a=eyJhbGciOi", "base64url.bearer.k8s.io.abc"};
    (void)state;
    for (size_t i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++)
        put(hidden[i], "c2VjcmV0");
    for (size_t i = 0; i < sizeof(looks) / sizeof(looks[0]); i++)
        put("X-Other", looks[i]);
    const char *text = seen(0);
    assert_null(strchr(text, '='));
    assert_null(strstr(text, "c2VjcmV0"));
    for (size_t i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++)
        assert_non_null(strstr(text, hidden[i]));
}

/* Nor how long a secret of the operator's is. */
static void no_size_of_what_was_put_in(void **state)
{
    (void)state;
    put("X-Plan", "gold");
    fields.v[0].is_secret = true;
    assert_string_equal(seen(0), "X-Plan:-1!");
    conf.log.fields = false;
    assert_string_equal(seen(0), "X-Plan:-1");
}

static void urls(void **state)
{
    static const char *const cases[][2] = {
        {"http://u:p@h.test/a?b=c", "http://h.test/a~"},
        {"/a?b=c", "/a~"},
        {"/a#access=1", "/a~"},
        {"https://h.test/a@b", "https://h.test/a@b"},
        {"<http://a@b@h/x>; rel=next, <http://u@i/y>", "<http://h/x>; rel=next, <http://i/y>"},
        {"//u:p@h/", "//h/"},
        {"http://u:p,q;r@h/", "http://h/"},
        {"cb?code=1", "cb~"},
        {"#token=1", "~"},
        {"text/plain; charset=utf-8", "text/plain; charset=utf-8"},
        {"what is it?", "what is it?"},
        {"?1", "?1"},
        {"5; url=http://u:p@h/?q", "5; url=http://h/~"},
        {"http://@", "http://"},
        {"http://", "http://"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char expected[200];
        fields.n = 0;
        put("Location", cases[i][0]);
        snprintf(expected, sizeof(expected), "Location:%zu=%s", strlen(cases[i][0]), cases[i][1]);
        assert_string_equal(seen(0), expected);
    }
    conf.log.query = true;
    fields.n = 0;
    put("Location", "http://u:p@h.test/a?b=c");
    assert_string_equal(seen(0), "Location:23=http://h.test/a?b=c");
    fields.n = 0;
    put("Location", "cb?code=1");
    assert_string_equal(seen(0), "Location:9=cb?code=1");
}

static void bounds(void **state)
{
    char longest[5001];
    (void)state;
    memset(longest, 'a', 5000);
    longest[5000] = '\0';
    put("A", longest);
    put(longest, "b");
    /* A name that is searched no further may be any. */
    const char *text = seen(0);
    assert_int_equal(strlen(text), strlen("A:5000=~ :1!") + SEEN_VALUE + SEEN_NAME);
    conf.log.fields = false;
    for (int i = 0; i < 60; i++)
        put("B", "c");
    (void)seen(62 - SEEN_FIELDS);
    conf.log.fields = true;
    fields.n = 0;
    for (int i = 0; i < 200; i++)
        put(longest, longest);
    struct seen_how how = {&conf, NULL, NULL};
    assert_in_range(seen_write(section, &fields, &how), SEEN_SECTION / 2, SEEN_SECTION);
}

/* The fullest heads come out of a ring with their last bytes. */
static void whole_words(void **state)
{
    static struct seen_heads h = {.len = SEEN_ROOM}, got;
    struct ring *ring = ring_new(1, sizeof(h));
    (void)state;
    memset(h.bytes, 'a', SEEN_ROOM);
    ring_put(ring, &h, offsetof(struct seen_heads, bytes) + h.len);
    assert_true(ring_get(ring, 0, &got, sizeof(got)));
    assert_memory_equal(got.bytes, h.bytes, SEEN_ROOM);
    ring_free(ring);
}

/* A section that is cut anywhere, or that is none. */
static void broken_ones(void **state)
{
    struct seen_how how = {&conf, NULL, NULL};
    unsigned n, more;
    struct seen_field f;
    (void)state;
    put("Host", "h");
    put("Accept", "*/*");
    size_t len = seen_write(section, &fields, &how);
    for (size_t cut = 0; cut < len; cut++) {
        struct str rest = str_make(section, cut);
        if (!seen_section(&rest, &n, &more))
            continue;
        while (n > 0 && seen_next(&rest, &f))
            n--;
        assert_true(n > 0);
    }
    memset(section, 0xff, sizeof(section));
    for (size_t cut = 0; cut < sizeof(section); cut += 7) {
        struct str rest = str_make(section, cut);
        if (seen_section(&rest, &n, &more))
            while (seen_next(&rest, &f))
                continue;
    }
}

/* ---- of exchanges */

static struct rig rig;
static struct probe p;

/* The heads of the record that was put last; NULL: none were. */
static const struct seen_heads *last_heads(void)
{
    static struct seen_heads heads;
    struct record r;
    const struct stats *s = rig.engine.stats;
    assert_true(ring_get(s->records, ring_end(s->records) - 1, &r, sizeof(r)));
    if (r.heads == 0)
        return NULL;
    assert_true(ring_get(s->heads, r.heads - 1, &heads, sizeof(heads)));
    return &heads;
}

static void ask(const char *answer)
{
    probe_open(&p, &rig, "GET http://%P/ HTTP/1.1\r\nHost: h\r\nX-Mine: 1\r\n");
    exchange_start(&p.x, STR(""), true);
    int fd = rig_accept(&rig, "\r\n\r\n");
    fixture_write(fd, answer);
    while (!p.over)
        loop_turn(&rig.f.loop, false);
    exchange_close(&p.x, FAULT_NONE);
    probe_close(&p, &rig);
    close(fd);
}

static bool holds(const char *bytes, size_t n, const char *word)
{
    return memmem(bytes, n, word, strlen(word)) != NULL;
}

static void noted_while_somebody_watches(void **state)
{
    static const char good[] = "HTTP/1.1 200 OK\r\nX-Theirs: 1\r\nContent-Length: 0\r\n"
                               "Connection: close\r\n\r\n";
    (void)state;
    rig_open(&rig, NULL);
    ask(good);
    assert_null(last_heads());
    rig.engine.credit = 1;
    ask(good);
    const struct seen_heads *h = last_heads();
    assert_true(holds(h->bytes, h->len, "X-Mine") && holds(h->bytes, h->len, "X-Theirs"));
    assert_int_equal(rig.engine.credit, 0);
    ask(good);
    assert_null(last_heads());
    assert_int_equal(ring_end(rig.engine.stats->refusals), 0);
    rig_close(&rig);
}

static void noted_of_failures(void **state)
{
    struct failure f;
    struct stats *s;
    (void)state;
    rig_open(&rig, NULL);
    s = rig.engine.stats;
    ask("HTTP/1.1 503 No\r\nX-Theirs: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    assert_int_equal(ring_end(s->failures), 0);
    assert_true(ring_get(s->refusals, 0, &f, sizeof(f)));
    assert_int_equal(f.r.status, 503);
    assert_true(holds(f.heads.bytes, f.heads.len, "X-Mine"));
    assert_true(holds(f.heads.bytes, f.heads.len, "X-Theirs"));
    assert_string_equal(f.s.text, "");
    ask("no HTTP\r\n\r\n");
    assert_true(ring_get(s->failures, 0, &f, sizeof(f)));
    assert_int_equal(f.r.fault, FAULT_UP_PROTOCOL);
    assert_true(holds(f.heads.bytes, f.heads.len, "X-Mine"));
    assert_non_null(strstr(f.s.text, "not valid HTTP"));
    probe_open(&p, &rig, "GET http://%P/ HTTP/1.1\r\nHost: h\r\n");
    probe_close(&p, &rig); /* its client leaves */
    assert_int_equal(ring_end(s->failures), 1);
    assert_int_equal(ring_end(s->refusals), 2);
    for (int i = 0; i < 3; i++)
        ask("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    assert_int_equal(ring_end(s->failures) + ring_end(s->refusals), 3);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(names_and_sizes, seen_set_up, seen_tear_down),
        cmocka_unit_test_setup_teardown(values, seen_set_up, seen_tear_down),
        cmocka_unit_test_setup_teardown(no_credentials, seen_set_up, seen_tear_down),
        cmocka_unit_test_setup_teardown(no_size_of_what_was_put_in, seen_set_up, seen_tear_down),
        cmocka_unit_test_setup_teardown(urls, seen_set_up, seen_tear_down),
        cmocka_unit_test_setup_teardown(bounds, seen_set_up, seen_tear_down),
        cmocka_unit_test(whole_words),
        cmocka_unit_test_setup_teardown(broken_ones, seen_set_up, seen_tear_down),
        cmocka_unit_test(noted_while_somebody_watches),
        cmocka_unit_test(noted_of_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
