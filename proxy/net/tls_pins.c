/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 over the DER of a SubjectPublicKeyInfo as it stands in the certificate: a key that
 * OpenSSL does not know has one, too. */
#include "net/tls_pins.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"

enum { PIN_TEXT = 44 }; /* characters of a pin */

static bool pin_of(X509 *cert, struct pin *pin)
{
    unsigned char *der = NULL;
    int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der);
    bool ok = n > 0 && EVP_Digest(der, (size_t)n, pin->sha256, NULL, EVP_sha256(), NULL) == 1;
    OPENSSL_free(der);
    return ok;
}

static bool has_pin(const struct list_of_pins *pins, const struct pin *pin)
{
    for (unsigned i = 0; i < pins->n; i++)
        if (memcmp(pins->v[i].sha256, pin->sha256, sizeof(pin->sha256)) == 0)
            return true;
    return false;
}

bool tls_pins_hold(const struct list_of_pins *pins, STACK_OF(X509) * chain)
{
    struct pin pin;
    for (int i = 0; pins->n > 0 && i < sk_X509_num(chain); i++)
        if (pin_of(sk_X509_value(chain, i), &pin) && has_pin(pins, &pin))
            return true;
    return pins->n == 0;
}

void tls_pins_print(STACK_OF(X509) * chain, char *dst, size_t cap)
{
    size_t len = 0;
    struct pin pin;
    for (int i = 0; i < sk_X509_num(chain); i++) {
        if (len + PIN_TEXT + sizeof(", ") > cap)
            break;
        if (!pin_of(sk_X509_value(chain, i), &pin))
            continue;
        if (len > 0)
            len += (size_t)(stpcpy(dst + len, ", ") - (dst + len));
        len += base64_encode(dst + len, str_make((char *)pin.sha256, sizeof(pin.sha256)));
    }
    dst[len] = '\0';
}
