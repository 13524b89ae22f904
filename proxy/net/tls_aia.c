/* SPDX-License-Identifier: Apache-2.0 */
/* Text that a certificate holds is not terminated and may hold anything: it is a slice until it has
 * been looked at byte by byte. */
#include "net/tls_aia.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs7.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

#include "http/uri.h"
#include "net/tls_names.h"
#include "net/tls_pem.h"

/* ---- URLs ---- */

/* What needs no quotes in a log line, and leaves nothing to ask for: a query could be a message to
 * somebody else's program. */
static bool is_plain_url(struct str url)
{
    for (size_t i = 0; i < url.len; i++)
        if (url.p[i] <= ' ' || url.p[i] > '~' || strchr("?#@\"\\<>^`{|}", url.p[i]) != NULL)
            return false;
    return url.len > 0 && url.len <= TLS_AIA_TEXT;
}

/* False when nobody is to be asked there. */
static bool take_url(struct tls_aia_url *to, struct str url)
{
    struct uri_ref ref;
    struct arena arena = {0};
    bool ok = is_plain_url(url) && str_istarts(url, STR("http://")) &&
              uri_parse_ref(&ref, &arena, url) && (ref.host.port == 0 || ref.host.port == 80) &&
              (ref.rest.len == 0 || ref.rest.p[0] == '/') && ref.host.name.len < TLS_AIA_TEXT / 2;
    if (ok) {
        struct str path = ref.rest.len == 0 ? STR("/") : ref.rest;
        bool is_ip6 = ref.host.is_ip6;
        to->is_ip = ref.host.is_ip;
        snprintf(to->host, sizeof(to->host), "%.*s", STR_ARG(ref.host.name));
        snprintf(to->path, sizeof(to->path), "%.*s", STR_ARG(path));
        int n = snprintf(to->text, sizeof(to->text), "http://%s%s%s%s", is_ip6 ? "[" : "", to->host,
                         is_ip6 ? "]" : "", to->path);
        ok = n > 0 && (size_t)n < sizeof(to->text);
    }
    arena_clear(&arena);
    return ok;
}

unsigned tls_aia_urls(X509 *cert, struct tls_aia_url urls[TLS_AIA_URLS])
{
    AUTHORITY_INFO_ACCESS *all = X509_get_ext_d2i(cert, NID_info_access, NULL, NULL);
    unsigned n = 0;
    for (int i = 0; n < TLS_AIA_URLS && i < sk_ACCESS_DESCRIPTION_num(all); i++) {
        const ACCESS_DESCRIPTION *it = sk_ACCESS_DESCRIPTION_value(all, i);
        if (OBJ_obj2nid(it->method) != NID_ad_ca_issuers || it->location->type != GEN_URI)
            continue;
        const ASN1_STRING *text = it->location->d.uniformResourceIdentifier;
        const char *p = (const char *)ASN1_STRING_get0_data(text);
        if (take_url(&urls[n], str_make(p, (size_t)ASN1_STRING_length(text))))
            n++;
    }
    AUTHORITY_INFO_ACCESS_free(all);
    ERR_clear_error();
    return n;
}

/* ---- bodies ---- */

/* Takes CERT, which may be NULL, as long as there is room. */
static void keep_cert(STACK_OF(X509) * to, X509 *cert)
{
    if (cert != NULL && (sk_X509_num(to) >= TLS_AIA_CERTS || sk_X509_push(to, cert) == 0))
        X509_free(cert);
}

static void keep_bundle(STACK_OF(X509) * to, PKCS7 *p7)
{
    bool is_signed = p7 != NULL && PKCS7_type_is_signed(p7) && p7->d.sign != NULL;
    STACK_OF(X509) *certs = is_signed ? p7->d.sign->cert : NULL;
    for (int i = 0; i < sk_X509_num(certs) && i < TLS_AIA_CERTS; i++) {
        X509 *cert = sk_X509_value(certs, i);
        X509_up_ref(cert);
        keep_cert(to, cert);
    }
    PKCS7_free(p7);
}

static void read_pem(STACK_OF(X509) * to, struct str body)
{
    char *name = NULL, *header = NULL;
    unsigned char *data = NULL;
    long n = 0;
    BIO *bio = BIO_new_mem_buf(body.p, (int)body.len);
    while (bio != NULL && sk_X509_num(to) < TLS_AIA_CERTS &&
           PEM_read_bio(bio, &name, &header, &data, &n) == 1) {
        const unsigned char *p = data;
        if (strcmp(name, PEM_STRING_X509) == 0 || strcmp(name, PEM_STRING_X509_OLD) == 0)
            keep_cert(to, d2i_X509(NULL, &p, n));
        else if (strcmp(name, PEM_STRING_PKCS7) == 0)
            keep_bundle(to, d2i_PKCS7(NULL, &p, n));
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_free(data);
    }
    BIO_free(bio);
}

static void read_der(STACK_OF(X509) * to, struct str body)
{
    const unsigned char *p = (const unsigned char *)body.p;
    X509 *cert = d2i_X509(NULL, &p, (long)body.len);
    if (cert != NULL) {
        keep_cert(to, cert);
        return;
    }
    p = (const unsigned char *)body.p;
    keep_bundle(to, d2i_PKCS7(NULL, &p, (long)body.len));
}

STACK_OF(X509) * tls_aia_read(struct str body)
{
    if (body.len > TLS_AIA_BODY)
        return NULL;
    STACK_OF(X509) *certs = sk_X509_new_null();
    if (certs == NULL)
        abort();
    read_der(certs, body);
    if (sk_X509_num(certs) == 0)
        read_pem(certs, body);
    bool is_good = sk_X509_num(certs) > 0 && tls_names_costly(certs) < 0;
    /* Once here, or each handshake of each thread would work it out. */
    for (int i = 0; is_good && i < sk_X509_num(certs); i++)
        (void)X509_check_purpose(sk_X509_value(certs, i), -1, 0);
    ERR_clear_error();
    if (is_good)
        return certs;
    sk_X509_pop_free(certs, X509_free);
    return NULL;
}
