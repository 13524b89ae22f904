/* SPDX-License-Identifier: Apache-2.0 */
/* OpenSSL knows one level for all of a handshake and for certificates. Its own judgement stays in
 * force, behind ours: that of suites is stricter, that of old versions more lenient. */
#include "net/tls_strength.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { OLD_DH_BITS = 80 }; /* the strength of DH with 1,024 bits: what servers of that time have */

typedef int (*judge_fn)(const SSL *s, const SSL_CTX *ctx, int op, int bits, int nid, void *other,
                        void *arg);

/* OpenSSL's own. */
static judge_fn by_level;
static int usual_level;
static pthread_once_t by_level_once = PTHREAD_ONCE_INIT;

static void find_by_level(void)
{
    SSL_CTX *ssl = SSL_CTX_new(TLS_client_method());
    if (ssl == NULL)
        abort();
    by_level = SSL_CTX_get_security_callback(ssl);
    usual_level = SSL_CTX_get_security_level(ssl);
    SSL_CTX_free(ssl);
}

/* The server proves who it is, and what follows is encrypted. */
static bool is_fit(const SSL_CIPHER *c)
{
    int auth = SSL_CIPHER_get_auth_nid(c);
    return auth != NID_auth_null && auth != NID_auth_psk && auth != NID_auth_srp &&
           SSL_CIPHER_get_cipher_nid(c) != NID_undef;
}

/* In ClientHello the version is still the highest that is offered, so that signatures with SHA-1
 * are not offered to a server that knows TLS 1.2. */
static bool is_for_old(const SSL *s, int op, int bits, int nid)
{
    if (op == SSL_SECOP_VERSION)
        return nid == TLS1_VERSION || nid == TLS1_1_VERSION;
    if (s == NULL || SSL_version(s) >= TLS1_2_VERSION)
        return false;
    switch (op) {
    case SSL_SECOP_SIGALG_SUPPORTED:
    case SSL_SECOP_SIGALG_SHARED:
    case SSL_SECOP_SIGALG_CHECK:
    case SSL_SECOP_SIGALG_MASK:
        return true;
    case SSL_SECOP_TMP_DH:
        return bits >= OLD_DH_BITS;
    default:
        return false;
    }
}

/* OpenSSL's callback. min_version is judged elsewhere. */
static int judge(const SSL *s, const SSL_CTX *ctx, int op, int bits, int nid, void *other,
                 void *arg)
{
    if ((op & SSL_SECOP_OTHER_TYPE) == SSL_SECOP_OTHER_CIPHER && !is_fit(other))
        return 0;
    return is_for_old(s, op, bits, nid) || by_level(s, ctx, op, bits, nid, other, arg);
}

/* Certificates: never lower than what they had. */
static void raise_certs(SSL_CTX *ssl)
{
    X509_VERIFY_PARAM *param = SSL_CTX_get0_param(ssl);
    int level = SSL_CTX_get_security_level(ssl);
    if (level > X509_VERIFY_PARAM_get_auth_level(param))
        X509_VERIFY_PARAM_set_auth_level(param, level);
}

void tls_strength_init(SSL_CTX *ssl, int min_version, int level)
{
    pthread_once(&by_level_once, find_by_level);
    SSL_CTX_set_min_proto_version(ssl, min_version);
    SSL_CTX_set_security_callback(ssl, judge);
    if (level >= 0)
        SSL_CTX_set_security_level(ssl, level);
    /* Of its own, or it would follow that of handshakes. */
    X509_VERIFY_PARAM_set_auth_level(SSL_CTX_get0_param(ssl), SSL_CTX_get_security_level(ssl));
}

bool tls_strength_is_lowered(const struct tls_policy *p)
{
    pthread_once(&by_level_once, find_by_level);
    return p->security_level > 0 && p->security_level - 1 < usual_level;
}

/* ---- lists of suites ---- */

/* TLS 1.3's are in every list. */
static bool holds_unfit_alone(const SSL_CTX *ssl)
{
    STACK_OF(SSL_CIPHER) *all = SSL_CTX_get_ciphers(ssl);
    bool unfit = false;
    for (int i = 0; i < sk_SSL_CIPHER_num(all); i++) {
        const SSL_CIPHER *c = sk_SSL_CIPHER_value(all, i);
        if (SSL_CIPHER_get_auth_nid(c) == NID_auth_any)
            continue;
        if (is_fit(c))
            return false;
        unfit = true;
    }
    return unfit;
}

/* What does not add to the list: "!", "-" and "+" take away or move, "@" is a command. Nor does
 * an empty one, for strchr() finds its end. */
static bool adds(const char *element)
{
    return strchr("!-+@", *element) == NULL;
}

/* True when an element of LIST names nothing but suites that are not fit: somebody wants those. */
static bool asks_for_unfit(const char *list)
{
    static const char separators[] = ":;, ";
    SSL_CTX *ssl = SSL_CTX_new(TLS_client_method());
    char *copy = xstrdup(list);
    char *rest = copy;
    char *element;
    bool found = false;
    if (ssl == NULL)
        abort();
    while (!found && (element = strsep(&rest, separators)) != NULL)
        found =
            adds(element) && SSL_CTX_set_cipher_list(ssl, element) == 1 && holds_unfit_alone(ssl);
    ERR_clear_error();
    free(copy);
    SSL_CTX_free(ssl);
    return found;
}

const char *tls_strength_set_ciphers(SSL_CTX *ssl, const char *list)
{
    if (SSL_CTX_set_cipher_list(ssl, list) != 1) {
        const char *text = ERR_reason_error_string(ERR_peek_last_error());
        return text == NULL ? "unknown reason" : text;
    }
    raise_certs(ssl);
    if (asks_for_unfit(list) || holds_unfit_alone(ssl))
        return "it asks for suites in which the server shows no certificate or nothing is "
               "encrypted; those are never used, take them out of the list";
    return NULL;
}
