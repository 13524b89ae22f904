/* SPDX-License-Identifier: Apache-2.0 */
/* run_env.c: which variables COMMAND gets, and the files that they name. The program is no library,
 * hence the include. */
#include "../../proxy/run_env.c"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"

static char base[32];
static struct tls_ca *ca, *other;

static int set_up(void **state)
{
    char *why = NULL;
    (void)state;
    snprintf(base, sizeof(base), "/tmp/test_run_env.XXXXXX");
    assert_non_null(mkdtemp(base));
    clearenv();
    setenv("TMPDIR", base, 1);
    setenv("HOME", base, 1);
    setenv("SSL_CERT_FILE", "/dev/null", 1); /* as short a system's store as can be */
    setenv("KEPT", "as it was", 1);
    ca = tls_ca_make(NULL, 0, 10, &why);
    other = tls_ca_make(NULL, 0, 10, &why);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tls_ca_unref(ca);
    tls_ca_unref(other);
    return rmdir(base);
}

/* The value of NAME; NULL where it is not there. It must not be there twice. */
static const char *value_of(const struct run_env *e, const char *name)
{
    const char *found = NULL;
    size_t n = strlen(name);
    for (char **p = run_env_list(e); *p != NULL; p++)
        if (strncmp(*p, name, n) == 0 && (*p)[n] == '=') {
            assert_null(found);
            found = *p + n + 1;
        }
    return found;
}

static char *text_of(const char *path)
{
    size_t n;
    char *text = file_read(path, 1 << 20, &n);
    assert_non_null(text);
    return text;
}

static mode_t mode_of(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 07777;
}

/* A file in BASE; its path is good until the next call. */
static const char *write_file(const char *name, const char *text, mode_t mode)
{
    static char path[64];
    snprintf(path, sizeof(path), "%s/%s", base, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fchmod(fileno(f), mode), 0);
    fclose(f);
    return path;
}

static void check_bundle(const struct run_env *e, bool has_other)
{
    char *text = text_of(value_of(e, "SSL_CERT_FILE"));
    char *own = tls_ca_cert_pem(ca), *theirs = tls_ca_cert_pem(other);
    assert_non_null(strstr(text, own));
    assert_int_equal(strstr(text, theirs) != NULL, has_other);
    assert_null(strstr(text, "PRIVATE"));
    free(text);
    free(own);
    free(theirs);
}

static unsigned left_in_base(void)
{
    unsigned n = 0;
    DIR *d = opendir(base);
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d))
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static void test_proxy_alone(void **state)
{
    (void)state;
    setenv("http_proxy", "http://old/", 1);
    setenv("https_proxy", "http://old/", 1);
    struct run_env *e = run_env_new(1234, false, NULL, NULL);
    assert_string_equal(value_of(e, "http_proxy"), "http://127.0.0.1:1234");
    assert_string_equal(value_of(e, "HTTP_PROXY"), "http://127.0.0.1:1234");
    assert_string_equal(value_of(e, "https_proxy"), "http://old/");
    assert_string_equal(value_of(e, "KEPT"), "as it was");
    assert_string_equal(value_of(e, "SSL_CERT_FILE"), "/dev/null");
    assert_null(value_of(e, "CURL_CA_BUNDLE"));
    assert_null(value_of(e, "NODE_USE_ENV_PROXY"));
    assert_null(value_of(e, "JAVA_TOOL_OPTIONS"));
    assert_int_equal(left_in_base(), 0);
    run_env_free(e);
}

/* A rule intercepts with a CA that the user has seen to. */
static void test_https_without_a_ca(void **state)
{
    (void)state;
    struct run_env *e = run_env_new(1, true, NULL, NULL);
    assert_string_equal(value_of(e, "https_proxy"), "http://127.0.0.1:1");
    assert_string_equal(value_of(e, "HTTPS_PROXY"), "http://127.0.0.1:1");
    assert_null(value_of(e, "REQUESTS_CA_BUNDLE"));
    run_env_free(e);
}

static void test_with_a_ca(void **state)
{
    static const char *const same[] = {"CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE",
                                       "GIT_SSL_CAINFO", "NODE_EXTRA_CA_CERTS",
                                       "PIP_CERT",       "AWS_CA_BUNDLE"};
    (void)state;
    setenv("JAVA_TOOL_OPTIONS", "-Da=b", 1);
    mode_t before = umask(0777);
    struct run_env *e = run_env_new(1, true, ca, NULL);
    umask(before);
    const char *bundle = value_of(e, "SSL_CERT_FILE");
    for (unsigned i = 0; i < sizeof(same) / sizeof(same[0]); i++)
        assert_string_equal(value_of(e, same[i]), bundle);
    assert_int_equal(strncmp(bundle, base, strlen(base)), 0);
    assert_int_equal(mode_of(bundle), 0644);
    assert_int_equal(mode_of(value_of(e, "WGETRC")), 0644);
    assert_string_equal(value_of(e, "NODE_USE_ENV_PROXY"), "1");
    assert_int_equal(strncmp(value_of(e, "JAVA_TOOL_OPTIONS"), "-Da=b -D", 8), 0);
    check_bundle(e, false);
    assert_int_equal(left_in_base(), 1);
    run_env_free(e);
    assert_int_equal(left_in_base(), 0);
}

