/* SPDX-License-Identifier: Apache-2.0 */
/* tls.fetch_intermediates: gets the issuer of a certificate from where that says (RFC 5280 section
 * 4.2.2.1), because the server does not send it; net/tls_issuers.h has it then.
 *
 * Whoever serves a certificate chooses the URL, so as little as possible may come of that: plain
 * HTTP to port 80, never another one; to public addresses and those of destination.allow, whatever
 * connect_to says, and so never through a parent, which would look the name up itself; a GET
 * without a query that says nothing of the client; one answer, no redirect, 64 KiB, 5 s; two URLs
 * of a certificate, and 16 at once in the process. What it holds is counted in max_memory as the
 * share of the handshake before it, which its dial keeps. All who want the same URL wait for one
 * that asks; when that one goes, the next of them asks. */
#ifndef TLSFAN_UPSTREAM_ISSUER_H
#define TLSFAN_UPSTREAM_ISSUER_H

#include "conf/conf.h"
#include "net/dns.h"

struct issuer; /* a token */
struct x509_st;

enum { ISSUER_WHY = 512 };

/* GOT: another try is worth it. Else WHY says why, as the end of a sentence; "": there is nothing
 * to say, for the certificate names no place. */
typedef void (*issuer_fn)(void *arg, bool got, const char *why);

/* Whose issuer is missing, and who has shown it, for the log. */
struct issuer_want {
    const struct conf *conf;
    struct x509_st *cert;
    struct str host;
    int64_t ms; /* of connect_timeout that are left; 0: it has no end */
};

/* On the loop of DNS. Never calls FN before it returns; the token is gone when FN is called. What
 * WANT holds is copied or referred to. */
struct issuer *issuer_start(struct dns *dns, const struct issuer_want *want, issuer_fn fn,
                            void *arg);
void issuer_cancel(struct issuer *i);

#endif
