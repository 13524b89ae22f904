/* SPDX-License-Identifier: Apache-2.0 */
/* exchange/record.c: the access line of an exchange, in all formats, and that nothing a peer wrote
 * can end it early, break it or get out of it. */
#include "exchange_fixture.h"

#include <fcntl.h>
#include <sys/ioctl.h>

#include "exchange/record.h"
#include "exchange/route.h"

static struct rig rig;

/* The last line of the log, with what differs from run to run masked. */
static const char *line(void)
{
    static char text[128 * 1024];
    size_t n = rig.engine.log.len;
    assert_true(n > 0 && n < sizeof(text));
    memcpy(text, rig.engine.log.p, n);
    text[n] = '\0';
    rig.engine.log.len = 0;
    char *time = strstr(text, "\"time\":\"");
    if (time != NULL)
        memcpy(time + 8, "TTTTTTTTTTTTTTTTTTTTTTTT", 24);
    char *date = strstr(text, "- - [");
    if (date != NULL)
        memset(date + 5, 'T', 26);
    return text;
}

static void check(const char *head, const char *expected)
{
    static struct probe p;
    struct fault f;
    probe_open(&p, &rig, head);
    p.x.id = 0xabc;
    (void)!route_target(&p.x, &f);
    p.x.status = 200;
    p.x.t.end = p.x.t.begin + 1234567;
    p.x.t.sent = p.x.t.begin + 1000;
    p.x.t.head = p.x.t.begin + 3005;
    p.x.t.dns = 1;
    p.x.bytes_in = 10;
    p.x.bytes_out = UINT64_MAX;
    exchange_close(&p.x, FAULT_NONE);
    assert_string_equal(line(), expected);
    exchange_close(&p.x, FAULT_NONE);
    assert_int_equal(rig.engine.log.len, 0);
    probe_close(&p, &rig);
}

#define JSON(method, url)                                                                        \
    "{\"time\":\"TTTTTTTTTTTTTTTTTTTTTTTT\",\"id\":\"abc\",\"client\":\"127.0.0.1\",\"method\":" \
    "\"" method "\",\"url\":\"" url "\",\"status\":200,\"bytes_in\":10,\"bytes_out\":"           \
    "18446744073709551615,\"upstream\":\"\",\"protocol\":\"\",\"tls\":\"\",\"reused\":false,"    \
    "\"retries\":0,\"ms\":{\"queued\":0.000,\"dns\":0.001,\"connect\":0.000,\"tls\":0.000,"      \
    "\"wait\":2.005,\"total\":1234.567},\"error\":\"\",\"details\":\"\",\"user\":\"\"}\n"

static void json(void **state)
{
    (void)state;
    rig_open(&rig, NULL);
    check("GET http://H.test:81/a?b=c HTTP/1.1\r\n", JSON("GET", "http://h.test:81/a?b=c"));
    check("GET http://u:secret@h:81/a@b HTTP/1.1\r\n", JSON("GET", "http://h:81/a@b"));
    check("GET http://u:sec@ret@h/ HTTP/1.1\r\n", JSON("GET", "-"));
    check("GET http://u:sec@ret%40h/ HTTP/1.1\r\n", JSON("GET", "-"));
    check("GET ftp://u:secret@h/a HTTP/1.1\r\n", JSON("GET", "ftp://h/a"));
    check("CONNECT u:secret@h:443 HTTP/1.1\r\n", JSON("CONNECT", "-"));
    check("DELETE http://u:secret@h/#x HTTP/1.1\r\n", JSON("DELETE", "http://h/"));
    check("CONNECT [::1]:443 HTTP/1.1\r\n", JSON("CONNECT", "[::1]:443"));
    check("GET /a\"b\\c HTTP/1.1\r\nProxy-Authorization: Basic c2VjcmV0\r\n",
          JSON("GET", "/a\\u0022b\\u005cc"));
    check("A'B http://h/ HTTP/1.1\r\n", JSON("A'B", "http://h/"));
    rig_close(&rig);
}

