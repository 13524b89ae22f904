/* SPDX-License-Identifier: Apache-2.0 */
/* net/tls_keylog.c: lines are whole whatever the file is and however many threads write. */
#include "net/tls_keylog.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log_limit.h"

#define SECRET "CLIENT_RANDOM 00112233445566778899aabbccddeeff 0123456789abcdef0123456789abcdef"

static char dir[] = "/tmp/tlsfan-test-keylog-XXXXXX";
static char path[128], moved[128];
static SSL_CTX *ctx;

static int set_up(void **state)
{
    (void)state;
    if (mkdtemp(dir) == NULL)
        return -1;
    snprintf(path, sizeof(path), "%s/keys", dir);
    snprintf(moved, sizeof(moved), "%s/moved", dir);
    ctx = SSL_CTX_new(TLS_client_method());
    tls_keylog_watch(ctx);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    SSL_CTX_free(ctx);
    unlink(path);
    unlink(moved);
    return rmdir(dir);
}

static void use(const char *file)
{
    int fd = tls_keylog_open(file);
    assert_true(fd >= 0);
    tls_keylog_use(fd, file);
}

/* What OpenSSL does with each secret. */
static void say(const char *text)
{
    SSL_CTX_get_keylog_callback(ctx)(NULL, text);
}

static const char *content(const char *file)
{
    static char text[1 << 20];
    FILE *f = fopen(file, "r");
    assert_non_null(f);
    size_t n = fread(text, 1, sizeof(text) - 1, f);
    fclose(f);
    text[n] = '\0';
    return text;
}

static void file_and_reopen(void **state)
{
    struct stat st;
    (void)state;
    say("nobody asked");
    umask(0);
    use(path);
    umask(022);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    say("one");
    assert_int_equal(rename(path, moved), 0);
    say("two");
    tls_keylog_reopen();
    say("three");
    assert_string_equal(content(moved), "one\ntwo\n");
    assert_string_equal(content(path), "three\n");
    use(path);
    say("four");
    assert_string_equal(content(path), "three\nfour\n");
    tls_keylog_use(-1, NULL);
    tls_keylog_reopen();
    say("nobody asks any more");
    assert_string_equal(content(path), "three\nfour\n");
    assert_int_equal(tls_keylog_open("/nonexistent/keys"), -1);
    assert_int_equal(errno, ENOENT);
    unlink(path);
    unlink(moved);
}

/* The directory is gone when it is opened again: the old file stays. */
static void reopened_in_vain(void **state)
{
    (void)state;
    use(path);
    assert_int_equal(rename(path, moved), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    tls_keylog_reopen();
    say("one");
    assert_string_equal(content(moved), "one\n");
    tls_keylog_use(-1, NULL);
    assert_int_equal(rmdir(path), 0);
    unlink(moved);
}

static void full_disk(void **state)
{
    (void)state;
    use("/dev/full");
    for (int i = 0; i < 1000; i++)
        say(SECRET);
    tls_keylog_use(-1, NULL);
}

/* A pipe takes what it has room for and no more; the next line begins on a line of its own. */
static void full_pipe(void **state)
{
    static char text[1 << 20];
    (void)state;
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(tls_keylog_open(path), -1); /* nobody reads it */
    int reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(reader >= 0);
    use(path);
    for (int i = 0; i < 4000; i++)
        say(SECRET);
    ssize_t n = read(reader, text, sizeof(text));
    assert_true(n > 0);
    say(SECRET);
    ssize_t more = read(reader, text + n, sizeof(text) - (size_t)n);
    assert_true(more >= (ssize_t)sizeof(SECRET));
    n += more;
    text[n] = '\0';
    for (char *p = text; *p != '\0'; p += sizeof(SECRET)) {
        if (*p == '\n')
            p++;
        assert_memory_equal(p, SECRET "\n", sizeof(SECRET));
    }
    tls_keylog_use(-1, NULL);
    close(reader);
    unlink(path);
}

/* Half a line fits, as on a disk that becomes full; the next one that fits begins on a line of its
 * own. */
static void torn_line(void **state)
{
    struct rlimit before, little;
    (void)state;
    use(path);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    little = before;
    little.rlim_cur = sizeof(SECRET) + 6;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &little), 0);
    for (int i = 0; i < 3; i++)
        say(SECRET);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    say("last");
    tls_keylog_use(-1, NULL);
    assert_string_equal(content(path), SECRET "\nCLIENT\nlast\n");
    unlink(path);
}

static void longest(void **state)
{
    char text[2000];
    (void)state;
    use(path);
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    say(text); /* no such line is known: better none than half of one */
    assert_string_equal(content(path), "");
    text[511] = '\0';
    say(text);
    assert_int_equal(strlen(content(path)), 512);
    tls_keylog_use(-1, NULL);
    unlink(path);
}

enum { THREADS = 4, LINES = 500 };

static void *speak(void *arg)
{
    (void)arg;
    for (int i = 0; i < LINES; i++)
        say(SECRET);
    return NULL;
}

static void threads(void **state)
{
    pthread_t all[THREADS];
    (void)state;
    use(path);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&all[i], NULL, speak, NULL), 0);
    for (int i = 0; i < 50; i++)
        tls_keylog_reopen();
    for (int i = 0; i < THREADS; i++)
        pthread_join(all[i], NULL);
    tls_keylog_use(-1, NULL);
    const char *p = content(path);
    assert_int_equal(strlen(p), (size_t)THREADS * LINES * sizeof(SECRET));
    for (; *p != '\0'; p += sizeof(SECRET))
        assert_memory_equal(p, SECRET "\n", sizeof(SECRET));
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(file_and_reopen), cmocka_unit_test(reopened_in_vain),
        cmocka_unit_test(full_disk),       cmocka_unit_test(full_pipe),
        cmocka_unit_test(torn_line),       cmocka_unit_test(longest),
        cmocka_unit_test(threads),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
