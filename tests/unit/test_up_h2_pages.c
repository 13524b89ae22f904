/* SPDX-License-Identifier: Apache-2.0 */
/* The first large run of a session is on pages of its own, small pieces are kept for the next ones,
 * and the rest is of the heap. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "upstream/up_h2_pages.h"

static struct up_h2_pieces pieces;
static struct up_h2_pages mem;
static bool has_too_many; /* mappings: the kernel cannot split one */

/* In front of the C library's. */
int munmap(void *p, size_t len)
{
    if (has_too_many) {
        errno = ENOMEM;
        return -1;
    }
    return (int)syscall(SYS_munmap, p, len);
}

static int set_up(void **state)
{
    (void)state;
    up_h2_pieces_init(&pieces);
    mem = (struct up_h2_pages){.pieces = &pieces};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    up_h2_pieces_clear(&pieces);
    return 0;
}

/* Under the address sanitizer none are. */
static unsigned kept(void)
{
    unsigned n = 0;
    for (unsigned i = 0; i < UP_H2_SIZES; i++)
        n += pieces.of[i].spare;
    return n;
}

static bool keeps(void)
{
    return pieces.of[0].keep > 0;
}

static void one_run_of_pages(void **state)
{
    (void)state;
    nghttp2_mem m = up_h2_pages_mem(&mem);
    char *small = m.malloc(100, m.mem_user_data);
    assert_null(mem.pages);
    char *large = m.malloc(16394, m.mem_user_data), *next = m.malloc(16394, m.mem_user_data);
    assert_ptr_equal(mem.pages, large);
    assert_int_equal((uintptr_t)large % 4096, 0);
    memset(large, 1, 16394);
    memset(next, 2, 16394);
    m.free(next, m.mem_user_data);
    assert_ptr_equal(mem.pages, large);
    m.free(large, m.mem_user_data);
    assert_null(mem.pages);
    m.free(small, m.mem_user_data);
    m.free(NULL, m.mem_user_data);
}

static void what_was_written_moves(void **state)
{
    (void)state;
    nghttp2_mem m = up_h2_pages_mem(&mem);
    char *p = m.malloc(16394, m.mem_user_data);
    memset(p, 'x', 16394);
    p = m.realloc(p, 40000, m.mem_user_data);
    assert_null(mem.pages);
    for (size_t i = 0; i < 16394; i++)
        assert_int_equal(p[i], 'x');
    m.free(p, m.mem_user_data);
    p = m.calloc(3, 5, m.mem_user_data);
    assert_memory_equal(p, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 15);
    p = m.realloc(p, 100, m.mem_user_data);
    m.free(p, m.mem_user_data);
}

static void pages_that_cannot_go(void **state)
{
    (void)state;
    nghttp2_mem m = up_h2_pages_mem(&mem);
    char *p = m.malloc(16394, m.mem_user_data);
    memset(p, 'x', 16394);
    has_too_many = true;
    m.free(p, m.mem_user_data);
    has_too_many = false;
    assert_null(mem.pages);
    for (size_t i = 0; i < 16394; i += 1024)
        assert_int_equal(p[i], 0); /* nothing is behind it any more */
    assert_int_equal(munmap(p, 16394), 0);
}

/* Each has all the bytes that were asked for, apart from the others', whatever their sizes are. */
static void pieces_of_all_sizes(void **state)
{
    enum { SIZES = 1200 };
    static unsigned char *p[SIZES];
    (void)state;
    nghttp2_mem m = up_h2_pages_mem(&mem);
    for (int round = 0; round < 2; round++) {
        for (size_t n = 0; n < SIZES; n++) {
            p[n] = m.malloc(n, m.mem_user_data);
            assert_int_equal((uintptr_t)p[n] % _Alignof(max_align_t), 0);
            memset(p[n], (int)(n % 251), n);
        }
        for (size_t n = 0; n < SIZES; n++) {
            for (size_t i = 0; i < n; i++)
                assert_int_equal(p[n][i], n % 251);
            m.free(p[n], m.mem_user_data);
        }
    }
    for (unsigned i = 0; i < UP_H2_SIZES; i++)
        assert_in_range(pieces.of[i].spare * pieces.of[i].size, 0, 32 * 1024);
}

/* What came back is given out again, cleared where that was asked for; of large ones nothing is. */
static void kept_for_the_next(void **state)
{
    (void)state;
    nghttp2_mem m = up_h2_pages_mem(&mem);
    char *p = m.malloc(200, m.mem_user_data), *large = m.malloc(1100, m.mem_user_data);
    memset(p, 'x', 200);
    m.free(p, m.mem_user_data);
    m.free(large, m.mem_user_data);
    assert_int_equal(kept(), keeps() ? 1 : 0);
    char *next = m.calloc(10, 20, m.mem_user_data);
    assert_true(next == p || !keeps());
    assert_int_equal(kept(), 0);
    for (int i = 0; i < 200; i++)
        assert_int_equal(next[i], 0);
    m.free(next, m.mem_user_data);
}

/* From size to size, and into the heap. */
static void pieces_grow(void **state)
{
    (void)state;
    nghttp2_mem m = up_h2_pages_mem(&mem);
    unsigned char *p = m.realloc(NULL, 1, m.mem_user_data);
    p[0] = 0;
    for (size_t n = 2; n < 3000; n += 7) {
        p = m.realloc(p, n, m.mem_user_data);
        for (size_t i = 0; i < n - 7 && n > 8; i++)
            assert_int_equal(p[i], i % 251);
        for (size_t i = 0; i < n; i++)
            p[i] = (unsigned char)(i % 251);
    }
    p = m.realloc(p, 5, m.mem_user_data);
    assert_memory_equal(p, "\0\1\2\3\4", 5);
    m.free(p, m.mem_user_data);
}

/* With nghttp2 itself: it has its buffer there, and gives all back. */
static void a_session(void **state)
{
    (void)state;
    nghttp2_mem m = up_h2_pages_mem(&mem);
    nghttp2_session_callbacks *callbacks;
    nghttp2_session *session;
    const uint8_t *p;
    assert_int_equal(nghttp2_session_callbacks_new(&callbacks), 0);
    assert_int_equal(nghttp2_session_client_new3(&session, callbacks, NULL, NULL, &m), 0);
    assert_non_null(mem.pages);
    assert_int_equal(nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, NULL, 0), 0);
    while (nghttp2_session_mem_send(session, &p) > 0)
        continue;
    nghttp2_session_del(session);
    nghttp2_session_callbacks_del(callbacks);
    assert_null(mem.pages);
    assert_true(kept() > 0 || !keeps());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_run_of_pages, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_written_moves, set_up, tear_down),
        cmocka_unit_test_setup_teardown(pages_that_cannot_go, set_up, tear_down),
        cmocka_unit_test_setup_teardown(pieces_of_all_sizes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(kept_for_the_next, set_up, tear_down),
        cmocka_unit_test_setup_teardown(pieces_grow, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_session, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
