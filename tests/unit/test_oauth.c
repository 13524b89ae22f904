/* SPDX-License-Identifier: Apache-2.0 */
/* conf/oauth.c and conf/secret.c: what is sent to a token endpoint, and when it is the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "conf/conf_load.h"
#include "conf/oauth.h"
#include "conf/secret.h"

static struct conf *load(const struct conf *last, const char *secret, const char *more)
{
    char *option = xasprintf("oauth[a].client_secret=%s", secret);
    const char *options[] = {"oauth[a].token_url=https://H.test:8443/t?x=y",
                             "oauth[a].client_id=a:b c", "log.access=off", option, more};
    struct conf_source src = {.options = options, .n_options = more == NULL ? 4 : 5, .last = last};
    struct conf_faults faults = {0};
    struct conf *c = conf_load(&src, &faults);
    free(faults.text);
    free(option);
    return c;
}

static void what_is_sent(void **state)
{
    (void)state;
    struct conf *c = load(NULL, "p%/&=\xc3\xa4~", "oauth[a].scope=r w");
    const struct oauth_conf *o = oauth_find(c, "a");
    assert_string_equal(o->host, "h.test");
    assert_int_equal(o->port, 8443);
    assert_true(str_eq(o->body, STR("grant_type=client_credentials&scope=r+w")));
    /* a%3Ab+c:p%25%2F%26%3D%C3%A4%7E */
    assert_true(str_eq(o->authorization, STR("Basic YSUzQWIrYzpwJTI1JTJGJTI2JTNEJUMzJUE0JTdF")));
    assert_null(oauth_find(c, "b"));
    conf_unref(&c);
    c = load(NULL, "s+", "oauth[a].auth=body");
    o = oauth_find(c, "a");
    assert_int_equal(o->authorization.len, 0);
    assert_true(
        str_eq(o->body, STR("grant_type=client_credentials&client_id=a%3Ab+c&client_secret=s%2B")));
    conf_unref(&c);
}

static void what_is_the_same(void **state)
{
    (void)state;
    struct conf *a = load(NULL, "s", NULL), *b = load(NULL, "s", NULL), *c = load(NULL, "t", NULL),
                *d = load(NULL, "s", "oauth[a].audience=x");
    assert_true(oauth_is_same(oauth_find(a, "a"), oauth_find(b, "a")));
    assert_false(oauth_is_same(oauth_find(a, "a"), oauth_find(c, "a")));
    assert_false(oauth_is_same(oauth_find(a, "a"), oauth_find(d, "a")));
    conf_unref(&a);
    conf_unref(&b);
    conf_unref(&c);
    conf_unref(&d);
}

/* A variable that is gone keeps its value in the next snapshot, and in the one after that. */
static void the_last_value_stays(void **state)
{
    (void)state;
    setenv("TEST_OAUTH", "first", 1);
    struct conf *a = load(NULL, "{env:TEST_OAUTH}", NULL);
    assert_string_equal(oauth_find(a, "a")->value, "first");
    assert_true(secrets_have_variable(a, STR("TEST_OAUTH")));
    assert_false(secrets_have_variable(a, STR("TEST_OAUT")));
    unsetenv("TEST_OAUTH");
    assert_null(load(NULL, "{env:TEST_OAUTH}", NULL));
    struct conf *b = load(a, "{env:TEST_OAUTH}", NULL);
    conf_unref(&a);
    struct conf *c = load(b, "{env:TEST_OAUTH}", NULL);
    conf_unref(&b);
    assert_string_equal(oauth_find(c, "a")->value, "first");
    setenv("TEST_OAUTH", "second", 1);
    b = load(c, "{env:TEST_OAUTH}", NULL);
    assert_string_equal(oauth_find(b, "a")->value, "second");
    conf_unref(&b);
    conf_unref(&c);
}

/* COMMAND of `run` does not get it, either. */
static void the_password_of_a_parent(void **state)
{
    (void)state;
    setenv("TEST_OAUTH", "p", 1);
    struct conf *c = load(NULL, "s", "upstream.proxy=http://u:{env:TEST_OAUTH}@127.0.0.1:1");
    assert_true(secrets_have_variable(c, STR("TEST_OAUTH")));
    assert_false(secrets_have_variable(c, STR("HOME")));
    conf_unref(&c);
}

static void values_with_a_token(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct secret_text t;
    setenv("TEST_OAUTH", "env", 1);
    struct conf *c = load(NULL, "s", "rule[x.test].request_header=X: {env:TEST_OAUTH}-{oauth:a}!");
    const struct rule *r = &c->rules[1];
    assert_ptr_equal(r->oauth, oauth_find(c, "a"));
    assert_null(r->edits[0].value);
    t = r->edits[0].text;
    assert_true(str_eq(secret_text_with(&arena, c, &t, STR("tok")), STR("env-tok!")));
    arena_clear(&arena);
    conf_unref(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_sent), cmocka_unit_test(what_is_the_same),
        cmocka_unit_test(the_last_value_stays), cmocka_unit_test(the_password_of_a_parent),
        cmocka_unit_test(values_with_a_token)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
