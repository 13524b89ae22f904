/* SPDX-License-Identifier: Apache-2.0 */
/* exchange/token_store.c: one fetch for all who wait, whatever they do meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "conf/conf_load.h"
#include "exchange/token_store.h"

static struct loop loop;
static struct conf *conf;
static struct arena arena;

/* Who asks. */
struct asker {
    struct token_got got;
    char token[32]; /* as it was told later */
    unsigned told;
    uint64_t refused;
};

static struct conf *load(const char *scope)
{
    char *option = xasprintf("oauth[a].scope=%s", scope);
    const char *options[] = {"oauth[a].token_url=https://h.test/t", "oauth[a].client_id=i",
                             "oauth[a].client_secret=s", "log.access=off", option};
    struct conf_source src = {.options = options, .n_options = 5};
    struct conf_faults faults = {0};
    struct conf *c = conf_load(&src, &faults);
    assert_non_null(c);
    free(option);
    return c;
}

static void on_got(void *arg, const struct token_got *got)
{
    struct asker *a = arg;
    a->told++;
    a->got = *got;
    if (got->token.p != NULL)
        snprintf(a->token, sizeof(a->token), "%.*s", STR_ARG(got->token));
}

static struct token_wait *ask(struct asker *a, struct conf *c, struct token_job *job)
{
    const struct token_ask how = {c, oauth_find(c, "a"), a->refused, &arena, &loop, on_got, a};
    struct token_wait *w = token_store_get(&how, &a->got, job);
    if (w == NULL && a->got.token.p != NULL)
        snprintf(a->token, sizeof(a->token), "%.*s", STR_ARG(a->got.token));
    return w;
}

static void put(struct token_job *job, const char *token, int64_t lifetime)
{
    struct fault f;
    fault_set(&f, FAULT_TOKEN, "none today");
    token_store_put(job->place, str_from(token), lifetime, &f);
    conf_unref(&job->conf);
}

static int begin(void **state)
{
    (void)state;
    conf = load("x");
    token_store_join();
    return loop_init(&loop) ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    loop_turn(&loop, false);
    token_store_leave();
    loop_clear(&loop);
    arena_clear(&arena);
    conf_unref(&conf);
    return 0;
}

static void one_fetch_for_all(void **state)
{
    (void)state;
    struct asker a[3] = {0};
    struct token_job job, none;
    assert_non_null(ask(&a[0], conf, &job));
    assert_non_null(job.place);
    struct token_wait *w = ask(&a[1], conf, &none);
    assert_non_null(ask(&a[2], conf, &none));
    assert_null(none.place);
    token_store_cancel(w);
    put(&job, "t1", 60000);
    assert_int_equal(a[0].told, 0); /* nothing comes before the loop says so */
    loop_turn(&loop, false);
    assert_int_equal(a[0].told + a[2].told, 2);
    assert_int_equal(a[1].told, 0);
    assert_string_equal(a[2].token, "t1");
    assert_null(ask(&a[1], conf, &job));
    assert_null(job.place);
    assert_string_equal(a[1].token, "t1");
}

static void cancelled_on_its_way(void **state)
{
    (void)state;
    struct asker a = {0};
    struct token_job job;
    struct token_wait *w = ask(&a, conf, &job);
    put(&job, "t1", 60000);
    token_store_cancel(w);
    loop_turn(&loop, false);
    assert_int_equal(a.told, 0);
}

static void failures_are_remembered(void **state)
{
    (void)state;
    struct asker a = {0}, b = {0};
    struct token_job job;
    assert_non_null(ask(&a, conf, &job));
    put(&job, NULL, 0);
    loop_turn(&loop, false);
    assert_null(a.got.token.p);
    assert_string_equal(a.got.fault.text, "none today");
    assert_null(ask(&b, conf, &job));
    assert_null(job.place);
    assert_string_equal(b.got.fault.text, "none today");
}

