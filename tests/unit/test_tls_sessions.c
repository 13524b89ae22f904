/* SPDX-License-Identifier: Apache-2.0 */
/* net/tls_sessions.c: which sessions are kept, offered and believed, without a server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <time.h>

#include "base/loop.h"
#include "net/tls_sessions.h"
#include "session_fixture.h"

static SSL_CTX *ctx;
static SSL *ssl;
static struct tls_sessions kept;
static struct tls_resume resume;

static int begin(void **state)
{
    (void)state;
    ctx = SSL_CTX_new(TLS_client_method());
    ssl = SSL_new(ctx);
    kept = (struct tls_sessions){.n = 0};
    resume = (struct tls_resume){.kept = &kept};
    return ssl != NULL ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    tls_sessions_clear(&kept);
    return 0;
}

static SSL_SESSION *put(int version, int64_t until)
{
    SSL_SESSION *s = session_make(version);
    tls_sessions_put(&kept, (struct tls_session){s, until});
    return s;
}

static void oldest_goes_first(void **state)
{
    (void)state;
    for (int i = 0; i < TLS_SESSIONS_KEPT + 2; i++)
        (void)put(TLS1_3_VERSION, i);
    assert_int_equal(kept.n, TLS_SESSIONS_KEPT);
    assert_int_equal(kept.v[0].until, 2);
    assert_int_equal(kept.v[TLS_SESSIONS_KEPT - 1].until, TLS_SESSIONS_KEPT + 1);
    tls_sessions_clear(&kept);
    assert_int_equal(kept.n, 0);
    tls_sessions_clear(&kept);
}

/* The next connection is offered S (NULL: none), AGAIN or for the first time. */
static void expect_offer(const SSL_SESSION *s, bool again)
{
    bool is_there = tls_sessions_has(&kept);
    SSL *next = SSL_new(ctx);
    resume = (struct tls_resume){.kept = &kept};
    tls_resume_start(&resume, next, true);
    assert_int_equal(resume.offered, s != NULL);
    assert_ptr_equal(SSL_get_session(next), s);
    assert_int_equal(resume.is_again, again);
    assert_int_equal(is_there, s != NULL);
    SSL_free(next);
}

/* Those that no connection had yet, the newest first; then the newest again, until a newer one has
 * come. */
static void tickets_are_offered_to_a_burst(void **state)
{
    (void)state;
    SSL_SESSION *oldest = put(TLS1_3_VERSION, INT64_MAX - 2);
    SSL_SESSION_set_time(oldest, (long)time(NULL) - 5);
    SSL_SESSION *newest = put(TLS1_3_VERSION, INT64_MAX - 1);
    expect_offer(newest, false);
    assert_int_equal(resume.until, INT64_MAX - 1);
    expect_offer(oldest, false);
    assert_int_equal(kept.n, 0);
    for (int i = 0; i < 5; i++) {
        expect_offer(newest, true);
        assert_int_equal(resume.until, INT64_MAX - 1);
    }
    newest = put(TLS1_3_VERSION, INT64_MAX);
    expect_offer(newest, false);
    expect_offer(newest, true);
}

/* A newer one that may not be offered any more does not stand in its way. */
static void an_old_ticket_may_be_the_last(void **state)
{
    (void)state;
    SSL_SESSION *old = put(TLS1_3_VERSION, INT64_MAX);
    SSL_SESSION_set_time(old, (long)time(NULL) - 5);
    SSL_SESSION *newest = put(TLS1_3_VERSION, INT64_MAX);
    expect_offer(newest, false);
    kept.again_until = loop_now();
    expect_offer(old, false);
    expect_offer(old, true);
}

/* As they are behind a parent. */
static void tickets_may_be_for_one_use(void **state)
{
    (void)state;
    assert_false(tls_sessions_once(&kept));
    kept.once_until = INT64_MAX;
    assert_true(tls_sessions_once(&kept));
    for (int i = 0; i < 3; i++) {
        expect_offer(put(TLS1_3_VERSION, INT64_MAX), false);
        expect_offer(NULL, false);
    }
    SSL_SESSION *s = put(TLS1_2_VERSION, INT64_MAX);
    expect_offer(s, false);
    expect_offer(s, false);
}

/* Not for longer than a burst, nor beyond its own end, nor where one of its connections broke. */
static void a_ticket_is_not_offered_for_long(void **state)
{
    (void)state;
    SSL_SESSION *s = put(TLS1_3_VERSION, INT64_MAX);
    expect_offer(s, false);
    expect_offer(s, true);
    kept.again_until = loop_now();
    expect_offer(NULL, false);
    assert_null(kept.again.session);
    s = put(TLS1_3_VERSION, (int64_t)time(NULL) + 1000);
    expect_offer(s, false);
    kept.again.until = time(NULL);
    expect_offer(NULL, false);
    s = put(TLS1_3_VERSION, INT64_MAX);
    expect_offer(s, false);
    SSL_SESSION_set_timeout(s, 0);
    expect_offer(NULL, false);
}

/* A server did not like the second use; one that did not like the first does not say that, nor does
 * the end of a connection. */
static void tickets_are_used_once_where_they_must(void **state)
{
    (void)state;
    SSL_SESSION *s = put(TLS1_3_VERSION, INT64_MAX);
    expect_offer(s, false);
    tls_resume_fail(&resume, true);
    expect_offer(NULL, false);
    s = put(TLS1_3_VERSION, INT64_MAX);
    expect_offer(s, false);
    expect_offer(s, true);
    tls_resume_fail(&resume, false);
    expect_offer(NULL, false);
    s = put(TLS1_3_VERSION, INT64_MAX);
    expect_offer(s, false);
    expect_offer(s, true);
    assert_false(tls_sessions_once(&kept));
    tls_resume_fail(&resume, true);
    assert_true(tls_sessions_once(&kept));
    expect_offer(NULL, false);
    s = put(TLS1_3_VERSION, INT64_MAX);
    expect_offer(s, false);
    expect_offer(NULL, false);
    kept.once_until = loop_now();
    s = put(TLS1_3_VERSION, INT64_MAX);
    expect_offer(s, false);
    expect_offer(s, true);
}

