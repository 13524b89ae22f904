/* SPDX-License-Identifier: Apache-2.0 */
/* When a file counts as changed. The looks are made by hand: no time passes here. The file under
 * test belongs to the program, not to the library, hence the include. */
#include "base/file.h"

static struct file_id gated_identify(const char *path);
#define file_identify gated_identify
#include "../../proxy/watcher.c"
#include "../../proxy/news.c"
#undef file_identify

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { MANY = 1000 };

/* A file system that does not answer while it is closed. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t moved;
    bool is_closed;
    unsigned n_waiting;
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER};

static struct file_id gated_identify(const char *path)
{
    pthread_mutex_lock(&gate.lock);
    gate.n_waiting++;
    pthread_cond_broadcast(&gate.moved);
    while (gate.is_closed)
        pthread_cond_wait(&gate.moved, &gate.lock);
    gate.n_waiting--;
    pthread_mutex_unlock(&gate.lock);
    return file_identify(path);
}

static void gate_set(bool is_closed)
{
    pthread_mutex_lock(&gate.lock);
    gate.is_closed = is_closed;
    pthread_cond_broadcast(&gate.moved);
    pthread_mutex_unlock(&gate.lock);
}

/* Until a look has come to it. */
static void gate_await(void)
{
    pthread_mutex_lock(&gate.lock);
    while (gate.n_waiting == 0)
        pthread_cond_wait(&gate.moved, &gate.lock);
    pthread_mutex_unlock(&gate.lock);
}

static char dir[] = "/tmp/test_watcher.XXXXXX";
static struct loop loop;
static struct watcher w;
static struct conf *conf;
static unsigned n_changes;

/* As the server does: the load fails. */
static void on_change(void *arg)
{
    (void)arg;
    n_changes++;
    watcher_tried(&w);
}

static int set_up(void **state)
{
    (void)state;
    n_changes = 0;
    if (mkdtemp(dir) == NULL || chdir(dir) != 0 || !loop_init(&loop))
        return -1;
    watcher_init(&w, &loop, on_change, NULL);
    conf = xcalloc(1, sizeof(*conf));
    atomic_init(&conf->refs, 1);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    watcher_close(&w);
    watcher_close(&w);
    conf_unref(&conf);
    loop_clear(&loop);
    int status = system("rm -rf -- *");
    status |= chdir("/") | rmdir(dir);
    memcpy(dir + sizeof(dir) - 7, "XXXXXX", 6);
    return status;
}

static void put(const char *path, const char *text)
{
    FILE *fp = fopen(path, "w");
    assert_non_null(fp);
    fputs(text, fp);
    assert_int_equal(fclose(fp), 0);
}

/* A snapshot is made from it. */
static void use(const char *path)
{
    size_t len;
    free(conf_files_read(&conf->files, path, &len));
}

/* How many changes N looks have found. */
static unsigned look(unsigned n)
{
    unsigned before = n_changes;
    for (unsigned i = 0; i < n; i++) {
        begin_look(&w);
        look_run(w.look);
        on_tick(&w);
    }
    return n_changes - before;
}

static void a_file_that_is_written_is_left_alone(void **state)
{
    (void)state;
    put("a", "one");
    use("a");
    watcher_set(&w, conf);
    assert_int_equal(look(3), 0);
    put("a", "o");
    assert_int_equal(look(1), 0);
    put("a", "other");
    assert_int_equal(look(1), 0);
    assert_int_equal(look(1), 1);
    assert_int_equal(look(3), 0); /* it was tried */
    put("a", "third");
    assert_int_equal(look(2), 1);
}

static void a_file_that_goes_is_used_on(void **state)
{
    (void)state;
    put("a", "one");
    use("a");
    watcher_set(&w, conf);
    unlink("a");
    assert_int_equal(look(4), 0);
    assert_true(w.v[0].is_told_gone);
    put("a", "two");
    assert_int_equal(look(2), 1);
    assert_false(w.v[0].is_told_gone);
}

/* A file server goes away, and a file changes elsewhere: when it is back all is tried again, though
 * its own files are what they were. */
static void what_was_missing_is_a_reason_when_it_is_back(void **state)
{
    (void)state;
    assert_int_equal(mkdir("mount", 0700), 0);
    put("mount/b", "b");
    put("a", "one");
    use("mount/b");
    use("a");
    watcher_set(&w, conf);
    assert_int_equal(rename("mount", "away"), 0);
    put("a", "two");
    assert_int_equal(look(2), 1);
    assert_int_equal(look(3), 0);
    assert_int_equal(rename("away", "mount"), 0);
    assert_int_equal(look(2), 1);
    assert_int_equal(look(3), 0);
}

static void the_same_contents_are_no_change(void **state)
{
    (void)state;
    put("a", "one");
    put("b", "b");
    use("a");
    use("b");
    watcher_set(&w, conf);
    put("new", "one");
    assert_int_equal(rename("new", "a"), 0);
    assert_int_equal(look(4), 0);
    put("a", "two");
    assert_int_equal(look(2), 1);
    /* That load has failed: with what b had it may succeed. */
    put("b", "b");
    assert_int_equal(look(2), 1);
    put("a", "one");
    assert_int_equal(look(2), 1);
}

