/* SPDX-License-Identifier: Apache-2.0 */
/* See tls_pem.h. */
#include "net/tls_pem.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>

#include "base/log.h"

const char *tls_pem_reason(void)
{
    const char *text = ERR_reason_error_string(ERR_peek_last_error());
    return text == NULL ? "unknown reason" : text;
}

int tls_pem_no_password(char *buf, int size, int rwflag, void *arg)
{
    (void)buf;
    (void)size;
    (void)rwflag;
    (void)arg;
    return -1;
}

/* ---- files */

bool tls_pem_open(struct tls_pem *pem, struct conf_file **files, const char *path)
{
    *pem = (struct tls_pem){0};
    pem->text = conf_files_read(files, path, &pem->len);
    if (pem->text == NULL)
        return false;
    pem->bio = BIO_new_mem_buf(pem->text, (int)pem->len);
    if (pem->bio == NULL)
        abort();
    ERR_clear_error();
    return true;
}

void tls_pem_close(struct tls_pem *pem)
{
    BIO_free(pem->bio);
    if (pem->text != NULL)
        explicit_bzero(pem->text, pem->len);
    free(pem->text);
    *pem = (struct tls_pem){0};
}

bool tls_pem_at_end(void)
{
    unsigned long err = ERR_peek_last_error();
    bool end = ERR_GET_LIB(err) == ERR_LIB_PEM && ERR_GET_REASON(err) == PEM_R_NO_START_LINE;
    if (end)
        ERR_clear_error();
    return end;
}

/* ---- a certificate and its key */

bool tls_pem_use_chain(SSL_CTX *ctx, const struct tls_pem *pem)
{
    X509 *cert = PEM_read_bio_X509_AUX(pem->bio, NULL, tls_pem_no_password, NULL);
    bool ok = cert != NULL && SSL_CTX_use_certificate(ctx, cert) == 1;
    X509_free(cert);
    while (ok && (cert = PEM_read_bio_X509(pem->bio, NULL, tls_pem_no_password, NULL)) != NULL) {
        ok = SSL_CTX_add0_chain_cert(ctx, cert) == 1;
        if (!ok)
            X509_free(cert);
    }
    return ok && tls_pem_at_end();
}

bool tls_pem_use_key(SSL_CTX *ctx, const struct tls_pem *pem)
{
    EVP_PKEY *key = PEM_read_bio_PrivateKey(pem->bio, NULL, tls_pem_no_password, NULL);
    bool ok = key != NULL && SSL_CTX_use_PrivateKey(ctx, key) == 1;
    EVP_PKEY_free(key);
    return ok;
}

bool tls_pem_is_other_key(void)
{
    unsigned long err = ERR_peek_last_error();
    int reason = ERR_GET_REASON(err);
    return ERR_GET_LIB(err) == ERR_LIB_X509 &&
           (reason == X509_R_KEY_VALUES_MISMATCH || reason == X509_R_KEY_TYPE_MISMATCH);
}

const char *tls_pem_key_reason(void)
{
    int reason = ERR_GET_REASON(ERR_peek_last_error());
    if (reason == PEM_R_BAD_PASSWORD_READ || reason == PEM_R_PROBLEMS_GETTING_PASSWORD)
        return "it is encrypted: openssl pkey -in FILE writes it without a password";
    return "no private key in it";
}

void tls_pem_warn_expired(const X509 *cert, const char *path)
{
    char subject[256];
    char text[256];
    if (X509_cmp_current_time(X509_get0_notAfter(cert)) >= 0)
        return;
    X509_NAME_oneline(X509_get_subject_name(cert), subject, sizeof(subject));
    log_warning("%s: a certificate has expired: %s", path,
                str_escape(text, sizeof(text), str_from(subject)));
}

void tls_pem_warn_old_list(const X509_CRL *crl, const char *path)
{
    char issuer[256];
    char text[256];
    /* Not demanded of a list; one without it never expires. */
    const ASN1_TIME *next = X509_CRL_get0_nextUpdate(crl);
    if (next == NULL || X509_cmp_current_time(next) >= 0)
        return;
    X509_NAME_oneline(X509_CRL_get_issuer(crl), issuer, sizeof(issuer));
    log_warning("%s: a revocation list has expired: without a newer one, certificates of its "
                "issuer are refused: %s",
                path, str_escape(text, sizeof(text), str_from(issuer)));
}
