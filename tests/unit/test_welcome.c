/* SPDX-License-Identifier: Apache-2.0 */
/* exchange/welcome.c: the 400 of who opens a proxy listener, as a sentence and as a page. */
#include "exchange_fixture.h"

#include "conf/bound.h"
#include "exchange/welcome.h"

static struct rig rig;
static struct probe p;

static int set_up(void **state)
{
    (void)state;
    rig_open(&rig, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    bound_set(NULL, 0);
    rig_close(&rig);
    return 0;
}

static void serve_at(const char *where)
{
    struct bound b = {.kind = LISTENER_SERVICE};
    assert_true(addr_parse(&b.addr, str_from(where)));
    bound_set(&b, 1);
}

/* The page for a browser that has sent HOST, with FROM for its place. */
static const char *page_for(const char *host, bool is_local, bool by_tls)
{
    static char text[4096];
    char head[512];
    snprintf(head, sizeof head,
             "GET / HTTP/1.1\r\n%s%s\r\nAccept: */*;q=0.1, Text/HTML;level=1\r\n",
             host == NULL ? "X: " : "Host: ", host == NULL ? "y" : host);
    probe_open(&p, &rig, head);
    p.side.is_local = is_local;
    p.side.by_tls = by_tls;
    struct fault f;
    assert_false(welcome_refuse(&p.x, &f));
    assert_int_equal(f.code, FAULT_NO_URL);
    assert_true(welcome_is_page(&p.x, &f));
    struct str page = welcome_page(&p.x);
    snprintf(text, sizeof text, "%s\n%.*s", f.text, STR_ARG(page));
    probe_close(&p, &rig);
    return text;
}

static void has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("no \"%s\" in: %s", part, text);
}

static void how_to_use_it(void **state)
{
    static const char *const bad[] = {
        "a$(id).test:3128", "<b>", "a&b", "a'b", "a\"b", "a;b", "a%20b", "a`b`", ""};
    (void)state;
    has(page_for("127.0.0.1:3128", true, false), "export http_proxy=http://127.0.0.1:3128\n");
    has(page_for("proxy.test:99", false, true), "export http_proxy=https://proxy.test:99\n");
    has(page_for("[::1]:3128", true, false), "export http_proxy=http://[::1]:3128\n");
    has(page_for(NULL, true, false), "export http_proxy=http://ADDRESS:PORT\n");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        has(page_for(bad[i], true, false), "export http_proxy=http://ADDRESS:PORT\n");
}

static void where_to_watch(void **state)
{
    (void)state;
    has(page_for("h", true, false), "--forward\n<!doctype");
    has(page_for("h", true, false), "There is no live page");
    serve_at("127.0.0.1:3129");
    has(page_for("h", true, false), "--forward; live page: http://127.0.0.1:3129/\n");
    has(page_for("h", true, false),
        "<a href=\"http://127.0.0.1:3129/\">http://127.0.0.1:3129/</a>");
    has(page_for("h", false, false), "port 3129 of its service listener");
    assert_null(strstr(page_for("h", false, false), "127.0.0.1:3129"));
    serve_at("[::]:3129");
    has(page_for("h", true, false), "<a href=\"http://[::1]:3129/\">");
    has(page_for("h", false, false), "port 3129 of its service listener");
    serve_at("0.0.0.0:3129");
    has(page_for("h", true, false), "<a href=\"http://127.0.0.1:3129/\">");
    serve_at("192.0.2.1:3129");
    has(page_for("h", false, false), "<a href=\"http://192.0.2.1:3129/\">");
}

static void who_gets_the_page(void **state)
{
    static const char *const heads[] = {
        "GET / HTTP/1.1\r\nHost: h\r\n", "GET / HTTP/1.1\r\nHost: h\r\nAccept: */*\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nAccept: text/html2, text/h\r\n"};
    struct fault f;
    (void)state;
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        probe_open(&p, &rig, heads[i]);
        assert_false(welcome_refuse(&p.x, &f));
        assert_false(welcome_is_page(&p.x, &f));
        probe_close(&p, &rig);
    }
    probe_open(&p, &rig,
               "GET / HTTP/1.1\r\nHost: h\r\nAccept: image/x\r\naccept: a,,text/html\r\n");
    assert_false(welcome_refuse(&p.x, &f));
    assert_true(welcome_is_page(&p.x, &f));
    fault_set(&f, FAULT_BAD_REQUEST, "x");
    assert_false(welcome_is_page(&p.x, &f));
    probe_close(&p, &rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(how_to_use_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(where_to_watch, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_gets_the_page, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
