/* SPDX-License-Identifier: Apache-2.0 */
/* exchange/retry.c: the table of what is asked again, where and when; and upstream/carry.c, how
 * many requests a connection carries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "exchange/retry.h"
#include "upstream/carry.h"

enum { S = 1000000 };

static const struct retry_case get = {
    .is_safe = true, .is_idempotent = true, .is_replayable = true, .limit = 1, .patience = 30000};

static void table(void **state)
{
    static const struct {
        enum up_loss loss;
        enum fault_code code;
        char method; /* g, d (idempotent, not safe) or p */
        unsigned tries, lost, limit;
        enum retry_how expected;
    } cases[] = {
        {LOSS_UNSENT, FAULT_UP_CLOSED, 'g', 0, 0, 1, RETRY_ANYWHERE},
        {LOSS_UNSENT, FAULT_UP_CLOSED, 'p', 0, 0, 1, RETRY_ANYWHERE},
        {LOSS_UNSENT, FAULT_UP_CLOSED, 'p', 2, 0, 0, RETRY_ANYWHERE},
        {LOSS_UNSENT, FAULT_UP_CLOSED, 'p', 3, 0, 1, RETRY_LATER},
        {LOSS_UNSENT, FAULT_UP_CLOSED, 'd', 100, 0, 1, RETRY_LATER},
        {LOSS_UNSENT, FAULT_UP_REFUSED, 'p', 0, 0, 1, RETRY_ANYWHERE},
        {LOSS_UNSENT, FAULT_UP_REFUSED, 'p', 1, 0, 1, RETRY_NEWER},
        {LOSS_UNSENT, FAULT_UP_REFUSED, 'p', 3, 0, 1, RETRY_LATER},
        {LOSS_UNSENT, FAULT_UP_WANTS_H1, 'p', 0, 0, 0, RETRY_BY_H1},
        {LOSS_UNSENT, FAULT_UP_WANTS_H1, 'g', 5, 0, 1, RETRY_BY_H1},
        {LOSS_REUSED, FAULT_UP_CLOSED, 'g', 0, 0, 1, RETRY_NEWER},
        {LOSS_REUSED, FAULT_UP_CLOSED, 'd', 9, 0, 1, RETRY_NEWER},
        {LOSS_REUSED, FAULT_UP_CLOSED, 'p', 0, 0, 9, RETRY_NOT},
        {LOSS_REUSED, FAULT_UP_CLOSED, 'g', 1, 1, 1, RETRY_NOT},
        {LOSS_REUSED, FAULT_UP_CLOSED, 'g', 0, 0, 0, RETRY_NOT},
        {LOSS_AMID, FAULT_UP_CLOSED, 'g', 0, 0, 1, RETRY_NEWER},
        {LOSS_AMID, FAULT_UP_CLOSED, 'g', 2, 2, 1, RETRY_NEWER},
        {LOSS_AMID, FAULT_UP_CLOSED, 'g', 3, 3, 1, RETRY_LATER},
        {LOSS_AMID, FAULT_UP_CLOSED, 'g', 10, 10, 1, RETRY_NOT},
        {LOSS_AMID, FAULT_UP_CLOSED, 'g', 0, 0, 0, RETRY_NOT},
        {LOSS_AMID, FAULT_UP_CLOSED, 'd', 0, 0, 1, RETRY_NEWER},
        {LOSS_AMID, FAULT_UP_CLOSED, 'd', 1, 1, 1, RETRY_NOT},
        {LOSS_AMID, FAULT_UP_CLOSED, 'p', 0, 0, 1, RETRY_NOT},
        {LOSS_FINAL, FAULT_UP_CLOSED, 'g', 0, 0, 1, RETRY_NOT},
        {LOSS_FINAL, FAULT_UP_PROTOCOL, 'p', 0, 0, 1, RETRY_NOT},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct retry r = {.tries = cases[i].tries, .lost = cases[i].lost, .since = S};
        struct retry_case c = get;
        c.loss = cases[i].loss;
        c.code = cases[i].code;
        c.is_safe = cases[i].method == 'g';
        c.is_idempotent = cases[i].method != 'p';
        c.limit = cases[i].limit;
        if (retry_choose(&r, &c, 2 * S) != cases[i].expected)
            fail_msg("case %zu", i);
        c.is_replayable = false;
        assert_int_equal(retry_choose(&r, &c, 2 * S), RETRY_NOT);
    }
}

static void misdirected(void **state)
{
    struct retry r = {0};
    struct retry_case c = get;
    (void)state;
    c.is_misdirected = true;
    assert_int_equal(retry_choose(&r, &c, S), RETRY_ALONE);
    c.is_replayable = false;
    assert_int_equal(retry_choose(&r, &c, S), RETRY_NOT);
}

