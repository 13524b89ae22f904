/* SPDX-License-Identifier: Apache-2.0 */
/* conf/password.c: where a secret is, and what is none. */
#include "conf/password.h"

#include <sys/stat.h>

#include "conf_file_fixture.h"

static char err[PASSWORD_ERR];

static void test_parse(void **state)
{
    (void)state;
    struct arena arena;
    struct password_ref ref;
    arena_init(&arena, NULL, 0);
    assert_true(password_parse(&arena, STR("{file:/a b@c:d}"), &ref));
    assert_string_equal(ref.file, "/a b@c:d");
    assert_null(ref.env);
    assert_true(password_parse(&arena, STR("{env:NAME}"), &ref));
    assert_string_equal(ref.env, "NAME");
    static const char *const none[] = {
        "",       "{file:}", "{env:}",     "{file:/a",    "file:/a}",
        "{envX}", "{file}",  "{file:/a}x", "x{env:NAME}", "{env:A}}"};
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
        assert_false(password_parse(&arena, str_from(none[i]), &ref));
    arena_clear(&arena);
}

static void expect(const char *text, size_t len, const char *secret, const char *reason)
{
    struct password_ref ref = {.file = path};
    put_bytes(text, len);
    err[0] = '\0';
    char *found = password_read(&ref, &files, err);
    if (secret != NULL) {
        assert_non_null(found);
        assert_string_equal(found, secret);
    } else {
        assert_null(found);
        assert_non_null(strstr(err, reason));
        assert_non_null(strstr(err, path));
        assert_null(strstr(err, "s3cret"));
    }
    password_free(found);
}

static void test_file(void **state)
{
    (void)state;
    static char longest[PASSWORD_MAX + 2];
    memset(longest, 'x', sizeof(longest) - 1);
    expect("s3cret", 6, "s3cret", NULL);
    expect("s3cret\n", 7, "s3cret", NULL);
    expect("s3cret\r\n", 8, "s3cret", NULL);
    expect(" s3cret \n", 9, " s3cret ", NULL);
    expect("s3cret\r", 7, NULL, "control byte");
    expect("s3cret\n\n", 8, NULL, "control byte");
    expect("s3cret\nmore", 11, NULL, "control byte");
    expect("s3cret\0more", 11, NULL, "control byte");
    expect("s3cret\x7f", 7, NULL, "control byte");
    expect("s3cret\xc3\xa9", 8, "s3cret\xc3\xa9", NULL);
    expect("", 0, NULL, "is empty");
    expect("\n", 1, NULL, "is empty");
    expect(longest, PASSWORD_MAX + 1, NULL, "too long");
    /* It is a file of the configuration from now on. */
    assert_non_null(files);
    assert_string_equal(files->path, path);
    struct password_ref gone = {.file = "/no/such/file"};
    assert_null(password_read(&gone, &files, err));
    assert_non_null(strstr(err, "cannot read /no/such/file: No such file"));
}

static void test_variable(void **state)
{
    (void)state;
    struct password_ref ref = {.env = "TEST_SECRET"};
    setenv("TEST_SECRET", "s3cret", 1);
    char *found = password_read(&ref, &files, err);
    assert_string_equal(found, "s3cret");
    password_free(found);
    setenv("TEST_SECRET", "", 1);
    assert_null(password_read(&ref, &files, err));
    assert_string_equal(err, "TEST_SECRET is empty");
    unsetenv("TEST_SECRET");
    assert_null(password_read(&ref, &files, err));
    assert_string_equal(err, "the variable TEST_SECRET is not set");
    password_free(NULL);
}

static void test_who_may_read_it(void **state)
{
    (void)state;
    put("x");
    assert_int_equal(chmod(path, 0640), 0);
    assert_false(password_is_open(path));
    assert_int_equal(chmod(path, 0644), 0);
    assert_true(password_is_open(path));
    assert_false(password_is_open("/no/such/file"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_file),
        cmocka_unit_test(test_variable),
        cmocka_unit_test(test_who_may_read_it),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
