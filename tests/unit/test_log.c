/* SPDX-License-Identifier: Apache-2.0 */
/* base/log.c: sinks, levels, what lines look like where they end, and that a sink which takes
 * nothing neither waits nor tears a line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "base/log_buf.h"
#include "base/log_limit.h"
#include "base/log_loss.h"
#include "base/loop.h"
#include "base/mem.h"

static char dir[] = "/tmp/tlsfan-test-log-XXXXXX";
static char path[128];
static char moved[128];
static char err[256];

static int make_dir(void **state)
{
    (void)state;
    if (mkdtemp(dir) == NULL)
        return -1;
    snprintf(path, sizeof(path), "%s/access", dir);
    snprintf(moved, sizeof(moved), "%s/moved", dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    unlink(path);
    unlink(moved);
    return rmdir(dir);
}

static void put_line(struct log_buf *b, const char *line)
{
    size_t n = strlen(line);
    memcpy(log_buf_room(b, n), line, n);
    b->len += n;
}

/* What FD gives until it has no more; FD is closed. */
static char *read_all(int fd, size_t *len)
{
    size_t n = 0;
    char *text = xmalloc(4u << 20);
    for (;;) {
        ssize_t got = read(fd, text + n, (4u << 20) - 1 - n);
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    text[n] = '\0';
    close(fd);
    *len = n;
    return text;
}

static void assert_file(const char *name, const char *expected)
{
    size_t n;
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    char *text = read_all(fd, &n);
    assert_string_equal(text, expected);
    free(text);
}

static void test_file_and_reopen(void **state)
{
    struct log_buf b = {0};
    struct stat st;
    (void)state;
    umask(022);
    assert_int_equal(log_access_traits(), 0);
    assert_true(log_open(LOG_LEVEL_INFO, path, err, sizeof(err)));
    assert_int_equal(log_access_traits(), LOG_IS_ON);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    put_line(&b, "one\n");
    put_line(&b, "two\n");
    log_buf_flush(&b);
    assert_int_equal(b.len, 0);
    assert_int_equal(rename(path, moved), 0);
    put_line(&b, "three\n");
    log_buf_flush(&b);
    log_reopen();
    put_line(&b, "four\n");
    log_buf_flush(&b);
    assert_file(moved, "one\ntwo\nthree\n");
    assert_file(path, "four\n");
    assert_false(log_open(LOG_LEVEL_INFO, "/nonexistent/x", err, sizeof(err)));
    assert_non_null(strstr(err, "No such file"));
    put_line(&b, "five\n"); /* the sink before stays */
    log_buf_flush(&b);
    assert_file(path, "four\nfive\n");
    log_buf_clear(&b);
    log_close();
    assert_int_equal(log_access_traits(), 0);
}

/* Makes FD the standard stream TARGET; gives a copy of what was there. */
static int replace_stream(int target, int fd)
{
    int saved = dup(target);
    assert_true(saved >= 0 && dup2(fd, target) == target);
    close(fd);
    return saved;
}

static void restore_stream(int target, int saved)
{
    assert_int_equal(dup2(saved, target), target);
    close(saved);
}

static void test_error_line(void **state)
{
    int fds[2];
    size_t n;
    (void)state;
    assert_int_equal(pipe(fds), 0);
    assert_true(log_open(LOG_LEVEL_INFO, "off", err, sizeof(err)));
    int saved = replace_stream(STDERR_FILENO, fds[1]);
    log_write(LOG_LEVEL_DEBUG, "not shown");
    log_warning("a %s", "b\nc");
    restore_stream(STDERR_FILENO, saved);
    char *text = read_all(fds[0], &n);
    assert_int_equal(n, strlen("2026-01-31T12:00:00.123Z warning a b?c\n"));
    assert_string_equal(text + 24, " warning a b?c\n");
    assert_true(text[10] == 'T' && text[19] == '.' && text[23] == 'Z');
    free(text);
    assert_true(log_open(LOG_LEVEL_DEBUG, "off", err, sizeof(err)));
    assert_true(log_is_enabled(LOG_LEVEL_DEBUG));
    assert_true(log_open(LOG_LEVEL_ERROR, "off", err, sizeof(err)));
    assert_false(log_is_enabled(LOG_LEVEL_WARNING));
}

/* A pipe nobody reads: 2 MiB of lines come back at once, what was taken is whole, the rest is
 * counted. */
static void test_full_pipe_drops_whole_lines(void **state)
{
    enum { LINES = 20000 };
    struct log_buf b = {0};
    int fds[2];
    size_t n;
    uint64_t before = log_dropped();
    (void)state;
    assert_int_equal(pipe(fds), 0);
    int saved = replace_stream(STDOUT_FILENO, fds[1]);
    assert_true(log_open(LOG_LEVEL_INFO, "stdout", err, sizeof(err)));
    for (int i = 0; i < LINES; i++) {
        char line[120];
        snprintf(line, sizeof(line), "%05d %090d\n", i, 0);
        put_line(&b, line);
        if (i % 100 == 99)
            log_buf_flush(&b);
    }
    log_close();
    log_buf_clear(&b);
    fflush(stdout);
    restore_stream(STDOUT_FILENO, saved);
    char *text = read_all(fds[0], &n);
    uint64_t taken = n / 97;
    assert_int_equal(n % 97, 0);
    assert_true(taken > 100 && taken < LINES);
    assert_int_equal(taken + log_dropped() - before, LINES);
    for (size_t i = 0; i < n; i += 97)
        assert_true(text[i + 96] == '\n' && text[i + 5] == ' ');
    free(text);
}

/* A line longer than a piece may be cut, but the next one begins on a line of its own. */
static void test_torn_line_is_ended(void **state)
{
    struct log_buf b = {0};
    int fds[2];
    char *big = xmalloc(300000);
    char sink[65536];
    size_t n;
    (void)state;
    assert_int_equal(pipe(fds), 0);
    int saved = replace_stream(STDOUT_FILENO, fds[1]);
    assert_true(log_open(LOG_LEVEL_INFO, "stdout", err, sizeof(err)));
    memset(big, 'x', 300000);
    big[299998] = '\n';
    big[299999] = '\0';
    put_line(&b, big);
    log_buf_flush(&b);
    assert_true(read(fds[0], sink, sizeof(sink)) > 0);
    put_line(&b, "after\n");
    log_buf_flush(&b);
    log_close();
    log_buf_clear(&b);
    restore_stream(STDOUT_FILENO, saved);
    char *text = read_all(fds[0], &n);
    assert_true(n >= 7);
    assert_string_equal(text + n - 7, "\nafter\n");
    free(text);
    free(big);
}

/* ---- what stderr is */

/* What is said from here to streams_end() is kept, in the way of a stderr that is FDS[1]. */
static int stream_saved;

static void stream_begin(const int fds[2])
{
    stream_saved = replace_stream(STDERR_FILENO, fds[1]);
    assert_true(log_open(LOG_LEVEL_DEBUG, "stderr", err, sizeof(err)));
}

static char *stream_end(int fd)
{
    size_t n;
    restore_stream(STDERR_FILENO, stream_saved);
    char *text = read_all(fd, &n);
    assert_true(log_open(LOG_LEVEL_INFO, "off", err, sizeof(err)));
    return text;
}

/* The variable names another stream, or this one. */
static void set_journal(int fd, int off)
{
    struct stat st;
    char text[64];
    assert_int_equal(fstat(fd, &st), 0);
    snprintf(text, sizeof(text), "%llu:%llu", (unsigned long long)st.st_dev,
             (unsigned long long)st.st_ino + (unsigned)off);
    setenv("JOURNAL_STREAM", text, 1);
}

static void say_all(void)
{
    struct log_buf b = {0};
    log_write(LOG_LEVEL_DEBUG, "d");
    log_info("i");
    log_warning("w");
    log_error("e");
    log_plain(LOG_LEVEL_ERROR, "FILE:1: a \"b\nFILE:2: c\n");
    if ((log_access_traits() & LOG_IS_JOURNAL) != 0)
        put_line(&b, LOG_JOURNAL_INFO);
    put_line(&b, "access\n");
    log_buf_flush(&b);
    log_buf_clear(&b);
}

static void test_journal(void **state)
{
    int fds[2];
    (void)state;
    for (int off = 0; off < 2; off++) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
        set_journal(fds[1], off);
        stream_begin(fds);
        assert_int_equal(log_access_traits(),
                         off ? LOG_IS_ON : LOG_IS_ON | LOG_IS_JOURNAL | LOG_STAMPS);
        say_all();
        char *text = stream_end(fds[0]);
        if (off == 0)
            assert_string_equal(text, "<7>debug d\n<6>info i\n<4>warning w\n<3>error e\n"
                                      "<3>FILE:1: a \"b\n<3>FILE:2: c\n<6>access\n");
        else
            assert_null(strstr(text, "<"));
        free(text);
    }
    unsetenv("JOURNAL_STREAM");
}

