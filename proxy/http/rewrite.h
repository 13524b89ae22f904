/* SPDX-License-Identifier: Apache-2.0 */
/* Making the upgrade invisible: a client that asked for http:// sees a site that speaks http://,
 * and the origin sees a client that speaks https://. One function a field; bytes that are not
 * changed stay as they came, and a value with nothing to change keeps its pointer. How one URL
 * is mapped, on proxy and forward listeners: rewrite_url.h. */
#ifndef TLSFAN_HTTP_REWRITE_H
#define TLSFAN_HTTP_REWRITE_H

#include "conf/conf.h"
#include "http/fields.h"

/* Of one exchange. Slices live as long as it. */
struct rewrite {
    const struct conf *conf;
    /* The listener speaks for one origin; NULL on a proxy listener. */
    const struct forward *forward;
    /* Forward: the listener's authority as the client wrote it in Host, else its address. */
    struct str self;
    /* A plain request that goes out over TLS; false: only `forward` mapping is done. */
    bool is_upgraded;
};

/* True when http://HOST:PORT (0: none written) would be upgraded by a rule of C. HOST is in
 * normal form (uri.h). */
bool rewrite_would_upgrade(const struct conf *c, struct str host, uint16_t port);

/* Origin, Referer, Destination, the resources named in If: http becomes https where that host is
 * upgraded; X-Forwarded-Proto becomes https. Forward: those of the listener become those of
 * `to`; URLs of other hosts stay as they are. All obey the key `origin`. New values go to the
 * fields' arena. */
void rewrite_request(struct fields *fields, const struct rewrite *r);

/* Location, Content-Location, Refresh (key `location`), Link, realm URLs of WWW-Authenticate but
 * for Digest, which hashes its realm (`links`), Set-Cookie: Secure, SameSite=None, Partitioned;
 * forward: Domain (`cookies`), Strict-Transport-Security, Alt-Svc, upgrade-insecure-requests of
 * Content-Security-Policy, not of its Report-Only form (`hsts`), Access-Control-Allow-Origin
 * (`cors`). Each field line is judged alone. Forward: URLs that point at `to` come back as the
 * listener's; https:// URLs of other hosts stay as they are, for the client of such a listener
 * does not reach other hosts through it and http:// would send it there in the clear. */
void rewrite_response(struct fields *fields, const struct rewrite *r);

/* Which values of a rule's request_header a request may have. */
enum rewrite_trust {
    REWRITE_NONE,  /* a TRACE, which comes back to the client */
    REWRITE_PLAIN, /* what is no {file:} and the like */
    REWRITE_ALL
};
/* A rule's request_header: an edit with a value gives it to the first field of its name (further
 * ones go; the name keeps the client's case) or adds one, which is secret from then on; an edit
 * without, or with one that TRUST does not allow, takes all of them out. The fields then point to
 * EDITS. */
void rewrite_edits(struct fields *fields, const struct header_edit *edits, unsigned n,
                   enum rewrite_trust trust);
/* The same for one field and a value that is not of the edit. */
void rewrite_edit(struct fields *fields, struct str name, struct str value);

#endif