static void count(void *arg)
{
    ++*(int *)arg;
}

static void news_are_told_later(void **state)
{
    struct loop loop;
    struct post news;
    int n = 0;
    (void)state;
    assert_true(loop_init(&loop));
    post_init(&news, count, &n);
    kept.loop = &loop;
    kept.news = &news;
    (void)put(TLS1_3_VERSION, INT64_MAX);
    (void)put(TLS1_3_VERSION, INT64_MAX);
    assert_int_equal(n, 0);
    loop_turn(&loop, false);
    assert_int_equal(n, 1);
    loop_clear(&loop);
}

static void a_session_of_1_2_is_kept(void **state)
{
    (void)state;
    SSL_SESSION *s = put(TLS1_2_VERSION, INT64_MAX);
    tls_resume_start(&resume, ssl, true);
    assert_ptr_equal(SSL_get_session(ssl), s);
    assert_int_equal(kept.n, 1);
}

/* What is over, by its own time or by that of the certificates, is dropped on the way. */
static void what_is_over_is_not_offered(void **state)
{
    (void)state;
    SSL_SESSION *good = put(TLS1_3_VERSION, INT64_MAX);
    (void)put(TLS1_2_VERSION, (int64_t)time(NULL) - 1);
    SSL_SESSION_set_timeout(put(TLS1_2_VERSION, INT64_MAX), 0);
    tls_resume_start(&resume, ssl, true);
    assert_ptr_equal(SSL_get_session(ssl), good);
    assert_int_equal(kept.n, 0);
    tls_sessions_clear(&kept);
    (void)put(TLS1_2_VERSION, (int64_t)time(NULL) - 1);
    resume.offered = false;
    tls_resume_start(&resume, ssl, true);
    assert_false(resume.offered);
    assert_int_equal(kept.n, 0);
}

static void none_is_offered(void **state)
{
    (void)state;
    (void)put(TLS1_3_VERSION, INT64_MAX);
    tls_resume_start(&resume, ssl, false);
    assert_false(resume.offered);
    assert_int_equal(kept.n, 1);
    resume.kept = NULL;
    tls_resume_start(&resume, ssl, true);
    assert_false(resume.offered);
    assert_null(SSL_get_session(ssl));
}

static void new_ones_are_kept_until_the_end(void **state)
{
    SSL_SESSION *s = session_make(TLS1_3_VERSION);
    (void)state;
    assert_int_equal(tls_resume_on_new(ssl, s), 0); /* nobody has said where */
    tls_resume_start(&resume, ssl, true);
    assert_int_equal(tls_resume_on_new(ssl, s), 1);
    assert_int_equal(kept.n, 1);
    assert_int_equal(kept.v[0].until, INT64_MAX); /* nothing was verified that could end */
    tls_resume_end(&resume, ssl);
    s = session_make(TLS1_3_VERSION);
    assert_int_equal(tls_resume_on_new(ssl, s), 0);
    SSL_SESSION_free(s);
    assert_int_equal(kept.n, 1);
}

/* Without certificates that were verified a session vouches for nothing. */
static void bound_by_certificates(void **state)
{
    (void)state;
    resume.verify = true;
    tls_resume_start(&resume, ssl, true);
    assert_int_equal(tls_resume_on_new(ssl, session_make(TLS1_3_VERSION)), 1);
    assert_int_equal(kept.v[0].until, 0);
    /* Bound once a connection. */
    resume.until = 77;
    assert_int_equal(tls_resume_on_new(ssl, session_make(TLS1_3_VERSION)), 1);
    assert_int_equal(kept.v[1].until, 77);
}

static void a_bad_handshake_forgets_all(void **state)
{
    (void)state;
    (void)put(TLS1_2_VERSION, INT64_MAX);
    (void)put(TLS1_3_VERSION, INT64_MAX);
    tls_resume_fail(&resume, false);
    assert_int_equal(kept.n, 0);
    resume.kept = NULL;
    tls_resume_fail(&resume, true);
}

/* Only of a resumed connection; which ones are sure is in test_tls_client. */
static void a_full_handshake_was_not_refused(void **state)
{
    unsigned long alert = ERR_PACK(ERR_LIB_SSL, 0, SSL_AD_DECRYPT_ERROR + SSL_AD_REASON_OFFSET);
    (void)state;
    assert_int_equal(tls_resume_judge(ssl, alert, 0), TLS_REFUSED_NOT);
    assert_int_equal(tls_resume_judge(ssl, 0, 0), TLS_REFUSED_NOT);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(oldest_goes_first),
        CASE(tickets_are_offered_to_a_burst),
        CASE(an_old_ticket_may_be_the_last),
        CASE(tickets_may_be_for_one_use),
        CASE(a_ticket_is_not_offered_for_long),
        CASE(tickets_are_used_once_where_they_must),
        CASE(news_are_told_later),
        CASE(a_session_of_1_2_is_kept),
        CASE(what_is_over_is_not_offered),
        CASE(none_is_offered),
        CASE(new_ones_are_kept_until_the_end),
        CASE(bound_by_certificates),
        CASE(a_bad_handshake_forgets_all),
        CASE(a_full_handshake_was_not_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
