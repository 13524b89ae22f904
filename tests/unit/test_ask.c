/* SPDX-License-Identifier: Apache-2.0 */
/* upstream/ask.c: what is asked of a parent, and every answer. */
#include <sys/socket.h>

#include "upstream/ask.h"
#include "upstream_fixture.h"

static struct fixture fix;
static struct parent parent = {.shown = "p.test:3128", .auth = "Basic YTpi"};
static struct ask ask;
static struct stream *stream;
static int peer; /* the parent's end */
static bool is_over;
static struct fault said;

static void on_asked(void *arg, const struct fault *f)
{
    assert_ptr_equal(arg, &fix);
    assert_false(is_over);
    is_over = true;
    said = f == NULL ? (struct fault){0} : *f;
}

static int set_up(void **state)
{
    (void)state;
    fixture_open(&fix);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    loop_turn(&fix.loop, false);
    loop_clear(&fix.loop);
    return 0;
}

/* Asks, and takes the question off the wire. */
static void begin(const char *via, const char *question)
{
    int fds[2];
    char buf[1024];
    is_over = false;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    peer = fds[1];
    stream = stream_new(&fix.loop, fds[0], NULL);
    struct ask_for what = {&parent, "a.test:443", via};
    ask_start(&ask, stream, &what, on_asked, &fix);
    assert_false(is_over);
    fixture_read(&fix, peer, buf, strlen(question));
    assert_string_equal(buf, question);
}

static void end(void)
{
    ask_close(&ask);
    stream_close(stream);
    close(peer);
    fixture_settle(&fix);
}

#define HEAD "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n"
#define AUTH "Proxy-Authorization: Basic YTpi\r\n"

static void questions(void **state)
{
    (void)state;
    begin("1.1 me", HEAD AUTH "Via: 1.1 me\r\n\r\n");
    end();
    begin(NULL, HEAD AUTH "\r\n");
    end();
    struct parent open = {.shown = "p.test:3128"};
    struct parent kept = parent;
    parent = open;
    begin("1.1 me", HEAD "Via: 1.1 me\r\n\r\n");
    end();
    parent = kept;
    ask_close(&(struct ask){0});
}

/* What the tunnel's user gets first. */
static char first[64];
static size_t on_first(void *arg, const char *p, size_t n)
{
    assert_ptr_equal(arg, first);
    assert_true(strlen(first) + n < sizeof(first));
    memcpy(first + strlen(first), p, n);
    return n;
}
static void on_first_eof(void *arg, bool clean)
{
    (void)arg;
    (void)clean;
}
static const struct stream_user first_user = {.on_data = on_first, .on_eof = on_first_eof};

static void tunnels(void **state)
{
    (void)state;
    static const char *const answers[] = {
        "HTTP/1.1 200 OK\r\n\r\n220 hi",
        "HTTP/1.0 200 Connection established\r\n\r\n220 hi",
        "HTTP/1.1 299\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n220 hi",
        "HTTP/1.1 200 OK\nX : y\n folded\n\n220 hi",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\n\r\n220 hi",
    };
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
        for (int by_byte = 0; by_byte < 2; by_byte++) {
            begin(NULL, HEAD AUTH "\r\n");
            for (size_t at = 0; by_byte == 1 && at < strlen(answers[i]); at++) {
                assert_int_equal(send(peer, answers[i] + at, 1, 0), 1);
                fixture_settle(&fix);
            }
            if (by_byte == 0)
                fixture_write(peer, answers[i]);
            fixture_until(&fix, &is_over);
            assert_int_equal(said.code, FAULT_NONE);
            assert_true(stream->paused && stream->user == NULL && stream->state == STREAM_OPEN);
            memset(first, 0, sizeof(first));
            stream_set_user(stream, &first_user, first);
            stream_resume(stream);
            fixture_settle(&fix);
            assert_string_equal(first, "220 hi");
            end();
        }
}

