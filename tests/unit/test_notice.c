/* SPDX-License-Identifier: Apache-2.0 */
/* notice.c: what a reload keeps of keys that are taken at start only, and what is told of it. The
 * file under test belongs to the program, not to the library, hence the include. */
#include "../../proxy/notice.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

bool listen_has(const struct listen_set *s, unsigned id)
{
    for (unsigned i = 0; i < s->n; i++)
        if (s->v[i].id == id)
            return true;
    return false;
}

static int saved_stderr;
static FILE *lines;

/* What is told from here on. */
static int set_up(void **state)
{
    (void)state;
    lines = tmpfile();
    saved_stderr = dup(STDERR_FILENO);
    return lines == NULL || dup2(fileno(lines), STDERR_FILENO) < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    return fclose(lines);
}

/* How often TEXT was told. */
static unsigned told(const char *text)
{
    char line[600];
    unsigned n = 0;
    rewind(lines);
    while (fgets(line, sizeof(line), lines) != NULL)
        n += strstr(line, text) != NULL;
    fseek(lines, 0, SEEK_END);
    return n;
}

static void what_is_taken_at_start_holds_on(void **state)
{
    (void)state;
    struct conf running = {.workers = 2, .client.max_connections = 100, .max_memory = 1};
    struct conf next = {.workers = 2, .client.max_connections = 200, .max_memory = 2};
    for (unsigned i = 1; i <= 2; i++) {
        next.client.max_connections = 200;
        notice_at_start(&next, &running);
        assert_int_equal(next.client.max_connections, 100);
        assert_int_equal(told("client.max_connections is taken at start only: 100, not 200"), i);
        running = next; /* and is said again where it is written still */
    }
    assert_int_equal(next.max_memory, 2);
    assert_int_equal(told("workers"), 0);
}

static void rules_and_listeners_are_told(void **state)
{
    (void)state;
    struct rule rules[] = {
        {.pattern = "*", .where = "", .upgrade = true, .tls.verify = true, .tls.keylog = "/k"},
        {.pattern = "a", .where = "f:1", .upgrade = true},
        {.pattern = "b", .where = "f:2", .tls.verify = true}};
    struct forward forward = {.host = "o.test", .path = "/v2", .port = 443, .tls = true};
    struct listener listeners[6] = {
        {0}, {.kind = LISTENER_FORWARD, .forward = &forward}, {.kind = LISTENER_SERVICE}};
    struct conf c = {.rules = rules, .n_rules = 3, .listeners = listeners, .n_listeners = 6};
    int fds[1] = {-1};
    struct place places[] = {
        {.id = 1, .fds = fds, .tls = true},
        {.id = 2, .fds = fds, .kind = LISTENER_FORWARD},
        {.id = 3, .fds = fds, .kind = LISTENER_SERVICE},
        {.id = 4},
        {.id = 5, .fds = fds, .kind = LISTENER_TRANSPARENT},
        {.id = 6, .fds = fds, .kind = LISTENER_TRANSPARENT, .has_tproxy = true}};
    struct place gone[] = {{.id = 4}, {.id = 9}};
    for (unsigned i = 0; i < 6; i++)
        assert_true(addr_parse_ip(&places[i].addr, STR("127.0.0.1"), (uint16_t)(1000 + i)));
    assert_true(addr_parse_ip(&gone[1].addr, STR("127.0.0.1"), 999));
    notice_rules(&c);
    assert_int_equal(told("warning tls.keylog = /k: the secrets of all connections"), 1);
    rules[0].tls.keylog = "";
    notice_rules(&c);
    assert_int_equal(told("tls.keylog"), 1);
    assert_int_equal(told("f:1: rule \"a\" has verify = off"), 2);
    assert_int_equal(told("f:2: rule \"b\" has upgrade = off"), 2);
    notice_places(&(struct listen_set){places, 6}, &(struct listen_set){gone, 2}, &c);
    assert_int_equal(told(" listening on tls:127.0.0.1:1000\n"), 1);
    assert_int_equal(told(" listening on 127.0.0.1:1001 for https://o.test:443/v2"), 1);
    assert_int_equal(told("live page: http://127.0.0.1:1002/ (the service listener)\n"), 1);
    assert_int_equal(
        told("listening on 127.0.0.1:1004 for connections that are turned here by REDIRECT"), 1);
    assert_int_equal(told("listening on 127.0.0.1:1005 for connections that are turned here\n"), 1);
    assert_int_equal(told("127.0.0.1:1003"), 0); /* it was there before */
    assert_int_equal(told("no longer listening on 127.0.0.1:999"), 1);
    assert_int_equal(told("no longer"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_taken_at_start_holds_on, set_up, tear_down),
        cmocka_unit_test_setup_teardown(rules_and_listeners_are_told, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
