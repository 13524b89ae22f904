/* SPDX-License-Identifier: Apache-2.0 */
/* What a request wants of a connection: the input of pool and dial. */
#ifndef TLSFAN_UPSTREAM_WANT_H
#define TLSFAN_UPSTREAM_WANT_H

#include "conf/conf.h"

/* Where a request goes. Slices are copied where they are kept. */
struct up_want {
    const struct conf *conf;
    const struct rule *rule;
    struct str host;    /* lower case; what is verified, unless rule->sni */
    uint16_t port;      /* the rule's port applied */
    uint16_t rule_port; /* the one that the rule was found by */
    bool is_ip;
    bool is_rooted; /* written with a dot at its end: that name alone is looked up; part of the
                         key, for it decides where a name leads */
    bool tls;
    bool is_local;      /* the client is on loopback or unix: part of the key, for it decides which
                         addresses are allowed */
    bool is_patient;    /* waits for a slot without queue_timeout */
    bool exempt;        /* `to` of a forward listener: an address that the operator wrote */
    int64_t not_before; /* µs; a second try, before others: on a connection made since then, by
                           HTTP/1 one that nobody has used; 0: on any */
    unsigned delay;     /* ms until it is asked for at all: a second try, too */
    bool is_alone;      /* on a connection that is made for it: after 421 */
    bool h1_only;       /* only by HTTP/1.1: for an Upgrade, or as the origin wants it */
    uint64_t client;    /* whose turn: waiters of one origin are served client by client */
};

#endif