/* ANSWER gives CODE and a text that has TOLD in it. */
static void refused(const char *answer, enum fault_code code, const char *told)
{
    begin(NULL, HEAD AUTH "\r\n");
    fixture_write(peer, answer);
    if (code == FAULT_UP_CLOSED)
        assert_int_equal(shutdown(peer, SHUT_WR), 0);
    fixture_until(&fix, &is_over);
    if (said.code != code || strstr(said.text, told) == NULL)
        fail_msg("%s: %d %s", answer, (int)said.code, said.text);
    assert_non_null(strstr(said.text, "p.test:3128"));
    assert_non_null(strstr(said.text, "a.test:443"));
    assert_null(strstr(said.text, "YTpi"));
    assert_non_null(said.code == FAULT_PARENT ? "" : said.phrase);
    end();
}

static void refusals(void **state)
{
    (void)state;
    refused("HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=\"x\"\r\n\r\n", FAULT_PARENT,
            "the parent proxy p.test:3128 answered CONNECT a.test:443 with 407 Proxy "
            "Authentication Required: it does not take the user and password of `proxy`");
    refused("HTTP/1.1 407 No\r\n\r\n", FAULT_PARENT, "does not take the user");
    refused("HTTP/1.1 407 No\r\nProxy-Authenticate: NTLM, bAsIc realm=x\r\n\r\n", FAULT_PARENT,
            "does not take the user");
    refused("HTTP/1.1 407 No\r\nProxy-Authenticate: Digest a=\"x, Basic y\", b=c\r\n"
            "proxy-authenticate: Negotiate\r\n\r\n",
            FAULT_PARENT, "chain to cntlm or px");
    refused("HTTP/1.1 302 Found\r\nLocation: http://x/\r\n\r\n", FAULT_PARENT, "302 Found: a redi");
    refused("HTTP/1.1 503 YTpi\r\nX-Squid-Error: ERR_DNS_FAIL 0\r\n\r\n", FAULT_PARENT,
            "503 Service Unavailable (ERR_DNS_FAIL)");
    refused("HTTP/1.1 799 YTpi\r\nX-Squid-Error: ERR_YTpi 0\r\n\r\n", FAULT_PARENT, "with 799");
    refused("nonsense\r\n\r\n", FAULT_UP_PROTOCOL, "not valid HTTP");
    refused("HTTP/2.0 200 OK\r\n\r\n", FAULT_UP_PROTOCOL, "not valid HTTP");
    refused("HTTP/1.1 101 Go\r\n\r\n", FAULT_UP_PROTOCOL, "another protocol");
    refused("", FAULT_UP_CLOSED, "before it answered CONNECT a.test:443");
    refused("HTTP/1.1 20", FAULT_UP_CLOSED, "inside its answer to CONNECT a.test:443");
    struct fault f;
    struct arena arena;
    struct h1_head head = {.status = 407};
    arena_init(&arena, NULL, 0);
    fields_init(&head.fields, &arena, NULL, 0);
    ask_refused(&f, "p.test:3128", false, "the request", &head);
    assert_non_null(strstr(f.text, "answered the request with 407"));
    assert_non_null(strstr(f.text, "write them into `proxy`"));
    arena_clear(&arena);
}

/* Answers without an end. */
static void bounds(void **state)
{
    (void)state;
    static const char *const pieces[] = {"X: y\r\n", "x", "HTTP/1.1 100 Continue\r\n\r\n"};
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        begin(NULL, HEAD AUTH "\r\n");
        if (i < 2)
            fixture_write(peer, "HTTP/1.1 200 OK\r\n");
        size_t sent = 0;
        while (!is_over && sent < 200000) {
            ssize_t n = send(peer, pieces[i], strlen(pieces[i]), MSG_NOSIGNAL);
            sent += n > 0 ? (size_t)n : 0;
            loop_turn(&fix.loop, false);
        }
        assert_true(is_over && sent < 70000);
        assert_int_equal(said.code, FAULT_UP_PROTOCOL);
        end();
    }
}

/* Nobody is told after ask_close(), not even what has come. */
static void closed(void **state)
{
    (void)state;
    begin(NULL, HEAD AUTH "\r\n");
    fixture_write(peer, "HTTP/1.1 200 OK\r\n\r\n");
    end();
    assert_false(is_over);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(questions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tunnels, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refusals, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bounds, set_up, tear_down),
        cmocka_unit_test_setup_teardown(closed, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
