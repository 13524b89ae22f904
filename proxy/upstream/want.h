/* SPDX-License-Identifier: Apache-2.0 */
/* What a request wants of a connection: the input of pool and dial. */
#ifndef TLSFAN_UPSTREAM_WANT_H
#define TLSFAN_UPSTREAM_WANT_H

#include "conf/conf.h"

/* Where a request goes. All of it but `rule_port`, and `is_public`, with which nothing is pooled,
 * is the key of an origin: what differs in it never shares a connection or a session. Slices are
 * copied where they are kept. */
struct up_where {
    const struct conf *conf;
    const struct rule *rule;
    struct str host;    /* lower case; what is verified, unless rule->sni */
    uint16_t port;      /* the rule's port applied */
    uint16_t rule_port; /* the one that the rule was found by */
    bool tls;
    bool is_rooted; /* written with a dot at its end: that name alone is looked up */
    bool is_local;  /* the client is on loopback or unix: decides which addresses are allowed */
    bool is_public; /* public addresses alone, and nothing that connect_to says */
    bool exempt;    /* `to` of a forward listener: an address that the operator wrote */
    bool is_tunnel; /* without TLS: what goes over it is for nobody on the way to read */
    bool is_direct; /* through no parent, whatever the rule says: loopback of this host */
    bool is_bound;  /* an own listener that is open (conf/bound.h), whatever connect_to says */
};

/* What it wishes for one try. */
struct up_how {
    int64_t not_before; /* µs; a second try, before others: on a connection made since then, by
                           HTTP/1 one that nobody has used; 0: on any */
    bool is_alone;      /* on a connection that is made for it: after 421 */
    bool h1_only;       /* only by HTTP/1.1: for an Upgrade, or as the origin wants it */
    bool is_ahead;      /* nobody has asked for it yet: it leaves one slot to who asks */
    bool is_patient;    /* waits for a slot without queue_timeout */
    uint64_t person;    /* whose turn: waiters of one origin are served person by person, */
    uint64_t client;    /* and those of one person connection by connection, */
    uint64_t number;    /* and those of one connection by this: as they were asked for */
    int64_t queue_by;   /* µs: waits until then for a slot, even if patient; 0: queue_timeout */
};

/* How far the making of a connection has come. */
struct up_progress {
    enum up_step { UP_STEP_QUEUE, UP_STEP_DNS, UP_STEP_CONNECT, UP_STEP_TLS } step; /* it is in */
    const char *doing;                     /* what is waited for, in a few words; static */
    int64_t queued_us, dns_us, connect_us; /* that steps before have taken */
    struct addr peer;                      /* being tried; len 0: none yet */
};

#endif