/* One snapshot, two readers, a change between them. */
static void what_was_read_twice_is_not_taken_for_either(void **state)
{
    (void)state;
    put("a", "one");
    use("a");
    put("a", "two");
    use("a");
    watcher_set(&w, conf);
    assert_int_equal(look(2), 1);
}

/* Of a directory there are no contents: any change is one. */
static void a_directory_is_watched(void **state)
{
    (void)state;
    assert_int_equal(mkdir("d", 0700), 0);
    conf_files_note(&conf->files, "d");
    watcher_set(&w, conf);
    assert_int_equal(look(2), 0);
    put("d/new", "");
    assert_int_equal(look(2), 1);
    /* What goes from it is not used on, and nobody says so. */
    use("d/new");
    watcher_set(&w, conf);
    unlink("d/new");
    assert_int_equal(look(2), 1);
    assert_false(w.v[0].is_told_gone || w.v[1].is_told_gone);
}

static void thousands_have_their_turns(void **state)
{
    (void)state;
    char name[16];
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(name, sizeof(name), "%u", i);
        put(name, "");
        use(name);
    }
    watcher_set(&w, conf);
    assert_int_equal(look(2 * MANY / AT_ONCE + 1), 0);
    /* All of them in the time of one look, nearly. */
    assert_in_range(w.tick.at - loop_now(), 0, LOOK_MS * 1000 / (MANY / AT_ONCE));
    put(name, "x");
    assert_int_equal(look(2 * (MANY / AT_ONCE + 1)), 1);
}

/* Whoever is told to reload or to end meanwhile does it, and the look finds that nobody waits. */
static void a_file_system_that_does_not_answer_holds_nobody_up(void **state)
{
    (void)state;
    put("a", "one");
    use("a");
    watcher_set(&w, conf);
    alarm(20);
    for (unsigned i = 0; i < 2; i++) {
        gate_set(true);
        on_tick(&w);
        gate_await();
        for (unsigned j = 0; j < PATIENCE + 1; j++)
            on_tick(&w);
        assert_non_null(w.look);
        if (i == 0)
            watcher_set(&w, conf);
        else
            watcher_close(&w);
        assert_null(w.look);
        gate_set(false);
    }
    alarm(0);
}

/* By the thread and the loop, as it is. */
static void a_change_is_told_by_the_loop(void **state)
{
    (void)state;
    int64_t end = loop_now() + 10000000;
    put("a", "one");
    use("a");
    put("a", "two");
    watcher_set(&w, conf);
    deadline_set(&w.tick, 1);
    while (n_changes == 0 && loop_now() < end)
        loop_turn(&loop, true);
    assert_int_equal(n_changes, 1);
}

/* ---- with the kernel's news, where /tmp has any */

static bool listens(void)
{
    return w.news_fd >= 0;
}

static void skip_without_news(void)
{
    put("a", "one");
    use("a");
    watcher_set(&w, conf);
    look(1);
    if (!listens())
        skip();
}

/* What brings it back may be a mount, of which there is no news. */
static void a_file_that_is_gone_is_looked_for(void **state)
{
    (void)state;
    skip_without_news();
    unlink("a");
    assert_int_equal(look(3), 0);
    assert_false(listens());
    assert_in_range(w.tick.at - loop_now(), 1, LOOK_MS * 1000);
    /* A load that fails for it changes nothing. */
    watcher_tried(&w);
    look(2);
    assert_false(listens());
    put("a", "one");
    assert_int_equal(look(2), 1); /* after that load all is tried again */
    look(1);
    assert_true(listens());
}

static void one_that_never_was_is_waited_for(void **state)
{
    (void)state;
    skip_without_news();
    use("none");
    watcher_set(&w, conf);
    assert_int_equal(look(1), 0);
    assert_true(listens());
    put("none", "x");
    loop_turn(&loop, true);
    assert_false(listens());
    assert_int_equal(look(2), 1);
}

/* A directory that lacks one of the files and gets others all the time. */
static void news_cost_no_more_than_looks_without_any(void **state)
{
    (void)state;
    skip_without_news();
    use("none");
    watcher_set(&w, conf);
    look(1);
    put("other", "");
    loop_turn(&loop, true);
    assert_false(listens());
    assert_in_range(w.tick.at - loop_now(), (LOOK_MS - 500) * 1000, LOOK_MS * 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_file_that_is_written_is_left_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_that_goes_is_used_on, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_missing_is_a_reason_when_it_is_back, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_same_contents_are_no_change, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_read_twice_is_not_taken_for_either, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_directory_is_watched, set_up, tear_down),
        cmocka_unit_test_setup_teardown(thousands_have_their_turns, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_system_that_does_not_answer_holds_nobody_up, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_change_is_told_by_the_loop, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_that_is_gone_is_looked_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_that_never_was_is_waited_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(news_cost_no_more_than_looks_without_any, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
