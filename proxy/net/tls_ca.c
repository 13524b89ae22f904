/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates made and signed by OpenSSL. What is not a fault of a file or a name is want of
 * memory, and ends the process like any other. */
#include "net/tls_ca.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "net/tls_pem.h"

enum {
    CA_RSA_BITS = 2048,
    CA_SERIAL_BITS = 159, /* positive, and 20 bytes (RFC 5280, section 4.1.2.2) */
    CA_BACK_DATED = 3600, /* seconds */
    CA_CN_MAX = 64,       /* ub-common-name */
    CA_FILE_MAX = 1 << 20
};

struct tls_ca {
    atomic_uint refs;
    X509 *cert;
    EVP_PKEY *key;
    STACK_OF(X509) * above; /* what leads to the root, without it */
};

/* ---- what cannot fail */

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void ca_set_serial(X509 *cert)
{
    BIGNUM *n = BN_new();
    must(n != NULL && BN_rand(n, CA_SERIAL_BITS, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1);
    must(BN_to_ASN1_INTEGER(n, X509_get_serialNumber(cert)) != NULL);
    BN_free(n);
}

static void ca_set_times(X509 *cert, int64_t from, int64_t until)
{
    must(ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)from) != NULL);
    must(ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)until) != NULL);
}

/* Extension NID from OpenSSL's notation, in which no byte of a peer's may stand. */
static void ca_add(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    must(e != NULL && X509_add_ext(cert, e, -1) == 1);
    X509_EXTENSION_free(e);
}

static void ca_add_text(X509_NAME *name, const char *field, const char *text)
{
    must(X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, (const unsigned char *)text, -1, -1,
                                    0) == 1);
}

static GENERAL_NAME *ca_general_name(int type, const void *p, size_t n)
{
    GENERAL_NAME *g = GENERAL_NAME_new();
    ASN1_STRING *s = ASN1_STRING_type_new(type == GEN_DNS ? V_ASN1_IA5STRING : V_ASN1_OCTET_STRING);
    must(g != NULL && s != NULL && ASN1_STRING_set(s, p, (int)n) == 1);
    GENERAL_NAME_set0_value(g, type, s);
    return g;
}

/* What KEY signs over; NULL for those that hash by themselves, such as Ed25519. */
static const EVP_MD *ca_digest(EVP_PKEY *key)
{
    enum { MANDATORY = 2 };
    char name[32] = "";
    int found = EVP_PKEY_get_default_digest_name(key, name, sizeof(name));
    if (found > 0 && strcmp(name, "UNDEF") == 0)
        return NULL;
    return found == MANDATORY ? EVP_get_digestbyname(name) : EVP_sha256();
}

/* There are keys that cannot: of X25519, or of RSA with too few bits. */
static bool ca_can_sign(EVP_PKEY *key)
{
    static const unsigned char text[] = "tlsfan";
    unsigned char *signature = NULL;
    size_t n = 0;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    must(ctx != NULL);
    bool ok = EVP_DigestSignInit(ctx, NULL, ca_digest(key), NULL, key) == 1 &&
              EVP_DigestSign(ctx, NULL, &n, text, sizeof(text)) == 1;
    if (ok) {
        signature = xmalloc(n);
        ok = EVP_DigestSign(ctx, signature, &n, text, sizeof(text)) == 1;
    }
    free(signature);
    EVP_MD_CTX_free(ctx);
    return ok;
}

EVP_PKEY *tls_ca_new_key(bool is_rsa)
{
    EVP_PKEY *key = is_rsa ? EVP_RSA_gen(CA_RSA_BITS) : EVP_EC_gen("P-256");
    must(key != NULL);
    return key;
}

/* ---- names */

/* The bytes of the address that TEXT is, 4 or 16, in DST; 0 where it is none. */
static size_t ca_address(const char *text, uint8_t dst[16])
{
    if (inet_pton(AF_INET, text, dst) == 1)
        return 4;
    return inet_pton(AF_INET6, text, dst) == 1 ? 16 : 0;
}

static bool ca_is_host(const char *text)
{
    size_t n = strlen(text);
    for (const char *p = text; *p != '\0'; p++) {
        bool letter = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z');
        if (!letter && (*p < '0' || *p > '9') && *p != '-' && *p != '_' && *p != '.')
            return false;
    }
    return n > 0 && n <= 253 && text[0] != '.' && text[n - 1] != '.' && strstr(text, "..") == NULL;
}