/* Its other end is master[0]. */
static void make_terminal(int master[2])
{
    struct termios raw;
    master[0] = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK);
    assert_true(master[0] >= 0 && grantpt(master[0]) == 0 && unlockpt(master[0]) == 0);
    master[1] = open(ptsname(master[0]), O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(master[1] >= 0);
    assert_int_equal(tcgetattr(master[1], &raw), 0);
    cfmakeraw(&raw);
    assert_int_equal(tcsetattr(master[1], TCSANOW, &raw), 0);
}

static void test_terminal(void **state)
{
    int fds[2];
    (void)state;
    setenv("TERM", "xterm", 1);
    unsetenv("NO_COLOR");
    make_terminal(fds);
    stream_begin(fds);
    assert_int_equal(log_access_traits(), LOG_IS_ON | LOG_IS_TERMINAL | LOG_HAS_COLOURS);
    log_warning("a\033[2Jb\x9b"
                "2Jc\xc2\x9b"
                "d\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xc3");
    char *text = stream_end(fds[0]);
    assert_true(text[2] == ':' && text[5] == ':');
    assert_string_equal(text + 8, " \033[33mwarning\033[m a?[2Jb?2Jc??d\xc3\xa9\xe2\x82\xac"
                                  "\xf0\x9f\x98\x80?\n");
    free(text);
}