/* Tries until R is given up; gives how many ms that took. ANSWERS more come between two tries. */
static unsigned persist(struct retry *r, const struct retry_case *c, uint64_t answers)
{
    int64_t now = S;
    uint64_t seen = 5;
    for (;;) {
        retry_note(r, seen, now);
        enum retry_how how = retry_choose(r, c, now);
        if (how == RETRY_NOT)
            return (unsigned)((now - S) / 1000);
        if (how == RETRY_LATER)
            now += (int64_t)retry_delay(r) * 1000;
        now += 1000; /* there and back */
        retry_count(r, c, now);
        seen += answers;
        assert_true(r->tries < 1000);
    }
}

/* Who answers others is asked until time is up, and ever more slowly; who answers nobody is not. */
static void bounds(void **state)
{
    struct retry_case c = get;
    struct retry r = {0}, other = {0}, lost = {0};
    struct fault f, told;
    (void)state;
    c.loss = LOSS_UNSENT;
    c.code = FAULT_UP_CLOSED;
    fault_set(&f, FAULT_UP_CLOSED, "gone");
    unsigned ms = persist(&r, &c, 0);
    assert_true(r.tries == 10 && ms > 1000 && ms < 3000);
    retry_explain(&told, &f, &r, &c);
    assert_string_equal(
        told.text,
        "gone; the request was asked 11 times and never begun, nor was any other answered");
    ms = persist(&other, &c, 1);
    assert_true(other.tries < 80 && ms >= 30000 && ms < 31000);
    retry_explain(&told, &f, &other, &c);
    assert_non_null(strstr(told.text, "within 30000 ms (upstream.queue_timeout) and never begun"));
    c.loss = LOSS_AMID;
    ms = persist(&lost, &c, 1);
    assert_true(lost.tries == 10 && ms < 5000);
    retry_explain(&told, &f, &lost, &c);
    assert_string_equal(told.text, "gone");
    c.is_safe = false;
    retry_explain(&told, &f, &lost, &c);
    assert_string_equal(told.text, "gone; the request may have been carried out");
    c.loss = LOSS_UNSENT;
    c.is_replayable = false;
    retry_explain(&told, &f, &lost, &c);
    assert_non_null(strstr(told.text, "was not carried out, but more of its body"));
}

/* An origin that asks to wait: as long as all of it is within queue_timeout, or an hour. */
static void asked(void **state)
{
    struct retry r = {0};
    struct retry_case c = get;
    (void)state;
    c.asked_ms = 30000;
    assert_int_equal(retry_choose(&r, &c, S), RETRY_WHEN_ASKED);
    c.asked_ms = 30001;
    assert_int_equal(retry_choose(&r, &c, S), RETRY_NOT);
    c.asked_ms = 20000;
    retry_count(&r, &c, S);
    assert_int_equal(r.lost, 0);
    assert_int_equal(retry_asked_until(&r, &c, 21 * S), 31 * S);
    assert_int_equal(retry_choose(&r, &c, 11 * S), RETRY_WHEN_ASKED);
    assert_int_equal(retry_choose(&r, &c, 12 * S), RETRY_NOT);
    retry_count(&r, &c, 11 * S);
    assert_int_equal(retry_choose(&r, &c, 12 * S), RETRY_NOT);
    c.patience = 0;
    assert_int_equal(retry_choose(&r, &c, 12 * S), RETRY_WHEN_ASKED);
    assert_int_equal(retry_choose(&r, &c, 3600 * INT64_C(1000000)), RETRY_NOT);
    c.is_safe = false;
    assert_int_equal(retry_choose(&r, &c, S), RETRY_NOT);
}

static void carried(void **state)
{
    struct carry c = {0};
    (void)state;
    assert_int_equal(carry_most(&c, S), UINT32_MAX);
    carry_answered(&c, 7);
    carry_learn(&c, 3, S);
    assert_int_equal(carry_most(&c, S), UINT32_MAX); /* a restart, perhaps */
    carry_learn(&c, 0, S);
    carry_learn(&c, 2, 2 * S);
    assert_int_equal(carry_most(&c, 2 * S), 3);
    carry_learn(&c, 2, 3 * S);
    assert_int_equal(carry_most(&c, 62 * S), 2);
    assert_int_equal(carry_most(&c, 63 * S), UINT32_MAX);
    carry_learn(&c, 1, 64 * S);
    assert_int_equal(carry_most(&c, 64 * S), UINT32_MAX); /* what was known before is gone, too */
    carry_learn(&c, 1, 64 * S);
    for (unsigned n = 1; n < 2000; n++) {
        unsigned most = carry_most(&c, 65 * S);
        assert_true(most >= n - 1);
        carry_answered(&c, n);
    }
    assert_int_equal(carry_most(&c, 65 * S), UINT32_MAX);
    carry_learn(&c, 5000, 66 * S);
    carry_learn(&c, 5000, 66 * S);
    assert_int_equal(carry_most(&c, 66 * S), UINT32_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table), cmocka_unit_test(misdirected), cmocka_unit_test(bounds),
        cmocka_unit_test(asked), cmocka_unit_test(carried),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
