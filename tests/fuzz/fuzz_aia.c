/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer target: what a stranger answers where a certificate says that its issuer is, and the
 * URLs that certificates name. What is taken may be written into a request and a log as it is. */
#include <stdlib.h>

#include "net/tls_aia.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void check_text(const char *text)
{
    must(*text != '\0');
    for (; *text != '\0'; text++)
        must(*text > ' ' && *text <= '~' && strchr("?#@\"\\", *text) == NULL);
}

static void check_urls(X509 *cert)
{
    struct tls_aia_url urls[TLS_AIA_URLS];
    unsigned n = tls_aia_urls(cert, urls);
    must(n <= TLS_AIA_URLS);
    for (unsigned i = 0; i < n; i++) {
        check_text(urls[i].text);
        check_text(urls[i].host);
        check_text(urls[i].path);
        must(strncmp(urls[i].text, "http://", 7) == 0 && urls[i].path[0] == '/');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    STACK_OF(X509) *certs = tls_aia_read(str_make((const char *)data, size));
    must(certs == NULL || (sk_X509_num(certs) > 0 && sk_X509_num(certs) <= TLS_AIA_CERTS));
    for (int i = 0; i < sk_X509_num(certs); i++)
        check_urls(sk_X509_value(certs, i));
    sk_X509_pop_free(certs, X509_free);
    return 0;
}
