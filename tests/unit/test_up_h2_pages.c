/* SPDX-License-Identifier: Apache-2.0 */
/* The first large run of a session is on pages of its own, and everything else of the heap. */
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
    memset(&mem, 0, sizeof(mem));
    return 0;
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
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(one_run_of_pages, set_up),
        cmocka_unit_test_setup(what_was_written_moves, set_up),
        cmocka_unit_test_setup(pages_that_cannot_go, set_up),
        cmocka_unit_test_setup(a_session, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