/* Hosts that are not intercepted are verified by COMMAND itself. What else stands in such a file,
 * a key, is not for others. */
static void test_what_was_trusted_still_is(void **state)
{
    (void)state;
    char *cert = tls_ca_cert_pem(other), *key = tls_ca_key_pem(other);
    char *both = xasprintf("%s%s", key, cert);
    setenv("REQUESTS_CA_BUNDLE", write_file("theirs.pem", both, 0600), 1);
    setenv("CURL_CA_BUNDLE", "/nonexistent", 1);
    struct run_env *e = run_env_new(1, true, ca, NULL);
    check_bundle(e, true);
    run_env_free(e);
    unlink(getenv("REQUESTS_CA_BUNDLE"));
    free(both);
    free(cert);
    free(key);
}

/* For requests and OpenSSL a directory is as good as a file. */
static void test_directory_of_certificates(void **state)
{
    char path[64];
    (void)state;
    char *cert = tls_ca_cert_pem(other);
    snprintf(path, sizeof(path), "%s/certs", base);
    assert_int_equal(mkdir(path, 0700), 0);
    setenv("REQUESTS_CA_BUNDLE", path, 1);
    const char *file = write_file("certs/notes.pem", cert, 0600);
    struct run_env *e = run_env_new(1, true, ca, NULL);
    check_bundle(e, false);
    run_env_free(e);
    unlink(file);
    file = write_file("certs/0123abcd.0", cert, 0600);
    e = run_env_new(1, true, ca, NULL);
    check_bundle(e, true);
    run_env_free(e);
    unlink(file);
    rmdir(path);
    free(cert);
}

/* COMMAND's network leads to us by itself; a proxy, whoever named it, could not be reached. */
static void test_captured(void **state)
{
    static const char *const gone[] = {
        "http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "ftp_proxy", "FTP_PROXY",
        "all_proxy",  "ALL_PROXY",  "no_proxy",    "NO_PROXY",    "PIP_PROXY", "npm_config_proxy"};
    (void)state;
    for (unsigned i = 0; i < sizeof(gone) / sizeof(gone[0]); i++)
        setenv(gone[i], "http://old/", 1);
    setenv("TRUST_PROXY", "1", 1);
    for (unsigned with_ca = 0; with_ca < 2; with_ca++) {
        struct run_env *e = run_env_new(0, true, with_ca ? ca : NULL, NULL);
        for (unsigned i = 0; i < sizeof(gone) / sizeof(gone[0]); i++)
            assert_null(value_of(e, gone[i]));
        assert_string_equal(value_of(e, "KEPT"), "as it was");
        assert_string_equal(value_of(e, "TRUST_PROXY"), "1"); /* of a server: names none */
        assert_null(value_of(e, "NODE_USE_ENV_PROXY"));
        assert_null(value_of(e, "PERL_LWP_ENV_PROXY"));
        assert_int_equal(value_of(e, "JAVA_TOOL_OPTIONS") != NULL, with_ca);
        assert_int_equal(value_of(e, "UV_NATIVE_TLS") != NULL, with_ca);
        if (with_ca) {
            char *text = text_of(value_of(e, "WGETRC"));
            assert_non_null(strstr(text, "\nuse_proxy = off\n"));
            assert_null(strstr(value_of(e, "JAVA_TOOL_OPTIONS"), "proxy"));
            assert_non_null(strstr(value_of(e, "JAVA_TOOL_OPTIONS"), "trustStore="));
            check_bundle(e, false);
            free(text);
        }
        run_env_free(e);
    }
}

/* There may be passwords in it. */
static void test_wgetrc(void **state)
{
    (void)state;
    const char *own = write_file(".wgetrc", "http_password = secret", 0600);
    struct run_env *e = run_env_new(1, true, ca, NULL);
    const char *made = value_of(e, "WGETRC");
    char *text = text_of(made);
    char *wanted =
        xasprintf("http_password = secret\nca_certificate = %s\n", value_of(e, "SSL_CERT_FILE"));
    assert_string_equal(text, wanted);
    assert_int_equal(mode_of(made), 0600);
    run_env_free(e);
    unlink(own);
    free(text);
    free(wanted);
}

static void test_no_directory(void **state)
{
    (void)state;
    setenv("TMPDIR", "/nonexistent", 1);
    int err = dup(STDERR_FILENO);
    assert_non_null(freopen("/dev/null", "w", stderr));
    assert_null(run_env_new(1, true, ca, NULL));
    fflush(stderr);
    dup2(err, STDERR_FILENO);
    close(err);
    /* A relative one would be another for a COMMAND that changes its directory. */
    setenv("TMPDIR", "x", 1);
    struct run_env *e = run_env_new(1, true, ca, NULL);
    assert_int_equal(strncmp(value_of(e, "SSL_CERT_FILE"), "/tmp/", 5), 0);
    run_env_free(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_proxy_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_https_without_a_ca, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_with_a_ca, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_was_trusted_still_is, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_directory_of_certificates, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_captured, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_wgetrc, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_directory, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
