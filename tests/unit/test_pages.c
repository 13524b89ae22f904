/* SPDX-License-Identifier: Apache-2.0 */
/* service/pages.c: which pages there are, who may ask for which, and that each says something. */
#include "view_fixture.h"

#include "service/pages.h"

static const char *const paths[] = {
    "/healthz",  "/readyz",  "/metrics",    "/status",     "/exchanges", "/failures", "/",
    "/page.css", "/axis.js", "/details.js", "/figures.js", "/format.js", "/grid.js",  "/har.js",
    "/page.js",  "/rows.js", "/scale.js",   "/store.js",   "/tables.js"};
enum { N_PATHS = sizeof(paths) / sizeof(paths[0]) };

static const char *print(const char *path, unsigned status)
{
    const struct page *found = page_find(str_from(path));
    struct evbuffer *out = evbuffer_new();
    struct page_query q = {.limit = -1};
    assert_non_null(found);
    assert_int_equal(page_print(found, out, &view, &q), status);
    return view_text(out);
}

static void each_page_says_something(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_PATHS; i++) {
        const struct page *found = page_find(str_from(paths[i]));
        assert_true(strlen(print(paths[i], 200)) > 0);
        assert_non_null(found->type);
        assert_false(found->is_batch);
        /* Whoever comes may learn that it runs, and nothing else. */
        assert_int_equal(found->is_open, i < 2);
    }
    assert_non_null(strstr(page_find(STR("/"))->policy, "frame-ancestors 'none'"));
}

static void nothing_else_is_found(void **state)
{
    static const char *const none[] = {"", "//", "/health", "/healthz/", "/STATUS", "/page.html"};
    (void)state;
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
        assert_null(page_find(str_from(none[i])));
    const struct page *batch = page_find(STR("/batch"));
    assert_true(batch != NULL && batch->is_batch && !batch->is_open);
}

static void who_drains_is_alive_and_not_ready(void **state)
{
    (void)state;
    assert_string_equal(print("/readyz", 200), "ok\n");
    view.draining = true;
    assert_string_equal(print("/readyz", 503), "draining\n");
    assert_string_equal(print("/healthz", 200), "ok\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_page_says_something, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_else_is_found, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_drains_is_alive_and_not_ready, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