static void ca_constrain(STACK_OF(GENERAL_SUBTREE) * *trees, GENERAL_NAME *name)
{
    GENERAL_SUBTREE *tree = GENERAL_SUBTREE_new();
    if (*trees == NULL)
        *trees = sk_GENERAL_SUBTREE_new_null();
    must(tree != NULL && *trees != NULL);
    GENERAL_NAME_free(tree->base);
    tree->base = name;
    must(sk_GENERAL_SUBTREE_push(*trees, tree) > 0);
}

/* An address and its mask. */
static GENERAL_NAME *ca_network(const uint8_t *address, size_t n, uint8_t mask)
{
    uint8_t both[32];
    memcpy(both, address, n);
    memset(both + n, mask, n);
    return ca_general_name(GEN_IPADD, both, 2 * n);
}

/* A kind of name that is not constrained would be free: what of a kind is not allowed is
 * forbidden. */
static void ca_forbid_rest(NAME_CONSTRAINTS *nc, bool dns, bool v4, bool v6)
{
    static const uint8_t any[16];
    if (!dns)
        ca_constrain(&nc->excludedSubtrees, ca_general_name(GEN_DNS, "", 0));
    if (!v4)
        ca_constrain(&nc->excludedSubtrees, ca_network(any, 4, 0));
    if (!v6)
        ca_constrain(&nc->excludedSubtrees, ca_network(any, 16, 0));
}

/* The names a CA may sign for, in its certificate. False where one of them is no name. */
static bool ca_limit(X509 *cert, const char *const *names, unsigned n, char **why)
{
    NAME_CONSTRAINTS *nc = NAME_CONSTRAINTS_new();
    bool dns = false, v4 = false, v6 = false, ok = true;
    must(nc != NULL);
    for (unsigned i = 0; i < n && ok; i++) {
        uint8_t address[16];
        size_t len = ca_address(names[i], address);
        v4 |= len == 4;
        v6 |= len == 16;
        dns |= len == 0;
        ok = len > 0 || ca_is_host(names[i]);
        if (ok)
            ca_constrain(&nc->permittedSubtrees,
                         len > 0 ? ca_network(address, len, 0xff)
                                 : ca_general_name(GEN_DNS, names[i], strlen(names[i])));
        else
            *why = xasprintf("%s is neither a host name, which has all below it, nor an address",
                             names[i]);
    }
    if (ok && n > 0) {
        ca_forbid_rest(nc, dns, v4, v6);
        must(X509_add1_ext_i2d(cert, NID_name_constraints, nc, 1, 0) == 1);
    }
    NAME_CONSTRAINTS_free(nc);
    return ok;
}

/* ---- a new CA */

static struct tls_ca *ca_new(void)
{
    struct tls_ca *ca = xcalloc(1, sizeof(*ca));
    atomic_init(&ca->refs, 1);
    return ca;
}

