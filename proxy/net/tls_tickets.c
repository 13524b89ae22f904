/* SPDX-License-Identifier: Apache-2.0 */
/* A key that has had its time is replaced by the next handshake that looks for one. */
#include "net/tls_tickets.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/loop.h"
#include "base/mem.h"

enum { NAME = 16, IV = 16, SECRET = 32 };

struct ticket_key {
    unsigned char name[NAME], aes[SECRET], mac[SECRET];
    int64_t made; /* µs; 0: there is none */
};

/* Owner: its SSL_CTX. */
struct tickets {
    pthread_mutex_t lock; /* guards the rest */
    struct ticket_key now, before;
};

static pthread_once_t tickets_once = PTHREAD_ONCE_INIT;
static int tickets_index;

static void tickets_free(void *parent, void *p, CRYPTO_EX_DATA *ad, int index, long n, void *arg)
{
    struct tickets *t = p;
    (void)parent;
    (void)ad;
    (void)index;
    (void)n;
    (void)arg;
    if (t == NULL)
        return;
    pthread_mutex_destroy(&t->lock);
    explicit_bzero(t, sizeof(*t));
    free(t);
}

static void tickets_make_index(void)
{
    tickets_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, tickets_free);
    if (tickets_index < 0)
        abort();
}

static bool ticket_key_is_over(const struct ticket_key *k, int64_t times)
{
    return k->made == 0 || loop_now() - k->made >= times * TLS_TICKETS_S * 1000000;
}

static bool ticket_key_make(struct ticket_key *k)
{
    k->made = loop_now();
    return RAND_bytes(k->name, NAME) == 1 && RAND_priv_bytes(k->aes, SECRET) == 1 &&
           RAND_priv_bytes(k->mac, SECRET) == 1;
}

/* Under its lock. False: there is no key. */
static bool tickets_renew(struct tickets *t)
{
    if (ticket_key_is_over(&t->before, 2))
        explicit_bzero(&t->before, sizeof(t->before));
    if (!ticket_key_is_over(&t->now, 1))
        return true;
    t->before = t->now;
    if (ticket_key_is_over(&t->before, 2))
        explicit_bzero(&t->before, sizeof(t->before));
    if (ticket_key_make(&t->now))
        return true;
    explicit_bzero(&t->now, sizeof(t->now));
    return false;
}

/* KEY becomes the one that seals, or (NAME_OR_NULL) the one of that name. What OpenSSL's callback
 * gives: 0: there is none, 2: it is the older one, and the ticket wants to be replaced. */
static int tickets_find(struct tickets *t, const unsigned char *name_or_null,
                        struct ticket_key *key)
{
    int found = -1;
    pthread_mutex_lock(&t->lock);
    if (tickets_renew(t)) {
        bool is_now = name_or_null == NULL || memcmp(name_or_null, t->now.name, NAME) == 0;
        bool is_before =
            !is_now && t->before.made != 0 && memcmp(name_or_null, t->before.name, NAME) == 0;
        *key = is_now ? t->now : t->before;
        found = is_now ? 1 : is_before ? 2 : 0;
    }
    pthread_mutex_unlock(&t->lock);
    return found;
}

static bool ticket_key_use(const struct ticket_key *k, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                           EVP_MAC_CTX *mac, bool seals)
{
    char digest[] = "sha256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)k->mac, SECRET),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end()};
    return (!seals || RAND_bytes(iv, IV) == 1) && EVP_MAC_CTX_set_params(mac, params) == 1 &&
           EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, k->aes, iv, seals) == 1;
}

static int tickets_on_key(SSL *s, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                          EVP_MAC_CTX *mac, int seals)
{
    struct ticket_key key;
    struct tickets *t = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(s), tickets_index);
    int found = tickets_find(t, seals ? NULL : name, &key);
    if (found > 0 && !ticket_key_use(&key, iv, cipher, mac, seals != 0))
        found = -1;
    if (found > 0 && seals)
        memcpy(name, key.name, NAME);
    explicit_bzero(&key, sizeof(key));
    return found;
}

void tls_tickets_init_ctx(struct ssl_ctx_st *ctx)
{
    struct tickets *t = xcalloc(1, sizeof(*t));
    pthread_once(&tickets_once, tickets_make_index);
    pthread_mutex_init(&t->lock, NULL);
    if (SSL_CTX_set_ex_data(ctx, tickets_index, t) != 1)
        abort();
    SSL_CTX_set_timeout(ctx, TLS_TICKETS_S);
    SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, tickets_on_key);
}

void tls_tickets_age(struct ssl_ctx_st *ctx, int64_t seconds)
{
    struct tickets *t = SSL_CTX_get_ex_data(ctx, tickets_index);
    pthread_mutex_lock(&t->lock);
    t->now.made -= seconds * 1000000;
    t->before.made -= t->before.made == 0 ? 0 : seconds * 1000000;
    pthread_mutex_unlock(&t->lock);
}
