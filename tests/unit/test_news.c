/* SPDX-License-Identifier: Apache-2.0 */
/* news.c: whatever makes a path lead to something else is told, and what happens beside it is not.
 * It belongs to the program, not to the library, hence the include. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/vfs.h>

static int put_fs(const char *path, struct statfs *fs);
#define statfs(path, fs) put_fs(path, fs)
#include "../../proxy/news.c"
#undef statfs

#include <poll.h>

static char dir[] = "/tmp/test_news.XXXXXX";

static bool is_overlay; /* all there is, by what the kernel is said to say */

static int put_fs(const char *path, struct statfs *fs)
{
    int status = statfs(path, fs);
    if (is_overlay)
        fs->f_type = OVERLAYFS_SUPER_MAGIC;
    return status;
}

/* Where /tmp is of another kind, or whoever runs this has all the watchers that he may have. */
static void skip_without_news(void)
{
    int fd = news_open();
    bool has_news = fd >= 0 && is_our_own("/") && is_our_own("/tmp");
    if (fd >= 0)
        close(fd);
    if (!has_news)
        skip();
}

static void put(const char *path, const char *text)
{
    FILE *fp = fopen(path, "w");
    assert_non_null(fp);
    fputs(text, fp);
    assert_int_equal(fclose(fp), 0);
}

/* one/file, two/file, link -> one, chain -> link/file; and a directory. */
static int set_up(void **state)
{
    (void)state;
    if (mkdtemp(dir) == NULL || chdir(dir) != 0 || mkdir("one", 0700) != 0 ||
        mkdir("two", 0700) != 0 || symlink("one", "link") != 0 ||
        symlink("link/file", "chain") != 0)
        return -1;
    put("one/file", "1");
    put("two/file", "2");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    int status = system("rm -rf -- *");
    status |= chdir("/") | rmdir(dir);
    memcpy(dir + sizeof(dir) - 7, "XXXXXX", 6);
    return status;
}

static bool has_news(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

/* What is done to the files, and of which paths that is news. */
static const struct {
    const char *command;
    const char *told[4], *not_told[4];
} cases[] = {
    {"echo x >>one/file", {"one/file", "link/file", "chain"}, {"two/file", "one/none", "two"}},
    {"touch one/file", {"one/file", "chain"}, {"two/file"}},
    {"chmod 600 one/file", {"one/file"}, {"two/file"}},
    {"echo x >one/new && mv one/new one/file", {"one/file", "chain", "one"}, {"two/file"}},
    {"rm one/file", {"one/file", "chain"}, {"two/file"}},
    {"ln -s two new && mv -T new link", {"link/file", "chain"}, {"one/file", "two/file"}},
    {"ln -s two/file new && mv -T new chain", {"chain"}, {"link/file", "one/file"}},
    {"mv one away", {"one/file", "link/file", "chain"}, {"two/file"}},
    {"echo x >one/none", {"one/none", "link/none", "one"}, {"one/file", "two/none"}},
    {"mkdir none", {"none", "none/none"}, {"one/file", "one/none"}},
    {"ln -s one/file one/none", {"one/none", "link/none"}, {"one/file"}},
    {"echo x >other; mkdir more; rm other", {NULL}, {"one/file", "link/file", "chain", "one"}},
    {"echo x >one/other", {"one"}, {"one/file", "chain", "two/file"}},
};

static void check(const char *command, const char *path, bool is_told)
{
    char absolute[128];
    snprintf(absolute, sizeof(absolute), "%s/%s", dir, path);
    int fds[2] = {news_open(), news_open()};
    assert_true(fds[0] >= 0 && fds[1] >= 0);
    assert_true(news_add(fds[0], path));
    assert_true(news_add(fds[1], absolute));
    assert_false(has_news(fds[0]) || has_news(fds[1]));
    assert_int_equal(system(command), 0);
    for (unsigned i = 0; i < 2; i++) {
        if (has_news(fds[i]) != is_told)
            fail_msg("%s, of %s: it is %stold", command, path, is_told ? "not " : "");
        close(fds[i]);
    }
}

static void what_is_told(void **state)
{
    (void)state;
    skip_without_news();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (size_t k = 0; k < 8; k++) {
            const char *path = k < 4 ? cases[i].told[k] : cases[i].not_told[k - 4];
            if (path == NULL)
                continue;
            assert_int_equal(set_up(NULL), 0);
            check(cases[i].command, path, k < 4);
            assert_int_equal(tear_down(NULL), 0);
        }
    }
}

/* Of these nobody is promised any. */
static void what_has_no_news(void **state)
{
    (void)state;
    skip_without_news();
    assert_int_equal(set_up(NULL), 0);
    int fd = news_open();
    assert_false(news_add(fd, "/proc/self/status"));
    assert_int_equal(symlink("/proc/self/status", "one/away"), 0);
    assert_false(news_add(fd, "one/away"));
    assert_int_equal(symlink("round", "round"), 0);
    assert_false(news_add(fd, "round"));
    assert_true(news_add(fd, "one/../two/./file"));
    assert_false(has_news(fd));
    put("two/file", "x");
    assert_true(has_news(fd));
    close(fd);
    assert_int_equal(tear_down(NULL), 0);
}

/* An overlay has no lasting inode of what has several names below; of directories it has. */
static void several_names(void **state)
{
    (void)state;
    skip_without_news();
    assert_int_equal(set_up(NULL), 0);
    assert_int_equal(mkdir("one/sub", 0700), 0);
    assert_int_equal(link("two/file", "two/same"), 0);
    assert_int_equal(symlink("file", "one/link"), 0);
    int fd = news_open();
    for (int i = 0; i < 2; i++) {
        is_overlay = i == 1;
        assert_true(news_add(fd, "chain"));
        assert_true(news_add(fd, "one"));
        assert_true(news_add(fd, "one/link"));
        assert_int_equal(news_add(fd, "two/same"), !is_overlay);
    }
    assert_int_equal(link("one/link", "one/same"), 0);
    assert_false(news_add(fd, "one/link"));
    is_overlay = false;
    assert_true(news_add(fd, "one/link"));
    close(fd);
    assert_int_equal(tear_down(NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_told),
        cmocka_unit_test(what_has_no_news),
        cmocka_unit_test(several_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