struct tls_ca *tls_ca_make(const char *const *names, unsigned n_names, int days, char **why)
{
    struct tls_ca *ca = ca_new();
    int64_t now = time(NULL);
    ca->cert = X509_new();
    must(ca->cert != NULL && X509_set_version(ca->cert, X509_VERSION_3) == 1);
    if (!ca_limit(ca->cert, names, n_names, why)) {
        tls_ca_unref(ca);
        return NULL;
    }
    ca->key = tls_ca_new_key(true);
    X509_NAME *name = X509_get_subject_name(ca->cert);
    char *cn = xasprintf("tlsfan CA %08x", (unsigned)now);
    ca_add_text(name, "O", "tlsfan");
    ca_add_text(name, "CN", cn);
    free(cn);
    must(X509_set_issuer_name(ca->cert, name) == 1 && X509_set_pubkey(ca->cert, ca->key) == 1);
    ca_set_serial(ca->cert);
    ca_set_times(ca->cert, now - CA_BACK_DATED, now + (int64_t)days * 86400);
    ca_add(ca->cert, ca->cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
    ca_add(ca->cert, ca->cert, NID_key_usage, "critical,keyCertSign,cRLSign");
    ca_add(ca->cert, ca->cert, NID_subject_key_identifier, "hash");
    must(X509_sign(ca->cert, ca->key, ca_digest(ca->key)) > 0);
    return ca;
}

struct tls_ca *tls_ca_ref(struct tls_ca *ca)
{
    atomic_fetch_add(&ca->refs, 1);
    return ca;
}

void tls_ca_unref(struct tls_ca *ca)
{
    if (ca == NULL || atomic_fetch_sub(&ca->refs, 1) != 1)
        return;
    X509_free(ca->cert);
    EVP_PKEY_free(ca->key);
    sk_X509_pop_free(ca->above, X509_free);
    free(ca);
}

/* ---- a CA from files */

static bool ca_fault(char **why, const char *path, const char *reason)
{
    *why = xasprintf("%s: %s", path, reason);
    ERR_clear_error();
    return false;
}

static bool ca_read_certs(struct tls_ca *ca, const char *path, char **why)
{
    size_t n;
    char *text = file_read(path, CA_FILE_MAX, &n);
    if (text == NULL)
        return ca_fault(why, path, strerror(errno));
    BIO *bio = BIO_new_mem_buf(text, (int)n);
    must(bio != NULL);
    ERR_clear_error();
    ca->cert = PEM_read_bio_X509(bio, NULL, tls_pem_no_password, NULL);
    ca->above = sk_X509_new_null();
    X509 *next = ca->cert;
    while (next != NULL &&
           (next = PEM_read_bio_X509(bio, NULL, tls_pem_no_password, NULL)) != NULL) {
        if (X509_self_signed(next, 0) == 1)
            X509_free(next);
        else
            must(sk_X509_push(ca->above, next) > 0);
    }
    BIO_free(bio);
    free(text);
    if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
        return ca_fault(why, path, tls_pem_reason());
    if (ca->cert == NULL)
        return ca_fault(why, path, "no certificate in it");
    ERR_clear_error();
    if (X509_check_ca(ca->cert) <= 0)
        return ca_fault(why, path, "its first certificate is not that of a CA");
    return true;
}

/* Why the file FD is none for the key of a CA, or NULL. Those who can read it can be any server to
 * every client that trusts the CA. A group may: that is how a container is given a secret. */
static const char *ca_judge_key(int fd, size_t *size)
{
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0)
        return strerror(errno);
    if (!S_ISREG(st.st_mode))
        return "is no regular file";
    if ((st.st_mode & (S_IRWXO | S_IWGRP)) != 0)
        return "others can read or write this key of a CA: chmod 600 it";
    if (st.st_size >= CA_FILE_MAX)
        return strerror(EFBIG);
    *size = (size_t)st.st_size;
    return NULL;
}

/* The key in the file FD of SIZE bytes, of which no copy is left. NULL with OpenSSL's reason. */
static EVP_PKEY *ca_parse_key(int fd, size_t size)
{
    char *text = xmalloc(size + 1);
    ssize_t n = read(fd, text, size);
    BIO *bio = BIO_new_mem_buf(text, n > 0 ? (int)n : 0);
    must(bio != NULL);
    ERR_clear_error();
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, tls_pem_no_password, NULL);
    BIO_free(bio);
    explicit_bzero(text, size);
    free(text);
    return key;
}

/* What is judged is what is read: the file may be replaced meanwhile. */
static bool ca_read_key(struct tls_ca *ca, const char *path, char **why)
{
    size_t size = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    const char *fault = ca_judge_key(fd, &size);
    if (fault == NULL)
        ca->key = ca_parse_key(fd, size);
    if (fd >= 0)
        close(fd);
    if (fault != NULL)
        return ca_fault(why, path, fault);
    if (ca->key == NULL)
        return ca_fault(why, path, tls_pem_key_reason());
    if (X509_check_private_key(ca->cert, ca->key) != 1)
        return ca_fault(why, path, "it is not the key of the CA's certificate");
    if (!ca_can_sign(ca->key))
        return ca_fault(why, path, "a key of this kind or size cannot sign certificates");
    return true;
}

struct tls_ca *tls_ca_load(const char *cert, const char *key, char **why, bool *key_fault)
{
    struct tls_ca *ca = ca_new();
    *key_fault = false;
    if (ca_read_certs(ca, cert, why)) {
        *key_fault = !ca_read_key(ca, key, why);
        if (!*key_fault)
            return ca;
    }
    tls_ca_unref(ca);
    return NULL;
}

int64_t tls_ca_not_after(const struct tls_ca *ca)
{
    struct tm tm;
    if (ASN1_TIME_to_tm(X509_get0_notAfter(ca->cert), &tm) != 1)
        return 0;
    return timegm(&tm);
}