/* What is told of the connection is that of this exchange, whatever the one before had. */
static void connection_of_each(void **state)
{
    static const struct {
        const char *peer, *protocol, *tls;
        bool is_reused;
    } facts[] = {
        {"10.0.0.1:443", "h1", "TLSv1.3", false},
        {"10.0.0.1:443", "h1", "TLSv1.3", true},
        {"10.0.0.1:443", "h1", "TLSv1.2", true},
        {"10.0.0.1:443", "h2", "TLSv1.2", true},
        {"10.0.0.1:8443", "h2", "TLSv1.2", true},
        {"10.0.0.2:8443", "h2", "TLSv1.2", true},
        {"[2001:db8::1]:8443", "h2", "TLSv1.2", true},
        {"[2001:db8::2]:8443", "h2", "TLSv1.2", true},
        {"unix:/a-path-that-is-longer-than-28-bytes/1", "h1", "", true},
        {"unix:/a-path-that-is-longer-than-28-bytes/2", "h1", "", true},
        {"255.255.255.255:65535", "h1", "", true},
        {"", NULL, NULL, false},
    };
    static struct probe p;
    char expected[256];
    (void)state;
    rig_open(&rig, NULL);
    for (size_t i = 0; i < 3 * sizeof(facts) / sizeof(facts[0]); i++) {
        size_t k = i / 3; /* twice what was kept, and once more */
        const char *protocol = facts[k].protocol, *tls = facts[k].tls;
        probe_open(&p, &rig, "GET http://h/ HTTP/1.1\r\n");
        if (facts[k].peer[0] != '\0')
            assert_true(addr_parse(&p.x.facts.peer, str_from(facts[k].peer)));
        p.x.where.conf = p.x.conf;
        p.x.where.rule = &p.x.conf->rules[0];
        p.x.facts.protocol = protocol;
        p.x.facts.tls_version = tls;
        p.x.facts.is_reused = facts[k].is_reused;
        exchange_close(&p.x, FAULT_NONE);
        snprintf(
            expected, sizeof(expected),
            ",\"upstream\":\"%s\",\"protocol\":\"%s\",\"tls\":\"%s\",\"reused\":%s,\"retries\":0",
            facts[k].peer, protocol == NULL ? "" : protocol, tls == NULL ? "" : tls,
            facts[k].is_reused ? "true" : "false");
        assert_non_null(strstr(line(), expected));
        probe_close(&p, &rig);
    }
    rig_close(&rig);
}

/* On either side of what a record holds of a URL. */
static void long_urls(void **state)
{
    char head[512], url[256];
    (void)state;
    rig_open(&rig, NULL);
    for (int n = 140; n < 180; n++) {
        snprintf(url, sizeof(url), "http://h/%0*d", n - 9, 0);
        snprintf(head, sizeof(head), "GET %s HTTP/1.1\r\n", url);
        static struct probe p;
        struct fault f;
        probe_open(&p, &rig, head);
        (void)!route_target(&p.x, &f);
        exchange_close(&p.x, FAULT_NONE);
        snprintf(head, sizeof(head), ",\"url\":\"%s\",\"status\"", url);
        assert_non_null(strstr(line(), head));
        probe_close(&p, &rig);
    }
    rig_close(&rig);
}

static void without_query(void **state)
{
    static const char *const options[] = {"log.query=off", NULL};
    (void)state;
    rig_open(&rig, options);
    check("GET http://h/a?token=secret HTTP/1.1\r\n", JSON("GET", "http://h/a?..."));
    check("GET http://h?token=secret HTTP/1.1\r\n", JSON("GET", "http://h/?..."));
    check("GET /a?b HTTP/1.1\r\nHost: h\r\n", JSON("GET", "/a?..."));
    check("GET http://h/a HTTP/1.1\r\n", JSON("GET", "http://h/a"));
    rig_close(&rig);
}

static void common(void **state)
{
    static const char *const options[] = {"log.format=common", NULL};
    (void)state;
    rig_open(&rig, options);
    check("GET http://h/a\"b HTTP/1.0\r\n",
          "127.0.0.1 - - [TTTTTTTTTTTTTTTTTTTTTTTTTT] \"GET http://h/a\\u0022b HTTP/1.0\" 200 "
          "18446744073709551615\n");
    rig_close(&rig);
}

/* One valid traceparent is named, and nothing else that stands there. */
static void trace(void **state)
{
#define TRACE "4bf92f3577b34da6a3ce929d0e0e4736"
#define FIELD "traceparent: 00-" TRACE "-00f067aa0ba902b7-01\r\n"
    static const char *const options[] = {"log.format=common", NULL};
    static const char *const without[] = {"traceparent: \"}\r\n", FIELD FIELD,
                                          "traceparent: ff-" TRACE "-00f067aa0ba902b7-01\r\n"};
    static struct probe p;
    struct fault f;
    (void)state;
    fault_set(&f, FAULT_DNS, "a");
    rig_open(&rig, NULL);
    probe_open(&p, &rig, "GET http://h/ HTTP/1.1\r\n" FIELD "tracestate: a=b\r\n");
    exchange_refuse(&p.x, &f);
    probe_close(&p, &rig);
    assert_non_null(strstr(line(), ",\"user\":\"\",\"trace_id\":\"" TRACE "\"}\n"));
    for (size_t i = 0; i < sizeof(without) / sizeof(without[0]); i++) {
        char head[512];
        snprintf(head, sizeof(head), "GET http://h/ HTTP/1.1\r\n%s", without[i]);
        probe_open(&p, &rig, head);
        exchange_refuse(&p.x, &f);
        probe_close(&p, &rig);
        assert_non_null(strstr(line(), ",\"user\":\"\"}\n"));
    }
    rig_close(&rig);
    rig_open(&rig, options);
    probe_open(&p, &rig, "GET http://h/ HTTP/1.1\r\n" FIELD);
    exchange_refuse(&p.x, &f);
    probe_close(&p, &rig);
    assert_null(strstr(line(), TRACE));
    rig_close(&rig);
}

