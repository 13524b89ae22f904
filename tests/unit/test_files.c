/* SPDX-License-Identifier: Apache-2.0 */
/* conf/files.c: what a snapshot knows of the files it was made from. */
#include "conf/files.h"

#include <errno.h>

#include "base/mem.h"
#include "conf_file_fixture.h"

static int clear(void **state)
{
    (void)state;
    conf_files_clear(&files);
    conf_files_clear(&files);
    return 0;
}

static void the_first_look_counts(void **state)
{
    (void)state;
    put("one");
    struct file_id id = file_identify(path);
    conf_files_note(&files, path);
    put("other");
    conf_files_note(&files, path);
    conf_files_note(&files, "/nonexistent");
    assert_true(file_is_same(&files->id, &id));
    assert_int_equal(HASH_COUNT(files), 2);
    const struct conf_file *second = files->hh.next; /* in the order of reading */
    assert_string_equal(second->path, "/nonexistent");
    assert_false(second->id.exists);
}

static void contents_are_known_again(void **state)
{
    (void)state;
    size_t len;
    put("one");
    char *text = conf_files_read(&files, path, &len);
    assert_string_equal(text, "one");
    assert_int_equal(len, 3);
    free(text);
    assert_true(conf_files_is_same(files));
    put("two");
    assert_false(conf_files_is_same(files));
    put("one");
    assert_true(conf_files_is_same(files));
    put("two");
    free(conf_files_read(&files, path, &len));
    assert_false(conf_files_is_same(files)); /* it was read as "one", too */
    put("one");
    free(conf_files_read(&files, path, &len));
    assert_false(conf_files_is_same(files));
    assert_null(conf_files_read(&files, "/nonexistent", &len));
    assert_int_equal(errno, ENOENT);
    assert_false(conf_files_is_same(files->hh.next));
}

/* While somebody edits the configuration, its running text is what another snapshot is made of. */
static void texts_of_another_snapshot_are_kept(void **state)
{
    (void)state;
    struct conf_file *next = NULL;
    size_t len;
    put("one");
    free(conf_files_text(&files, path, &len));
    conf_files_note(&files, "/named");
    put("longer");
    conf_files_keep(&next, files);
    assert_int_equal(HASH_COUNT(next), 1);
    clear(NULL);
    char *text = conf_files_text(&next, path, &len);
    assert_string_equal(text, "one");
    assert_int_equal(len, 3);
    free(text);
    conf_files_clear(&next);
    assert_null(conf_files_text(&files, "/nonexistent", &len));
    assert_int_equal(errno, ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(the_first_look_counts, clear),
        cmocka_unit_test_teardown(contents_are_known_again, clear),
        cmocka_unit_test_teardown(texts_of_another_snapshot_are_kept, clear),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