/* ---- PEM */

static char *ca_text(BIO *bio)
{
    char *p;
    long n = BIO_get_mem_data(bio, &p);
    char *text = xstrndup(p, (size_t)n);
    BIO_free(bio);
    return text;
}

char *tls_ca_cert_pem(const struct tls_ca *ca)
{
    BIO *bio = BIO_new(BIO_s_mem());
    must(bio != NULL && PEM_write_bio_X509(bio, ca->cert) == 1);
    return ca_text(bio);
}

char *tls_ca_key_pem(const struct tls_ca *ca)
{
    BIO *bio = BIO_new(BIO_s_secmem());
    must(bio != NULL && PEM_write_bio_PrivateKey(bio, ca->key, NULL, NULL, 0, NULL, NULL) == 1);
    return ca_text(bio);
}

/* ---- leaves */

static bool ca_has(const struct tls_ca *ca, int extension)
{
    return X509_get_ext_by_NID(ca->cert, extension, -1) >= 0;
}

/* Old clients look at the common name alone, which has a bound; and where CA is limited to some
 * names OpenSSL takes an address there for a host that it may not sign. What a client has written
 * for a name may be anything. */
static bool ca_fits_cn(const struct tls_ca *ca, const char *name, bool is_address)
{
    if (is_address)
        return !ca_has(ca, NID_name_constraints);
    return strlen(name) <= CA_CN_MAX && ca_is_host(name);
}

static void ca_add_names(const struct tls_ca *ca, X509 *leaf, const char *name)
{
    uint8_t address[16];
    size_t len = ca_address(name, address);
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    GENERAL_NAME *one = len > 0 ? ca_general_name(GEN_IPADD, address, len)
                                : ca_general_name(GEN_DNS, name, strlen(name));
    /* Without a subject it is this that names it, and must be understood (section 4.2.1.6). */
    bool has_cn = ca_fits_cn(ca, name, len > 0);
    must(names != NULL && sk_GENERAL_NAME_push(names, one) > 0);
    if (has_cn)
        ca_add_text(X509_get_subject_name(leaf), "CN", name);
    must(X509_add1_ext_i2d(leaf, NID_subject_alt_name, names, !has_cn, 0) == 1);
    GENERAL_NAMES_free(names);
}

X509 *tls_ca_sign(const struct tls_ca *ca, EVP_PKEY *key, const char *name, int64_t until)
{
    X509 *leaf = X509_new();
    bool is_rsa = EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA;
    must(leaf != NULL && X509_set_version(leaf, X509_VERSION_3) == 1);
    must(X509_set_issuer_name(leaf, X509_get_subject_name(ca->cert)) == 1);
    must(X509_set_pubkey(leaf, key) == 1);
    ca_set_serial(leaf);
    ca_set_times(leaf, (int64_t)time(NULL) - CA_BACK_DATED, until);
    ca_add(leaf, ca->cert, NID_basic_constraints, "critical,CA:FALSE");
    ca_add(leaf, ca->cert, NID_key_usage,
           is_rsa ? "critical,digitalSignature,keyEncipherment" : "critical,digitalSignature");
    ca_add(leaf, ca->cert, NID_ext_key_usage, "serverAuth");
    ca_add(leaf, ca->cert, NID_subject_key_identifier, "hash");
    if (ca_has(ca, NID_subject_key_identifier)) /* old CAs have none to point to */
        ca_add(leaf, ca->cert, NID_authority_key_identifier, "keyid");
    ca_add_names(ca, leaf, name);
    must(X509_sign(leaf, ca->key, ca_digest(ca->key)) > 0);
    return leaf;
}

bool tls_ca_use(const struct tls_ca *ca, SSL *ssl, X509 *leaf, EVP_PKEY *key)
{
    STACK_OF(X509) *chain = sk_X509_new_null();
    must(chain != NULL);
    if (X509_self_signed(ca->cert, 0) != 1)
        must(sk_X509_push(chain, ca->cert) > 0);
    for (int i = 0; i < sk_X509_num(ca->above); i++)
        must(sk_X509_push(chain, sk_X509_value(ca->above, i)) > 0);
    bool ok = SSL_use_cert_and_key(ssl, leaf, key, chain, 1) == 1;
    sk_X509_free(chain);
    ERR_clear_error();
    return ok;
}