static void refused_ones(void **state)
{
    (void)state;
    struct asker a = {0}, b = {0}, c = {0};
    struct token_job job, none;
    const struct oauth_conf *o = oauth_find(conf, "a");
    assert_non_null(ask(&a, conf, &job));
    put(&job, "t1", 60000);
    loop_turn(&loop, false);
    uint64_t first = a.got.number;
    assert_true(token_store_refused(o, first));
    b.refused = first;
    assert_non_null(ask(&b, conf, &job));
    assert_non_null(job.place);
    assert_null(ask(&c, conf, &none)); /* others have it until there is another */
    assert_string_equal(c.token, "t1");
    c.refused = first;
    assert_non_null(ask(&c, conf, &none));
    assert_null(none.place);
    assert_true(token_store_refused(o, first)); /* of others, who share that fetch */
    put(&job, "t2", 60000);
    loop_turn(&loop, false);
    assert_string_equal(b.token, "t2");
    assert_string_equal(c.token, "t2");
    assert_true(b.got.number != first);
    assert_true(token_store_refused(o, first));         /* there is another by now */
    assert_false(token_store_refused(o, b.got.number)); /* and that one is too new for a third */
    assert_null(ask(&a, conf, &job));
    assert_string_equal(a.token, "t2");
}

/* By who could not repeat its request, and has gone. */
static void refused_and_gone(void **state)
{
    (void)state;
    struct asker a = {0}, b = {0}, c = {0};
    struct token_job job, none;
    assert_non_null(ask(&a, conf, &job));
    put(&job, "t1", 60000);
    loop_turn(&loop, false);
    assert_true(token_store_refused(oauth_find(conf, "a"), a.got.number));
    assert_non_null(ask(&b, conf, &job));
    assert_non_null(job.place);
    assert_null(ask(&c, conf, &none));
    assert_string_equal(c.token, "t1");
    put(&job, NULL, 0);
    loop_turn(&loop, false);
    assert_null(b.got.token.p);
    assert_null(ask(&b, conf, &job)); /* it serves to its end */
    assert_null(job.place);
    assert_string_equal(b.token, "t1");
}

static void a_reload(void **state)
{
    (void)state;
    struct asker a = {0};
    struct token_job job;
    assert_non_null(ask(&a, conf, &job));
    put(&job, "t1", 60000);
    loop_turn(&loop, false);
    struct conf *same = load("x"), *other = load("y");
    token_store_use(same);
    assert_null(ask(&a, same, &job));
    assert_string_equal(a.token, "t1");
    token_store_use(other);
    token_store_use(same); /* of a thread that is late: nothing comes back */
    assert_non_null(ask(&a, other, &job));
    assert_non_null(job.place);
    struct asker late = {0};
    struct token_job old;
    assert_non_null(ask(&late, same, &old)); /* a request of before */
    put(&old, "old", 60000);
    put(&job, "new", 60000);
    loop_turn(&loop, false);
    assert_string_equal(a.token, "new");
    assert_string_equal(late.token, "old");
    conf_unref(&same);
    conf_unref(&other);
}

/* The section is gone while its token is being fetched. */
static void gone_meanwhile(void **state)
{
    (void)state;
    struct asker a = {0};
    struct token_job job;
    struct conf *other = load("y");
    assert_non_null(ask(&a, conf, &job));
    token_store_use(other);
    put(&job, "t1", 60000);
    loop_turn(&loop, false);
    assert_string_equal(a.token, "t1");
    conf_unref(&other);
}

int main(void)
{
#define WITH_STORE(f) cmocka_unit_test_setup_teardown(f, begin, end)
    const struct CMUnitTest tests[] = {
        WITH_STORE(one_fetch_for_all),       WITH_STORE(cancelled_on_its_way),
        WITH_STORE(failures_are_remembered), WITH_STORE(refused_ones),
        WITH_STORE(refused_and_gone),        WITH_STORE(a_reload),
        WITH_STORE(gone_meanwhile)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
