/* SPDX-License-Identifier: Apache-2.0 */
/* Names are compared byte by byte, ASCII letters in any case: what a certificate holds has its
 * length, and a NUL in it is a byte like others, which no name that is asked for has. */
#include "net/tls_names.h"

#include <openssl/err.h>

static struct str without_dot(struct str s)
{
    if (s.len > 0 && s.p[s.len - 1] == '.')
        s.len--;
    return s;
}

static struct str bytes_of(const ASN1_STRING *s)
{
    int n = ASN1_STRING_length(s);
    return str_make((const char *)ASN1_STRING_get0_data(s), n > 0 ? (size_t)n : 0);
}

bool tls_names_take(const GENERAL_NAME *g, struct tls_name *name)
{
    if (g->type == GEN_DNS)
        *name = (struct tls_name){false, without_dot(bytes_of(g->d.dNSName))};
    else if (g->type == GEN_IPADD)
        *name = (struct tls_name){true, bytes_of(g->d.iPAddress)};
    else
        return false;
    return true;
}

/* ---- what it costs to look ---- */

enum { NAMES_COST = 4096 }; /* bytes */

/* Where lists of revoked certificates are may be said relative to the issuer's name (RFC 5280
 * section 4.2.1.13), which nobody does. OpenSSL makes whole names of all of them when it first
 * looks at a certificate: of 64 KiB, half of it the issuer's name, 800 MiB in 9 s. */
static bool is_costly(X509 *cert)
{
    const unsigned char *der;
    size_t issuer = 0, places = 0;
    STACK_OF(DIST_POINT) *all = X509_get_ext_d2i(cert, NID_crl_distribution_points, NULL, NULL);
    bool is_known = X509_NAME_get0_der(X509_get_issuer_name(cert), &der, &issuer) == 1;
    for (int i = 0; i < sk_DIST_POINT_num(all); i++) {
        const DIST_POINT_NAME *name = sk_DIST_POINT_value(all, i)->distpoint;
        places += name != NULL && name->type == 1 ? 1 : 0;
    }
    sk_DIST_POINT_pop_free(all, DIST_POINT_free);
    ERR_clear_error();
    return !is_known || issuer * places > NAMES_COST;
}

int tls_names_costly(STACK_OF(X509) * certs)
{
    for (int i = 0; i < sk_X509_num(certs); i++)
        if (is_costly(sk_X509_value(certs, i)))
            return i;
    return -1;
}

/* ---- dNSNames ---- */

static bool is_label_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

/* The bytes of the label that S begins with. */
static size_t label_len(struct str s)
{
    size_t n = 0;
    while (n < s.len && is_label_byte(s.p[n]))
        n++;
    return n;
}

/* How many labels S has; 0 when it is anything but labels with dots between them. */
static unsigned count_labels(struct str s)
{
    unsigned count = 0;
    for (;;) {
        size_t n = label_len(s);
        if (n == 0 || (n < s.len && s.p[n] != '.'))
            return 0;
        count++;
        if (n == s.len)
            return count;
        s = str_from_byte(s, n + 1);
    }
}

static bool is_match(struct str pattern, struct str host)
{
    if (!str_starts(pattern, STR("*.")))
        return str_ieq(pattern, host);
    size_t n = label_len(host);
    struct str below = str_from_byte(pattern, 2);
    return n > 0 && n < host.len && host.p[n] == '.' && count_labels(below) >= 2 &&
           str_ieq(below, str_from_byte(host, n + 1));
}

bool tls_names_match(X509 *cert, struct str host)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    bool found = false;
    for (int i = 0; !found && i < sk_GENERAL_NAME_num(names); i++) {
        struct tls_name one;
        found = tls_names_take(sk_GENERAL_NAME_value(names, i), &one) && !one.is_ip &&
                is_match(one.v, host);
    }
    GENERAL_NAMES_free(names);
    ERR_clear_error();
    return found;
}

/* ---- constraints ---- */

/* BASE is a name and all below it; with a dot before it, or the "*." that some write, those below
 * alone; nothing is every name. */
static bool holds_host(struct str base, struct str host)
{
    if (base.len > 1 && str_starts(base, STR("*.")))
        base = str_from_byte(base, 1);
    if (base.len == 0)
        return true;
    if (host.len < base.len)
        return false;
    size_t before = host.len - base.len;
    if (before > 0 && base.p[0] != '.' && host.p[before - 1] != '.')
        return false;
    return str_ieq(str_from_byte(host, before), base);
}

/* BASE is an address and a mask. */
static bool holds_address(struct str base, struct str ip)
{
    if (base.len != 2 * ip.len)
        return false;
    for (size_t i = 0; i < ip.len; i++) {
        if (((ip.p[i] ^ base.p[i]) & base.p[ip.len + i]) != 0)
            return false;
    }
    return true;
}

/* One of TREES is of NAME's kind, which sets ANY, and holds it. */
static bool is_held(STACK_OF(GENERAL_SUBTREE) * trees, struct tls_name name, bool *any)
{
    for (int i = 0; i < sk_GENERAL_SUBTREE_num(trees); i++) {
        struct tls_name base;
        if (!tls_names_take(sk_GENERAL_SUBTREE_value(trees, i)->base, &base) ||
            base.is_ip != name.is_ip)
            continue;
        *any = true;
        if (name.is_ip ? holds_address(base.v, name.v) : holds_host(base.v, name.v))
            return true;
    }
    return false;
}

enum tls_limit tls_names_limit_by(const NAME_CONSTRAINTS *c, struct tls_name name)
{
    bool any = false;
    if (is_held(c->excludedSubtrees, name, &any))
        return TLS_LIMIT_EXCLUDED;
    any = false;
    bool held = is_held(c->permittedSubtrees, name, &any);
    return any && !held ? TLS_LIMIT_NOT_PERMITTED : TLS_LIMIT_NONE;
}

enum tls_limit tls_names_limit(X509 *ca, struct tls_name name)
{
    int critical = -1;
    NAME_CONSTRAINTS *c = X509_get_ext_d2i(ca, NID_name_constraints, &critical, NULL);
    if (c == NULL) {
        ERR_clear_error();
        return critical == -1 ? TLS_LIMIT_NONE : TLS_LIMIT_NOT_PERMITTED;
    }
    enum tls_limit limit = tls_names_limit_by(c, name);
    NAME_CONSTRAINTS_free(c);
    return limit;
}
