/* SPDX-License-Identifier: Apache-2.0 */
/* base/file.c: what counts as another version of a file, and reading up to a bound. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

static char dir[] = "/tmp/test_file.XXXXXX";

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) == NULL || chdir(dir) != 0;
}

static int remove_dir(void **state)
{
    static const char *const names[] = {"a", "b", "link", "new", "one/f", "two/f", "data"};
    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        unlink(names[i]);
    rmdir("one");
    rmdir("two");
    return rmdir(dir);
}

static void put(const char *path, const char *text)
{
    FILE *fp = fopen(path, "w");
    assert_non_null(fp);
    fputs(text, fp);
    assert_int_equal(fclose(fp), 0);
}

/* Whether PATH is another than ID, which becomes what it is. */
static bool has_changed(const char *path, struct file_id *id)
{
    struct file_id before = *id;
    *id = file_identify(path);
    return !file_is_same(&before, id);
}

static void a_version_is_told_from_another(void **state)
{
    (void)state;
    struct timespec times[2] = {{1000000000, 0}, {1000000000, 0}};
    put("a", "one");
    struct file_id id = file_identify("a");
    assert_true(id.exists && id.size == 3);
    assert_false(has_changed("a", &id));
    put("a", "longer");
    assert_true(has_changed("a", &id));
    /* The time of the contents is set by whoever likes; the file is another all the same. */
    put("new", "LONGER");
    assert_int_equal(utimensat(AT_FDCWD, "a", times, 0), 0);
    assert_true(has_changed("a", &id));
    assert_int_equal(utimensat(AT_FDCWD, "new", times, 0), 0);
    assert_int_equal(rename("new", "a"), 0);
    assert_true(has_changed("a", &id));
    assert_int_equal(id.modified, INT64_C(1000000000000000000));
    assert_false(has_changed("a", &id));
}

/* As Kubernetes renews a secret: link -> data/f, data -> one becomes data -> two. */
static void links_are_followed(void **state)
{
    (void)state;
    assert_int_equal(mkdir("one", 0700) | mkdir("two", 0700), 0);
    put("one/f", "same");
    put("two/f", "same");
    assert_int_equal(symlink("one", "data") | symlink("data/f", "link"), 0);
    struct file_id id = file_identify("link");
    assert_true(id.exists);
    assert_int_equal(symlink("two", "new") | rename("new", "data"), 0);
    assert_true(has_changed("link", &id));
    assert_false(has_changed("link", &id));
}

static void what_is_gone_has_no_version(void **state)
{
    (void)state;
    struct file_id none = {0};
    struct file_id id = file_identify("nothing");
    assert_true(file_is_same(&id, &none));
    put("b", "");
    assert_true(has_changed("b", &id) && id.exists);
    assert_int_equal(unlink("b"), 0);
    assert_true(has_changed("b", &id));
    assert_false(id.exists);
}

static void a_file_is_read_whole_or_not_at_all(void **state)
{
    enum { SIZE = 100000 };
    (void)state;
    char *long_text = xmalloc(SIZE + 1);
    size_t len;
    memset(long_text, 'x', SIZE);
    long_text[SIZE] = '\0';
    put("a", long_text);
    char *text = file_read("a", SIZE + 1, &len);
    assert_non_null(text);
    assert_int_equal(len, SIZE);
    assert_string_equal(text, long_text);
    free(text);
    free(long_text);
    assert_null(file_read("a", SIZE, &len));
    assert_int_equal(errno, EFBIG);
    put("a", "");
    text = file_read("a", 10, &len);
    assert_non_null(text);
    assert_int_equal(len, 0);
    assert_string_equal(text, "");
    free(text);
    assert_null(file_read("nothing", 10, &len));
    assert_int_equal(errno, ENOENT);
    assert_null(file_read(".", 10, &len));
    assert_int_equal(errno, EISDIR);
}

/* Not an empty text: what a pipe held is gone when it is read again. */
static void a_pipe_without_writer_is_not_waited_for(void **state)
{
    (void)state;
    size_t len;
    char path[40];
    int ends[2];
    assert_int_equal(mkfifo("b", 0600), 0);
    alarm(10);
    assert_null(file_read("b", 10, &len));
    assert_int_equal(errno, ENODATA);
    assert_int_equal(pipe(ends), 0);
    snprintf(path, sizeof(path), "/dev/fd/%d", ends[0]);
    assert_int_equal(write(ends[1], "text", 4), 4);
    close(ends[1]);
    char *text = file_read(path, 10, &len);
    assert_non_null(text);
    assert_string_equal(text, "text");
    free(text);
    assert_null(file_read(path, 10, &len));
    assert_int_equal(errno, ENODATA);
    alarm(0);
    close(ends[0]);
    unlink("b");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_version_is_told_from_another),
        cmocka_unit_test(links_are_followed),
        cmocka_unit_test(what_is_gone_has_no_version),
        cmocka_unit_test(a_file_is_read_whole_or_not_at_all),
        cmocka_unit_test(a_pipe_without_writer_is_not_waited_for),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