/* Details and user, with what may not stand in a line escaped; the longest of both fit. */
static void details_and_user(void **state)
{
    static const char *const options[] = {"log.format=common", NULL};
    static struct probe p;
    struct fault f;
    (void)state;
    for (int is_common = 0; is_common < 2; is_common++) {
        rig_open(&rig, is_common ? options : NULL);
        probe_open(&p, &rig, "GET http://h/ HTTP/1.1\r\n");
        /* al"i ce\n:secret */
        p.x.credentials = STR("Basic YWwiaSBjZQo6c2VjcmV0");
        fault_set(&f, FAULT_DNS, "a \"b\"");
        exchange_refuse(&p.x, &f);
        probe_close(&p, &rig);
        const char *text = line();
        if (is_common)
            assert_non_null(strstr(text, " - al\\u0022i\\u0020ce\\u000a ["));
        else
            assert_non_null(strstr(text,
                                   ",\"error\":\"dns_error\",\"details\":\"a \\u0022b\\u0022\","
                                   "\"user\":\"al\\u0022i ce\\u000a\"}\n"));
        assert_null(strstr(text, "secret"));
        probe_open(&p, &rig, "GET http://h/ HTTP/1.1\r\n");
        char longest[600];
        memset(longest, '"', sizeof(longest) - 1);
        longest[sizeof(longest) - 1] = '\0';
        p.side.user = str_make(longest, 200);
        fault_set(&f, FAULT_DNS, "%s", longest);
        exchange_refuse(&p.x, &f);
        probe_close(&p, &rig);
        text = line();
        assert_string_equal(strchr(text, '\n'), "\n");
        rig_close(&rig);
    }
}

/* However long its parts are, a line ends as lines do, and there is one. */
static void long_parts(void **state)
{
    static const char *const shapes[][2] = {{"GET ", "://h/ HTTP/1.1\r\n"},
                                            {"", " http://h/ HTTP/1.1\r\n"},
                                            {"GET http://h/", " HTTP/1.1\r\n"},
                                            {"GET /\"", " HTTP/1.1\r\n"}};
    static struct probe p;
    static char fill[3500], head[4096];
    (void)state;
    rig_open(&rig, NULL);
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        struct fault f;
        memset(fill, strchr(shapes[i][0], '"') != NULL ? '"' : 'a', sizeof(fill) - 1);
        snprintf(head, sizeof(head), "%s%s%s", shapes[i][0], fill, shapes[i][1]);
        probe_open(&p, &rig, head);
        (void)!route_target(&p.x, &f);
        probe_close(&p, &rig);
        const char *text = line();
        assert_non_null(strstr(text, "\"error\":\"client_gone\",\"details\":\"the client's "));
        assert_string_equal(strchr(text, '\n'), "\n");
        assert_true(strlen(text) > sizeof(fill));
    }
    rig_close(&rig);
}

/* ---- for people */

/* An exchange that is over: what of it is in its line. */
struct told {
    const char *head;
    unsigned status;
    int64_t us;
    uint64_t bytes;
    const char *peer; /* NULL: this machine */
    const char *user, *why;
};

#define TOLD(h, s, us_, n, ...)                                            \
    (struct told)                                                          \
    {                                                                      \
        .head = (h), .status = (s), .us = (us_), .bytes = (n), __VA_ARGS__ \
    }

static const char *short_line(const struct told *t)
{
    static struct probe p;
    struct fault f;
    probe_open(&p, &rig, t->head);
    (void)!route_target(&p.x, &f);
    if (t->peer != NULL) {
        p.side.is_local = false;
        snprintf(p.side.peer_text, sizeof(p.side.peer_text), "%s", t->peer);
    }
    p.side.user = str_from(t->user);
    p.x.status = t->status;
    p.x.t.end = p.x.t.begin + t->us;
    p.x.bytes_out = t->bytes;
    if (t->why != NULL) {
        p.x.fault = FAULT_DNS;
        p.x.sentence = str_from(t->why);
    }
    exchange_close(&p.x, FAULT_NONE);
    probe_close(&p, &rig);
    return line();
}

/* Without the time, which is of LENGTH bytes. */
static void check_short(size_t length, const char *expected, struct told t)
{
    const char *text = short_line(&t);
    assert_true(strlen(text) > length);
    assert_string_equal(text + length, expected);
}