/* Nobody reads it: no line waits. */
static void test_stuck_terminal(void **state)
{
    int fds[2];
    uint64_t before = log_dropped();
    struct log_buf b = {0};
    (void)state;
    make_terminal(fds);
    stream_begin(fds);
    for (int i = 0; i < 3000; i++) {
        char line[120];
        snprintf(line, sizeof(line), "%0100d\n", i);
        put_line(&b, line);
        if (i % 50 == 49)
            log_buf_flush(&b);
    }
    assert_true(log_dropped() - before > 1000);
    log_buf_clear(&b);
    free(stream_end(fds[0]));
}

/* ---- lines that are lost */

static unsigned lines_of(const char *text)
{
    unsigned n = 0;
    for (; *text != '\0'; text++)
        n += *text == '\n';
    return n;
}

/* A disk that is full: said once, with the number at the end. */
static void test_full_disk(void **state)
{
    int fds[2];
    struct log_buf b = {0};
    (void)state;
    assert_int_equal(pipe(fds), 0);
    stream_begin(fds);
    assert_true(log_open(LOG_LEVEL_INFO, "/dev/full", err, sizeof(err)));
    for (int i = 0; i < 10; i++) {
        put_line(&b, "one\ntwo\n");
        log_buf_flush(&b);
    }
    log_buf_clear(&b);
    log_reopen();
    char *text = stream_end(fds[0]);
    char *second = strchr(text, '\n') + 1;
    assert_non_null(strstr(text, " warning the access log /dev/full takes no lines, which are "
                                 "dropped until it does: No space left on device\n"));
    assert_string_equal(second + 24,
                        " warning the access log /dev/full took no more: 20 lines were dropped "
                        "within 1 s\n");
    free(text);
}

static void on_after(void *arg)
{
    *(bool *)arg = true;
}

/* A pipe that nobody reads for a while: the end is said when lines were taken for a time, though no
 * further one comes. */
static void test_pipe_is_read_again(void **state)
{
    int fds[2], access[2];
    struct log_buf b = {0};
    struct loop loop;
    struct deadline after;
    bool is_after = false;
    char sink[65536];
    (void)state;
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(pipe2(access, O_NONBLOCK), 0);
    assert_true(loop_init(&loop));
    stream_begin(fds);
    int saved = replace_stream(STDOUT_FILENO, access[1]);
    assert_true(log_open(LOG_LEVEL_INFO, "stdout", err, sizeof(err)));
    log_limit_set_loop(&loop);
    uint64_t before = log_dropped();
    for (int i = 0; i < 10000; i++) {
        put_line(&b, "a line of some length\n");
        log_buf_flush(&b);
    }
    unsigned lost = (unsigned)(log_dropped() - before);
    while (read(access[0], sink, sizeof(sink)) > 0)
        ;
    put_line(&b, "taken\n");
    log_buf_flush(&b);
    log_buf_clear(&b);
    /* As the one that tells, but begun later. */
    deadline_init(&after, &loop, on_after, &is_after);
    deadline_set(&after, 2 * LOG_LOSS_MS + 500);
    while (!is_after)
        loop_turn(&loop, true);
    deadline_close(&after);
    put_line(&b, "taken\n");
    log_buf_flush(&b);
    log_buf_clear(&b);
    log_limit_set_loop(NULL);
    restore_stream(STDOUT_FILENO, saved);
    close(access[0]);
    char *text = stream_end(fds[0]);
    char expected[160];
    snprintf(expected, sizeof(expected),
             " warning the access log stdout takes lines again: %u lines were dropped within ",
             lost);
    assert_int_equal(lines_of(text), 2);
    assert_non_null(strstr(text, "dropped until it does: its reader does not keep up\n"));
    assert_non_null(strstr(text, expected));
    free(text);
    loop_clear(&loop);
}

