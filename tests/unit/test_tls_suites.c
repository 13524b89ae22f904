/* SPDX-License-Identifier: Apache-2.0 */
/* net/tls_suites.c: what comes first, that nothing else changes, and whose order is left alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/tls_suites.h"

enum { SUITES_MAX = 200 };

struct names {
    const char *of[SUITES_MAX];
    int n;
};

static SSL_CTX *make_ctx(void)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    assert_non_null(ctx);
    return ctx;
}

static struct names names_of(const SSL_CTX *ctx)
{
    STACK_OF(SSL_CIPHER) *all = SSL_CTX_get_ciphers(ctx);
    struct names names = {.n = sk_SSL_CIPHER_num(all)};
    assert_in_range(names.n, 1, SUITES_MAX);
    for (int i = 0; i < names.n; i++)
        names.of[i] = SSL_CIPHER_get_name(sk_SSL_CIPHER_value(all, i));
    return names;
}

/* What a client offers before and after both lists are put in order; names are OpenSSL's own. */
static void put_in_order(struct names *before, struct names *after)
{
    SSL_CTX *ctx = make_ctx();
    *before = names_of(ctx);
    tls_suites_order_old(ctx);
    tls_suites_order_new(ctx);
    *after = names_of(ctx);
    SSL_CTX_free(ctx);
}

static int place_of(const struct names *names, const char *name)
{
    for (int i = 0; i < names->n; i++) {
        if (strcmp(names->of[i], name) == 0)
            return i;
    }
    return -1;
}

static bool is_new(const char *name)
{
    return strncmp(name, "TLS_", 4) == 0;
}

static bool is_fast(const char *name)
{
    return strncmp(name, "ECDHE-", 6) == 0 && strstr(name, "-AES128-GCM-") != NULL;
}

static bool are_equal(const struct names *a, const struct names *b)
{
    bool equal = a->n == b->n;
    for (int i = 0; equal && i < a->n; i++)
        equal = strcmp(a->of[i], b->of[i]) == 0;
    return equal;
}

/* Before anything here has made OpenSSL read its configuration: in a process of its own. */
static int try_with_config(const char *path)
{
    setenv("OPENSSL_CONF", path, 1);
    struct names before, after;
    put_in_order(&before, &after);
    bool is_read = strcmp(before.of[0], "TLS_CHACHA20_POLY1305_SHA256") == 0;
    return is_read && are_equal(&before, &after) ? 0 : 1;
}

static void an_order_of_the_system_is_left_alone(void **state)
{
    (void)state;
    static const char text[] = "openssl_conf = all\n[all]\nssl_conf = ssl\n[ssl]\n"
                               "system_default = here\n[here]\n"
                               "Ciphersuites = TLS_CHACHA20_POLY1305_SHA256:"
                               "TLS_AES_128_GCM_SHA256\n";
    char path[] = "/tmp/test_tls_suites.XXXXXX";
    int fd = mkstemp(path);
    int status = -1;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
    close(fd);
    pid_t child = fork();
    if (child == 0)
        _exit(try_with_config(path));
    assert_int_equal(waitpid(child, &status, 0), child);
    unlink(path);
    assert_int_equal(status, 0);
}

static void the_fast_ones_come_first(void **state)
{
    (void)state;
    struct names before, after;
    put_in_order(&before, &after);
    if (tls_suites_aes_is_fast()) {
        assert_string_equal(after.of[0], "TLS_AES_128_GCM_SHA256");
        assert_string_equal(after.of[1], "TLS_AES_256_GCM_SHA384");
        assert_string_equal(after.of[2], "TLS_CHACHA20_POLY1305_SHA256");
        assert_true(is_fast(after.of[3]));
    } else {
        assert_true(are_equal(&before, &after));
    }
}

/* The same ones, and those of before TLS 1.3 that were not moved in their order. */
static void nothing_else_changes(void **state)
{
    (void)state;
    struct names before, after;
    put_in_order(&before, &after);
    int last = -1;
    assert_int_equal(after.n, before.n);
    for (int i = 0; i < before.n; i++) {
        int place = place_of(&after, before.of[i]);
        assert_true(place >= 0);
        if (is_new(before.of[i]) || is_fast(before.of[i]))
            continue;
        assert_true(place > last);
        last = place;
    }
}

static void one_list_leaves_the_other(void **state)
{
    (void)state;
    SSL_CTX *ctx = make_ctx();
    assert_int_equal(SSL_CTX_set_ciphersuites(ctx, "TLS_AES_256_GCM_SHA384"), 1);
    tls_suites_order_old(ctx);
    struct names names = names_of(ctx);
    assert_string_equal(names.of[0], "TLS_AES_256_GCM_SHA384");
    assert_false(is_new(names.of[1]));
    assert_int_equal(SSL_CTX_set_cipher_list(ctx, "ECDHE-RSA-AES256-GCM-SHA384"), 1);
    tls_suites_order_new(ctx);
    names = names_of(ctx);
    assert_string_equal(names.of[names.n - 1], "ECDHE-RSA-AES256-GCM-SHA384");
    assert_true(is_new(names.of[names.n - 2]));
    SSL_CTX_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_order_of_the_system_is_left_alone), /* the first */
        cmocka_unit_test(the_fast_ones_come_first),
        cmocka_unit_test(nothing_else_changes),
        cmocka_unit_test(one_list_leaves_the_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
