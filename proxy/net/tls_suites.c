/* SPDX-License-Identifier: Apache-2.0 */
/* The order of suites: see tls_suites.h. It is the same for all contexts, and found once. */
#include "net/tls_suites.h"

#include <openssl/ssl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

enum { LIST_MAX = 8192 }; /* bytes of the names of all suites, of which OpenSSL has some hundred */

static const char new_suites[] =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";

static pthread_once_t find_once = PTHREAD_ONCE_INIT;
static bool suites_are_moved;
static char old_suites[LIST_MAX];

#if defined(__x86_64__) || defined(__i386__)
bool tls_suites_aes_is_fast(void)
{
    return __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul");
}
#elif defined(__aarch64__)
bool tls_suites_aes_is_fast(void)
{
    unsigned long both = HWCAP_AES | HWCAP_PMULL;
    return (getauxval(AT_HWCAP) & both) == both;
}
#else
bool tls_suites_aes_is_fast(void)
{
    return false;
}
#endif

static SSL_CTX *suites_ctx(void)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    if (ctx == NULL)
        abort();
    return ctx;
}

/* True when what CTX offers, and its order, is OpenSSL's own and not the system's. */
static bool suites_are_usual(const SSL_CTX *ctx)
{
    SSL_CTX *usual = suites_ctx();
    bool is_usual = SSL_CTX_set_cipher_list(usual, OSSL_default_cipher_list()) == 1 &&
                    SSL_CTX_set_ciphersuites(usual, OSSL_default_ciphersuites()) == 1;
    STACK_OF(SSL_CIPHER) *a = SSL_CTX_get_ciphers(ctx);
    STACK_OF(SSL_CIPHER) *b = SSL_CTX_get_ciphers(usual);
    is_usual = is_usual && sk_SSL_CIPHER_num(a) == sk_SSL_CIPHER_num(b);
    for (int i = 0; is_usual && i < sk_SSL_CIPHER_num(a); i++)
        is_usual = sk_SSL_CIPHER_value(a, i) == sk_SSL_CIPHER_value(b, i);
    SSL_CTX_free(usual);
    return is_usual;
}

static bool suite_is_old(const SSL_CIPHER *c)
{
    return SSL_CIPHER_get_kx_nid(c) != NID_kx_any;
}

static bool suite_is_first(const SSL_CIPHER *c)
{
    return SSL_CIPHER_get_kx_nid(c) == NID_kx_ecdhe &&
           SSL_CIPHER_get_cipher_nid(c) == NID_aes_128_gcm;
}

/* Appends those of before TLS 1.3 that are first, or those that are not. */
static void add_old(const SSL_CTX *ctx, bool first)
{
    STACK_OF(SSL_CIPHER) *all = SSL_CTX_get_ciphers(ctx);
    for (int i = 0; i < sk_SSL_CIPHER_num(all); i++) {
        const SSL_CIPHER *c = sk_SSL_CIPHER_value(all, i);
        if (!suite_is_old(c) || suite_is_first(c) != first)
            continue;
        const char *name = SSL_CIPHER_get_name(c);
        size_t len = strlen(old_suites);
        if (len + strlen(name) + 2 > sizeof(old_suites))
            abort();
        snprintf(old_suites + len, sizeof(old_suites) - len, "%s%s", len > 0 ? ":" : "", name);
    }
}

static void find_suites(void)
{
    SSL_CTX *ctx = suites_ctx();
    suites_are_moved = tls_suites_aes_is_fast() && suites_are_usual(ctx);
    add_old(ctx, true);
    add_old(ctx, false);
    SSL_CTX_free(ctx);
}

void tls_suites_order_old(SSL_CTX *ctx)
{
    pthread_once(&find_once, find_suites);
    if (suites_are_moved && SSL_CTX_set_cipher_list(ctx, old_suites) != 1)
        abort();
}

void tls_suites_order_new(SSL_CTX *ctx)
{
    pthread_once(&find_once, find_suites);
    if (suites_are_moved && SSL_CTX_set_ciphersuites(ctx, new_suites) != 1)
        abort();
}