/* ---- limits */

static int limit_saved, limit_fd;

/* What is said from here to limit_end() is kept. */
static void limit_begin(void)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    assert_true(log_open(LOG_LEVEL_INFO, "off", err, sizeof(err)));
    limit_fd = fds[0];
    limit_saved = replace_stream(STDERR_FILENO, fds[1]);
}

static char *limit_end(void)
{
    size_t n;
    restore_stream(STDERR_FILENO, limit_saved);
    return read_all(limit_fd, &n);
}

static void flood(struct log_limit *l, int from, int to)
{
    for (int i = from; i < to; i++)
        log_limit_write(l, LOG_LEVEL_WARNING, "peer %d\nsays so", i);
}

/* A thousand lines are LOG_LIMIT_BURST, and the rest a number, with the next line... */
static void test_limit_counts(void **state)
{
    static struct log_limit l, other;
    char expected[64];
    (void)state;
    limit_begin();
    flood(&l, 0, 1000);
    log_limit_write(&other, LOG_LEVEL_INFO, "another place");
    l.since -= LOG_LIMIT_MS * 1000;
    flood(&l, 1000, 1001);
    char *text = limit_end();
    assert_int_equal(lines_of(text), LOG_LIMIT_BURST + 3);
    assert_non_null(strstr(text, "warning peer 4?says so\n"));
    assert_null(strstr(text, "peer 6"));
    assert_non_null(strstr(text, "info another place\n"));
    snprintf(expected, sizeof(expected), "warning %d more like it held back, ",
             1000 - LOG_LIMIT_BURST);
    assert_non_null(strstr(text, expected));
    assert_non_null(strstr(text, "the first of them: peer 5?says so\n"));
    assert_non_null(strstr(text, "warning peer 1000?says so\n"));
    free(text);
}

/* ... or, when none comes, from the loop, and at its end. */
static void test_limit_is_told_without_another_line(void **state)
{
    static struct log_limit l;
    struct loop loop;
    (void)state;
    assert_true(loop_init(&loop));
    limit_begin();
    log_limit_set_loop(&loop);
    flood(&l, 0, 100);
    l.since -= LOG_LIMIT_MS * 1000; /* its time is over, and the loop looks each second */
    int64_t until = loop_now() + 20000000;
    while (l.held > 0 && loop_now() < until)
        loop_turn(&loop, true);
    assert_int_equal(l.held, 0);
    flood(&l, 100, 200);
    flood(&l, 200, 300);
    log_limit_set_loop(NULL);
    assert_int_equal(l.held, 0);
    char *text = limit_end();
    assert_int_equal(lines_of(text), 2 * (LOG_LIMIT_BURST + 1));
    assert_non_null(strstr(text, "warning 95 more like it held back, "));
    assert_non_null(strstr(text, "warning 195 more like it held back, "));
    free(text);
    loop_clear(&loop);
}

static void log_lines(void)
{
    for (int i = 0; i < 1000; i++)
        log_limited(LOG_LEVEL_WARNING, "line %d", i);
}

static void *log_from_thread(void *unused)
{
    (void)unused;
    log_lines();
    return NULL;
}

/* The place is the one in the code, from whatever thread. */
static void test_limit_of_threads(void **state)
{
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    unsigned held;
    (void)state;
    limit_begin();
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, log_from_thread, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    log_limit_set_loop(NULL);
    char *text = limit_end();
    unsigned lines = lines_of(text), told = 0;
    for (const char *p = text; (p = strstr(p, " more like it")) != NULL; p++) {
        const char *number = p;
        while (number[-1] != ' ')
            number--;
        assert_int_equal(sscanf(number, "%u", &held), 1);
        told += held;
        lines--;
    }
    assert_true(lines < 1000);
    assert_int_equal(lines + told, THREADS * 1000);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_file_and_reopen),
        cmocka_unit_test(test_error_line),
        cmocka_unit_test(test_full_pipe_drops_whole_lines),
        cmocka_unit_test(test_torn_line_is_ended),
        cmocka_unit_test(test_journal),
        cmocka_unit_test(test_terminal),
        cmocka_unit_test(test_stuck_terminal),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_pipe_is_read_again),
        cmocka_unit_test(test_limit_counts),
        cmocka_unit_test(test_limit_is_told_without_another_line),
        cmocka_unit_test(test_limit_of_threads),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
