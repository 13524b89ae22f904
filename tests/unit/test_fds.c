/* SPDX-License-Identifier: Apache-2.0 */
/* base/fds.c: shares for all sizes of limit, and the limit that is asked for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/fds.h"

static void shares_fit(void **state)
{
    (void)state;
    for (unsigned workers = 1; workers <= 64; workers *= 4) {
        for (unsigned limit = 64; limit < 2000000; limit += limit / 7) {
            struct fds f;
            fds_plan(&f, limit, workers, 2);
            assert_true(f.mark < f.limit && f.clients >= 1 && f.idle >= 1);
            assert_true(f.idle <= 2048 && f.service <= 256 && f.lingering >= 2);
            if (limit < 128 * workers + 256)
                continue;
            unsigned kept = f.service + FDS_GUESTS + f.lingering * (workers + 1) + 16;
            assert_true(kept <= limit - f.mark);
            /* What clients cannot have is for connections to origins. */
            assert_true(f.clients + f.clients / 2 <= f.mark);
        }
    }
}

static void need_is_enough(void **state)
{
    (void)state;
    static const unsigned clients[] = {1, 10, 100, 1000, 10000, 100000};
    for (size_t i = 0; i < sizeof(clients) / sizeof(clients[0]); i++) {
        struct fds f;
        unsigned need = fds_need(clients[i], 4, 2);
        fds_plan(&f, need, 4, 2);
        assert_true(f.clients >= clients[i]);
        fds_plan(&f, need - need / 8, 4, 2);
        assert_true(f.clients <= clients[i] || clients[i] < 10);
    }
}

/* Sockets that listen are nobody's connections. */
static void listeners_count(void **state)
{
    (void)state;
    struct fds few, many;
    fds_plan(&few, 4096, 8, 2);
    fds_plan(&many, 4096, 8, 102);
    assert_int_equal(few.mark, many.mark);
    assert_true(few.clients - many.clients >= 100 * 8 * 2 / 3);
}

static void numbers_tell(void **state)
{
    (void)state;
    char text[256];
    assert_false(fds_is_kept(1000000)); /* nothing is short before there is a plan */
    struct rlimit limit = {200, 200};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    fds_init(1, 2);
    int mark = (int)fds_budget()->mark;
    assert_int_equal(fds_budget()->limit, 200);
    assert_false(fds_is_kept(-1));
    assert_false(fds_is_kept(mark - 1));
    assert_true(fds_is_near(mark - 1));
    assert_false(fds_is_near(mark / 2));
    assert_true(fds_is_kept(mark));
    assert_int_equal(fds_clients(1), 1);
    assert_int_equal(fds_clients(100000), fds_budget()->clients);
    assert_non_null(strstr(fds_explain(text, sizeof(text), EMFILE), "200 descriptors"));
    assert_non_null(strstr(fds_explain(text, sizeof(text), ENFILE), "fs.file-max"));
    assert_true(fds_is_short(EMFILE) && fds_is_short(ENFILE) && !fds_is_short(EAGAIN));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares_fit),
        cmocka_unit_test(need_is_enough),
        cmocka_unit_test(listeners_count),
        cmocka_unit_test(numbers_tell),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
