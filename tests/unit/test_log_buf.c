/* SPDX-License-Identifier: Apache-2.0 */
/* base/log_buf.c: threads that give lines do not wait for the one that writes, and of all lines
 * none is lost, written twice, torn or before one of its own thread's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "base/log_buf.h"
#include "base/log_impl.h"

enum {
    THREADS = 4,
    LINES = 20000, /* of a thread */
    BUFFER = 128 * 1024
};

static char dir[] = "/tmp/tlsfan-test-log-buf-XXXXXX";
static char path[128];
static char err[256];

static int make_dir(void **state)
{
    (void)state;
    if (mkdtemp(dir) == NULL)
        return -1;
    snprintf(path, sizeof(path), "%s/access", dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    return rmdir(dir);
}

static void put_line(struct log_buf *b, unsigned thread, unsigned number)
{
    char line[64];
    size_t n = (size_t)snprintf(line, sizeof(line), "%u %06u the rest of a line\n", thread, number);
    memcpy(log_buf_room(b, n), line, n);
    b->len += n;
}

/* The lines of file NAME; NEXT has the number of the next one of each thread. */
static void check_file(const char *name, unsigned next[THREADS])
{
    char line[128], rest[64];
    unsigned thread, number;
    FILE *f = fopen(name, "r");
    assert_non_null(f);
    while (fgets(line, sizeof(line), f) != NULL) {
        assert_int_equal(sscanf(line, "%u %u %63[^\n]", &thread, &number, rest), 3);
        assert_string_equal(rest, "the rest of a line");
        assert_true(thread < THREADS);
        assert_int_equal(number, next[thread]);
        next[thread]++;
    }
    fclose(f);
    unlink(name);
}

/* ---- somebody writes */

struct writer {
    pthread_t thread;
    struct log_buf b;
    atomic_int tid;
    bool is_more;
};

static void *write_one(void *arg)
{
    struct writer *w = arg;
    put_line(&w->b, 0, 0);
    atomic_store(&w->tid, (int)syscall(SYS_gettid));
    w->is_more = log_buf_flush(&w->b);
    return NULL;
}

/* Until thread TID sleeps, which is where the sink is held. */
static void wait_asleep(atomic_int *tid)
{
    char name[64], text[256];
    const char *state;
    while (atomic_load(tid) == 0)
        sched_yield();
    snprintf(name, sizeof(name), "/proc/self/task/%d/stat", atomic_load(tid));
    do {
        FILE *f = fopen(name, "r");
        assert_non_null(f);
        assert_non_null(fgets(text, sizeof(text), f));
        fclose(f);
        state = strrchr(text, ')');
        assert_non_null(state);
    } while (state[2] != 'S');
}

static void test_nobody_waits(void **state)
{
    struct writer w = {.is_more = false};
    struct log_buf b = {0};
    unsigned next[THREADS] = {0};
    (void)state;
    assert_true(log_open(LOG_LEVEL_INFO, path, err, sizeof(err)));
    put_line(&b, 1, 0);
    assert_false(log_buf_flush(&b));
    log_buf_room(&w.b, 1);
    log_access_hold();
    assert_int_equal(pthread_create(&w.thread, NULL, write_one, &w), 0);
    wait_asleep(&w.tid);
    put_line(&b, 1, 1);
    assert_false(log_buf_flush(&b)); /* it is the other one's */
    put_line(&b, 1, 2);
    assert_false(log_buf_flush(&b));
    put_line(&b, 1, 3); /* not given */
    log_access_release(&(struct log_outcome){0});
    pthread_join(w.thread, NULL);
    /* It took what it saw, and was told of more where it did not begin with all. */
    if (w.is_more)
        assert_false(log_buf_flush(&w.b));
    log_close(); /* nothing is in the file but what it wrote */
    check_file(path, next);
    assert_int_equal(next[0], 1);
    assert_int_equal(next[1], 3);
    log_buf_clear(&b);
    log_buf_clear(&w.b);
}

/* ---- a buffer that is full waits */

static void *write_many(void *arg)
{
    struct writer *w = arg;
    atomic_store(&w->tid, (int)syscall(SYS_gettid));
    for (unsigned i = 0; i < LINES; i++) {
        put_line(&w->b, 1, i);
        log_buf_flush(&w->b);
    }
    return NULL;
}

static void test_full_buffer(void **state)
{
    struct writer first = {.is_more = false}, second = {.is_more = false};
    unsigned next[THREADS] = {0};
    (void)state;
    assert_true(log_open(LOG_LEVEL_INFO, path, err, sizeof(err)));
    log_buf_room(&first.b, 1);
    log_buf_room(&second.b, 1);
    log_access_hold();
    assert_int_equal(pthread_create(&first.thread, NULL, write_one, &first), 0);
    wait_asleep(&first.tid);
    assert_int_equal(pthread_create(&second.thread, NULL, write_many, &second), 0);
    wait_asleep(&second.tid);
    log_access_release(&(struct log_outcome){0});
    pthread_join(first.thread, NULL);
    pthread_join(second.thread, NULL);
    assert_true(second.b.cap <= BUFFER);
    while (log_buf_flush(&first.b))
        continue;
    log_close();
    check_file(path, next);
    assert_int_equal(next[0], 1);
    assert_int_equal(next[1], LINES);
    log_buf_clear(&first.b);
    log_buf_clear(&second.b);
}

/* ---- all at once */

static atomic_uint at_work;

static void *write_in_turns(void *arg)
{
    unsigned thread = (unsigned)(uintptr_t)arg;
    struct log_buf b = {0};
    bool is_more = false;
    for (unsigned i = 0; i < LINES;) {
        for (unsigned turn = 1 + (i * 7 + thread) % 5; turn > 0 && i < LINES; turn--)
            put_line(&b, thread, i++);
        is_more = log_buf_flush(&b);
    }
    while (is_more)
        is_more = log_buf_flush(&b);
    log_buf_clear(&b);
    atomic_fetch_sub(&at_work, 1);
    return NULL;
}

/* The file is moved away and opened again all the while, as logrotate does. */
static void test_all_at_once(void **state)
{
    pthread_t threads[THREADS];
    unsigned next[THREADS] = {0}, files = 0;
    char moved[160];
    uint64_t lost = log_dropped();
    (void)state;
    assert_true(log_open(LOG_LEVEL_ERROR, path, err, sizeof(err)));
    atomic_store(&at_work, THREADS);
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_in_turns, (void *)i), 0);
    while (atomic_load(&at_work) > 0) {
        snprintf(moved, sizeof(moved), "%s.%u", path, files++);
        assert_int_equal(rename(path, moved), 0);
        assert_true(log_reopen());
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    log_close();
    for (unsigned i = 0; i < files; i++) {
        snprintf(moved, sizeof(moved), "%s.%u", path, i);
        check_file(moved, next);
    }
    check_file(path, next);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(next[i], LINES);
    assert_int_equal(log_dropped(), lost);
}

/* A line that is longer than all room; then the room is as it was. */
static void test_long_line(void **state)
{
    struct log_buf b = {0};
    size_t n = 3 * (size_t)BUFFER;
    (void)state;
    assert_true(log_open(LOG_LEVEL_INFO, path, err, sizeof(err)));
    put_line(&b, 0, 0);
    memset(log_buf_room(&b, n), 'x', n);
    b.len += n;
    b.p[b.len - 1] = '\n';
    size_t len = b.len;
    assert_false(log_buf_flush(&b));
    log_buf_room(&b, 1);
    assert_true(b.cap <= BUFFER);
    log_close();
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(lseek(fd, 0, SEEK_END), len);
    close(fd);
    unlink(path);
    log_buf_clear(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody_waits),
        cmocka_unit_test(test_full_buffer),
        cmocka_unit_test(test_all_at_once),
        cmocka_unit_test(test_long_line),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