/* In a file a line is a line, whole and without colours. */
static void short_in_a_file(void **state)
{
    static const char *const options[] = {"log.format=short", "log.query=off", NULL};
    enum { TIME = 25 };
    (void)state;
    setenv("TERM", "xterm", 1);
    unsetenv("NO_COLOR");
    rig_open(&rig, options);
    const char *text = short_line(&(struct told){.head = "GET http://h/a HTTP/1.1\r\n"});
    assert_true(text[10] == 'T' && text[19] == '.' && text[23] == 'Z' && text[24] == ' ');
    check_short(TIME, "200   34 ms   513 B GET     http://h/a?...\n",
                TOLD("GET http://h/a?secret HTTP/1.1\r\n", 200, 34400, 513));
    check_short(TIME, "301  1.23 s  1.0 kB POST    http://h/ from 192.0.2.7 as al\\u001bce\n",
                TOLD("POST http://h/ HTTP/1.1\r\n", 301, 1230000, 1000, .peer = "192.0.2.7",
                     .user = "al\033ce"));
    check_short(TIME, "  - 99.99 s 64.0 kB CONNECT h:443\n",
                TOLD("CONNECT h:443 HTTP/1.1\r\n", 0, 99999000, 64000));
    check_short(TIME, "200   100 s  999 kB PROPFIND http://h/\n",
                TOLD("PROPFIND http://h/ HTTP/1.1\r\n", 200, 100000000, 999999));
    check_short(TIME, "200 86400 s 18.4 EB GET     http://h/\n",
                TOLD("GET http://h/ HTTP/1.1\r\n", 200, INT64_C(86400000000), UINT64_MAX));
    check_short(TIME, "502    0 ms     0 B GET     http://h/ (dns_error: no \"h\")\n",
                TOLD("GET http://h/ HTTP/1.1\r\n", 502, -5, 0, .why = "no \"h\""));
    rig_close(&rig);
}

/* A pseudo terminal of COLUMNS; the access log goes to it. */
static int open_terminal(unsigned short columns)
{
    char err[128];
    struct winsize size = {.ws_row = 24, .ws_col = columns};
    int fd = posix_openpt(O_RDWR | O_NOCTTY);
    assert_true(fd >= 0 && grantpt(fd) == 0 && unlockpt(fd) == 0);
    assert_int_equal(ioctl(fd, TIOCSWINSZ, &size), 0);
    assert_true(log_open(LOG_LEVEL_ERROR, ptsname(fd), err, sizeof(err)));
    return fd;
}

#define LONG_PATH "http://h.example/one/two/three/four/five/six/seven/eight/nine/ten/eleven.html"

/* There it fits, but of what failed nothing is lost. */
static void short_at_a_terminal(void **state)
{
    enum { TIME = 9 };
    (void)state;
    setenv("TERM", "dumb", 1);
    rig_open(&rig, NULL);
    int fd = open_terminal(80);
    struct told good = TOLD("GET " LONG_PATH " HTTP/1.1\r\n", 200, 34000, 513);
    struct told bad = TOLD("GET " LONG_PATH " HTTP/1.1\r\n", 502, 34000, 513, .why = "no \"h\"");
    const char *text = short_line(&good);
    assert_int_equal(strlen(text), 81);
    assert_true(text[2] == ':' && text[5] == ':' && text[8] == ' ');
    assert_string_equal(text + TIME, "200   34 ms   513 B GET     "
                                     "http://h.example/one/two/th...n/eleven.html\n");
    check_short(TIME, "502   34 ms   513 B GET     " LONG_PATH "\n         no \"h\"\n", bad);
    close(fd);
    fd = open_terminal(20);
    assert_int_equal(strlen(short_line(&good)), 37 + 24 + 1);
    close(fd);
    fd = open_terminal(0);
    check_short(TIME, "200   34 ms   513 B GET     " LONG_PATH "\n", good);
    close(fd);
    setenv("TERM", "xterm", 1);
    fd = open_terminal(0);
    bad.head = "GET http://h/ HTTP/1.1\r\n";
    text = short_line(&bad);
    assert_memory_equal(text, "\033[2m", 4);
    assert_string_equal(text + 12, "\033[m \033[31m502\033[m   34 ms   513 B GET     http://h/\n"
                                   "         \033[31mno \"h\"\033[m\n");
    setenv("NO_COLOR", "1", 1);
    close(fd);
    fd = open_terminal(0);
    assert_null(strchr(short_line(&bad), '\033'));
    unsetenv("NO_COLOR");
    close(fd);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json),
        cmocka_unit_test(connection_of_each),
        cmocka_unit_test(long_urls),
        cmocka_unit_test(without_query),
        cmocka_unit_test(common),
        cmocka_unit_test(details_and_user),
        cmocka_unit_test(trace),
        cmocka_unit_test(long_parts),
        cmocka_unit_test(short_in_a_file),
        cmocka_unit_test(short_at_a_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
