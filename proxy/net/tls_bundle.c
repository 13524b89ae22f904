/* SPDX-License-Identifier: Apache-2.0 */
/* JKS, as sun.security.provider.JavaKeyStore reads it: numbers are big-endian, texts have their
 * length in front, and all of it is sealed by SHA-1 over the password, a constant and the bytes. */
#include "net/tls_bundle.h"

#include <event2/buffer.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { JKS_MAGIC = 0xfeedfeed, JKS_VERSION = 2, JKS_TRUSTED = 2 };

const char *tls_bundle_system(void)
{
    static const char *const places[] = {
        "/etc/ssl/certs/ca-certificates.crt",                /* Debian, Arch, Alpine */
        "/etc/pki/tls/certs/ca-bundle.crt",                  /* Fedora, RHEL */
        "/etc/ssl/ca-bundle.pem",                            /* SUSE */
        "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", /* RHEL */
    };
    const char *set = getenv(X509_get_default_cert_file_env());
    if (set != NULL && access(set, R_OK) == 0)
        return set;
    if (access(X509_get_default_cert_file(), R_OK) == 0)
        return X509_get_default_cert_file();
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
        if (access(places[i], R_OK) == 0)
            return places[i];
    return NULL;
}

/* True when BLOCK, what stands behind BEGIN, is a certificate. */
static bool bundle_is_cert(const char *block)
{
    return strcmp(block, PEM_STRING_X509) == 0 || strcmp(block, PEM_STRING_X509_OLD) == 0 ||
           strcmp(block, PEM_STRING_X509_TRUSTED) == 0;
}

/* The next block: CERT is NULL where it is another thing, or broken. False at the end. No password
 * is asked for. */
static bool bundle_next(BIO *bio, X509 **cert)
{
    char *name = NULL, *header = NULL;
    unsigned char *der = NULL;
    long n = 0;
    *cert = NULL;
    ERR_clear_error();
    bool found = PEM_read_bio(bio, &name, &header, &der, &n) == 1;
    bool is_end = !found && ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    const unsigned char *p = der;
    if (found && *header == '\0' && bundle_is_cert(name))
        *cert = d2i_X509(NULL, &p, n);
    OPENSSL_free(name);
    OPENSSL_free(header);
    OPENSSL_clear_free(der, (size_t)n);
    ERR_clear_error();
    return !is_end;
}

static void jks_number(struct evbuffer *b, uint64_t n, unsigned bytes)
{
    uint8_t v[8];
    for (unsigned i = 0; i < bytes; i++)
        v[i] = (uint8_t)(n >> (8 * (bytes - 1 - i)));
    evbuffer_add(b, v, bytes);
}

static void jks_text(struct evbuffer *b, const char *text)
{
    jks_number(b, strlen(text), 2);
    evbuffer_add(b, text, strlen(text));
}

static void jks_cert(struct evbuffer *b, X509 *cert, unsigned number)
{
    unsigned char *der = NULL;
    int n = i2d_X509(cert, &der);
    char alias[32];
    if (n <= 0)
        abort();
    snprintf(alias, sizeof(alias), "ca%u", number);
    jks_number(b, JKS_TRUSTED, 4);
    jks_text(b, alias);
    jks_number(b, (uint64_t)time(NULL) * 1000, 8);
    jks_text(b, "X.509");
    jks_number(b, (uint64_t)n, 4);
    evbuffer_add(b, der, (size_t)n);
    OPENSSL_free(der);
}

/* Appends the seal. */
static void jks_seal(struct evbuffer *b, const char *password)
{
    static const char salt[] = "Mighty Aphrodite";
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sha1(), NULL) == 1;
    for (const char *p = password; *p != '\0' && ok; p++) {
        const char utf16[2] = {0, *p};
        ok = EVP_DigestUpdate(ctx, utf16, 2) == 1;
    }
    ok = ok && EVP_DigestUpdate(ctx, salt, sizeof(salt) - 1) == 1 &&
         EVP_DigestUpdate(ctx, evbuffer_pullup(b, -1), evbuffer_get_length(b)) == 1 &&
         EVP_DigestFinal_ex(ctx, digest, &n) == 1;
    if (!ok)
        abort();
    EVP_MD_CTX_free(ctx);
    evbuffer_add(b, digest, n);
}

char *tls_bundle_jks(const char *pem, size_t len, const char *password, size_t *out_len)
{
    struct evbuffer *certs = evbuffer_new(), *all = evbuffer_new();
    BIO *bio = BIO_new_mem_buf(pem, (int)len);
    unsigned n = 0;
    X509 *cert;
    if (certs == NULL || all == NULL || bio == NULL)
        abort();
    while (bundle_next(bio, &cert))
        if (cert != NULL) {
            jks_cert(certs, cert, ++n);
            X509_free(cert);
        }
    jks_number(all, JKS_MAGIC, 4);
    jks_number(all, JKS_VERSION, 4);
    jks_number(all, n, 4);
    evbuffer_add_buffer(all, certs);
    jks_seal(all, password);
    *out_len = evbuffer_get_length(all);
    char *out = xmalloc(*out_len);
    evbuffer_remove(all, out, *out_len);
    evbuffer_free(all);
    evbuffer_free(certs);
    BIO_free(bio);
    return out;
}

void tls_bundle_copy(FILE *to, const char *pem, size_t len)
{
    BIO *bio = BIO_new_mem_buf(pem, (int)len);
    X509 *cert;
    if (bio == NULL)
        abort();
    while (bundle_next(bio, &cert))
        if (cert != NULL) {
            PEM_write_X509(to, cert);
            X509_free(cert);
        }
    BIO_free(bio);
}
