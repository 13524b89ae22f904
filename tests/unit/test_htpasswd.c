/* SPDX-License-Identifier: Apache-2.0 */
/* conf/htpasswd.c: the lines of a file, and what is remembered of pairs that were right. */
#include "conf/htpasswd.h"

#include <crypt.h>
#include <errno.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "conf_file_fixture.h"

static struct htpasswd *load(const char *text, size_t len, struct conf_faults *faults)
{
    put_bytes(text, len);
    return htpasswd_load(&files, path, "here", faults);
}

/* NAME's line, for SECRET. */
static char *line_of(const char *name, const char *secret, const char *salt)
{
    struct crypt_data data = {0};
    char *line = xasprintf("%s:%s\n", name, crypt_r(secret, salt, &data));
    return line;
}

static void lines_that_are_not_taken(void **state)
{
    (void)state;
    static const struct {
        const char *text, *reason;
    } cases[] = {
        {"a:$apr1$abc$xxxxxxxxxxxxxxxxxxxxxx\n", ":1: the password of a has a hash that is not "
                                                 "taken: make it with htpasswd -B"},
        {"\na:{SHA}xxx\n", ":2: the password of a has a hash"},
        {"a:plain\n", "htpasswd -B"},
        {"\n\n\"nonsense\n\"\n", ":3: this is not USER:HASH"},
        {":x\n", ":1: this is not USER:HASH"},
        {"# nobody\n", "has no users"},
        {"", "has no users"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct conf_faults faults = {0};
        assert_null(load(cases[i].text, strlen(cases[i].text), &faults));
        if (strstr(faults.text, cases[i].reason) == NULL)
            fail_msg("\"%s\" is not in \"%s\"", cases[i].reason, faults.text);
        free(faults.text);
    }
    char *line = line_of("a", "s", "$5$abc$");
    char *twice = xasprintf("%s%s", line, line);
    struct conf_faults faults = {0};
    assert_null(load(twice, strlen(twice), &faults));
    assert_non_null(strstr(faults.text, ":2: user a is there twice"));
    free(faults.text);
    free(twice);
    free(line);
    char *long_line = xcalloc(1, 5000);
    memset(long_line, 'x', 4999);
    faults = (struct conf_faults){0};
    assert_null(load(long_line, 4999, &faults));
    assert_non_null(strstr(faults.text, ":1: this line is too long"));
    free(faults.text);
    free(long_line);
    htpasswd_free(NULL);
}

/* Over a reload, too; and not of who has another line by then. */
static void a_right_pair_is_remembered_under_its_line(void **state)
{
    (void)state;
    struct conf_faults faults = {0};
    char *lines[2] = {line_of("ann", "secret", "$5$abc$"), line_of("ann", "secret", "$5$def$")};
    struct str pair = STR("ann:secret");
    struct htpasswd *h = load(lines[0], strlen(lines[0]), &faults);
    assert_non_null(h);
    assert_false(htpasswd_knows(h, pair));
    assert_false(htpasswd_check(h, STR("ann:Secret")));
    assert_false(htpasswd_check(h, STR("eve:secret")));
    assert_false(htpasswd_check(h, STR("ann")));
    assert_false(htpasswd_knows(h, pair));
    assert_true(htpasswd_check(h, pair));
    assert_true(htpasswd_knows(h, pair));
    assert_false(htpasswd_knows(h, STR("ann:Secret")));
    struct htpasswd *same = load(lines[0], strlen(lines[0]), &faults);
    htpasswd_free(h);
    assert_true(htpasswd_knows(same, pair));
    struct htpasswd *other = load(lines[1], strlen(lines[1]) - 1, &faults); /* without its end */
    assert_non_null(other);
    assert_false(htpasswd_knows(other, pair));
    assert_true(htpasswd_check(other, pair));
    htpasswd_free(same);
    htpasswd_free(other);
    free(lines[0]);
    free(lines[1]);
}

static void what_is_no_file_is_not_waited_for(void **state)
{
    (void)state;
    struct conf_faults faults = {0};
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    alarm(10);
    assert_null(htpasswd_load(&files, path, "tlsfan.conf:3", &faults));
    alarm(0);
    assert_non_null(strstr(faults.text, "tlsfan.conf:3: client.auth_file: cannot read "));
    assert_non_null(strstr(faults.text, strerror(ENODATA)));
    free(faults.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_that_are_not_taken),
        cmocka_unit_test(a_right_pair_is_remembered_under_its_line),
        cmocka_unit_test(what_is_no_file_is_not_waited_for),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
