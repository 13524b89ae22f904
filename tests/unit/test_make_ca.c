/* SPDX-License-Identifier: Apache-2.0 */
/* make_ca.c: two files that load again, and nothing that was there is lost. The program is no
 * library, hence the include. */
#include "../../proxy/make_ca.c"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "net/tls_ca.h"

static char base[32], dir[64], cert[96], key[96];
static int kept_out, kept_err; /* the test's own streams, while it says where the CA is */

static int set_up(void **state)
{
    (void)state;
    snprintf(base, sizeof(base), "/tmp/test_make_ca.XXXXXX");
    assert_non_null(mkdtemp(base));
    snprintf(dir, sizeof(dir), "%s/ca", base);
    snprintf(cert, sizeof(cert), "%s/ca.pem", dir);
    snprintf(key, sizeof(key), "%s/ca.key", dir);
    return 0;
}

static int tear_down(void **state)
{
    char out[64];
    (void)state;
    snprintf(out, sizeof(out), "%s/out", base);
    unlink(out);
    unlink(cert);
    unlink(key);
    rmdir(dir);
    return rmdir(base);
}

/* What is said goes to a file, whose text is SAID; of the last call. */
static char said[8192];

static enum exit_status call(char *const *names)
{
    char out[64];
    size_t n;
    snprintf(out, sizeof(out), "%s/out", base);
    int fd = open(out, O_CREAT | O_TRUNC | O_WRONLY, 0600);
    assert_true(fd >= 0);
    fflush(stdout);
    kept_out = dup(STDOUT_FILENO);
    kept_err = dup(STDERR_FILENO);
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    enum exit_status status = make_ca(dir, names);
    fflush(stdout);
    dup2(kept_out, STDOUT_FILENO);
    dup2(kept_err, STDERR_FILENO);
    close(kept_out);
    close(kept_err);
    close(fd);
    char *text = file_read(out, sizeof(said), &n);
    assert_non_null(text);
    memcpy(said, text, n + 1);
    free(text);
    return status;
}

static char *const none[] = {NULL};

static mode_t mode_of(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 07777;
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void check_file(const char *path, const char *wanted)
{
    size_t n;
    char *text = file_read(path, 4096, &n);
    assert_non_null(text);
    assert_string_equal(text, wanted);
    free(text);
}

static void test_files(void **state)
{
    char *why = NULL;
    bool key_fault;
    (void)state;
    mode_t before = umask(0);
    assert_int_equal(call(none), STATUS_OK);
    umask(before);
    assert_int_equal(mode_of(key), 0600);
    assert_int_equal(mode_of(cert), 0644);
    struct tls_ca *ca = tls_ca_load(cert, key, &why, &key_fault);
    assert_non_null(ca);
    assert_true(tls_ca_not_after(ca) > time(NULL) + 3000LL * 86400);
    tls_ca_unref(ca);
    assert_non_null(strstr(said, cert));
    assert_null(strstr(said, "PRIVATE"));
}

/* Neither of the two, whichever is there. */
static void test_nothing_is_overwritten(void **state)
{
    (void)state;
    assert_int_equal(mkdir(dir, 0755), 0);
    write_file(cert, "mine");
    assert_int_equal(call(none), STATUS_BAD_CONF);
    assert_non_null(strstr(said, "ca.pem: File exists"));
    check_file(cert, "mine");
    assert_int_equal(access(key, F_OK), -1);
    unlink(cert);
    write_file(key, "mine");
    assert_int_equal(call(none), STATUS_BAD_CONF);
    assert_non_null(strstr(said, "ca.key: File exists"));
    check_file(key, "mine");
    assert_int_equal(access(cert, F_OK), -1);
}

/* A link that leads elsewhere is there already. */
static void test_links_are_not_followed(void **state)
{
    char target[64];
    (void)state;
    snprintf(target, sizeof(target), "%s/target", base);
    assert_int_equal(mkdir(dir, 0755), 0);
    assert_int_equal(symlink(target, key), 0);
    assert_int_equal(call(none), STATUS_BAD_CONF);
    assert_int_equal(access(target, F_OK), -1);
    assert_int_equal(access(cert, F_OK), -1);
}

static void test_no_directory(void **state)
{
    (void)state;
    write_file(dir, "a file");
    assert_int_equal(call(none), STATUS_BAD_CONF);
    assert_non_null(strstr(said, "Not a directory"));
    unlink(dir);
}

/* Where a name is none nothing is written at all. */
static void test_names(void **state)
{
    char example[] = "example.com", address[] = "10.0.0.1", wild[] = "*.example.com";
    char *good[] = {example, address, NULL};
    char *bad[] = {example, wild, NULL};
    (void)state;
    assert_int_equal(call(bad), STATUS_USAGE);
    assert_non_null(strstr(said, "*.example.com"));
    assert_int_equal(access(cert, F_OK), -1);
    assert_int_equal(call(good), STATUS_OK);
    assert_int_equal(access(key, F_OK), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_files, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nothing_is_overwritten, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_links_are_not_followed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_directory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_names, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
