/* SPDX-License-Identifier: Apache-2.0 */
/* The way to an origin: to what one connects for it, and through which parent proxy. connect_to
 * comes first (the rule's, then the first that matches), so that a parent is asked for what that
 * says. */
#ifndef TLSFAN_UPSTREAM_WAY_H
#define TLSFAN_UPSTREAM_WAY_H

#include "conf/parent.h"
#include "conf/policy.h"
#include "upstream/want.h"

struct way {
    const struct conf *conf; /* borrowed, as is `rule` */
    const struct rule *rule;
    uint16_t rule_port;
    char *host;    /* heap, owned: of the request: named in faults, and verified */
    char *connect; /* heap, owned: what is connected to or asked of the parent: a name, with a dot
                      when it means that one alone, or an address */
    uint16_t port;
    bool is_mapped;              /* `connect` is the operator's word, and not the host */
    const struct parent *parent; /* lives as long as the snapshot; NULL: directly */
    bool is_asked;               /* the parent reads the requests: it makes no tunnel */
    struct policy_who who;       /* for whom `connect` is judged */
};

/* The parent through which WHERE is reached; NULL: directly. A rule that writes its own means it;
 * what is inherited, upstream.no_proxy makes exceptions from. */
const struct parent *way_parent(const struct up_where *where);
/* The parent that reads the requests for WHERE, in the absolute form (RFC 9112 section 3.2.2): of
 * plain HTTP, but for what it could not pass on so: tunnels, and where connect_to leads, for it
 * would replace Host. NULL: none. */
const struct parent *way_asked(const struct up_where *where);

/* WHERE's own host and port are connected to: neither connect_to nor a parent says otherwise. */
bool way_is_direct(const struct up_where *where);

/* What it holds of W is copied. */
void way_init(struct way *w, const struct up_where *where);
void way_clear(struct way *w);

/* May the parent, if there is one, be asked for this? An address that is written is judged, as is
 * a name that means loopback; what another name leads to is not known, but that it is one. False
 * with F. */
MUST_CHECK bool way_may(const struct way *w, struct fault *f);
/* What is connected to was found as FULL, with a domain of the search list (empty: without). Where
 * the host itself was looked up, that is judged as what was written. False with F. */
MUST_CHECK bool way_may_be(const struct way *w, struct str full, struct fault *f);

/* What a TCP connection is made to. */
const char *way_first_host(const struct way *w);
uint16_t way_first_port(const struct way *w);

/* Where it leads, for a sentence: "host:443 (connect_to for name) (through the parent proxy
 * p:3128)". */
enum { WAY_TEXT = 900 }; /* bytes: three names and ports */
const char *way_print(const struct way *w, char dst[WAY_TEXT]);
/* F says why there is no TCP connection; added is whose it would be, where it is not the host's. */
void way_fail_first(const struct way *w, struct fault *f);
/* F says why there is no TLS; of a certificate is added which parent may have made it. */
void way_fail_tls(const struct way *w, struct fault *f);
/* "host:443", as CONNECT has it: without a dot at the end of a name, which the rules of many a
 * parent do not expect. */
const char *way_authority(const struct way *w, char dst[WAY_TEXT]);

#endif
