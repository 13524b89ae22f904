/* SPDX-License-Identifier: Apache-2.0 */
/* Verdicts in a few words: see tls_phrase.h. */
#include "net/tls_phrase.h"

#include <openssl/x509_vfy.h>
#include <stddef.h>

static const struct {
    int code;
    const char *text;
    const char *above; /* of a certificate above the server's; NULL: no other words */
} phrases[] = {
    {X509_V_ERR_CERT_HAS_EXPIRED, "Certificate of %s has expired",
     "Issuer certificate of %s has expired"},
    {X509_V_ERR_CERT_NOT_YET_VALID, "Certificate of %s is not yet valid",
     "Issuer certificate of %s is not yet valid"},
    {X509_V_ERR_HOSTNAME_MISMATCH, "Certificate is for another host than %s", NULL},
    {X509_V_ERR_IP_ADDRESS_MISMATCH, "Certificate is for another address than %s", NULL},
    {X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, "Certificate of %s is self-signed", NULL},
    {X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, "Certificate of %s is by a CA that is not trusted",
     NULL},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, "Certificate chain of %s is incomplete", NULL},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, "Issuer of certificate of %s is unknown",
     "Certificate chain of %s is incomplete"},
    {X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, "Issuer of certificate of %s is unknown", NULL},
    {X509_V_ERR_CERT_REVOKED, "Certificate of %s has been revoked",
     "Issuer certificate of %s has been revoked"},
    {X509_V_ERR_UNABLE_TO_GET_CRL, "No revocation list for certificate of %s", NULL},
    {X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER, "Revocation list for %s cannot be checked", NULL},
    {X509_V_ERR_CRL_HAS_EXPIRED, "Revocation list for %s has expired", NULL},
    {X509_V_ERR_CRL_NOT_YET_VALID, "Revocation list for %s is not yet valid", NULL},
    {X509_V_ERR_CRL_SIGNATURE_FAILURE, "Revocation list for %s has a bad signature", NULL},
    {X509_V_ERR_CERT_SIGNATURE_FAILURE, "Certificate of %s has a bad signature",
     "Issuer certificate of %s has a bad signature"},
    {X509_V_ERR_EE_KEY_TOO_SMALL, "Certificate key of %s is too weak", NULL},
    {X509_V_ERR_CA_KEY_TOO_SMALL, "Issuer key of certificate of %s is too weak", NULL},
    {X509_V_ERR_CA_MD_TOO_WEAK, "Certificate hash of %s is too weak",
     "Issuer certificate hash of %s is too weak"},
    {X509_V_ERR_INVALID_PURPOSE, "Certificate of %s is not for a TLS server",
     "Issuer certificate of %s is not for TLS servers"},
    {X509_V_ERR_INVALID_CA, "Issuer of certificate of %s is not a CA", NULL},
    {X509_V_ERR_PATH_LENGTH_EXCEEDED, "Certificate chain of %s is longer than a CA allows", NULL},
    {X509_V_ERR_PERMITTED_VIOLATION, "CA of %s may not issue for that name", NULL},
    {X509_V_ERR_EXCLUDED_VIOLATION, "CA of %s may not issue for that name", NULL},
    {X509_V_ERR_INVALID_EXTENSION, "Certificate of %s has a malformed extension",
     "Issuer certificate of %s has a malformed extension"},
    {X509_V_ERR_UNHANDLED_CRITICAL_EXTENSION, "Certificate of %s has an unknown critical extension",
     "Issuer certificate of %s has an unknown critical extension"},
};

const char *tls_phrase(long what, bool is_above)
{
    for (size_t i = 0; i < sizeof(phrases) / sizeof(phrases[0]); i++) {
        if (phrases[i].code == what)
            return is_above && phrases[i].above != NULL ? phrases[i].above : phrases[i].text;
    }
    return NULL;
}
